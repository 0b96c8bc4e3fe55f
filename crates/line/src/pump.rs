//! Moving bytes between a guest's port and its line, both ways.

use std::cell::RefCell;
use std::io;
use std::sync::Arc;
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

use crate::history::CHUNK;
use crate::history::History;
use crate::pace::MUCH;
use crate::pace::Pace;
use crate::patience::Patience;
use crate::session::Session;
use crate::settings::RawLag;
use crate::settings::Settings;
use crate::shared::Shared;
use crate::sleep_until;
use crate::stream::BUFFERS;
use crate::stream::Buffers;
use crate::stream::Stream;

/// How far behind a session on `console.v1` may be at least: what a UART of 115,200 baud prints
/// while a connection is gone for the grace time, one and a half times.
const WINDOW: usize = 1024 * 1024;

/// How far behind a raw session may be beside what is read at once: it cannot come back, so what it
/// is behind is what its client does not take.
const RAW_LAG: usize = 64 * 1024;

/// How long the rest of a stopped guest's output is read before the connection is closed.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How long output is waited for that arrived while what was kept before was fetched.
pub(crate) const ARRIVAL: Duration = Duration::from_millis(5);

/// One read from the hypervisor, at most. Bytes per call decide how fast bulk output is: with a
/// quarter as many it takes a third more CPU.
const READ: usize = BUFFERS * CHUNK;

thread_local! {
    /// What a read goes into: they are the thread's, so that an idle line has none.
    pub(crate) static SCRATCH: RefCell<Buffers> = RefCell::new(std::array::from_fn(|_| vec![0; CHUNK]));
}

/// Moves bytes both ways until the port closes, or the guest has stopped and said its last.
pub(crate) async fn pump(line: &Shared, stream: &Stream) -> io::Result<()> {
    let moved = move_bytes(line, stream).await;
    // What may not be used any more is closed at once.
    if moved.as_ref().is_err_and(|error| error.kind() != io::ErrorKind::PermissionDenied) {
        // A write that fails says nothing of what the port said before.
        let rest = Box::pin(read_rest(line, stream));
        let _ = tokio::time::timeout(LAST_WORDS, rest).await;
    }
    moved
}

/// Reads what came before the connection broke.
async fn read_rest(line: &Shared, stream: &Stream) {
    loop {
        consume_budget().await;
        match read(line, stream, &mut Patience::new(), &mut Pace::new()) {
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

async fn move_bytes(line: &Shared, stream: &Stream) -> io::Result<()> {
    let mut patience = Patience::new();
    let mut last_words: Option<Instant> = None;
    let mut pace = Pace::new();
    loop {
        // A port that always has more, in reads that are never full, must not keep the thread.
        consume_budget().await;
        let held_back = hold_back(line, &patience);
        let input = take_up(line, stream, &mut pace);
        let beat = pace.beat().filter(|_| !held_back);
        let look = stream.next_look().filter(|_| input);
        tokio::select! {
            ready = ready(stream, !held_back && beat.is_none(), input && look.is_none()) => {
                let ready = ready?;
                work::begin(Work::Line(line.key));
                if ready.is_writable() && input {
                    write(line, stream)?;
                }
                if ready.is_readable() && !held_back {
                    match read(line, stream, &mut patience, &mut pace)? {
                        Some(0) => return Ok(()),
                        // There is more: who reads the line, and other lines, come first.
                        Some(READ) => tokio::task::yield_now().await,
                        _ => {}
                    }
                }
            }
            () = sleep_until(beat), if beat.is_some() => {
                if read(line, stream, &mut patience, &mut pace)? == Some(0) {
                    return Ok(());
                }
            }
            () = turn(look), if look.is_some() => write(line, stream)?,
            () = line.input.typed(), if !input => {}
            // Boxed where it is needed: a line that waits for its guest has no room for it.
            () = async { Box::pin(wait_for_a_session(line, &mut patience)).await }, if held_back => {}
            () = line.guest.changed(), if last_words.is_none() => {
                if !line.guest.power().running {
                    last_words = Some(Instant::now() + LAST_WORDS);
                }
            }
            () = sleep_until(last_words), if last_words.is_some() => return Ok(()),
            () = line.guest.moved() => return Ok(()),
        }
    }
}

/// Looks at the desk before a turn, and says whether input waits there. The kernel collects what the
/// guest prints until the next beat.
fn take_up(line: &Shared, stream: &Stream, pace: &mut Pace) -> bool {
    let mut desk = line.input.desk();
    let collects = desk.tells_all();
    pace.note_input(desk.written());
    let beats = pace.beat().is_some();
    if collects != beats {
        desk.tell_all(beats);
        stream.collect(if beats { MUCH } else { 1 });
    }
    desk.has_input()
}

/// Whether to let a session catch up before more is read, since what is read might push it out of
/// the history.
fn hold_back(line: &Shared, patience: &Patience) -> bool {
    if patience.left().is_zero() {
        return false;
    }
    let members = line.roster.members();
    let history = line.output.history();
    members.iter().filter(|session| !session.is_detached()).any(|session| {
        let cursor = session.cursor();
        let lag = history.end().saturating_sub(cursor);
        let window = window(&line.settings, session.protocol);
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
    line.input.write_to(stream)?;
    line.roster.ring();
    Ok(())
}

async fn wait_for_a_session(line: &Shared, patience: &mut Patience) {
    let started = Instant::now();
    line.output.set_owner_waits(true);
    tokio::select! {
        () = line.output.progressed() => {}
        () = line.input.typed() => {}
        () = tokio::time::sleep(patience.left()) => {}
    }
    line.output.set_owner_waits(false);
    patience.spend(started.elapsed());
}

/// Reads once, and says how many bytes: 0 at the end of the stream, none where nothing had come.
fn read(
    line: &Shared,
    stream: &Stream,
    patience: &mut Patience,
    pace: &mut Pace,
) -> io::Result<Option<usize>> {
    let now = Instant::now();
    let again = pace.is_printing(now);
    let length = SCRATCH.with_borrow_mut(|scratch| match stream.try_read(scratch, again) {
        Ok(length) => {
            patience.earn(length);
            take_in(line, length, |history, unread| append(history, scratch, length, unread));
            Ok(Some(length))
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    })?;
    pace.note_read(now, length);
    Ok(length)
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
pub(crate) fn take_in(
    line: &Shared,
    length: usize,
    append: impl FnOnce(&mut History, u64) -> bool,
) {
    let members = line.roster.members();
    let mut history = line.output.history();
    let end = history.end() + length as u64;
    let unread = |session: &Arc<Session>| {
        let window = window(&line.settings, session.protocol);
        session.unread_from().max(end.saturating_sub(window))
    };
    let unread = members.iter().map(unread).min().unwrap_or(u64::MAX);
    let let_go = append(&mut history, unread);
    if let_go && line.settings.raw_lag == RawLag::Close {
        let kept_from = history.whole_from();
        for session in members.iter().filter(|session| session.protocol == Protocol::Raw) {
            if session.cursor() < kept_from {
                session.set_end(&Close::new(
                    CloseCode::TooSlow,
                    "too slow: this client reads more slowly than the guest prints",
                ));
            }
        }
    }
    drop(history);
    members.ring();
}

/// Waits until it is time; where it is already, until others had their turn.
async fn turn(time: Option<Instant>) {
    match time.filter(|time| *time > Instant::now()) {
        None => tokio::task::yield_now().await,
        time => sleep_until(time).await,
    }
}

/// Bytes of the newest output that are kept for a session which has yet to read them.
fn window(settings: &Settings, protocol: Protocol) -> u64 {
    let window = match protocol {
        Protocol::Raw => settings.history_tail.max(READ) + RAW_LAG,
        Protocol::ConsoleV1 => settings.history_tail.max(WINDOW),
    };
    window as u64
}
