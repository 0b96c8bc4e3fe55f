//! What a line records in the audit trail: how sessions begin and end, and who has the pen.

use jiff::Timestamp;
use serialproxy_audit::Event;
use serialproxy_audit::EventName;
use serialproxy_proto::cause::Cause;
use serialproxy_proto::id::SessionId;
use serialproxy_proto::pen::Holder;

use crate::keyboard::Keyboard;
use crate::line::Line;
use crate::session::Session;
use crate::shared::Shared;

impl Line {
    /// The name of the line's server.
    pub fn server_name(&self) -> String {
        self.0.guest.name()
    }
}

impl Keyboard {
    /// Records what the session does; `what` says more of it, in a word.
    pub fn record(&self, name: EventName, what: Option<&str>) {
        let event = self.line.event_of(&self.session, name);
        self.line.record(match what {
            Some(what) => event.cause(what),
            None => event,
        });
    }

    /// Whether something may happen that is to be recorded.
    pub fn may_act(&self) -> bool {
        self.line.settings.audit.admits()
    }
}

impl Shared {
    pub(crate) fn record(&self, event: Event) {
        self.settings.audit.record(event);
    }

    /// An event of a session. Not to be called while its locks are held.
    pub(crate) fn event_of(&self, session: &Session, name: EventName) -> Event {
        let address = session.presence().address.clone();
        self.event(name, session.id, &session.user)
            .project(session.project.clone())
            .address(address)
    }

    fn event(&self, name: EventName, session: SessionId, user: &str) -> Event {
        let event = Event::new(name, Timestamp::now()).line(self.key).session(session).user(user);
        event.server_name(Some(self.guest.name()))
    }

    /// A session ended.
    pub(crate) fn record_end(&self, session: &Session) {
        let received = session.presence().received;
        let (sent, end) = {
            let progress = session.progress();
            (progress.sent, progress.end.as_ref().map(|close| close.code.cause()))
        };
        // Without a reason, its connection is lost.
        let cause = end.unwrap_or(Cause::Detached);
        let event = self.event_of(session, EventName::SessionEnded);
        self.record(event.cause(cause.as_str()).bytes(received, sent));
    }

    /// A session took the pen by force.
    pub(crate) fn record_force(&self, session: &Session, loser: &Holder) {
        let event = self.event_of(session, EventName::SessionForced).session(loser.session);
        self.record(event.target(&*loser.user).cause(Cause::Forced.as_str()));
    }

    /// Another session has the pen, or none. Called under the desk's lock.
    pub(crate) fn record_pen(
        &self,
        before: Option<&Holder>,
        now: Option<&Holder>,
        why: Option<Cause>,
    ) {
        let session = |holder: &Holder| holder.session;
        if before.map(session) == now.map(session) {
            return;
        }
        let Some(named) = now.or(before) else { return };
        let why = match (why, now) {
            (Some(why), Some(_)) => why.as_str(),
            (_, Some(_)) => "taken",
            (_, None) => Cause::Left.as_str(),
        };
        let event = match self.roster.get(named.session) {
            Some(session) => self.event_of(&session, EventName::PenChanged),
            None => self.event(EventName::PenChanged, named.session, &named.user),
        };
        let event = event.cause(why);
        // Who had it before.
        self.record(match before.filter(|_| now.is_some()) {
            Some(loser) => event.target(loser.user.clone()),
            None => event,
        });
    }
}
