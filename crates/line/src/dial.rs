//! Connecting to the guest's port: the right port, and as the client that its hypervisor serves.

use std::future::pending;
use std::io;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use serialproxy_proto::endpoint::Endpoint;
use tokio::time::Instant;
use tokio::time::sleep;

use crate::claim::Claim;
use crate::claim::Unclaimed;
use crate::diag;
use crate::holders;
use crate::listener::Listener;
use crate::resolve::Permit;
use crate::resolve::Resolve;
use crate::resolve::Unresolved;
use crate::settings::Settings;
use crate::shared::Shared;
use crate::status::Connection;
use crate::stream::Stream;

/// How long a connect may take before the port counts as unreachable.
const CONNECT: Duration = Duration::from_secs(5);

/// How long the hypervisor may take to accept a connection that the kernel has completed. It
/// accepts no other while it serves one (QEMU 7.2, `tcp_chr_accept`).
const ACCEPT: Duration = Duration::from_millis(500);

/// How often to check whether it has accepted.
const LOOK: Duration = Duration::from_millis(5);

/// Clients that may hold the port or wait for it before us.
const STRANGERS: usize = 8;

/// How often to check whether the address is free at which the line listens for a stopped guest.
const LISTEN_AGAIN: Duration = Duration::from_secs(5);

/// What an owner holds for its line's port, connected or not.
#[derive(Debug, Default)]
pub(crate) struct Hold {
    /// Boxed, since few lines listen. It is dropped before the claim.
    listener: Option<Box<Listener>>,
    pub(crate) claim: Option<Claim>,
}

impl Hold {
    fn claim(
        &mut self,
        line: &Shared,
        resolve: &dyn Resolve,
        endpoint: &Endpoint,
    ) -> Result<(), Connection> {
        let name = resolve.claim(line.key, endpoint);
        if self.claim.as_ref().is_none_or(|claim| claim.name() != name) {
            // The present claim is for a port that the line has left.
            self.claim = None;
            let taken = line.settings.claims.take(&name);
            self.claim = taken.map_err(|why| unclaimed(name, &why))?;
        }
        Ok(())
    }

    async fn listen(&mut self, endpoint: &Endpoint) -> Result<&mut Listener, Connection> {
        match self.listener.take().filter(|listener| listener.is_of(endpoint)) {
            Some(listener) => Ok(self.listener.insert(listener)),
            None => Ok(self.listener.insert(Box::new(Listener::bind(endpoint).await?))),
        }
    }
}

/// A connected port. The permit is dropped last, after the port is closed.
pub(crate) struct Dialed {
    pub(crate) stream: Stream,
    pub(crate) endpoint: Endpoint,
    pub(crate) cleared: Option<&'static str>,
    pub(crate) permit: Option<Arc<dyn Permit>>,
}

/// Finds the port and connects to it, as long as that is permitted.
pub(crate) async fn dial(
    line: &Shared,
    resolve: &dyn Resolve,
    hold: &mut Hold,
) -> Result<Dialed, Connection> {
    let endpoint = resolve.resolve(line.key).await.map_err(unresolved)?;
    let permit = resolve.permit(line.key);
    let (stream, cleared) = tokio::select! {
        biased;
        () = ended(permit.as_deref()) => return Err(not_permitted()),
        reached = reach(line, resolve, hold, &endpoint) => reached?,
    };
    Ok(Dialed { stream, endpoint, cleared, permit })
}

/// Waits until the port may not be used any more.
pub(crate) async fn ended(permit: Option<&dyn Permit>) {
    match permit {
        Some(permit) => permit.ended().await,
        None => pending().await,
    }
}

pub(crate) fn not_permitted() -> Connection {
    Connection::Broken("this proxy may not use the guest's port now".into())
}

/// Connects to the port once the line is claimed. Afterwards the port must still be the line's.
async fn reach(
    line: &Shared,
    resolve: &dyn Resolve,
    hold: &mut Hold,
    endpoint: &Endpoint,
) -> Result<(Stream, Option<&'static str>), Connection> {
    tracing::debug!(line = line.name(), server = %line.key.server, %endpoint, "connecting");
    hold.claim(line, resolve, endpoint)?;
    let address = endpoint.in_words();
    let (stream, cleared) = match endpoint {
        Endpoint::Incoming { .. } => {
            let tcp = hold.listen(endpoint).await?.accept(line, resolve).await?;
            (timely(&address, async { Stream::connected(tcp, &line.settings) }).await?, None)
        }
        _ => {
            hold.listener = None;
            connect(line, resolve, hold, endpoint).await?
        }
    };
    let stream = timely(&address, stream.prepare(endpoint, &line.settings)).await?;
    if resolve.resolve(line.key).await.map_err(unresolved)? != *endpoint {
        return Err(Connection::Failed(format!("{address} is no longer the guest's port")));
    }
    Ok((stream, cleared))
}

/// Waits for news of a guest that does not run, and connects when it starts, since the line listens
/// before.
pub(crate) async fn await_start(
    line: &Shared,
    resolve: &dyn Resolve,
    hold: &mut Hold,
    endpoint: &Endpoint,
) {
    let listening = match hold.claim(line, resolve, endpoint) {
        Ok(()) => hold.listen(endpoint).await,
        Err(why) => Err(why),
    };
    match listening {
        Ok(listener) => listener.until_started(line, resolve).await,
        Err(why) => {
            tracing::debug!(line = line.name(), server = %line.key.server, ?why, "cannot listen");
            tokio::select! {
                () = line.guest.changed() => {}
                () = sleep(LISTEN_AGAIN) => {}
            }
        }
    }
}

/// Connects to a port at which the hypervisor listens. Where it serves another program, and the line
/// is claimed and wanted, makes the hypervisor hang up on that program; returns a note about that.
async fn connect(
    line: &Shared,
    resolve: &dyn Resolve,
    hold: &Hold,
    endpoint: &Endpoint,
) -> Result<(Stream, Option<&'static str>), Connection> {
    let address = endpoint.in_words();
    if let Some(who) = holders::of_terminal(endpoint).await {
        return Err(Connection::Held { why: held(&address, Some(who)), clears: false });
    }
    let may_clear = hold.claim.is_some();
    // A hypervisor that serves nobody though its queue is full hangs, and may answer in time.
    let hangs = is_full(endpoint) && holders::of_port(endpoint, None).await.is_none();
    let mut stream = None;
    for strangers in 0..STRANGERS {
        if let Some(stream) = own(&mut stream, endpoint, &line.settings, hangs).await? {
            return Ok((stream, (strangers > 0).then_some("after hanging up on another program")));
        }
        let why = held(&address, holders::of_port(endpoint, stream.as_ref()).await);
        if !may_clear {
            return Err(Connection::Held { why, clears: false });
        }
        if !line.roster.members().is_wanted() {
            return Err(Connection::Held { why, clears: true });
        }
        // A resolver that can disconnect the program logs the failure; for others, the line's state
        // explains it.
        if let Err(error) = resolve.clear(line.key).await {
            return Err(Connection::Held { why: format!("{why}, and {error}"), clears: false });
        }
        serialproxy_metrics::STRANGERS_HUNG_UP.inc();
    }
    let why = format!("other programs repeatedly hold {address}");
    Err(Connection::Held { why, clears: false })
}

/// Connects, unless `waiting` is connected, and waits until the hypervisor itself has accepted the
/// connection: bytes that are sent before would reach the guest later. None where that takes too long,
/// as it serves another program; then `waiting` is the connection, or none if the queue for it is full.
async fn own(
    waiting: &mut Option<Stream>,
    endpoint: &Endpoint,
    settings: &Settings,
    hangs: bool,
) -> Result<Option<Stream>, Connection> {
    let mut started = Instant::now();
    while started.elapsed() < ACCEPT {
        if waiting.is_none() {
            *waiting = timely(&endpoint.in_words(), join_queue(endpoint, settings, hangs)).await?;
            // Connecting may have taken longer.
            if waiting.is_some() {
                started = Instant::now();
            }
        }
        if let Some(stream) = waiting.take_if(|stream| stream.is_accepted()) {
            return Ok(Some(stream));
        }
        sleep(LOOK).await;
    }
    Ok(None)
}

/// Connects; none where the hypervisor's queue is full, unless it hangs. QEMU 7.2 has room for two
/// connections that wait, and those that were closed meanwhile stay in it while it serves another.
async fn join_queue(
    endpoint: &Endpoint,
    settings: &Settings,
    hangs: bool,
) -> io::Result<Option<Stream>> {
    // The kernel would repeat its request for minutes (tcp(7), `tcp_syn_retries`).
    if !hangs && is_full(endpoint) {
        return Ok(None);
    }
    match Stream::connect(endpoint, settings).await {
        // Of a unix socket.
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        connected => connected.map(Some),
    }
}

/// Whether too many connections wait for the hypervisor, as far as that is visible.
fn is_full(endpoint: &Endpoint) -> bool {
    endpoint.socket_address().is_some_and(diag::is_full)
}

async fn timely<T>(
    address: &str,
    work: impl Future<Output = io::Result<T>>,
) -> Result<T, Connection> {
    match tokio::time::timeout(CONNECT, work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) if error.kind() == ErrorKind::PermissionDenied => {
            Err(Connection::Failed(format!(
                "{address} cannot be reached, because the service has no right to open it: see Rights \
                 in install.md, or give the server TCP ports with `serialproxy adopt`"
            )))
        }
        Ok(Err(error)) => Err(Connection::Failed(format!("{address} cannot be reached: {error}"))),
        Err(_) => Err(Connection::Failed(format!(
            "{address} did not answer within {} s",
            CONNECT.as_secs()
        ))),
    }
}

pub(crate) fn held(address: &str, who: Option<String>) -> String {
    let who = who.map_or_else(String::new, |who| format!(": {who}"));
    format!("another program holds {address}{who}")
}

fn unclaimed(name: String, why: &Unclaimed) -> Connection {
    match why {
        Unclaimed::Held(_) => Connection::Claimed { name, why: why.in_words() },
        Unclaimed::Failed(_) => Connection::Failed(why.in_words()),
    }
}

pub(crate) fn unresolved(why: Unresolved) -> Connection {
    match why {
        Unresolved::Stopped(status) => Connection::Stopped(status),
        Unresolved::Gone(why) => Connection::Gone(why),
        Unresolved::Failed(why) => Connection::Failed(why),
        Unresolved::Waits(why) => Connection::Broken(why),
    }
}
