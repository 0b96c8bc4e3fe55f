//! Sends the lines of the trail to a syslog server: RFC 5424, with octet counting (RFC 6587, RFC 5425).
//!
//! A thread of its own connects, and connects again. What waits meanwhile is bounded; how much found no room
//! is said in the place where it would stand. The protocol confirms nothing, so what was sent before the server
//! ended a connection may be lost; that it did is logged.

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
use std::time::Instant;

use jiff::Timestamp;
use rustls::ClientConfig;
use rustls::ClientConnection;
use rustls::StreamOwned;
use rustls::pki_types::ServerName;
use serialproxy_proto::audit::Event;
use serialproxy_proto::audit::EventName;
use serialproxy_proto::audit::written;

/// Messages that wait at most.
const ROOM: usize = 4096;

/// How long connecting to one address, and one write, may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The pause after a failure, which doubles up to the second.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(30)];

/// A server that ends a connection sooner accepts no messages.
const STEADY: Duration = Duration::from_secs(5);

/// What a server says is read so many times at once. It has nothing to say, beside what TLS needs.
const READS: usize = 16;

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
    /// Rung when there is more to send, and when all is sent.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    messages: VecDeque<String>,
    /// Messages that found no room behind these.
    missing: u64,
}

impl Outbox {
    /// Begins to send what is put in.
    pub(crate) fn start(server: Syslog) -> io::Result<Arc<Self>> {
        let own = server.own.clone();
        let outbox = Arc::new(Self { own, waiting: Mutex::default(), changed: Condvar::new() });
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
        let is_late = waiting.missing > 0;
        // Once some are missing, half the room has to be free again, so that a slow server gets few gaps.
        if waiting.messages.len() >= if is_late { ROOM / 2 } else { ROOM - 1 } {
            waiting.missing += 1;
            drop(waiting);
            serialproxy_metrics::AUDIT_SYSLOG_DROPPED.inc();
            if !is_late {
                tracing::warn!(
                    "audit events find no room to wait for syslog, and are dropped there"
                );
            }
            return;
        }
        waiting.state_gap(&self.own);
        waiting.messages.push_back(message(&self.own, &event, line));
        drop(waiting);
        self.changed.notify_all();
    }

    /// The next message, which stays until it is sent.
    fn next(&self) -> String {
        let mut waiting = self.lock();
        loop {
            if waiting.messages.is_empty() {
                // Nothing follows what is missing.
                waiting.state_gap(&self.own);
            }
            match waiting.messages.front() {
                Some(message) => return message.clone(),
                None => {
                    waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }

    fn sent(&self) {
        self.lock().messages.pop_front();
        self.changed.notify_all();
    }

    /// Waits until all messages are sent; how many are not in time.
    pub(crate) fn unsent(&self, within: Duration) -> usize {
        let waits = |waiting: &mut Waiting| !waiting.messages.is_empty();
        let waiting = self.changed.wait_timeout_while(self.lock(), within, waits);
        waiting.unwrap_or_else(PoisonError::into_inner).0.messages.len()
    }

    fn pause(&self, pause: Duration) {
        let waiting = self.lock();
        // New messages do not end it.
        drop(self.changed.wait_timeout_while(waiting, pause, |_| true));
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// Says where they would stand how many messages are missing.
    fn state_gap(&mut self, own: &str) {
        let count = std::mem::take(&mut self.missing);
        if count == 0 {
            return;
        }
        tracing::warn!(count, "audit events were dropped on their way to syslog");
        let gap = Event::new(EventName::AuditGap, Timestamp::now()).cause("dropped").count(count);
        let line = gap.text().unwrap_or_default();
        self.messages.push_back(message(own, &gap, &line));
    }
}

/// A line as it goes over the wire.
fn message(own: &str, event: &Event, line: &str) -> String {
    let (pid, name) = (std::process::id(), event.name.as_str());
    let time = written(event.time);
    let text = format!("<{PRIORITY}>1 {time} {own} serialproxy {pid} {name} - {line}");
    format!("{} {text}", text.len())
}

trait Connection: Read + Write {}

impl<T: Read + Write> Connection for T {}

/// A connection to the server.
struct Open {
    stream: Box<dyn Connection>,
    tcp: TcpStream,
    since: Instant,
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
            match self.send(&message) {
                Ok(()) => {
                    outbox.sent();
                    if self.is_steady() {
                        self.note(None);
                        pause = shortest;
                    }
                }
                Err(error) => {
                    self.note(Some(&error));
                    outbox.pause(pause);
                    pause = (pause * 2).min(longest);
                }
            }
        }
    }

    fn send(&mut self, message: &str) -> io::Result<()> {
        let mut open = match self.open.take() {
            Some(open) => open.still()?,
            None => self.connect()?,
        };
        open.stream.write_all(message.as_bytes())?;
        open.stream.flush()?;
        self.open = Some(open);
        Ok(())
    }

    /// Whether the server takes messages: one that refuses this client may say so only after it has got some.
    fn is_steady(&self) -> bool {
        self.open.as_ref().is_some_and(|open| !self.fails || open.since.elapsed() >= STEADY)
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
        let since = Instant::now();
        let Some(tls) = tls else { return Ok(Self { stream: Box::new(stream), tcp, since }) };
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let mut session = ClientConnection::new(Arc::clone(tls), name).map_err(io::Error::other)?;
        while session.is_handshaking() {
            session.complete_io(&mut stream)?;
        }
        Ok(Self { stream: Box::new(StreamOwned::new(session, stream)), tcp, since })
    }

    /// The connection, unless the server has ended it.
    fn still(mut self) -> io::Result<Self> {
        self.tcp.set_nonblocking(true)?;
        for _ in 0..READS {
            match self.stream.read(&mut [0; 256]) {
                Ok(0) => return Err(io::Error::other("the server ended the connection")),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        self.tcp.set_nonblocking(false)?;
        Ok(self)
    }
}
