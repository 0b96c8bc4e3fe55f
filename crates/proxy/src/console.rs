//! What a console token stands for, and where the proxy looked it up.

use jiff::Timestamp;
use serialproxy_proto::id::LineKey;
use serialproxy_proto::token::Grant;
use serialproxy_proto::token::Mode;

use crate::located::Located;
use crate::located::Offer;

/// What a token stands for.
pub(crate) struct Console {
    pub(crate) line: LineKey,
    /// The project for whose server the token was made; none with Nova's.
    pub(crate) project: Option<String>,
    pub(crate) user: String,
    /// The most that the session may do.
    pub(crate) mode: Mode,
    pub(crate) operator: bool,
    pub(crate) wait: bool,
    /// When the token ends, as far as that is known.
    pub(crate) expires: Option<Timestamp>,
    /// What it was looked up in.
    pub(crate) source: Source,
}

/// What a token was looked up in, and when.
#[derive(Debug)]
pub(crate) enum Source {
    /// In our store, after so many revocations, as far as it counts them.
    Own(Option<u64>),
    /// At Nova, which says where the port is; with the right to use it, if that was needed and is new.
    Nova(Located, Option<Offer>),
}

impl Console {
    pub(crate) fn of(grant: Grant, revocations: Option<u64>) -> Self {
        let Grant { line, project, user, mode, operator, wait, expires, host: _ } = grant;
        let (project, expires) = (Some(project), Some(expires));
        Self {
            line,
            project,
            user,
            mode,
            operator,
            wait,
            expires,
            source: Source::Own(revocations),
        }
    }
    /// Whether its token has ended by now.
    pub(crate) fn has_expired(&self) -> bool {
        self.expires.is_some_and(|expires| expires <= Timestamp::now())
    }
}
