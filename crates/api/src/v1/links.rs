//! Links that users share: each opens sessions at one line for anyone who has it, until it expires
//! or is revoked. Its sessions end with it.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;
use serialproxy_audit::EventName;
use serialproxy_proto::api::Link;
use serialproxy_proto::api::Links;
use serialproxy_proto::api::MadeLink;
use serialproxy_proto::api::NewLink;
use serialproxy_proto::api::Server;
use serialproxy_proto::api::Session;
use serialproxy_proto::compute::OpenConsole;
use serialproxy_proto::compute::OpenedConsole;
use serialproxy_proto::id::LineKey;
use serialproxy_proto::id::LinkId;
use serialproxy_proto::token::Grant;
use serialproxy_proto::token::Mode;
use serialproxy_proto::token::SharedLink;

use crate::Api;
use crate::auth::Caller;
use crate::auth::Role;
use crate::consoles::LONGEST;
use crate::fault::Fault;
use crate::request::Body;
use crate::request::LinePath;
use crate::request::LinkPath;
use crate::route::Route;

const POLICY: &str = "serialproxy:lines:links";

pub(super) fn routes() -> [Route; 3] {
    [
        Route::get("/v1/lines/{server}/{port}/links", links)
            .summary(
                "Lists the live links to a line that the caller shared; administrators see those \
                 of all users. No answer contains a link's token again",
            )
            .answer("Links"),
        Route::post("/v1/lines/{server}/{port}/links", share)
            .summary(
                "Shares a line: returns a URL that anyone may open, as often as they like, until \
                 it expires. Typing requires a member",
            )
            .body("NewLink")
            .answer("MadeLink")
            .others(&[409, 501])
            .success(StatusCode::CREATED),
        Route::delete("/v1/lines/{server}/{port}/links/{link}", revoke)
            .summary(
                "Revokes a link: it opens no session any more, and the sessions that it opened \
                 end within seconds",
            )
            .others(&[409, 501])
            .success(StatusCode::NO_CONTENT),
    ]
}

async fn links(
    State(api): State<Arc<Api>>,
    caller: Caller,
    LinePath(line): LinePath,
) -> Result<Json<Links>, Fault> {
    let server = api.server(&caller, line.server).await?;
    let live = api.links(&caller, &server, line).await?;
    let (mut sessions, mut unreachable) = (Vec::new(), Vec::new());
    if !live.is_empty() {
        let all = api.lines.sessions(Some(server.project)).await?;
        (sessions, unreachable) = (all.sessions, all.unreachable);
    }
    let links = live.into_iter().filter_map(|grant| shown(&grant, &sessions)).collect();
    Ok(Json(Links { links, longest: api.link_ttl().as_secs(), unreachable }))
}

async fn share(
    State(api): State<Arc<Api>>,
    caller: Caller,
    LinePath(line): LinePath,
    body: Body,
) -> Result<Json<MadeLink>, Fault> {
    let NewLink { mode, seconds } = body.read()?;
    api.server(&caller, line.server).await?;
    if mode == Mode::Write {
        caller.require(Role::Member, POLICY)?;
    }
    let longest = api.link_ttl();
    if longest.is_zero() {
        return Err(Fault::Forbidden(
            "links cannot be shared here: [consoleauth] link_ttl is 0".into(),
        ));
    }
    let lifetime = Duration::from_secs(seconds);
    if seconds < NewLink::LEAST_SECONDS || lifetime > longest {
        return Err(Fault::BadRequest(format!(
            "seconds must be a number from {} to {}",
            NewLink::LEAST_SECONDS,
            longest.as_secs()
        )));
    }
    let ask = OpenConsole { line, project: caller.scope().cloned(), wait: true };
    let OpenedConsole { line, name, project } = api.lines.open_console(ask).await?;
    api.require_audit()?;
    let now = Timestamp::now();
    let link = SharedLink { id: LinkId::new(), maker: caller.user_id.clone(), created: now };
    let id = link.id;
    let grant = Grant {
        line,
        project,
        user: caller.user.clone(),
        mode,
        // Whoever has the link may type, but neither take over from others nor control the power.
        operator: false,
        wait: true,
        expires: now.checked_add(lifetime).unwrap_or(now),
        host: None,
        link: Some(link),
    };
    let Some(token) = api.grants.share(grant.clone(), now).await? else {
        return Err(Fault::Conflict(
            "this console has too many live links: revoke one of yours, or ask an administrator to \
             revoke some"
                .into(),
        ));
    };
    let event = caller.event(EventName::TokenIssued).line(line).cause(mode.as_str());
    api.audit.record(event.server_name(Some(name.clone())).target(id.to_string()));
    let (user, server, mode) = (&caller.user, line.server, mode.as_str());
    tracing::info!(user, line = line.named(&name), %server, mode, link = %id, seconds, "link shared");
    let watch = if grant.mode == Mode::Watch { "&mode=watch" } else { "" };
    let url = format!("{}?token={}{watch}", api.base_url, token.expose());
    let link = shown(&grant, &[]).ok_or_else(|| Fault::Failed("the link has no id".into()))?;
    Ok(Json(MadeLink { link, url }))
}

async fn revoke(
    State(api): State<Arc<Api>>,
    caller: Caller,
    LinkPath { line, link }: LinkPath,
) -> Result<(), Fault> {
    let server = api.server(&caller, line.server).await?;
    let gone = || Fault::NotFound(format!("Link {link} could not be found."));
    let live = api.links(&caller, &server, line).await?;
    let is_it = |grant: &&Grant| grant.link.as_ref().is_some_and(|known| known.id == link);
    let found = live.iter().find(is_it).ok_or_else(gone)?;
    if !api.grants.revoke_link(line, link).await? {
        return Err(gone());
    }
    let event = caller.event_at(EventName::TokenRevoked, &server).line(line);
    api.audit.record(event.target(link.to_string()).cause(found.mode.as_str()));
    let (user, name) = (&caller.user, &server.name);
    tracing::info!(user, line = line.named(name), server = %line.server, %link, "link revoked");
    Ok(())
}

impl Api {
    /// The longest lifetime of a link.
    fn link_ttl(&self) -> Duration {
        self.link_ttl.min(LONGEST)
    }

    /// The grants of a line's live links that the caller may revoke. Those from before the server
    /// changed its project are not valid any more.
    async fn links(
        &self,
        caller: &Caller,
        server: &Server,
        line: LineKey,
    ) -> Result<Vec<Grant>, Fault> {
        let mut links = self.grants.links(line, Timestamp::now()).await?;
        links.retain(|grant| {
            let is_own = grant.link.as_ref().is_some_and(|link| link.maker == caller.user_id);
            grant.project == server.project && (is_own || caller.role == Role::Admin)
        });
        Ok(links)
    }

    /// Revokes the links of a user who lost the right to make them.
    pub(super) async fn revoke_links_of(&self, maker: &str) -> Result<(), Fault> {
        let count = self.grants.revoke_links_of(maker).await?;
        if count > 0 {
            tracing::info!(count, "links of a removed user or token revoked");
        }
        Ok(())
    }
}

/// A link as lists show it; none for the grant of another token.
fn shown(grant: &Grant, sessions: &[Session]) -> Option<Link> {
    let SharedLink { id, created, .. } = grant.link.as_ref()?;
    let is_its = |session: &&Session| session.link == Some(*id);
    Some(Link {
        id: *id,
        mode: grant.mode,
        user: grant.user.clone(),
        created: *created,
        expires: grant.expires,
        sessions: sessions.iter().filter(is_its).count() as u64,
    })
}
