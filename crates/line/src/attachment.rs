//! The reading end of a session.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use serialproxy_metrics as metrics;
use serialproxy_metrics::Direction;
use serialproxy_proto::api::Protocol;
use serialproxy_proto::bounds::FRAME;
use serialproxy_proto::close::Close;
use serialproxy_proto::close::CloseCode;
use serialproxy_proto::console::Hello;
use serialproxy_proto::console::ReplayKind;
use serialproxy_proto::console::ServerMessage;
use serialproxy_proto::id::SessionId;
use serialproxy_proto::token::Mode;
use serialproxy_proto::token::ResumeKey;
use serialproxy_proto::utf8;
use tokio::runtime::Handle;
use tokio::time::Instant;

use crate::history::History;
use crate::history::Read;
use crate::ordered::Locked;
use crate::painter::Awaited;
use crate::painter::Painting;
use crate::piece::Cut;
use crate::piece::Piece;
use crate::piece::Pieces;
use crate::session::Session;
use crate::shared::Shared;
use crate::sleep_until;
use crate::status::Status;

/// How long a client that reads nothing may take for output from before its session's end.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// How long the beginning of a character waits for the rest on raw: the time in which a UART of
/// 1200 baud sends the three bytes that may be missing, too short to be noticed.
const REST: Duration = Duration::from_millis(20);

/// How long a client may take to send its grid before the screen is painted for the writer's grid.
const SIZE: Duration = Duration::from_millis(100);

/// What a session is sent.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Earlier output, or a part of a painted screen: at most [`FRAME`] bytes.
    Replay(Bytes),
    /// Live output waits for [`Attachment::take`]. It comes in order, and every gap was announced.
    Output,
    /// A message; never on raw, which has none.
    Message(ServerMessage),
    /// The session has ended, or continues over another connection.
    Ended(Close),
}

/// Which events a session can take now. Each one includes those before it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Wanted {
    /// Only the end: the connection is still busy with earlier output.
    End,
    /// Messages.
    Messages,
    /// Output.
    Output,
}

/// The reading end of a session, for one of its connections. Dropping it means that the connection
/// is lost: the session then waits for its client to resume, or ends where it cannot resume.
#[derive(Debug)]
pub struct Attachment {
    pub(crate) line: Arc<Shared>,
    pub(crate) session: Arc<Session>,
    pub(crate) connection: u64,
    /// Whether the greeting was handed over.
    greeted: bool,
    /// The status that its client knows; none on raw, which has no messages.
    seen: Option<Arc<Status>>,
    pending: VecDeque<Event>,
    /// The screen, until it is painted.
    screen: Option<Screen>,
    /// Output before this offset is replay.
    replay_until: u64,
    /// The input that the client knows to be settled.
    acknowledged: u64,
    /// How long the beginning of a character waits for the rest (raw).
    rest_by: Option<Instant>,
    /// How long output from before the session's end waits for the client.
    last_by: Option<Instant>,
}

/// Where the output of an attachment begins, and what its client learns about itself.
#[derive(Debug)]
pub(crate) struct Beginning {
    /// Offset of the first byte.
    pub(crate) offset: u64,
    /// The end of the history at that time.
    pub(crate) end: u64,
    /// Whether a screen comes first.
    pub(crate) screen: bool,
    /// Bytes of input that were received earlier.
    pub(crate) input: u64,
    /// The key for resuming; none on raw, which cannot resume.
    pub(crate) key: Option<ResumeKey>,
}

impl Attachment {
    pub(crate) fn new(line: &Arc<Shared>, session: &Arc<Session>, connection: u64) -> Self {
        Self {
            line: Arc::clone(line),
            session: Arc::clone(session),
            connection,
            greeted: false,
            seen: None,
            pending: VecDeque::new(),
            screen: None,
            replay_until: 0,
            acknowledged: 0,
            rest_by: None,
            last_by: None,
        }
    }

    /// The session.
    pub fn session(&self) -> SessionId {
        self.session.id
    }

    /// The runtime on which the session is to run.
    pub fn runtime(&self) -> &Handle {
        &self.line.runtime
    }

    /// Offset of the next byte of output.
    pub fn offset(&self) -> u64 {
        self.session.cursor()
    }

    /// When the session ends at the latest.
    pub fn limit(&self) -> Option<Timestamp> {
        self.session.limit
    }

    /// The next of the wanted events. Dropping the future loses nothing.
    pub async fn next(&mut self, wanted: Wanted) -> Event {
        let session = Arc::clone(&self.session);
        loop {
            // Created before the checks below: a resumed connection wakes all waiters, and none may
            // miss it.
            let bell = session.rung();
            self.ask_for_screen();
            if let Some(event) = self.poll(wanted) {
                return event;
            }
            let rest_by = self.rest_by.filter(|_| wanted == Wanted::Output);
            let size_by = self.screen.as_ref().and_then(Screen::size_by);
            let look_at = [rest_by, size_by, self.last_by].into_iter().flatten().min();
            tokio::select! {
                () = bell => {}
                // Boxed, since a session waits for its screen only briefly.
                screen = async { Box::pin(painted(&mut self.screen)).await }, if self.screen.is_some() => {
                    self.screen = None;
                    if let Some(screen) = screen {
                        self.show(&screen);
                    }
                }
                () = sleep_until(look_at), if look_at.is_some() => {}
            }
        }
    }

    /// Hands live output over, in up to five pieces of at most 64 KiB each; on raw, no piece ends
    /// within a character. `take` returns how many bytes it took. It runs with the line's history
    /// locked, so it must not wait.
    ///
    /// Nothing is handed over when the session continues over another connection.
    pub fn take(&self, take: impl FnOnce(&[Piece<'_>]) -> usize) {
        let Some((history, from)) = self.history() else { return };
        let cut = match self.session.protocol {
            Protocol::Raw => Cut::BetweenCharacters,
            Protocol::ConsoleV1 => Cut::Anywhere,
        };
        let taken = take(Pieces::new(&history, from, cut).as_slice());
        self.go_on_at(from + taken as u64, taken);
        drop(history);
        if taken > 0 && self.line.output.has_echo() && self.writes() {
            self.note_echo();
        }
    }

    fn writes(&self) -> bool {
        self.line.news.now().is_held_by(self.session.id)
    }

    /// The person who types has the echo of a key.
    fn note_echo(&self) {
        if let Some(time) = self.line.output.take_echo() {
            metrics::ECHO_SECONDS.of(Direction::Output).observe(time);
        }
    }

    /// Whether its client can have a key for resuming: one from an earlier connection, or the one
    /// in the greeting, once that was handed over.
    pub(crate) fn is_known(&self) -> bool {
        self.connection > 0 || self.greeted
    }

    /// Why this connection's part of the session has ended, if so.
    fn end(&self) -> Option<Close> {
        let progress = self.session.progress();
        if progress.connection != self.connection {
            let reason = "this session goes on in another window";
            return Some(Close::new(CloseCode::TakenOver, reason));
        }
        progress.end.clone()
    }

    /// Whether the session is told how much of its input is settled.
    fn types(&self) -> bool {
        self.session.protocol == Protocol::ConsoleV1
            && (self.seen.as_ref().is_some_and(|seen| seen.is_held_by(self.session.id))
                || self.session.presence().received > self.acknowledged)
    }

    fn poll(&mut self, wanted: Wanted) -> Option<Event> {
        if let Some(close) = self.end() {
            let is_behind = self.session.is_behind();
            let now = Instant::now();
            if is_behind && now < *self.last_by.get_or_insert(now + LAST_WORDS) {
                if wanted != Wanted::Output {
                    return None;
                }
                if let Some(event) = self.read() {
                    // It takes some output, so the rest gets the full time again.
                    self.last_by = None;
                    return Some(event);
                }
            }
            // The kept beginning of a character goes first.
            if wanted == Wanted::Output && self.rest_by.take().is_some() {
                return Some(Event::Output);
            }
            return Some(Event::Ended(close));
        }
        if wanted == Wanted::End {
            return None;
        }
        if let Some(event) = self.pending.pop_front() {
            self.greeted = true;
            return Some(event);
        }
        self.follow();
        if let Some(event) = self.pending.pop_front() {
            return Some(event);
        }
        if let Some(input) = self.settled() {
            return Some(Event::Message(ServerMessage::Ack { input }));
        }
        if wanted == Wanted::Output && self.screen.is_none() { self.read() } else { None }
    }

    /// Prepares the messages about changes.
    fn follow(&mut self) {
        let Some(seen) = &mut self.seen else { return };
        let now = self.line.news.now();
        if !Arc::ptr_eq(seen, &now) {
            let changes = now.changes_since(seen, &self.session);
            self.pending.extend(changes.into_iter().map(Event::Message));
            *seen = now;
        }
    }

    /// How much of the session's input is settled, where its client does not know yet.
    fn settled(&mut self) -> Option<u64> {
        if !self.types() {
            return None;
        }
        let settled = self.line.input.desk().settled(&self.session);
        if settled <= self.acknowledged {
            return None;
        }
        self.acknowledged = settled;
        Some(settled)
    }

    fn read(&mut self) -> Option<Event> {
        let (from, event, to) = {
            let (history, from) = self.history()?;
            let left = self.replay_until.saturating_sub(from);
            let left = usize::try_from(left).unwrap_or(usize::MAX);
            let (event, to) = match history.read(from) {
                Read::End => return None,
                Read::Gap(to) => {
                    metrics::GAPS.inc();
                    metrics::SKIPPED_BYTES.add(to - from);
                    (Event::Message(ServerMessage::Gap { from, to }), to)
                }
                Read::Bytes(piece) if left == 0 => {
                    let last = from + piece.len() as u64 == history.end();
                    let begun = last && utf8::is_unfinished(piece);
                    drop(history);
                    return self.is_due(begun).then_some(Event::Output);
                }
                Read::Bytes(piece) => {
                    let piece = piece.get(..left.min(piece.len())).unwrap_or_default();
                    let to = from + piece.len() as u64;
                    (Event::Replay(Bytes::copy_from_slice(piece)), to)
                }
            };
            let sent = match &event {
                Event::Replay(bytes) => bytes.len(),
                _ => 0,
            };
            self.go_on_at(to, sent);
            (from, event, to)
        };
        if matches!(event, Event::Replay(_)) {
            self.pending.push_back(event);
            let kind = ReplayKind::History;
            return Some(Event::Message(ServerMessage::Replay {
                kind,
                bytes: to - from,
                offset: to,
                from: None,
                boots: Vec::new(),
            }));
        }
        Some(event)
    }

    /// Whether output is handed over now. With `begun`, the output is only the beginning of a
    /// character; raw waits for the rest.
    fn is_due(&mut self, begun: bool) -> bool {
        if begun && self.session.protocol == Protocol::Raw {
            let now = Instant::now();
            if now < *self.rest_by.get_or_insert(now + REST) {
                return false;
            }
        }
        self.rest_by = None;
        true
    }

    /// The history, and the offset to continue at; none when the session continues over another
    /// connection, which then moves the cursor.
    fn history(&self) -> Option<(Locked<'_, History>, u64)> {
        let history = self.line.output.history();
        let progress = self.session.progress();
        (progress.connection == self.connection).then(|| (history, progress.cursor))
    }

    fn go_on_at(&self, offset: u64, sent: usize) {
        self.session.move_cursor(self.connection, offset, sent);
        self.line.output.note_read();
    }

    /// Prepares the first messages.
    pub(crate) fn begin(&mut self, beginning: &Beginning) {
        // An echo from before waited for nobody.
        if self.writes() {
            self.line.output.take_echo();
        }
        if self.session.protocol == Protocol::Raw {
            return;
        }
        self.replay_until = beginning.end;
        let status = self.line.news.now();
        self.greet(beginning, &status);
        self.seen = Some(status);
        self.screen = beginning.screen.then(|| Screen::Unsized(Instant::now() + SIZE));
    }

    /// Asks for the screen once its client has sent its grid, or the time for that is over.
    fn ask_for_screen(&mut self) {
        let Some(size_by) = self.screen.as_ref().and_then(Screen::size_by) else { return };
        let (own, follows) = {
            let presence = self.session.presence();
            (presence.size, presence.follows)
        };
        let theirs = self
            .seen
            .as_ref()
            .filter(|_| follows)
            .and_then(|seen| seen.size_of_other(self.session.id));
        let size = theirs.or(own);
        if size.is_some() || Instant::now() >= size_by {
            self.screen = self.line.ask_for_screen(size).map(Screen::Asked);
        }
    }

    /// Continues behind the screen, which may include more output than there was when it was
    /// requested.
    fn show(&mut self, screen: &Painting) {
        if screen.bytes.is_empty() {
            return;
        }
        let offset = {
            let Some((_history, from)) = self.history() else { return };
            let offset = from.max(screen.end);
            self.go_on_at(offset, screen.bytes.len());
            offset
        };
        let bytes = screen.bytes.len() as u64;
        let (kind, boots) = (ReplayKind::Screen, screen.boots.clone());
        let from = Some(screen.from);
        self.tell(ServerMessage::Replay { kind, bytes, offset, from, boots });
        let mut rest = screen.bytes.clone();
        while !rest.is_empty() {
            self.pending.push_back(Event::Replay(rest.split_to(rest.len().min(FRAME))));
        }
    }

    fn greet(&mut self, beginning: &Beginning, status: &Status) {
        let (state, reason, cause) = status.in_words();
        let Beginning { offset, input, ref key, .. } = *beginning;
        self.acknowledged = input;
        let writes = status.is_held_by(self.session.id);
        let server = self.line.server();
        let terminal = self.line.guest.terminal();
        self.tell(ServerMessage::Hello(Hello {
            session: self.session.id,
            line: self.line.id,
            server,
            port: self.line.key.port,
            user: self.session.user.clone(),
            mode: if writes { Mode::Write } else { Mode::Watch },
            state,
            reason,
            cause,
            epoch: status.epoch,
            epoch_offset: status.epoch_offset,
            offset,
            input,
            resume: key.as_ref().map(ResumeKey::expose),
            grace: self.line.settings.grace.as_secs(),
            can: self.line.allows(&self.session),
            // All grants but Nova's name a project.
            nova: self.session.project.is_none(),
            shared: self.session.link.is_some(),
            terminal,
        }));
        for message in status.greeting(&self.session) {
            self.tell(message);
        }
    }

    fn tell(&mut self, message: ServerMessage) {
        self.pending.push_back(Event::Message(message));
    }
}

/// A screen that is not here yet.
#[derive(Debug)]
enum Screen {
    /// Waits for the client's grid until this time.
    Unsized(Instant),
    /// Waits for the painting.
    Asked(Awaited),
}

impl Screen {
    fn size_by(&self) -> Option<Instant> {
        match self {
            Self::Unsized(by) => Some(*by),
            Self::Asked(_) => None,
        }
    }
}

async fn painted(screen: &mut Option<Screen>) -> Option<Arc<Painting>> {
    match screen {
        Some(Screen::Asked(awaited)) => awaited.painted().await,
        _ => std::future::pending().await,
    }
}
