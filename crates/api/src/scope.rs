//! Which servers a caller sees: those of their project; administrators see all.

use axum::http::HeaderMap;
use axum::http::HeaderValue;
use axum::http::header::AGE;
use jiff::Timestamp;
use serialproxy_proto::api::SeenServer;
use serialproxy_proto::api::Server;
use serialproxy_proto::api::Servers;
use serialproxy_proto::compute::ComputeError;
use serialproxy_proto::compute::PAGE;
use serialproxy_proto::compute::Page;
use serialproxy_proto::compute::ServerMark;
use serialproxy_proto::console::Action;
use serialproxy_proto::id::ServerId;
use uuid::Uuid;

use crate::Api;
use crate::auth::Caller;
use crate::auth::Role;
use crate::fault::Fault;
use crate::fault::echo;

impl Caller {
    /// A server with the actions that the caller may take.
    pub(crate) fn sees(&self, server: Server) -> SeenServer {
        let is_static = server.id.is_static(&server.name);
        let all = [
            (Action::Watch, Role::Reader),
            (Action::Write, Role::Member),
            (Action::Force, Role::Member),
            (Action::Power, Role::Member),
            (Action::Admin, Role::Admin),
        ];
        let may = |(action, role)| self.role >= role && !(is_static && action == Action::Power);
        let can = all.into_iter().filter(|one| may(*one)).map(|(action, _)| action).collect();
        SeenServer { server, r#static: is_static, can }
    }
}

/// The `Age` header of a list that may be out of date.
pub(crate) fn age(as_of: Option<Timestamp>) -> HeaderMap {
    let seconds = as_of.map(|time| time.duration_until(Timestamp::now()).as_secs().max(0));
    seconds.map(|seconds| (AGE, HeaderValue::from(seconds))).into_iter().collect()
}

impl Api {
    /// One of the caller's servers. A server of another project gets exactly the answer of one that
    /// does not exist: the same words after the same time, and "unavailable" while it is unknown
    /// whether a server exists.
    pub(crate) async fn server(&self, caller: &Caller, id: ServerId) -> Result<Server, Fault> {
        if !self.is_anothers(caller, id) {
            let server = self.servers.server(id).await?;
            if caller.owns(&server) {
                return Ok(server);
            }
        }
        match self.servers.server(ServerId(Uuid::new_v4())).await {
            Ok(_) | Err(ComputeError::NotFound(_)) => Err(Fault::no_such_server(&id.to_string())),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether a server is known to belong to another project, without a call to its host.
    fn is_anothers(&self, caller: &Caller, id: ServerId) -> bool {
        let known = self.servers.known_project(id);
        known.zip(caller.scope()).is_some_and(|(project, own)| project != *own)
    }

    /// The server that a UUID means to a caller: their server with this id, or else their only
    /// server with this name. Falls back to the id itself; the call then reports that it does not
    /// exist or why that is unknown.
    pub(crate) async fn located(&self, caller: &Caller, id: ServerId) -> ServerId {
        // A random id, so that another project's server takes as long as one that does not exist.
        let asked = if self.is_anothers(caller, id) { ServerId(Uuid::new_v4()) } else { id };
        match self.servers.server(asked).await {
            Ok(server) if caller.owns(&server) => return id,
            Ok(_) | Err(ComputeError::NotFound(_)) => {}
            Err(_) => return id,
        }
        let is_called =
            |server: &Server| server.name.parse::<ServerId>().is_ok_and(|name| name == id);
        let named = self.servers(caller, None, 2, is_called).await;
        match named.as_ref().map(|named| named.servers.as_slice()) {
            Ok([server]) => server.id,
            _ => id,
        }
    }

    /// The caller's servers after `after` that fit, at most `limit`; ordered by name, then id.
    pub(crate) async fn servers(
        &self,
        caller: &Caller,
        after: Option<&Server>,
        limit: usize,
        fits: impl Fn(&Server) -> bool + Send + Sync,
    ) -> Result<Servers, Fault> {
        let mut found = Vec::new();
        let mut oldest = None;
        let mut after = after.map(ServerMark::from);
        loop {
            let project = caller.scope().cloned();
            let page = Page { project, after: after.clone(), limit: PAGE, changed_within: None };
            let Servers { servers, as_of, .. } = self.servers.servers(page).await?;
            oldest = [oldest, as_of].into_iter().flatten().min();
            let last = servers.last().map(ServerMark::from);
            let is_last = servers.len() < PAGE || last <= after;
            found.extend(servers.into_iter().filter(&fits));
            if is_last || found.len() >= limit {
                found.truncate(limit);
                return Ok(Servers::new(found, oldest));
            }
            after = last;
        }
    }

    /// The server that a page begins after, which was on the page before.
    pub(crate) async fn marker(
        &self,
        caller: &Caller,
        marker: &str,
        fits: impl FnOnce(&Server) -> bool,
    ) -> Result<Server, Fault> {
        let unknown = || Fault::BadRequest(format!("marker [{}] not found.", echo(marker)));
        match self.server(caller, marker.parse().map_err(|_| unknown())?).await {
            Ok(server) if fits(&server) => Ok(server),
            Ok(_) | Err(Fault::NotFound(_)) => Err(unknown()),
            Err(fault) => Err(fault),
        }
    }
}
