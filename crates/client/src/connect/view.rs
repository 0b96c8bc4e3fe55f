//! The shown part of a line's output: its offset, replay, and gaps.

use serialproxy_proto::console::Hello;
use serialproxy_proto::console::ReplayKind;
use serialproxy_proto::token::Mode;
use uuid::Uuid;

use crate::connect::muting::Muting;

/// The output of a line at this terminal over one connection.
#[derive(Debug)]
pub(crate) struct View {
    muting: Muting,
    /// Whether the session watches: then all output is muted, not only replay.
    watching: bool,
    /// Whether the terminal's answers do not reach the guest: then all output is muted, too.
    unanswered: bool,
    replay: Option<Replay>,
    /// The offset of the guest's last boot, until the output from there on is handled.
    boot: Option<u64>,
    /// The line of the offsets.
    line: Uuid,
    offset: u64,
    /// The requested offset, until the server tells where the output begins: if the connection ends
    /// before, it is still needed.
    asked: Option<u64>,
}

#[derive(Debug)]
struct Replay {
    left: u64,
    /// Whether the bytes have offsets: those of the history do, those of a screen do not.
    counts: bool,
    /// The offset where live output continues.
    then: u64,
}

/// Everything before this offset of this line was handled.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Seen {
    pub(crate) line: Uuid,
    pub(crate) offset: u64,
}

impl View {
    /// The view of a new connection that requested its line's output from `asked` on. `unanswered`
    /// is whether the terminal's answers would not reach the guest.
    pub(crate) fn of(hello: &Hello, asked: Option<u64>, unanswered: bool) -> Self {
        Self {
            muting: Muting::default(),
            watching: hello.mode == Mode::Watch,
            unanswered,
            replay: None,
            boot: None,
            line: hello.line,
            offset: hello.offset,
            asked,
        }
    }

    /// The pen is lost: this session only watches from now on.
    pub(crate) fn watch(&mut self) {
        self.watching = true;
    }

    /// This session has the pen from now on.
    pub(crate) fn write(&mut self) {
        self.watching = false;
    }

    pub(crate) fn is_watching(&self) -> bool {
        self.watching
    }

    /// The next `bytes` bytes are replay.
    pub(crate) fn replay(&mut self, kind: ReplayKind, bytes: u64, then: u64) {
        self.asked = None;
        let counts = kind == ReplayKind::History;
        if counts {
            self.offset = then.saturating_sub(bytes);
        }
        self.replay = Some(Replay { left: bytes, counts, then });
        self.boot = self.boot.filter(|boot| counts || then <= *boot);
    }

    /// The guest booted at `offset`. A screen that was painted later already shows that boot.
    pub(crate) fn boot(&mut self, offset: u64) {
        let painted = self.replay.as_ref().filter(|replay| !replay.counts);
        self.boot = painted.is_none_or(|replay| replay.then <= offset).then_some(offset);
    }

    /// How many of the next bytes are from before the guest's last boot, if that boot is among
    /// them.
    pub(crate) fn before_boot(&self, input: usize) -> Option<usize> {
        let from = match &self.replay {
            Some(Replay { left, counts: false, then }) => then.saturating_sub(*left),
            _ => self.offset,
        };
        let before = usize::try_from(self.boot?.saturating_sub(from)).ok()?;
        (before <= input).then_some(before)
    }

    /// Everything from before the guest's last boot was handled: drops its incomplete sequence.
    pub(crate) fn begin_boot(&mut self) {
        self.boot = None;
        self.muting = Muting::default();
    }

    /// Whether more of what was printed before follows.
    pub(crate) fn is_replaying(&self) -> bool {
        self.replay.is_some()
    }

    /// The line continues at `to`.
    pub(crate) fn skip(&mut self, to: u64) {
        self.asked = None;
        self.offset = to;
    }

    /// Handles output; returns the part that may be shown.
    pub(crate) fn take(&mut self, input: &[u8]) -> Vec<u8> {
        self.asked = None;
        let mut shown = Vec::with_capacity(input.len());
        let live = self.take_replay(input, &mut shown);
        if self.watching || self.unanswered {
            self.muting.filter(live, &mut shown);
        } else {
            // A sequence that began in the replay is handled as part of it.
            let settled = self.muting.settle(live, &mut shown);
            shown.extend_from_slice(live.get(settled..).unwrap_or_default());
        }
        self.offset = self.offset.saturating_add(live.len() as u64);
        shown
    }

    pub(crate) fn seen(&self) -> Seen {
        Seen { line: self.line, offset: self.asked.unwrap_or(self.offset) }
    }

    fn take_replay<'a>(&mut self, input: &'a [u8], shown: &mut Vec<u8>) -> &'a [u8] {
        let Some(replay) = &mut self.replay else {
            return input;
        };
        let size = usize::try_from(replay.left).unwrap_or(usize::MAX).min(input.len());
        let (replayed, live) = input.split_at(size);
        self.muting.filter(replayed, shown);
        replay.left -= size as u64;
        if replay.counts {
            self.offset = self.offset.saturating_add(size as u64);
        }
        if replay.left == 0 {
            self.offset = replay.then;
            self.replay = None;
        }
        live
    }
}

#[cfg(test)]
mod tests {
    use serialproxy_proto::console::LineState;
    use serialproxy_proto::console::ServerRef;
    use serialproxy_proto::id::ServerId;
    use serialproxy_proto::id::SessionId;
    use serialproxy_proto::terminal::TerminalSettings;

    use super::*;

    fn view(offset: u64, mode: Mode) -> View {
        View::of(&hello(offset, mode), None, false)
    }

    fn hello(offset: u64, mode: Mode) -> Hello {
        Hello {
            session: SessionId::new(),
            line: Uuid::nil(),
            server: ServerRef { id: ServerId(Uuid::nil()), name: "demo".into() },
            port: 0,
            user: "alice".into(),
            mode,
            state: LineState::Connected,
            reason: String::new(),
            cause: None,
            epoch: 1,
            epoch_offset: 0,
            offset,
            input: 0,
            resume: None,
            grace: 0,
            can: vec![],
            nova: false,
            shared: false,
            terminal: TerminalSettings::default(),
        }
    }

    #[test]
    fn only_replay_is_muted_for_a_writer() {
        let mut view = view(100, Mode::Write);
        view.replay(ReplayKind::Screen, 6, 100);
        assert_eq!(view.take(b"ab\x1b[6n\x1b[6n"), b"ab\x1b[6n");
        assert_eq!(view.seen().offset, 104);
    }

    #[test]
    fn a_query_that_begins_in_the_replay_and_ends_live_is_muted() {
        let mut view = view(5, Mode::Write);
        view.replay(ReplayKind::History, 5, 5);
        assert_eq!(view.take(b"ab\x1b[6"), b"ab");
        assert_eq!(view.take(b"n$ \x1b[6n"), b"$ \x1b[6n");
        assert_eq!(view.seen().offset, 12);
    }

    #[test]
    fn everything_is_muted_for_a_watcher_and_for_who_lost_the_pen() {
        assert_eq!(view(0, Mode::Watch).take(b"a\x1b[6nb"), b"ab");
        let mut view = view(0, Mode::Write);
        assert_eq!(view.take(b"\x1b[6n"), b"\x1b[6n");
        view.watch();
        assert_eq!(view.take(b"\x1b[6n"), b"");
        view.write();
        assert_eq!(view.take(b"\x1b[6n"), b"\x1b[6n");
    }

    #[test]
    fn what_is_from_before_the_guest_started_again_is_told_from_the_rest() {
        let mut view = view(100, Mode::Watch);
        assert_eq!(view.before_boot(10), None);
        view.boot(104);
        assert_eq!(view.before_boot(3), None, "it is behind them");
        assert_eq!(view.before_boot(10), Some(4));
        assert_eq!(view.take(b"ab\x1b["), b"ab");
        assert_eq!(view.before_boot(0), Some(0));
        view.begin_boot();
        assert_eq!(view.take(b"Linux"), b"Linux", "what was unfinished ends with the boot");
        view.boot(200);
        view.replay(ReplayKind::Screen, 6, 200);
        assert_eq!(view.before_boot(10), Some(6));
        view.replay(ReplayKind::Screen, 6, 201);
        assert_eq!(view.before_boot(10), None, "the screen is of the boot");
        view.boot(200);
        assert_eq!(view.before_boot(10), None, "the screen is of the boot");
    }

    #[test]
    fn where_nobody_reads_the_answers_of_the_terminal_it_is_not_asked() {
        let mut view = View::of(&hello(0, Mode::Write), None, true);
        assert_eq!(view.take(b"a\x1b[6nb"), b"ab");
    }

    #[test]
    fn a_connection_that_ends_before_it_gave_what_was_missed_has_shown_nothing_of_it() {
        let mut view = View::of(&hello(90, Mode::Write), Some(50), false);
        assert_eq!(view.seen().offset, 50);
        view.replay(ReplayKind::History, 40, 90);
        view.take(b"ab");
        assert_eq!(view.seen().offset, 52);
    }

    #[test]
    fn offsets_count_live_and_historic_bytes_and_gaps_but_no_screen() {
        let mut view = view(90, Mode::Write);
        view.replay(ReplayKind::Screen, 4, 90);
        view.take(b"abcdef");
        assert_eq!(view.seen().offset, 92);
        view.skip(200);
        view.replay(ReplayKind::History, 4, 204);
        view.take(b"ab");
        assert_eq!(view.seen().offset, 202);
        view.take(b"cdef");
        assert_eq!(view.seen().offset, 206);
    }
}
