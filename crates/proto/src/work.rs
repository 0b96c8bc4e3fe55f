//! The last work of each thread, for the report about a thread that hangs.

use std::fmt;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::thread;

use crate::id::LineKey;
use crate::id::SessionId;

/// A kind of work.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Work {
    /// Moving bytes between a line and its guest's port.
    Line(LineKey),
    /// Moving bytes between a session and its client.
    Session(SessionId),
    /// Moving bytes between a client and the host of its session.
    Tunnel,
    /// Closing the connection of a client.
    Goodbye,
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(f, "the line {line}"),
            Self::Session(session) => write!(f, "the session {session}"),
            Self::Tunnel => f.write_str("a session on another host"),
            Self::Goodbye => f.write_str("a client that is sent away"),
        }
    }
}

type Last = Arc<Mutex<Option<Work>>>;

/// All threads that ever recorded work; they are few, and live as long as the process.
static THREADS: Mutex<Vec<(String, Last)>> = Mutex::new(Vec::new());

thread_local! {
    static LAST: Last = {
        let last = Last::default();
        let name = thread::current().name().unwrap_or_default().to_owned();
        let mut threads = THREADS.lock().unwrap_or_else(PoisonError::into_inner);
        threads.push((name, Arc::clone(&last)));
        last
    };
}

/// Records the present work of this thread.
pub fn begin(work: Work) {
    LAST.with(|last| *last.lock().unwrap_or_else(PoisonError::into_inner) = Some(work));
}

/// The last recorded work of the thread with this name. Never waits: the thread may hang anywhere.
pub fn last_of(name: &str) -> Option<Work> {
    let threads = THREADS.try_lock().ok()?;
    let (_, last) = threads.iter().find(|(thread, _)| thread == name)?;
    *last.try_lock().ok()?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_thread_began_last_is_known_by_its_name() {
        let named = |name: &str| thread::Builder::new().name(name.into());
        let work = || [Work::Goodbye, Work::Session(SessionId::new())].map(begin);
        named("busy").spawn(work).unwrap().join().unwrap();
        named("idle").spawn(|| ()).unwrap().join().unwrap();
        assert!(matches!(last_of("busy"), Some(Work::Session(_))));
        assert_eq!(last_of("idle"), None);
    }
}
