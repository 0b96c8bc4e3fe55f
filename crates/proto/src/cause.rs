//! Why something was refused or changed, for programs: one list of words, beside the texts for
//! people.

use serde::Deserialize;
use serde::Serialize;

macro_rules! causes {
    ($($(#[doc = $what:literal])+ $name:ident $word:literal;)+) => {
        /// A cause, as messages, headers and logs name it.
        #[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
        pub enum Cause {
            $($(#[doc = $what])+ #[serde(rename = $word)] $name,)+
            /// One that a newer server names.
            #[serde(other)]
            Unknown,
        }

        impl Cause {
            /// All causes of ours.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The words of all causes, in the order of the type.
            pub const WORDS: &[&str] = &[$($word,)+ "unknown"];

            /// The cause with this word.
            pub fn of(word: &str) -> Self {
                Self::ALL.iter().copied().find(|cause| cause.as_str() == word).unwrap_or(Self::Unknown)
            }

            /// Its word.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)+
                    Self::Unknown => "unknown",
                }
            }
        }
    };
}

causes! {
    /// Somebody else is typing.
    Busy "busy";
    /// The person who is typing refused the request.
    Denied "denied";
    /// The person who was typing gave the pen to the one who asked.
    Granted "granted";
    /// The person who was typing did not answer the request.
    Silent "silent";
    /// The pen was taken by force.
    Forced "forced";
    /// The person who was typing goes on typing in another window.
    Moved "moved";
    /// The person who was typing released the pen, or left.
    Left "left";
    /// The person who is typing, or was, lost the connection.
    Detached "detached";
    /// The person who is typing is connected again.
    Resumed "resumed";
    /// Token or resume key missing, unknown or expired.
    Token "token";
    /// The page's origin is not allowed.
    Origin "origin";
    /// The token only allows watching.
    Mode "mode";
    /// The server or its port does not exist any more.
    Gone "gone";
    /// The guest is not running.
    Stopped "stopped";
    /// The guest is paused or suspended: input waits until it resumes.
    Paused "paused";
    /// The guest has crashed: it reads no input until it is started again.
    Crashed "crashed";
    /// The guest's port cannot be reached.
    Unreachable "unreachable";
    /// Another program holds the guest's port.
    Held "held";
    /// The handshake or a parameter is not valid, or TLS is required.
    Handshake "handshake";
    /// A limit is reached.
    Limit "limit";
    /// The process is shutting down, or its host is being drained.
    Draining "draining";
    /// Tokens cannot be looked up now.
    Store "store";
    /// The audit trail cannot be written, and `[audit] required` is set.
    Audit "audit";
    /// The server's host does not respond.
    HostLost "host_lost";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_lists_every_cause() {
        let document = include_str!("../../../docs/protocol.md");
        for cause in Cause::ALL {
            let row = format!("| `{}` |", cause.as_str());
            assert!(document.contains(&row), "docs/protocol.md lacks: {row}");
            let json = serde_json::to_string(cause).unwrap();
            assert_eq!(json, format!("\"{}\"", cause.as_str()));
        }
    }

    #[test]
    fn a_cause_of_a_newer_server_is_recognized_as_such() {
        assert_eq!(serde_json::from_str::<Cause>("\"moon\"").unwrap(), Cause::Unknown);
    }
}
