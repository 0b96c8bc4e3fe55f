//! Console URLs: each caller with permission gets one with a new token.

use std::time::Duration;

use jiff::Timestamp;
use serialproxy_audit::EventName;
use serialproxy_proto::compute::OpenConsole;
use serialproxy_proto::compute::OpenedConsole;
use serialproxy_proto::id::LineKey;
use serialproxy_proto::token::Grant;
use serialproxy_proto::token::Mode;

use crate::Api;
use crate::auth::Caller;
use crate::auth::Role;
use crate::fault::Fault;

/// Nova's policy for serial consoles.
pub(crate) const POLICY: &str = "os_compute_api:os-remote-consoles";

/// Longest life of a token, whatever the options say: ten years, so that no time overflows.
pub(crate) const LONGEST: Duration = Duration::from_secs(10 * 365 * 86_400);

/// The console that a caller asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) line: LineKey,
    pub(crate) mode: Mode,
    /// Whether a guest that does not run gets a token, too.
    pub(crate) wait: bool,
}

impl Api {
    /// A URL with a new token.
    pub(crate) async fn console_url(
        &self,
        caller: &Caller,
        wanted: Wanted,
    ) -> Result<String, Fault> {
        let Wanted { line, mode, wait } = wanted;
        if mode == Mode::Write
            && let Err(fault) = caller.require(Role::Member, POLICY)
        {
            self.server(caller, line.server).await?;
            return Err(fault);
        }
        let ask = OpenConsole { line, project: caller.scope().cloned(), wait };
        let OpenedConsole { line, name, project } = self.lines.open_console(ask).await?;
        self.require_audit()?;
        let now = Timestamp::now();
        let expires = now.checked_add(self.token_ttl.min(LONGEST)).unwrap_or(now);
        // A session that only watches may not control the guest.
        let operator = mode == Mode::Write && caller.role >= Role::Member;
        let user = caller.user.clone();
        let grant =
            Grant { line, project, user, mode, operator, wait, expires, host: None, link: None };
        let token = self.grants.authorize(grant).await?;
        let (user, server) = (&caller.user, line.server);
        let mode = mode.as_str();
        let event = caller.event(EventName::TokenIssued).line(line).cause(mode);
        self.audit.record(event.server_name(Some(name.clone())));
        tracing::info!(user, line = line.named(&name), %server, mode, "console URL created");
        Ok(format!("{}?token={}", self.base_url, token.expose()))
    }
}

/// The refusal in Nova's words.
pub(crate) fn unavailable(kind: &str) -> Fault {
    Fault::BadRequest(format!("Unavailable console type {kind}."))
}
