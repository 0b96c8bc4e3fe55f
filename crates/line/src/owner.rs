//! The owner: the one task that connects to the hypervisor's port of a line.
//!
//! ```text
//!              guest runs                  connected
//!   stopped ───────────────▶ dialling ───────────────▶ pumping
//!      ▲                      │    ▲                      │
//!      │   stopped, gone      │    │ backoff              │ port closed
//!      └──────────────────────┘    └──── resolve again ◀──┘
//! ```

use std::cell::RefCell;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serialproxy_proto::api::Protocol;
use serialproxy_proto::close::Close;
use serialproxy_proto::close::CloseCode;
use tokio::io::Interest;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::endpoint::Endpoint;
use crate::endpoint::Resolve;
use crate::endpoint::Unresolved;
use crate::line::Power;
use crate::line::Shared;
use crate::lock;
use crate::patience::Patience;
use crate::registry::RawLag;
use crate::status::Connection;
use crate::stream::Stream;

/// How long a connect may take before the port counts as unreachable.
const CONNECT: Duration = Duration::from_secs(5);

/// Pauses between attempts to reach a running guest's port.
const BACKOFF_FIRST: Duration = Duration::from_millis(100);
const BACKOFF_MOST: Duration = Duration::from_secs(5);

/// How long the rest of a stopped guest's output is read before the connection is closed.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How long the hypervisor may take to say that a guest whose port closed has stopped.
const NEWS: Duration = Duration::from_millis(300);

/// One read from the hypervisor, at most.
const READ: usize = 64 * 1024;

thread_local! {
    /// What a read goes into: one buffer a thread, so that an idle line has none.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ].into_boxed_slice());
}

/// Runs a line until it is removed.
pub(crate) async fn own(line: Arc<Shared>, resolve: Arc<dyn Resolve>) {
    tokio::select! {
        // Removal must not wait for a guest.
        biased;
        () = line.stop.cancelled() => {}
        () = serve(&line, &*resolve) => {}
    }
}

async fn serve(line: &Shared, resolve: &dyn Resolve) {
    let mut power = line.power.subscribe();
    let mut backoff = BACKOFF_FIRST;
    loop {
        let now = *power.borrow_and_update();
        if !now.running {
            line.publish_connection(&Connection::Stopped(now.status));
            if power.changed().await.is_err() {
                return;
            }
            backoff = BACKOFF_FIRST;
            continue;
        }
        match dial(line, resolve).await {
            Ok((endpoint, stream)) => {
                line.status.send_modify(|status| status.endpoint = Some(endpoint.info()));
                line.publish_connection(&Connection::Connected);
                let since = Instant::now();
                let error = pump(line, &stream, &mut power).await.err();
                drop(stream);
                tracing::debug!(line = %line.key, ?error, "port closed");
                line.publish_connection(&after_close(line, resolve, &mut power).await);
                if since.elapsed() > BACKOFF_MOST {
                    backoff = BACKOFF_FIRST;
                }
            }
            Err(connection) => {
                line.publish_connection(&connection);
            }
        }
        // Also after a port that accepted and closed: none is dialled in a tight loop.
        tokio::select! {
            () = tokio::time::sleep(backoff) => {}
            changed = power.changed() => if changed.is_err() { return },
        }
        backoff = (backoff * 2).min(BACKOFF_MOST);
    }
}

/// Why the port closed: a guest that went away is told apart from a port that hung up, although
/// the hypervisor may notice a little later than we do.
async fn after_close(
    line: &Shared,
    resolve: &dyn Resolve,
    power: &mut watch::Receiver<Power>,
) -> Connection {
    let stopped = async { power.wait_for(|power| !power.running).await.map(|power| power.status) };
    match tokio::time::timeout(NEWS, stopped).await {
        Ok(Ok(status)) => Connection::Stopped(status),
        _ => resolve.resolve(line.key).await.map_or_else(unresolved, |_| Connection::Dialling),
    }
}

/// Finds the port and connects to it; the port must still be the line's when it is connected.
async fn dial(line: &Shared, resolve: &dyn Resolve) -> Result<(Endpoint, Stream), Connection> {
    let endpoint = resolve.resolve(line.key).await.map_err(unresolved)?;
    let address = endpoint.info().address;
    let stream =
        match tokio::time::timeout(CONNECT, Stream::connect(&endpoint, &line.settings)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                return Err(Connection::Failed(format!("{address} cannot be reached: {error}")));
            }
            Err(_) => {
                return Err(Connection::Failed(format!(
                    "{address} did not answer within {} s",
                    CONNECT.as_secs()
                )));
            }
        };
    if resolve.resolve(line.key).await.map_err(unresolved)? != endpoint {
        return Err(Connection::Failed(format!("{address} is no longer the guest's port")));
    }
    Ok((endpoint, stream))
}

fn unresolved(why: Unresolved) -> Connection {
    match why {
        Unresolved::Stopped(status) => Connection::Stopped(status),
        Unresolved::Gone(why) => Connection::Gone(why),
        Unresolved::Failed(why) => Connection::Failed(why),
    }
}

/// Moves bytes both ways until the port closes, or the guest has stopped and said its last.
async fn pump(
    line: &Shared,
    stream: &Stream,
    power: &mut watch::Receiver<Power>,
) -> io::Result<()> {
    let mut patience = Patience::new();
    let mut last_words: Option<Instant> = None;
    loop {
        let held_back = hold_back(line, &patience);
        let input = lock(&line.desk).has_input();
        let Some(interest) = interest(held_back, input) else {
            wait_for_a_session(line, &mut patience).await;
            continue;
        };
        tokio::select! {
            ready = stream.ready(interest) => {
                let ready = ready?;
                if ready.is_writable() {
                    lock(&line.desk).write_to(stream)?;
                    line.room.notify_waiters();
                }
                if ready.is_readable() && !held_back && !read(line, stream, &mut patience)? {
                    return Ok(());
                }
            }
            () = line.typed.notified(), if !input => {}
            () = wait_for_a_session(line, &mut patience), if held_back => {}
            changed = power.changed(), if last_words.is_none() => {
                if changed.is_err() || !power.borrow().running {
                    last_words = Some(Instant::now() + LAST_WORDS);
                }
            }
            () = sleep_until(last_words), if last_words.is_some() => return Ok(()),
        }
    }
}

/// Whether to let a session catch up before more is read.
fn hold_back(line: &Shared, patience: &Patience) -> bool {
    let end = lock(&line.history).end();
    let behind = line.slowest_lag(end) > line.settings.window() as u64 / 2;
    behind && !patience.left().is_zero()
}

fn interest(held_back: bool, input: bool) -> Option<Interest> {
    match (held_back, input) {
        (false, false) => Some(Interest::READABLE),
        (false, true) => Some(Interest::READABLE | Interest::WRITABLE),
        (true, true) => Some(Interest::WRITABLE),
        (true, false) => None,
    }
}

async fn wait_for_a_session(line: &Shared, patience: &mut Patience) {
    let started = Instant::now();
    line.owner_waits.store(true, Ordering::Relaxed);
    tokio::select! {
        () = line.progress.notified() => {}
        () = line.typed.notified() => {}
        () = tokio::time::sleep(patience.left()) => {}
    }
    line.owner_waits.store(false, Ordering::Relaxed);
    patience.spend(started.elapsed());
}

/// Reads once; false at the end of the stream.
fn read(line: &Shared, stream: &Stream, patience: &mut Patience) -> io::Result<bool> {
    SCRATCH.with_borrow_mut(|scratch| match stream.try_read(scratch) {
        Ok(0) => Ok(false),
        Ok(length) => {
            patience.earn(length);
            take_in(line, scratch.get(..length).unwrap_or_default());
            Ok(true)
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(true),
        Err(error) => Err(error),
    })
}

/// Puts output into the history and wakes who waits for it. Raw sessions that fell out of what is
/// kept end, unless they may skip: on raw a hole cannot be told.
fn take_in(line: &Shared, bytes: &[u8]) {
    let sessions = lock(&line.sessions);
    let kept_from = {
        let mut history = lock(&line.history);
        history.append(bytes, !sessions.is_empty());
        history.tail_start()
    };
    let strict = line.settings.raw_lag == RawLag::Close;
    for session in sessions.iter().filter(|session| strict && session.protocol == Protocol::Raw) {
        if session.cursor.load(Ordering::Relaxed) < kept_from {
            session.set_end(&Close::new(
                CloseCode::TooSlow,
                "too slow: this client reads more slowly than the guest prints",
            ));
        }
    }
    drop(sessions);
    line.fresh.notify_waiters();
}

async fn sleep_until(deadline: Option<Instant>) {
    if let Some(deadline) = deadline {
        tokio::time::sleep_until(deadline).await;
    }
}
