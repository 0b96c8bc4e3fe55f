//! Whose servers a caller sees: their project's, and administrators all.

use std::collections::HashSet;

use serialproxy_proto::api::SeenServer;
use serialproxy_proto::api::Server;
use serialproxy_proto::compute::ComputeError;
use serialproxy_proto::console::Action;
use serialproxy_proto::id::ServerId;
use uuid::Uuid;

use crate::Api;
use crate::auth::Caller;
use crate::auth::Role;
use crate::fault::Fault;

impl Caller {
    /// A server with what the caller may do with it.
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

impl Api {
    /// A server of the caller's. One of another project is answered as one that does not exist: in
    /// its words, after as long, and as unavailable while nobody can say that it does not exist.
    pub(crate) async fn server(&self, caller: &Caller, id: ServerId) -> Result<Server, Fault> {
        let server = self.servers.server(id).await?;
        if caller.owns(&server) {
            return Ok(server);
        }
        match self.servers.server(ServerId(Uuid::new_v4())).await {
            Ok(_) | Err(ComputeError::NotFound(_)) => Err(Fault::no_such_server(&id.to_string())),
            Err(error) => Err(error.into()),
        }
    }

    /// The server that a UUID means to a caller: the one that has it; where they see none, their only one
    /// whose name has that form. Whether it exists, and what keeps that from being known, the call tells.
    pub(crate) async fn located(&self, caller: &Caller, id: ServerId) -> ServerId {
        match self.servers.server(id).await {
            Ok(server) if caller.owns(&server) => return id,
            Ok(_) | Err(ComputeError::NotFound(_)) => {}
            Err(_) => return id,
        }
        let Ok(servers) = self.servers(caller).await else { return id };
        let is_called = |name: &str| name.parse::<ServerId>().is_ok_and(|name| name == id);
        let mut named = servers.iter().filter(|server| is_called(&server.name));
        match (named.next(), named.next()) {
            (Some(server), None) => server.id,
            _ => id,
        }
    }

    /// The caller's servers, ordered by name, then id.
    pub(crate) async fn servers(&self, caller: &Caller) -> Result<Vec<Server>, Fault> {
        let mut servers = self.servers.servers().await?;
        servers.retain(|server| caller.owns(server));
        Ok(servers)
    }

    /// Whether a server is the caller's, for lists of what belongs to servers.
    pub(crate) async fn sees(&self, caller: &Caller) -> Result<impl Fn(ServerId) -> bool, Fault> {
        let own: Option<HashSet<_>> = match caller.role {
            Role::Admin => None,
            Role::Member | Role::Reader => {
                Some(self.servers(caller).await?.iter().map(|server| server.id).collect())
            }
        };
        Ok(move |id| own.as_ref().is_none_or(|own| own.contains(&id)))
    }
}
