//! Sends the lines of the trail to a syslog server: RFC 5424, with octet counting (RFC 6587, RFC 5425).
//!
//! A thread of its own connects, and connects again. What waits meanwhile is bounded; how much found no room
//! is said in the place where it would stand.

use std::collections::VecDeque;
use std::io;
use std::io::Read;
use std::io::Write;
use std::net::TcpStream;
use std::net::ToSocketAddrs;
use std::sync::Arc;
use std::sync::Condvar;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::ClientConnection;
use rustls::StreamOwned;
use rustls::pki_types::ServerName;
use serialproxy_proto::audit::Event;
use serialproxy_proto::audit::EventName;

use crate::seal;

/// Messages that wait at most.
const ROOM: usize = 4096;

/// How long connecting to one address, and one write, may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The pause after a failure, which doubles up to the second.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(30)];

/// Facility 13 (log audit), severity 5 (notice).
const PRIORITY: u8 = 13 * 8 + 5;

/// A syslog server.
#[derive(Clone, Debug)]
pub struct Syslog {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Whom to trust; none means plain TCP.
    pub tls: Option<Arc<ClientConfig>>,
    /// The name of this host, or `-`.
    pub own: String,
}

/// Messages on their way to a server.
#[derive(Debug)]
pub(crate) struct Outbox {
    /// The name of this host.
    own: String,
    waiting: Mutex<Waiting>,
    filled: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    messages: VecDeque<String>,
    missing: u64,
}

impl Outbox {
    /// Begins to send what is put in.
    pub(crate) fn start(server: Syslog) -> io::Result<Arc<Self>> {
        let own = server.own.clone();
        let outbox = Arc::new(Self { own, waiting: Mutex::default(), filled: Condvar::new() });
        let sending = Arc::clone(&outbox);
        std::thread::Builder::new()
            .name("audit-syslog".into())
            .spawn(move || Sending { server, open: None, fails: false }.run(&sending))?;
        Ok(outbox)
    }

    /// Takes a line of the trail, or counts it.
    pub(crate) fn put(&self, line: &str) {
        let Ok(event) = serde_json::from_str::<Event>(line) else { return };
        let mut waiting = self.lock();
        if waiting.messages.len() + 2 > ROOM {
            waiting.missing += 1;
            return;
        }
        let missing = std::mem::take(&mut waiting.missing);
        if missing > 0 {
            let gap = Event::new(EventName::AuditGap, event.time).cause("dropped").count(missing);
            let line = seal::json(&gap).unwrap_or_default();
            waiting.messages.push_back(message(&self.own, &gap, &line));
        }
        waiting.messages.push_back(message(&self.own, &event, line));
        drop(waiting);
        self.filled.notify_one();
    }

    /// The next message, which stays until it is sent.
    fn next(&self) -> String {
        let mut waiting = self.lock();
        loop {
            match waiting.messages.front() {
                Some(message) => return message.clone(),
                None => {
                    waiting = self.filled.wait(waiting).unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }

    fn sent(&self) {
        self.lock().messages.pop_front();
    }

    fn pause(&self, pause: Duration) {
        let waiting = self.lock();
        // New messages do not end it.
        drop(self.filled.wait_timeout_while(waiting, pause, |_| true));
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A line as it goes over the wire.
fn message(own: &str, event: &Event, line: &str) -> String {
    let (pid, name) = (std::process::id(), event.name.as_str());
    let time = event.time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ");
    let text = format!("<{PRIORITY}>1 {time} {own} serialproxy {pid} {name} - {line}");
    format!("{} {text}", text.len())
}

trait Connection: Read + Write {}

impl<T: Read + Write> Connection for T {}

/// A connection to the server.
struct Open {
    stream: Box<dyn Connection>,
    tcp: TcpStream,
}

struct Sending {
    server: Syslog,
    open: Option<Open>,
    fails: bool,
}

impl Sending {
    fn run(mut self, outbox: &Outbox) {
        let [shortest, longest] = PAUSES;
        let mut pause = shortest;
        loop {
            let message = outbox.next();
            let sent = self.send(&message);
            self.note(sent.as_ref().err());
            match sent {
                Ok(()) => {
                    outbox.sent();
                    pause = shortest;
                }
                Err(_) => {
                    outbox.pause(pause);
                    pause = (pause * 2).min(longest);
                }
            }
        }
    }

    fn send(&mut self, message: &str) -> io::Result<()> {
        let kept = self.open.take().and_then(Open::still);
        let mut open = match kept {
            Some(open) => open,
            None => self.connect()?,
        };
        open.stream.write_all(message.as_bytes())?;
        open.stream.flush()?;
        self.open = Some(open);
        Ok(())
    }

    fn connect(&self) -> io::Result<Open> {
        let Syslog { host, port, tls, .. } = &self.server;
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for address in (host.as_str(), *port).to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, PATIENCE) {
                Ok(tcp) => return Open::over(tcp, host, tls.as_ref()),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn note(&mut self, error: Option<&io::Error>) {
        let Syslog { host, port, .. } = &self.server;
        match error {
            Some(error) if !self.fails => {
                tracing::warn!(host, port, %error, "audit events cannot be sent to syslog; they wait");
            }
            None if self.fails => {
                tracing::info!(host, port, "audit events are sent to syslog again")
            }
            _ => {}
        }
        self.fails = error.is_some();
    }
}

impl Open {
    fn over(tcp: TcpStream, host: &str, tls: Option<&Arc<ClientConfig>>) -> io::Result<Self> {
        tcp.set_write_timeout(Some(PATIENCE))?;
        tcp.set_read_timeout(Some(PATIENCE))?;
        tcp.set_nodelay(true)?;
        let mut stream = tcp.try_clone()?;
        let Some(tls) = tls else { return Ok(Self { stream: Box::new(stream), tcp }) };
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let mut session = ClientConnection::new(Arc::clone(tls), name).map_err(io::Error::other)?;
        while session.is_handshaking() {
            session.complete_io(&mut stream)?;
        }
        Ok(Self { stream: Box::new(StreamOwned::new(session, stream)), tcp })
    }

    /// The connection, unless the server has ended it. A server says nothing, beside what TLS needs.
    fn still(mut self) -> Option<Self> {
        self.tcp.set_nonblocking(true).ok()?;
        let read = self.stream.read(&mut [0; 256]);
        self.tcp.set_nonblocking(false).ok()?;
        match read {
            Ok(0) => None,
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => None,
            _ => Some(self),
        }
    }
}
