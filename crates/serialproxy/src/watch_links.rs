//! Links for watching, in a cluster: the host of a session requests them, and an api role makes
//! them.

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use jiff::Timestamp;
use serialproxy_audit::Audit;
use serialproxy_audit::EventName;
use serialproxy_cluster::MakeLink;
use serialproxy_cluster::WatchRequest;
use serialproxy_cluster::Watchable;
use serialproxy_config::Config;
use serialproxy_console::WatchLinks;
use serialproxy_grants::Grants;
use serialproxy_proto::compute::BoxFuture;
use serialproxy_proto::refusal::Refusal;
use serialproxy_proto::token::Grant;
use serialproxy_proto::token::Mode;

/// The api role's side. Whatever a host requests, a link only lets its user watch at that host, for
/// as long as console tokens are valid.
pub(crate) fn maker(grants: Grants, config: &Config, audit: Audit) -> MakeLink {
    let base = config.serial_console.console_url();
    let ttl = config.consoleauth.token_ttl;
    Arc::new(move |host, asked| {
        let (grants, base, audit) = (grants.clone(), base.clone(), audit.clone());
        Box::pin(async move {
            if !audit.admits() {
                return Err(Refusal::Audit.to_string());
            }
            let server = asked.line.server;
            let grant = grant(host, asked, ttl);
            let name = grant.host.clone();
            let event = audit.event(EventName::TokenIssued).user(&grant.user).line(grant.line);
            let event = event.project(Some(grant.project.clone())).cause(grant.mode.as_str());
            let token = grants.authorize(grant).await.map_err(|error| error.to_string())?;
            audit.record(event);
            tracing::info!(host = name, %server, "watch link created for a host");
            Ok(format!("{base}?token={}&mode=watch", token.expose()))
        })
    })
}

fn grant(host: String, asked: WatchRequest, ttl: Duration) -> Grant {
    let WatchRequest { line, project, user, expires } = asked;
    let latest = SignedDuration::try_from(ttl).unwrap_or(SignedDuration::MAX);
    let latest = Timestamp::now().checked_add(latest).unwrap_or(Timestamp::MAX);
    Grant {
        line,
        project,
        user,
        mode: Mode::Watch,
        operator: false,
        wait: true,
        expires: expires.min(latest),
        host: Some(host),
        link: None,
    }
}

/// The host's side.
#[derive(Debug)]
pub(crate) struct Asked(pub(crate) Watchable);

impl WatchLinks for Asked {
    fn link(&self, grant: Grant) -> BoxFuture<'_, Result<String, String>> {
        let Grant { line, project, user, expires, .. } = grant;
        Box::pin(async move { self.0.link(&WatchRequest { line, project, user, expires }).await })
    }
}
