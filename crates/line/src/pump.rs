//! Moving bytes between a guest's port and its line, both ways.

use std::cell::RefCell;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use serialproxy_metrics as metrics;
use serialproxy_metrics::Direction;
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
use crate::timeline::milliseconds;

/// The least number of bytes that a `console.v1` session may lag behind: one and a half times what
/// a UART of 115,200 baud prints within the grace time.
const WINDOW: usize = 1024 * 1024;

/// How many bytes a raw session may lag behind, in addition to one read. It cannot resume, so it
/// lags only by what its client does not read.
const RAW_LAG: usize = 64 * 1024;

/// How long the last output of a stopped guest is read before the connection is closed.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How long to wait for output that arrived while earlier output was fetched.
pub(crate) const ARRIVAL: Duration = Duration::from_millis(5);

/// Most bytes of one read from the hypervisor. This size determines the speed of bulk output: a
/// quarter of it costs a third more CPU.
const READ: usize = BUFFERS * CHUNK;

thread_local! {
    /// The buffers for a read. They belong to the thread, so that an idle line has none.
    pub(crate) static SCRATCH: RefCell<Buffers> = RefCell::new(std::array::from_fn(|_| vec![0; CHUNK]));
}

/// Moves bytes both ways until the port closes, or until the guest has stopped and its last output
/// was read.
pub(crate) async fn pump(line: &Shared, stream: &Stream) -> io::Result<()> {
    let moved = move_bytes(line, stream).await;
    // A port that may not be used any more is closed at once.
    if moved.as_ref().is_err_and(|error| error.kind() != io::ErrorKind::PermissionDenied) {
        // A failed write does not mean that there is no more output to read.
        let rest = Box::pin(read_rest(line, stream));
        let _ = tokio::time::timeout(LAST_WORDS, rest).await;
    }
    moved
}

/// Reads the output from before the connection broke.
async fn read_rest(line: &Shared, stream: &Stream) {
    loop {
        consume_budget().await;
        match read(line, stream, &mut Patience::new(), &mut Pace::new()) {
            Ok(Some(0)) | Err(_) => return,
            Ok(Some(_)) => tokio::task::yield_now().await,
            // The output may have come with the reset, and the reactor may not have reported it
            // yet.
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
        // A port that always has more output, in reads that are never full, must not block the
        // thread.
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
                        // There is more output: the line's readers, and other lines, come first.
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
            // Boxed where it is needed, so that a line that waits for its guest takes less memory.
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

/// Checks the desk at the beginning of a turn, and returns whether input waits there. The kernel
/// buffers the guest's output until the next beat.
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

/// Whether to let a session catch up before the next read, which might otherwise push unread output
/// out of the history.
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
        // A session that is further behind cannot catch up any more.
        lag > 0 && lag + READ as u64 > window && cursor >= history.whole_from()
    })
}

/// Waits until the stream can be read or, if requested, written.
async fn ready(stream: &Stream, reads: bool, writes: bool) -> io::Result<Ready> {
    let interest = match (reads, writes) {
        (true, true) => Interest::READABLE | Interest::WRITABLE,
        (true, false) => Interest::READABLE,
        (false, true) => Interest::WRITABLE,
        (false, false) => return std::future::pending().await,
    };
    stream.ready(interest).await
}

/// Writes as much of the waiting input as the hypervisor accepts.
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

/// Reads once and returns the number of bytes: 0 at the end of the stream, none where nothing had
/// arrived.
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
            metrics::LINE_BYTES.of(Direction::Output).add(length as u64);
            if length > 0 {
                line.output.note_output();
            }
            if length > 0 && pace.may_be_echo(now) {
                line.output.note_echo();
            }
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

/// Appends the first `length` bytes of the buffers, and exchanges full buffers; returns whether
/// bytes were dropped.
fn append(history: &mut History, buffers: &mut [Vec<u8>], length: usize, unread: u64) -> bool {
    history.set_time(milliseconds());
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

/// Adds output to the history with `append`, and wakes the readers. Raw sessions whose next byte
/// was dropped end, unless they may skip bytes: raw has no message for a gap.
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

/// Waits until this time; where it is past, lets other tasks run first.
async fn turn(time: Option<Instant>) {
    match time.filter(|time| *time > Instant::now()) {
        None => tokio::task::yield_now().await,
        time => sleep_until(time).await,
    }
}

/// How many of the newest bytes are kept for a session that has not read them yet.
fn window(settings: &Settings, protocol: Protocol) -> u64 {
    let window = match protocol {
        Protocol::Raw => settings.history_tail.max(READ) + RAW_LAG,
        Protocol::ConsoleV1 => settings.history_tail.max(WINDOW),
    };
    window as u64
}
