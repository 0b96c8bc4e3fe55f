//! What a console token stands for, and where the proxy looked it up.

use jiff::Timestamp;
use serialproxy_proto::id::LineKey;
use serialproxy_proto::id::LinkId;
use serialproxy_proto::token::Grant;
use serialproxy_proto::token::Mode;
use tokio::time::Instant;

use crate::located::Located;
use crate::located::Offer;

/// What a token stands for.
pub(crate) struct Console {
    pub(crate) line: LineKey,
    /// The project that the server had when the token was issued; none for tokens of Nova.
    pub(crate) project: Option<String>,
    pub(crate) user: String,
    /// The highest mode that the session may have.
    pub(crate) mode: Mode,
    pub(crate) operator: bool,
    pub(crate) wait: bool,
    /// Id of the shared link whose token it is, if any.
    pub(crate) link: Option<LinkId>,
    /// When the token expires, if that is known.
    pub(crate) expires: Option<Timestamp>,
    /// Where it was looked up.
    pub(crate) source: Source,
}

/// Where a token was looked up, and when.
#[derive(Debug)]
pub(crate) enum Source {
    /// In our store, when it had counted this many revocations; none if it does not count them.
    Own(Option<u64>),
    /// At Nova, which says where the port is; with the right to use the port, if this proxy just got it.
    Nova(Located, Option<Offer>),
    /// At Nova, for a server that the compute role of this host has.
    Host(String),
    /// At Nova, at this time, for a guest of this host.
    Guest(Instant),
}

impl Console {
    pub(crate) fn of(grant: Grant, revocations: Option<u64>) -> Self {
        let Grant { line, project, user, mode, operator, wait, expires, host: _, link } = grant;
        let user = link.as_ref().map_or_else(|| user.clone(), |link| link.user(&user));
        let link = link.map(|link| link.id);
        let (project, expires) = (Some(project), Some(expires));
        Self {
            line,
            project,
            user,
            mode,
            operator,
            wait,
            link,
            expires,
            source: Source::Own(revocations),
        }
    }

    /// Whether its token is one of Nova's: it is valid until Nova says otherwise, and can be used again.
    pub(crate) fn is_of_nova(&self) -> bool {
        !matches!(self.source, Source::Own(_))
    }

    /// Whether its token has expired.
    pub(crate) fn has_expired(&self) -> bool {
        self.expires.is_some_and(|expires| expires <= Timestamp::now())
    }
}
