//! The programs that are compared.

use clap::ValueEnum;
use serde::Deserialize;
use serde::Serialize;

/// The program that carries the bytes between client and guest.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize, ValueEnum)]
pub(crate) enum Peer {
    /// No proxy: the client connects to the guest.
    Direct,
    /// HAProxy in TCP mode.
    Haproxy,
    /// websockify, which Nova's serial proxy is built on.
    Websockify,
    /// This program.
    Serialproxy,
}

impl Peer {
    /// All, in the order in which they are measured.
    pub(crate) const ALL: [Self; 4] =
        [Self::Direct, Self::Haproxy, Self::Websockify, Self::Serialproxy];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Haproxy => "HAProxy",
            Self::Websockify => "websockify",
            Self::Serialproxy => "serialproxy",
        }
    }
}
