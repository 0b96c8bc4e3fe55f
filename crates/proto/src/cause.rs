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
    /// Somebody else types.
    Busy "busy";
    /// The one who types keeps the right to type.
    Denied "denied";
    /// The one who typed gave it to who asked.
    Granted "granted";
    /// The one who typed did not answer who asked.
    Silent "silent";
    /// It was taken from the one who typed.
    Forced "forced";
    /// The one who typed gave it back, or is gone.
    Left "left";
    /// The one who types, or typed, lost the connection.
    Detached "detached";
    /// The one who types is connected again.
    Resumed "resumed";
    /// Token or resume key missing, unknown or expired.
    Token "token";
    /// The page comes from elsewhere.
    Origin "origin";
    /// The token only allows to watch.
    Mode "mode";
    /// The server or its port is gone.
    Gone "gone";
    /// The guest does not run.
    Stopped "stopped";
    /// The guest is paused, sleeps or crashed: what is typed waits until it goes on.
    Paused "paused";
    /// The guest's port cannot be reached.
    Unreachable "unreachable";
    /// Another program holds the guest's port.
    Held "held";
    /// The handshake or a parameter makes no sense, or TLS is wanted.
    Handshake "handshake";
    /// A limit is reached.
    Limit "limit";
    /// The process is shutting down.
    Draining "draining";
    /// Tokens cannot be looked up now.
    Store "store";
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
    fn a_cause_of_a_newer_server_is_recognised_as_such() {
        assert_eq!(serde_json::from_str::<Cause>("\"moon\"").unwrap(), Cause::Unknown);
    }
}
