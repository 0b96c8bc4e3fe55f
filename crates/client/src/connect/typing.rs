//! Who types at the console, as a watcher is told it, and how a watcher comes to type.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serialproxy_proto::console::Action;
use serialproxy_proto::console::PenState;
use serialproxy_proto::console::ServerMessage;

use crate::connect::escape::Escapes;

/// Who types, as far as the server has told.
#[derive(Clone, Debug, Default)]
pub(crate) enum Typing {
    #[default]
    Unknown,
    Nobody,
    Somebody(Typist),
}

/// The session that types.
#[derive(Clone, Debug)]
pub(crate) struct Typist {
    user: String,
    since: Option<Timestamp>,
    /// Whether it is another session of the person's own.
    own: bool,
    /// If its connection is lost: the seconds until others can type.
    free_in: Option<u64>,
    /// In this case: the seconds since its last sign of life.
    seen_ago: Option<u64>,
}

impl Typing {
    /// Notes what a message says of it.
    pub(crate) fn follow(&mut self, message: &ServerMessage) {
        let ServerMessage::Pen { state, holder, by, since, own, free_in, seen_ago, .. } = message
        else {
            return;
        };
        match (state, holder.as_ref().or(by.as_ref())) {
            (PenState::Free, _) => *self = Self::Nobody,
            (PenState::Held | PenState::Lost, Some(user)) => {
                *self = Self::Somebody(Typist {
                    user: user.clone(),
                    since: *since,
                    own: *own,
                    free_in: *free_in,
                    seen_ago: *seen_ago,
                });
            }
            _ => {}
        }
    }

    /// The user who types.
    pub(crate) fn user(&self) -> Option<&str> {
        match self {
            Self::Somebody(typist) => Some(&typist.user),
            Self::Unknown | Self::Nobody => None,
        }
    }

    /// Whether another session of the person's own types.
    pub(crate) fn is_own(&self) -> bool {
        matches!(self, Self::Somebody(Typist { own: true, .. }))
    }

    /// In words, as the beginning of a sentence.
    pub(crate) fn told(&self, zone: &TimeZone) -> String {
        let Self::Somebody(Typist { user, since, own, free_in, seen_ago }) = self else {
            return "Nobody is typing".to_owned();
        };
        match (own, free_in, seen_ago) {
            (true, None, _) => "You have this console open in another window".to_owned(),
            (true, Some(_), Some(seconds)) => {
                format!("You have this console open in another window, last seen {seconds} s ago")
            }
            (true, Some(_), None) => {
                "You have this console open in another window, which lost its connection".to_owned()
            }
            (false, Some(seconds), _) => {
                format!("{user} lost the connection; the console is free in {seconds} s")
            }
            (false, None, _) => format!("{user} is typing{}", since_when(*since, zone)),
        }
    }

    /// Since when somebody types.
    pub(crate) fn since(&self, zone: &TimeZone) -> String {
        match self {
            Self::Somebody(typist) => since_when(typist.since, zone),
            Self::Unknown | Self::Nobody => String::new(),
        }
    }

    /// What a watcher who may take these actions can press to type; empty if there is nothing.
    pub(crate) fn how(&self, can: &[Action], escapes: &Escapes) -> String {
        let may = |action| can.contains(&action);
        match self {
            _ if !may(Action::Write) => String::new(),
            Self::Unknown | Self::Nobody => escapes.hint("~p lets you type"),
            Self::Somebody(Typist { own: true, .. }) => escapes.hint("~p uses it here"),
            Self::Somebody(_) if may(Action::Force) => {
                escapes.hint("~p asks to type, ~f takes over")
            }
            Self::Somebody(_) => escapes.hint("~p asks to type"),
        }
    }
}

fn since_when(since: Option<Timestamp>, zone: &TimeZone) -> String {
    since.map_or_else(String::new, |since| format!(" (since {})", clock(since, zone)))
}

/// `09:04` in the person's own time zone; with the date if that is not today.
pub(crate) fn clock(time: Timestamp, zone: &TimeZone) -> String {
    let time = time.to_zoned_datetime(zone.clone());
    let today = time.date() == Timestamp::now().to_zoned_datetime(zone.clone()).date();
    time.strftime(if today { "%H:%M" } else { "%-d %b %H:%M" }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::EscapeKey;

    const ALL: [Action; 2] = [Action::Write, Action::Force];

    fn held(own: bool, free_in: Option<u64>, seen_ago: Option<u64>) -> Typing {
        let since = Some("2020-11-22T09:04:33Z".parse().unwrap());
        Typing::Somebody(Typist { user: "alice".into(), since, own, free_in, seen_ago })
    }

    #[test]
    fn who_types_and_since_when_is_told_in_the_persons_own_time() {
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        for (typing, told) in [
            (Typing::Nobody, "Nobody is typing"),
            (held(false, None, None), "alice is typing (since 22 Nov 11:04)"),
            (
                held(false, Some(40), Some(9)),
                "alice lost the connection; the console is free in 40 s",
            ),
            (held(true, None, None), "You have this console open in another window"),
            (
                held(true, Some(40), Some(12)),
                "You have this console open in another window, last seen 12 s ago",
            ),
            (
                held(true, Some(40), None),
                "You have this console open in another window, which lost its connection",
            ),
        ] {
            assert_eq!(typing.told(&zone), told);
        }
        let now = Timestamp::now();
        assert_eq!(
            clock(now, &zone),
            now.to_zoned_datetime(zone.clone()).strftime("%H:%M").to_string()
        );
    }

    #[test]
    fn only_what_a_watcher_may_do_is_offered() {
        let escapes = Escapes::new(EscapeKey::Byte(b'!'));
        let other = held(false, None, None);
        assert_eq!(other.how(&ALL, &escapes), "!p asks to type, !f takes over");
        assert_eq!(other.how(&[Action::Write], &escapes), "!p asks to type");
        assert_eq!(other.how(&[], &escapes), "");
        assert_eq!(held(true, None, None).how(&ALL, &escapes), "!p uses it here");
        assert_eq!(Typing::Nobody.how(&ALL, &escapes), "!p lets you type");
        assert_eq!(other.how(&ALL, &Escapes::new(EscapeKey::None)), "");
    }
}
