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
use serialproxy_proto::work;
use serialproxy_proto::work::Work;
use tokio::io::Interest;
use tokio::io::Ready;
use tokio::task::consume_budget;
use tokio::time::Instant;

use crate::claim::Claim;
use crate::dial::dial;
use crate::dial::unresolved;
use crate::endpoint::Resolve;
use crate::history::CHUNK;
use crate::history::History;
use crate::line::Shared;
use crate::line::ring;
use crate::lock;
use crate::patience::Patience;
use crate::registry::RawLag;
use crate::session::Session;
use crate::status::Connection;
use crate::stream::BUFFERS;
use crate::stream::Buffers;
use crate::stream::Stream;

/// Pauses between attempts to reach a running guest's port.
const BACKOFF_FIRST: Duration = Duration::from_millis(100);
const BACKOFF_MOST: Duration = Duration::from_secs(5);

/// How often to look whether the process that has claimed the line let it go.
const CLAIM: Duration = Duration::from_millis(500);

/// How long a guest that waits for its lines is left to the process that started it.
const STARTER: Duration = Duration::from_secs(2);

/// How long the rest of a stopped guest's output is read before the connection is closed.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How long the hypervisor may take to say that a guest whose port closed has stopped.
const NEWS: Duration = Duration::from_millis(300);

/// How long output is waited for that arrived while what was kept before was fetched.
const ARRIVAL: Duration = Duration::from_millis(5);

/// One read from the hypervisor, at most. Bytes per call decide how fast bulk output is: with a
/// quarter as many it takes a third more CPU.
pub(crate) const READ: usize = BUFFERS * CHUNK;

thread_local! {
    /// What a read goes into: they are the thread's, so that an idle line has none.
    static SCRATCH: RefCell<Buffers> = RefCell::new(std::array::from_fn(|_| vec![0; CHUNK]));
}

/// Runs a line until it is removed.
pub(crate) async fn own(line: Arc<Shared>, resolve: Arc<dyn Resolve>) {
    let mut claim = None;
    tokio::select! {
        // Removal must not wait for a guest.
        biased;
        () = line.stop.cancelled() => {}
        () = serve(&line, &*resolve, &mut claim) => {}
    }
    // It holds the connected port as well.
    lock(&line.desk).close();
    drop(claim);
}

async fn serve(line: &Shared, resolve: &dyn Resolve, claim: &mut Option<Claim>) {
    let mut backoff = BACKOFF_FIRST;
    loop {
        let now = *lock(&line.power);
        if !now.running {
            *claim = None;
            line.publish_connection(&Connection::Stopped(now.status));
            line.powered.notified().await;
            backoff = BACKOFF_FIRST;
            continue;
        }
        if claim.is_none() && now.whole && line.settings.claims.are_made() {
            Box::pin(leave_to_its_starter(line)).await;
        }
        // Where the port is, is asked now: what was said of it before is over.
        let _ = tokio::time::timeout(Duration::ZERO, line.moved.notified()).await;
        // Boxed, since it is large and over soon: a connected line has no room for it.
        let connection = match Box::pin(dial(line, resolve, claim)).await {
            Ok((endpoint, stream, cleared)) => {
                let offset = lock(&line.history).end();
                line.status.send_modify(|status| {
                    status.endpoint = Some(endpoint.info());
                    status.connection_offset = offset;
                });
                let stream = Arc::new(stream);
                lock(&line.desk).open(Arc::clone(&stream));
                let missed = Box::pin(catch_up(line, resolve, &stream)).await;
                let notes = cleared.into_iter().chain(missed).collect();
                line.publish_connection(&Connection::Connected(notes));
                let since = Instant::now();
                let error = pump(line, &stream).await.err();
                lock(&line.desk).close();
                drop(stream);
                tracing::debug!(line = %line.key, ?error, "port closed");
                if since.elapsed() > BACKOFF_MOST {
                    backoff = BACKOFF_FIRST;
                }
                Box::pin(after_close(line, resolve, error)).await
            }
            Err(connection) => connection,
        };
        line.publish_connection(&connection);
        // Also after a port that accepted and closed: none is dialled in a tight loop.
        Box::pin(pause(line, &connection, backoff, claim)).await;
        backoff = (backoff * 2).min(BACKOFF_MOST);
    }
}

/// A guest that waits for its lines was started by a process that asks for them now: if it was
/// another, this one comes second.
async fn leave_to_its_starter(line: &Shared) {
    if !line.is_wanted() {
        let _ = tokio::time::timeout(STARTER, line.asked.notified()).await;
    }
}

/// Waits before the next attempt, or until it may go otherwise than the last.
async fn pause(line: &Shared, last: &Connection, most: Duration, claim: &mut Option<Claim>) {
    let again = async {
        match last {
            Connection::Claimed { name, why } => *claim = released(line, name, why).await,
            Connection::Held(_) => {
                let _ = tokio::time::timeout(most, line.asked.notified()).await;
            }
            _ => tokio::time::sleep(most).await,
        }
    };
    tokio::select! {
        () = again => {}
        () = line.powered.notified() => {}
    }
}

/// Waits until the line can be claimed, or another process has it.
async fn released(line: &Shared, name: &str, why: &str) -> Option<Claim> {
    loop {
        tokio::time::sleep(CLAIM).await;
        match line.settings.claims.take(name) {
            Ok(claim) => return claim,
            Err(now) if now.in_words() == why => {}
            Err(_) => return None,
        }
    }
}

/// Why the port closed: a guest that went away is told apart from a port that hung up, although
/// the hypervisor may notice a little later than we do.
async fn after_close(line: &Shared, resolve: &dyn Resolve, error: Option<io::Error>) -> Connection {
    let stopped = async {
        loop {
            let power = *lock(&line.power);
            if !power.running {
                return power.status;
            }
            line.powered.notified().await;
        }
    };
    match tokio::time::timeout(NEWS, stopped).await {
        Ok(status) => Connection::Stopped(status),
        _ => resolve.closed(line.key).await.map_or_else(unresolved, |()| match error {
            None => Connection::Dialling,
            Some(error) => {
                Connection::Broken(format!("the guest's port broke the connection off: {error}"))
            }
        }),
    }
}

/// Takes into the history what the guest printed in this boot before the line was connected, as
/// far as somebody else kept it; says what is to be known of it.
async fn catch_up(line: &Shared, resolve: &dyn Resolve, stream: &Stream) -> Option<&'static str> {
    let power = *lock(&line.power);
    let untouched = lock(&line.history).end() == line.status.borrow().epoch_offset;
    if power.whole || !untouched {
        return None;
    }
    let most = line.settings.history_head + line.settings.history_tail;
    let Some(kept) = resolve.kept(line.key, most).await else {
        return Some("what the guest printed before is not known");
    };
    // What arrived meanwhile is kept there as well.
    let _ = tokio::time::timeout(ARRIVAL, stream.ready(Interest::READABLE)).await;
    let arrived = SCRATCH.with_borrow_mut(|scratch| {
        // An error comes again when the port is read next.
        let length = stream.try_read(scratch).unwrap_or(0);
        let mut arrived = scratch.concat();
        arrived.truncate(length);
        arrived
    });
    let before = kept.len() - overlap(&kept, &arrived);
    take_in(line, before + arrived.len(), |history, unread| {
        let let_go = history.append(kept.get(..before).unwrap_or_default(), unread);
        history.append(&arrived, unread) || let_go
    });
    let begin = lock(&line.history).end() - arrived.len() as u64;
    line.status.send_modify(|status| status.connection_offset = begin);
    None
}

/// Length of the longest end of `before` that `after` begins with (by the prefix function of
/// Knuth, Morris and Pratt).
fn overlap(before: &[u8], after: &[u8]) -> usize {
    let mut shorter = vec![0; after.len()];
    let step = |length: usize, byte: u8, shorter: &[usize]| {
        let mut length = length;
        while length > 0 && after.get(length) != Some(&byte) {
            length = shorter.get(length - 1).copied().unwrap_or(0);
        }
        length + usize::from(after.get(length) == Some(&byte))
    };
    let mut length = 0;
    for at in 1..after.len() {
        length = step(length, after.get(at).copied().unwrap_or_default(), &shorter);
        if let Some(place) = shorter.get_mut(at) {
            *place = length;
        }
    }
    before.iter().fold(0, |length, byte| step(length, *byte, &shorter))
}

/// Moves bytes both ways until the port closes, or the guest has stopped and said its last.
async fn pump(line: &Shared, stream: &Stream) -> io::Result<()> {
    let mut patience = Patience::new();
    let moved = move_bytes(line, stream, &mut patience).await;
    if moved.is_err() {
        // A write that fails says nothing of what the port said before.
        let rest = Box::pin(read_rest(line, stream, &mut patience));
        let _ = tokio::time::timeout(LAST_WORDS, rest).await;
    }
    moved
}

/// Reads what came before the connection broke.
async fn read_rest(line: &Shared, stream: &Stream, patience: &mut Patience) {
    loop {
        consume_budget().await;
        match read(line, stream, patience) {
            Ok(Some(0)) | Err(_) => return,
            Ok(Some(_)) => tokio::task::yield_now().await,
            // It may have come with the reset, of which the reactor has yet to hear.
            Ok(None) => match tokio::time::timeout(ARRIVAL, ready(stream, true, false)).await {
                Ok(Ok(_)) => {}
                _ => return,
            },
        }
    }
}

async fn move_bytes(line: &Shared, stream: &Stream, patience: &mut Patience) -> io::Result<()> {
    let mut last_words: Option<Instant> = None;
    loop {
        // A port that always has more, in reads that are never full, must not keep the thread.
        consume_budget().await;
        let held_back = hold_back(line, patience);
        let input = lock(&line.desk).has_input();
        let look = stream.next_look().filter(|_| input);
        tokio::select! {
            ready = ready(stream, !held_back, input && look.is_none()) => {
                let ready = ready?;
                work::begin(Work::Line(line.key));
                if ready.is_writable() && input {
                    write(line, stream)?;
                }
                if ready.is_readable() && !held_back {
                    match read(line, stream, patience)? {
                        Some(0) => return Ok(()),
                        // There is more: who reads the line, and other lines, come first.
                        Some(READ) => tokio::task::yield_now().await,
                        _ => {}
                    }
                }
            }
            () = turn(look), if look.is_some() => write(line, stream)?,
            () = line.typed.notified(), if !input => {}
            // Boxed where it is needed: a line that waits for its guest has no room for it.
            () = async { Box::pin(wait_for_a_session(line, patience)).await }, if held_back => {}
            () = line.powered.notified(), if last_words.is_none() => {
                if !lock(&line.power).running {
                    last_words = Some(Instant::now() + LAST_WORDS);
                }
            }
            () = sleep_until(last_words), if last_words.is_some() => return Ok(()),
            () = line.moved.notified() => return Ok(()),
        }
    }
}

/// Whether to let a session catch up before more is read, since what is read might push it out of
/// the history.
fn hold_back(line: &Shared, patience: &Patience) -> bool {
    if patience.left().is_zero() {
        return false;
    }
    let sessions = lock(&line.sessions);
    let history = lock(&line.history);
    sessions.iter().filter(|session| !session.is_detached()).any(|session| {
        let cursor = session.cursor.load(Ordering::Relaxed);
        let lag = history.end().saturating_sub(cursor);
        let window = line.settings.window(session.protocol);
        // Who is further behind cannot catch up any more.
        lag > 0 && lag + READ as u64 > window && cursor >= history.whole_from()
    })
}

/// Waits until the stream can be read or written, if that is wanted.
async fn ready(stream: &Stream, reads: bool, writes: bool) -> io::Result<Ready> {
    let interest = match (reads, writes) {
        (true, true) => Interest::READABLE | Interest::WRITABLE,
        (true, false) => Interest::READABLE,
        (false, true) => Interest::WRITABLE,
        (false, false) => return std::future::pending().await,
    };
    stream.ready(interest).await
}

/// Writes what the hypervisor takes of the input that waits.
fn write(line: &Shared, stream: &Stream) -> io::Result<()> {
    lock(&line.desk).write_to(stream)?;
    line.room.notify_waiters();
    line.ring();
    Ok(())
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

/// Reads once, and says how many bytes: 0 at the end of the stream, none where nothing had come.
fn read(line: &Shared, stream: &Stream, patience: &mut Patience) -> io::Result<Option<usize>> {
    SCRATCH.with_borrow_mut(|scratch| match stream.try_read(scratch) {
        Ok(length) => {
            patience.earn(length);
            take_in(line, length, |history, unread| append(history, scratch, length, unread));
            Ok(Some(length))
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    })
}

/// Appends the first `length` bytes of the buffers, full ones by exchange; returns whether bytes were
/// let go.
fn append(history: &mut History, buffers: &mut [Vec<u8>], length: usize, unread: u64) -> bool {
    let mut left = length;
    let mut let_go = false;
    for buffer in buffers {
        let_go |= match left.min(CHUNK) {
            CHUNK => history.exchange(buffer, unread),
            some => history.append(buffer.get(..some).unwrap_or_default(), unread),
        };
        left -= left.min(CHUNK);
    }
    let_go
}

/// Puts so many bytes of output into the history, by `append`, and wakes who waits for it. Raw
/// sessions that fell out of what is kept end, unless they may skip: on raw a hole cannot be told.
fn take_in(line: &Shared, length: usize, append: impl FnOnce(&mut History, u64) -> bool) {
    let sessions = lock(&line.sessions);
    let mut history = lock(&line.history);
    let end = history.end() + length as u64;
    let unread = |session: &Arc<Session>| {
        let window = line.settings.window(session.protocol);
        session.unread_from().max(end.saturating_sub(window))
    };
    let unread = sessions.iter().map(unread).min().unwrap_or(u64::MAX);
    let let_go = append(&mut history, unread);
    if let_go && line.settings.raw_lag == RawLag::Close {
        let kept_from = history.whole_from();
        for session in sessions.iter().filter(|session| session.protocol == Protocol::Raw) {
            if session.cursor.load(Ordering::Relaxed) < kept_from {
                session.set_end(&Close::new(
                    CloseCode::TooSlow,
                    "too slow: this client reads more slowly than the guest prints",
                ));
            }
        }
    }
    drop(history);
    ring(&sessions);
}

/// Waits until it is time; where it is already, until others had their turn.
async fn turn(time: Option<Instant>) {
    match time.filter(|time| *time > Instant::now()) {
        None => tokio::task::yield_now().await,
        time => sleep_until(time).await,
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    if let Some(deadline) = deadline {
        // Boxed, since it is seldom needed.
        Box::pin(tokio::time::sleep_until(deadline)).await;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_both_kept_and_arrived_is_found() {
        let cases = [
            ("boot\nlog", "log", 3),
            ("boot\nlo", "login", 2),
            ("boot", "login", 0),
            ("", "a", 0),
            ("a", "", 0),
            ("aaa", "aab", 2),
            ("xababa", "ababb", 3),
        ];
        for (before, after, expected) in cases {
            assert_eq!(overlap(before.as_bytes(), after.as_bytes()), expected, "{before} {after}");
        }
    }

    proptest! {
        #[test]
        fn the_overlap_is_the_longest(before in "[ab]{0,30}", after in "[ab]{0,30}") {
            let longest = (0..=before.len().min(after.len()))
                .rev()
                .find(|length| before.ends_with(&after[..*length]));
            prop_assert_eq!(Some(overlap(before.as_bytes(), after.as_bytes())), longest);
        }
    }
}
