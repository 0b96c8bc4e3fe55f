//! An attached person or program as the line keeps it, even while its connection is gone.

use jiff::Timestamp;
use serialproxy_proto::api::Protocol;
use serialproxy_proto::close::Close;
use serialproxy_proto::console::Action;
use serialproxy_proto::console::Size;
use serialproxy_proto::console::Viewer;
use serialproxy_proto::id::LineKey;
use serialproxy_proto::id::LinkId;
use serialproxy_proto::id::SessionId;
use serialproxy_proto::kept::KeptSession;
use serialproxy_proto::pen::Holder;
use serialproxy_proto::token::Mode;
use serialproxy_proto::token::TokenDigest;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::keys::Keys;
use crate::ordered::Locked;
use crate::ordered::Ordered;
use crate::ordered::Place;
use crate::ordered::Placed;
use crate::places::Taken;
use crate::visitor::Visitor;

#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) id: SessionId,
    pub(crate) user: String,
    /// The digest of the token that it attached with.
    pub(crate) token: TokenDigest,
    /// The project of the server that its grant is for.
    pub(crate) project: Option<String>,
    pub(crate) protocol: Protocol,
    pub(crate) since: Timestamp,
    /// The most that its user may do.
    pub(crate) may: Mode,
    /// Whether its user may take the pen from someone and control the guest's power.
    pub(crate) operator: bool,
    /// When it ends at the latest.
    pub(crate) limit: Option<Timestamp>,
    /// Id of the shared link that opened it, if any.
    pub(crate) link: Option<LinkId>,
    presence: Ordered<Presence>,
    progress: Ordered<Progress>,
    /// Notified when there may be news for its attachment: output, a changed status, its end.
    bell: Notify,
}

/// The session's connection, position and end. They share one lock, so that only the present
/// connection moves the cursor.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Number of the session's present connection; earlier ones are over. `ordered` names the locks
    /// under which it is incremented.
    pub(crate) connection: u64,
    /// The offset of the next byte for the client.
    pub(crate) cursor: u64,
    /// Bytes of output that the client got, over all connections.
    pub(crate) sent: u64,
    /// The offset up to which its client has shown all output, as the client reported it.
    pub(crate) shown: u64,
    /// Set once, when the session ends.
    pub(crate) end: Option<Close>,
    /// Output before this offset is handed over before the end.
    pub(crate) until: u64,
}

impl Placed for Progress {
    const PLACE: Place = Place::Progress;
}

/// Whether a session's client is connected, and what it has sent.
#[derive(Debug)]
pub(crate) struct Presence {
    /// The address of its connection.
    pub(crate) address: String,
    /// Its last sign of life.
    pub(crate) alive: Instant,
    /// Whether its connection is gone.
    pub(crate) detached: bool,
    /// Set while its connection is gone, or its client does not respond.
    pub(crate) absence: Option<Absence>,
    /// Whether its client has ever given a sign of life.
    pub(crate) heard: bool,
    /// Whether it is from the earlier process, and its client has not resumed yet.
    pub(crate) restored: bool,
    /// Whether its pen was freed while its connection was gone.
    pub(crate) pen_released: bool,
    /// The timer that ends it unless it resumes in time.
    pub(crate) waiting: Option<AbortHandle>,
    /// Its places in the limits of its user and address.
    pub(crate) places: Option<Taken>,
    /// The keys for resuming.
    pub(crate) keys: Keys,
    /// Bytes of input that it has sent and that are settled or queued.
    pub(crate) received: u64,
    /// Bytes of the coming input that were received earlier.
    pub(crate) repeated: u64,
    /// The end of its input in the count of all bytes queued at the desk.
    pub(crate) queued_to: u64,
    /// Its terminal's grid.
    pub(crate) size: Option<Size>,
    /// Whether its terminal shows the writer's grid while somebody else writes.
    pub(crate) follows: bool,
}

/// Since when a session's client is lost, and the deadlines that follow.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Absence {
    /// The last sign of life of its client; none if that was before a restart of the server.
    pub(crate) seen: Option<Instant>,
    /// When its pen becomes free.
    pub(crate) pen_until: Instant,
    /// When it ends.
    pub(crate) until: Instant,
}

impl Absence {
    /// Seconds since the last sign of life of its client.
    pub(crate) fn seen_ago(self) -> Option<u64> {
        self.seen.map(|seen| seen.elapsed().as_secs())
    }
}

impl Placed for Presence {
    const PLACE: Place = Place::Presence;
}

impl Presence {
    fn new(address: String) -> Self {
        Self {
            address,
            alive: Instant::now(),
            detached: false,
            absence: None,
            heard: false,
            restored: false,
            pen_released: false,
            waiting: None,
            places: None,
            keys: Keys::default(),
            received: 0,
            repeated: 0,
            queued_to: 0,
            size: None,
            follows: false,
        }
    }

    /// Its client gave a sign of life; returns whether it counted as lost.
    pub(crate) fn mark_alive(&mut self) -> bool {
        self.alive = Instant::now();
        self.heard = true;
        self.absence.take().is_some()
    }

    /// The session has ended: frees its places.
    pub(crate) fn leave(&mut self) {
        self.stop_waiting();
        self.places = None;
    }

    /// Stops the timer that waits for it.
    pub(crate) fn stop_waiting(&mut self) {
        if let Some(waiting) = self.waiting.take() {
            waiting.abort();
        }
    }
}

impl Session {
    /// Whether another session of this name is one of the same user. All who share a link have one name.
    pub(crate) fn is_also(&self, user: &str) -> bool {
        self.link.is_none() && self.user == user
    }

    pub(crate) fn new(visitor: &Visitor) -> Self {
        Self {
            id: SessionId::new(),
            user: visitor.user.clone(),
            token: visitor.token,
            project: visitor.project.clone(),
            protocol: visitor.protocol,
            since: visitor.now,
            may: visitor.may,
            operator: visitor.operator,
            limit: visitor.limit,
            link: visitor.link,
            presence: Ordered::new(Presence::new(visitor.address.clone())),
            progress: Ordered::default(),
            bell: Notify::new(),
        }
    }

    /// A session of the earlier process, whose client may resume until then.
    pub(crate) fn restored(kept: &KeptSession, until: Instant) -> Self {
        let presence = Presence {
            detached: true,
            absence: Some(Absence { seen: None, pen_until: until, until }),
            heard: true,
            restored: true,
            keys: kept.keys.iter().copied().collect(),
            ..Presence::new(kept.address.clone())
        };
        Self {
            id: kept.id,
            user: kept.user.clone(),
            token: kept.token,
            project: kept.project.clone(),
            protocol: Protocol::ConsoleV1,
            since: kept.since,
            may: kept.may,
            operator: kept.operator,
            limit: kept.limit,
            link: kept.link,
            presence: Ordered::new(presence),
            progress: Ordered::default(),
            bell: Notify::new(),
        }
    }

    /// Its stored form; none where its client cannot resume.
    pub(crate) fn kept(&self, line: LineKey, holder: Option<SessionId>) -> Option<KeptSession> {
        if self.protocol != Protocol::ConsoleV1 || self.is_over() {
            return None;
        }
        let (keys, address) = {
            let presence = self.presence();
            (presence.keys.all().collect(), presence.address.clone())
        };
        Some(KeptSession {
            id: self.id,
            line,
            keys,
            token: self.token,
            project: self.project.clone(),
            user: self.user.clone(),
            may: self.may,
            operator: self.operator,
            limit: self.limit,
            link: self.link,
            since: self.since,
            writes: holder == Some(self.id),
            address,
        })
    }

    pub(crate) fn presence(&self) -> Locked<'_, Presence> {
        self.presence.lock()
    }

    pub(crate) fn progress(&self) -> Locked<'_, Progress> {
        self.progress.lock()
    }

    /// Number of its present connection.
    pub(crate) fn connection(&self) -> u64 {
        self.progress().connection
    }

    /// The offset of the next byte for its client.
    pub(crate) fn cursor(&self) -> u64 {
        self.progress().cursor
    }

    /// Moves the cursor after so many bytes, unless the session continues over another connection
    /// than this.
    pub(crate) fn move_cursor(&self, connection: u64, offset: u64, sent: usize) {
        let mut progress = self.progress();
        if progress.connection == connection {
            progress.cursor = offset;
            progress.sent += sent as u64;
        }
    }

    /// Whether there is output to hand over before its end.
    pub(crate) fn is_behind(&self) -> bool {
        let progress = self.progress();
        progress.cursor < progress.until
    }

    /// Its presence, for its connection with this number; none when it continues over another.
    pub(crate) fn presence_of(&self, connection: u64) -> Option<Locked<'_, Presence>> {
        let presence = self.presence();
        (self.connection() == connection).then_some(presence)
    }

    /// Ends its present connection, and begins the next.
    pub(crate) fn next_connection(&self) -> u64 {
        let connection = {
            let mut progress = self.progress();
            progress.connection += 1;
            progress.connection
        };
        // Wakes both the earlier attachment, which may wait, and the next one.
        self.bell.notify_waiters();
        self.ring();
        connection
    }

    /// Makes its attachment check for news.
    pub(crate) fn ring(&self) {
        self.bell.notify_one();
    }

    /// Waits until there may be news for its attachment, from this call on.
    pub(crate) fn rung(&self) -> Notified<'_> {
        self.bell.notified()
    }

    /// The offset from which on output is kept for it: what its connection may still lose counts as
    /// unread.
    pub(crate) fn unread_from(&self) -> u64 {
        let progress = self.progress();
        match self.protocol {
            Protocol::Raw => progress.cursor,
            Protocol::ConsoleV1 => progress.shown,
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.progress().end.is_some()
    }

    /// Its last sign of life.
    pub(crate) fn alive(&self) -> Instant {
        self.presence().alive
    }

    /// Its deadlines, where its client is lost.
    pub(crate) fn absence(&self) -> Option<Absence> {
        self.presence().absence
    }

    pub(crate) fn is_detached(&self) -> bool {
        self.presence().detached
    }

    /// Sets its end; the first reason counts.
    pub(crate) fn set_end(&self, close: &Close) {
        self.set_end_behind(close, 0);
    }

    /// Sets its end, after the output before this offset.
    pub(crate) fn set_end_behind(&self, close: &Close, until: u64) {
        let mut progress = self.progress();
        if progress.end.is_none() {
            progress.end = Some(close.clone());
            progress.until = until;
        }
        drop(progress);
        self.ring();
    }

    pub(crate) fn holder(&self, now: Timestamp) -> Holder {
        Holder { session: self.id, user: self.user.clone(), since: now }
    }

    pub(crate) fn viewer(&self) -> Viewer {
        let detached = self.absence().is_some();
        Viewer { session: self.id, user: self.user.clone(), mode: Mode::Watch, detached }
    }

    /// The actions that its user may take besides watching. `guest` is whether there is a guest.
    pub(crate) fn can(&self, guest: bool) -> Vec<Action> {
        let writes = self.may == Mode::Write;
        let all = [(writes, Action::Write), (writes && self.operator, Action::Force)];
        let power = (self.operator && guest, Action::Power);
        all.into_iter().chain([power]).filter(|(may, _)| *may).map(|(_, action)| action).collect()
    }
}
