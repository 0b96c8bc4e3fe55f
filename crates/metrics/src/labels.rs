//! The labels of metrics: each has a closed list of values.

use std::fmt::Write;

use serialproxy_proto::api::Protocol;
use serialproxy_proto::api::SessionState;
use serialproxy_proto::cause::Cause;
use serialproxy_proto::console::LineState;
use serialproxy_proto::health::ReasonName;
use serialproxy_proto::token::Mode;

/// A label, by one of its values.
pub trait Label: Copy + 'static {
    /// Its name.
    const NAME: &'static str;
    /// All values.
    const VALUES: &'static [&'static str];

    /// The place of this value among all.
    fn index(self) -> usize;
}

/// The labels of a metric, by one combination of their values.
pub trait Labels: Copy + 'static {
    /// How many combinations there are.
    const COUNT: usize;

    /// The names.
    fn names() -> Vec<&'static str>;

    /// The place of this combination among all.
    fn index(self) -> usize;

    /// Writes the combination at this place, with a comma behind each label.
    fn write(index: usize, out: &mut String);
}

impl Labels for () {
    const COUNT: usize = 1;

    fn names() -> Vec<&'static str> {
        Vec::new()
    }

    fn index(self) -> usize {
        0
    }

    fn write(_: usize, _: &mut String) {}
}

impl<L: Label> Labels for L {
    const COUNT: usize = L::VALUES.len();

    fn names() -> Vec<&'static str> {
        vec![L::NAME]
    }

    fn index(self) -> usize {
        Label::index(self)
    }

    fn write(index: usize, out: &mut String) {
        let value = L::VALUES.get(index).copied().unwrap_or_default();
        let _ = write!(out, "{}=\"{value}\",", L::NAME);
    }
}

impl<A: Labels, B: Labels> Labels for (A, B) {
    const COUNT: usize = A::COUNT * B::COUNT;

    fn names() -> Vec<&'static str> {
        [A::names(), B::names()].concat()
    }

    fn index(self) -> usize {
        self.0.index() * B::COUNT + self.1.index()
    }

    fn write(index: usize, out: &mut String) {
        A::write(index / B::COUNT, out);
        B::write(index % B::COUNT, out);
    }
}

/// Labels that only metrics have: their values, each with its word.
macro_rules! labels {
    ($($(#[doc = $what:literal])+ $label:ident $name:literal {
        $($(#[doc = $means:literal])+ $value:ident $word:literal,)+
    })+) => {$(
        $(#[doc = $what])+
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub enum $label {
            $($(#[doc = $means])+ $value,)+
        }

        impl Label for $label {
            const NAME: &'static str = $name;
            const VALUES: &'static [&'static str] = &[$($word,)+];

            fn index(self) -> usize {
                self as usize
            }
        }
    )+};
}

labels! {
    /// Which way bytes go.
    Direction "direction" {
        /// To the guest.
        Input "input",
        /// From the guest.
        Output "output",
    }

    /// What became of an attempt.
    Outcome "outcome" {
        /// It succeeded.
        Succeeded "succeeded",
        /// It failed.
        Failed "failed",
    }

    /// What was done with a console token.
    Operation "operation" {
        /// It was issued.
        Issued "issued",
        /// A session was attached with it.
        Used "used",
        /// It is unknown or expired.
        Refused "refused",
        /// It was revoked before it expired.
        Revoked "revoked",
    }

    /// Whether a port of `port_range` is allocated.
    Leased "state" {
        /// It is.
        Used "used",
        /// It is not.
        Free "free",
    }

    /// Whether a call changes something.
    Call "call" {
        /// It reads.
        Read "read",
        /// It changes.
        Change "change",
    }

    /// What a certificate is for.
    Certificate "certificate" {
        /// Users, `[serial_console] cert`.
        Proxy "proxy",
        /// The API, `[api] cert`.
        Api "api",
        /// This host in its cluster, `[cluster] cert_file`.
        Cluster "cluster",
    }
}

impl Label for Cause {
    const NAME: &'static str = "cause";
    const VALUES: &'static [&'static str] = Self::WORDS;

    fn index(self) -> usize {
        self as usize
    }
}

impl Label for ReasonName {
    const NAME: &'static str = "name";
    const VALUES: &'static [&'static str] = Self::WORDS;

    fn index(self) -> usize {
        self as usize
    }
}

impl Label for Protocol {
    const NAME: &'static str = "protocol";
    const VALUES: &'static [&'static str] = &["raw", "console.v1"];

    fn index(self) -> usize {
        self as usize
    }
}

impl Label for Mode {
    const NAME: &'static str = "mode";
    const VALUES: &'static [&'static str] = &["watch", "write"];

    fn index(self) -> usize {
        self as usize
    }
}

impl Label for SessionState {
    const NAME: &'static str = "state";
    const VALUES: &'static [&'static str] = &["live", "detached"];

    fn index(self) -> usize {
        self as usize
    }
}

impl Label for LineState {
    const NAME: &'static str = "state";
    const VALUES: &'static [&'static str] = &["waiting", "connected", "failed"];

    fn index(self) -> usize {
        self as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written<L: Labels>(labels: L) -> String {
        let mut text = String::new();
        L::write(labels.index(), &mut text);
        text
    }

    #[test]
    fn each_combination_has_a_place_of_its_own() {
        let mut seen = std::collections::BTreeSet::new();
        for mode in [Mode::Watch, Mode::Write] {
            for protocol in [Protocol::Raw, Protocol::ConsoleV1] {
                for state in [SessionState::Live, SessionState::Detached] {
                    let labels = (mode, (protocol, state));
                    assert!(labels.index() < <(Mode, (Protocol, SessionState)) as Labels>::COUNT);
                    assert!(seen.insert(written(labels)));
                }
            }
        }
        let labels = (Mode::Write, (Protocol::ConsoleV1, SessionState::Detached));
        let text = "mode=\"write\",protocol=\"console.v1\",state=\"detached\",";
        assert_eq!(written(labels), text);
    }

    #[test]
    fn the_words_of_shared_types_are_those_that_they_have_elsewhere() {
        for cause in Cause::ALL.iter().chain([&Cause::Unknown]) {
            assert_eq!(written(*cause), format!("cause=\"{}\",", cause.as_str()));
        }
        for (name, word) in ReasonName::ALL.iter().zip(ReasonName::WORDS) {
            assert_eq!(written(*name), format!("name=\"{word}\","));
        }
        for mode in [Mode::Watch, Mode::Write] {
            assert_eq!(written(mode), format!("mode=\"{}\",", mode.as_str()));
        }
    }
}
