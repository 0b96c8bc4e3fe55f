//! A port to which the hypervisor connects: the line listens there, and accepts only the guest's
//! own hypervisor.

use std::io;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::RecvFlags;
use serialproxy_limits::seldom::is_due;
use serialproxy_proto::endpoint::Endpoint;
use tokio::net::TcpListener;
use tokio::net::TcpSocket;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::diag;
use crate::holders;
use crate::resolve::Resolve;
use crate::shared::Shared;
use crate::status::Connection;

/// How long a name lookup may take.
const CONNECT: Duration = Duration::from_secs(5);

/// How long it may take to identify the program that connected: libvirt may answer only once the
/// guest has started.
const LOOK: Duration = Duration::from_secs(30);

/// How long the line waits for the hypervisor before its state says so; then twice as long each
/// time.
const WAIT: Duration = Duration::from_secs(5);
const WAIT_MOST: Duration = Duration::from_secs(60);

/// The pause after a refused program: identifying a program searches all processes.
const REFUSED: Duration = Duration::from_millis(200);

/// The accept backlog.
const BACKLOG: u32 = 8;

/// A bound port; dropping this closes it.
#[derive(Debug)]
pub(crate) struct Listener {
    endpoint: Endpoint,
    socket: TcpListener,
    /// A connection whose program is being identified.
    came: Option<TcpStream>,
    /// The hypervisor's connection, until the guest is known to run.
    admitted: Option<TcpStream>,
    /// Whether the line has listened since before the guest's start: then the first connection
    /// misses no output.
    from_start: bool,
    wait: Duration,
    /// The program that was refused last.
    refused: Option<String>,
}

impl Listener {
    /// Binds the address that an [`Endpoint::Incoming`] names.
    pub(crate) async fn bind(endpoint: &Endpoint) -> Result<Self, Connection> {
        let address = endpoint.in_words();
        let bound = tokio::time::timeout(CONNECT, bind(endpoint)).await;
        match bound.unwrap_or_else(|_| Err((None, ErrorKind::TimedOut.into()))) {
            Ok(socket) => {
                let endpoint = endpoint.clone();
                let (came, admitted, refused) = (None, None, None);
                let from_start = false;
                Ok(Self { endpoint, socket, came, admitted, from_start, wait: WAIT, refused })
            }
            Err((at, error)) if error.kind() == ErrorKind::AddrInUse => {
                let who = match at {
                    Some(at) => holders::of_listener(at).await,
                    None => None,
                };
                let who = who.map_or_else(String::new, |who| format!(": {who}"));
                Err(Connection::Held {
                    why: format!("QEMU connects to {address}, where another program listens{who}"),
                    clears: false,
                })
            }
            Err((_, error)) if error.kind() == ErrorKind::AddrNotAvailable => {
                Err(Connection::Failed(format!(
                    "QEMU connects to {address}, which is no address of this host: use \
                     mode='bind', or have `serialproxy adopt` replace it"
                )))
            }
            Err((_, error)) => Err(Connection::Failed(format!(
                "QEMU connects to {address}, where the line cannot listen: {error}"
            ))),
        }
    }

    pub(crate) fn is_of(&self, endpoint: &Endpoint) -> bool {
        self.endpoint == *endpoint
    }

    /// Waits for a change of a guest that does not run. Its hypervisor connects at the start,
    /// before the line knows that the guest runs.
    pub(crate) async fn until_started(&mut self, line: &Shared, resolve: &dyn Resolve) {
        self.from_start = true;
        tokio::select! {
            () = line.guest.changed() => {}
            came = self.guest(line, resolve), if self.admitted.is_none() => {
                // A failure is tried again.
                self.admitted = came.ok();
            }
        }
    }

    /// Waits for a while until the running guest's hypervisor has connected.
    pub(crate) async fn accept(
        &mut self,
        line: &Shared,
        resolve: &dyn Resolve,
    ) -> Result<TcpStream, Connection> {
        // An earlier start may have failed.
        let tcp = match self.admitted.take().filter(is_open) {
            Some(tcp) => tcp,
            None => self.wait_for_guest(line, resolve).await?,
        };
        (self.wait, self.refused) = (WAIT, None);
        if std::mem::take(&mut self.from_start) {
            line.guest.set_whole();
        }
        Ok(tcp)
    }

    async fn wait_for_guest(
        &mut self,
        line: &Shared,
        resolve: &dyn Resolve,
    ) -> Result<TcpStream, Connection> {
        let deadline = Instant::now() + self.wait;
        loop {
            tokio::select! {
                came = self.guest(line, resolve) => {
                    let cannot = |why| format!("no connection of the guest is accepted: {why}");
                    return came.map_err(|error| Connection::Failed(cannot(error)));
                }
                () = tokio::time::sleep_until(deadline) => return Err(self.is_awaited()),
                () = line.guest.changed() => {
                    let power = line.guest.power();
                    if !power.running {
                        return Err(Connection::Stopped(power.status));
                    }
                }
            }
        }
    }

    /// The connection of the guest's hypervisor. Other programs are disconnected. No connection is
    /// dropped before its program is identified, even if this future is dropped: QEMU may connect
    /// only once.
    async fn guest(&mut self, line: &Shared, resolve: &dyn Resolve) -> io::Result<TcpStream> {
        loop {
            let tcp = match self.came.take() {
                Some(tcp) => tcp,
                None => match self.socket.accept().await {
                    Ok((tcp, _)) => tcp,
                    Err(error) => {
                        tokio::time::sleep(REFUSED).await;
                        return Err(error);
                    }
                },
            };
            let who = stranger(line, resolve, self.came.insert(tcp)).await;
            let tcp = self.came.take();
            match (who, tcp) {
                (None, Some(tcp)) => return Ok(tcp),
                (who, _) => self.refused = who,
            }
            // Any program can connect again and again.
            if is_due("who connected is not the guest's QEMU") {
                let (line, server, who) = (line.name(), line.key.server, &self.refused);
                tracing::warn!(line, %server, who, "hung up on a program that is not the guest's QEMU");
            }
            tokio::time::sleep(REFUSED).await;
        }
    }

    /// Sets the state to "no connection yet" and goes on waiting.
    fn is_awaited(&mut self) -> Connection {
        self.wait = (self.wait * 2).min(WAIT_MOST);
        let refused = self.refused.as_ref();
        let refused = refused
            .map_or_else(String::new, |who| format!("; {who} did, which is not the guest's QEMU"));
        Connection::Awaits(format!(
            "QEMU has not connected to {}, where the line listens{refused}. Without <reconnect \
             enabled='yes' timeout='1'/> in its <source> it connects only when the guest is started",
            self.endpoint.in_words()
        ))
    }
}

/// Binds the first address that can be bound; an error comes with its address.
async fn bind(endpoint: &Endpoint) -> Result<TcpListener, (Option<SocketAddr>, io::Error)> {
    let Endpoint::Incoming { host, port, .. } = endpoint else {
        return Err((None, ErrorKind::Unsupported.into()));
    };
    let addresses = tokio::net::lookup_host((host.as_str(), *port)).await;
    let mut last = (None, io::Error::other("it has no address"));
    for address in addresses.map_err(|error| (None, error))? {
        match listen(address) {
            Ok(socket) => return Ok(socket),
            Err(error) => last = (Some(address), error),
        }
    }
    Err(last)
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // Earlier connections may still be in TIME_WAIT.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Whether the other end has not hung up.
fn is_open(tcp: &TcpStream) -> bool {
    let peeked = rustix::net::recv(tcp, &mut [0; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT);
    matches!(peeked, Ok((1.., _)) | Err(Errno::WOULDBLOCK))
}

/// The program that connected, unless it is the guest's hypervisor.
async fn stranger(line: &Shared, resolve: &dyn Resolve, tcp: &TcpStream) -> Option<String> {
    let Ok(theirs) = tcp.peer_addr() else { return Some("a client that is gone".into()) };
    let looked = tokio::time::timeout(LOOK, async {
        let inode = tcp.local_addr().ok().and_then(|ours| diag::connected(theirs, ours))?;
        let program = holders::of_socket(inode).await?;
        // The process id may belong to another program by now. That one does not hold this socket.
        let is_guest = resolve.is_guest(line.key, program.pid).await && program.holds(inode).await;
        Some((program, is_guest))
    });
    match looked.await {
        Ok(Some((_, true))) => None,
        Ok(Some((program, false))) => Some(program.to_string()),
        Ok(None) | Err(_) => Some(format!("a client at {}", theirs.ip())),
    }
}
