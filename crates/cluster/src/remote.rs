//! The servers and lines of all hosts as an api role sees them, from the directory and from calls
//! to the host that has a server.

pub(crate) mod call;
mod links;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use serde::de::DeserializeOwned;
use serialproxy_etcd::Entry;
use serialproxy_proto::api;
use serialproxy_proto::audit::Others;
use serialproxy_proto::audit::Query;
use serialproxy_proto::audit::Trails;
use serialproxy_proto::compute::Answer;
use serialproxy_proto::compute::ComputeError;
use serialproxy_proto::compute::Disconnect;
use serialproxy_proto::compute::LineBook;
use serialproxy_proto::compute::OpenConsole;
use serialproxy_proto::compute::OpenedConsole;
use serialproxy_proto::compute::Output;
use serialproxy_proto::compute::Page;
use serialproxy_proto::compute::Power;
use serialproxy_proto::compute::ServerMark;
use serialproxy_proto::compute::Servers;
use serialproxy_proto::id::LineKey;
use serialproxy_proto::id::ServerId;
use serialproxy_proto::id::SessionId;
use serialproxy_proto::script::Awaited;
use serialproxy_proto::script::Sent;
use serialproxy_proto::script::Typing;
use serialproxy_proto::script::Waited;
use tokio::time::Instant;
use tokio::time::timeout_at;

use crate::Members;
use crate::Role;
use crate::directory::Directory;
use crate::directory::Listed;
use crate::remote::call::Call;
pub use crate::remote::links::Links;

/// How long a host may take to answer a query.
const KNOW: Duration = Duration::from_secs(2);

/// How long a host may take to type, which the guest determines. The host gives up before.
const TYPE: Duration = Duration::from_secs(80);

/// How long a host may take to make a change: a guest has up to ten minutes to shut down.
const CHANGE: Duration = Duration::from_secs(15 * 60);

/// Hosts that are asked at a time.
const AT_ONCE: usize = 128;

/// All hosts of the cluster as one.
#[derive(Clone, Debug)]
pub struct Remote {
    directory: Directory,
    links: Links,
    /// The hosts that joined, where etcd has them.
    members: Option<Members>,
}

/// The answers of many hosts, and the hosts that did not answer.
struct Gathered<T> {
    answers: Vec<T>,
    unreachable: Vec<String>,
}

impl Remote {
    /// The servers in this directory, reached over these links.
    pub fn new(directory: Directory, links: Links) -> Self {
        Self { directory, links, members: None }
    }

    /// The same, which also knows of hosts that are down and have no servers.
    #[must_use]
    pub fn with_members(self, members: Members) -> Self {
        Self { members: Some(members), ..self }
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        id: ServerId,
        call: &Call,
        within: Duration,
    ) -> Result<T, ComputeError> {
        let listed = self.listed(id)?;
        let host = &listed.value.host;
        let Some(up) = self.directory.compute(host) else {
            return Err(ComputeError::Unavailable(format!(
                "host {host}, which has instance {id}, does not respond: try again when it is back"
            )));
        };
        self.links.ask((host, &up.value.address), call, within).await
    }

    /// The directory's entry of a server. An unknown server may exist if the directory is not
    /// current.
    fn listed(&self, id: ServerId) -> Result<Arc<Entry<Listed>>, ComputeError> {
        match (self.directory.server(id), self.directory.as_of()) {
            (Some(listed), _) => Ok(listed),
            (None, Some(as_of)) if !as_of.stale => Err(not_found(id)),
            (None, _) => Err(not_current()),
        }
    }

    /// Asks all hosts, and takes the answers that arrive in time. `own` removes from an answer the
    /// servers that another host has.
    async fn ask_all<T: DeserializeOwned + Send>(
        &self,
        call: &Call,
        own: impl Fn(&mut T, &dyn Fn(ServerId) -> bool),
    ) -> Result<Gathered<T>, ComputeError> {
        let (said, mut silent) = self.ask_role(Role::Compute, call).await?;
        let answers = said.into_iter().map(|(host, mut answer)| {
            let has = |id| self.directory.server(id).is_none_or(|at| at.value.host == host);
            own(&mut answer, &has);
            answer
        });
        silent.extend(self.directory.lost());
        Ok(Gathered { answers: answers.collect(), unreachable: silent.into_iter().collect() })
    }

    /// Asks all hosts in this role at once: what each says in time, and who says nothing.
    async fn ask_role<T: DeserializeOwned + Send>(
        &self,
        role: Role,
        call: &Call,
    ) -> Result<(Vec<(String, T)>, BTreeSet<String>), ComputeError> {
        self.directory.as_of().ok_or_else(not_current)?;
        let hosts = self.directory.up(role);
        let mut silent: BTreeSet<_> = hosts.iter().map(|(host, _)| host.clone()).collect();
        let asked = stream::iter(hosts).map(|(host, address)| async move {
            (self.links.ask_role(role, (&host, &address), call, KNOW).await, host)
        });
        let mut answers = Vec::new();
        let mut asked = std::pin::pin!(asked.buffer_unordered(AT_ONCE));
        let deadline = Instant::now() + KNOW;
        while let Ok(Some((answer, host))) = timeout_at(deadline, asked.next()).await {
            match answer {
                Ok(answer) => {
                    silent.remove(&host);
                    answers.push((host, answer));
                }
                // What it knows is missing, whatever the reason is.
                Err(error) => tracing::debug!(host, %error, "a host has no answer"),
            }
        }
        Ok((answers, silent))
    }

    /// The hosts that joined and are not up.
    async fn down(&self) -> Vec<String> {
        let Some(members) = &self.members else { return Vec::new() };
        let mut names = members.names().await.unwrap_or_else(|error| {
            tracing::debug!(%error, "the members of the cluster are not known");
            Vec::new()
        });
        names.retain(|name| !self.directory.is_up(name));
        names
    }

    /// The trails of all hosts. What two processes of a host write to is asked for twice.
    async fn trails(&self, query: Query) -> Result<Others, ComputeError> {
        let call = Call::Audit(query);
        let ask = |role| self.ask_role(role, &call);
        let asked = tokio::join!(ask(Role::Compute), ask(Role::Api), ask(Role::Proxy));
        let (mut said, mut silent) = asked.0?;
        for (of_role, silent_of_role) in [asked.1?, asked.2?] {
            said.extend(of_role);
            silent.extend(silent_of_role);
        }
        silent.extend(self.directory.lost());
        silent.extend(self.down().await);
        let mut not_included = self.directory.for_users();
        // A host's processes have one trail.
        not_included.retain(|host| !silent.contains(host) && said.iter().all(|(by, _)| by != host));
        Ok(Others {
            pages: said.into_iter().map(|(_, page)| page).collect(),
            unreachable: silent.into_iter().collect(),
            not_included: not_included.into_iter().collect(),
        })
    }
}

impl Trails for Remote {
    fn others(&self, query: Query) -> Answer<'_, Others> {
        Box::pin(self.trails(query))
    }
}

impl Remote {
    /// The host for a new guest.
    fn host_for(&self, wanted: Option<&str>) -> Result<(String, String), ComputeError> {
        let hosts = self.directory.with_libvirt();
        let names = || hosts.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
        match (wanted, hosts.as_slice()) {
            (_, []) => Err(ComputeError::Unavailable("no host that has libvirt is up".into())),
            (Some(wanted), _) => {
                let found = hosts.iter().find(|(name, _)| name == wanted).cloned();
                found.ok_or_else(|| {
                    let names = names();
                    ComputeError::Invalid(format!(
                        "host: no such host is up; choose one of {names}"
                    ))
                })
            }
            (None, [only]) => Ok(only.clone()),
            (None, _) => {
                let names = names();
                Err(ComputeError::Invalid(format!(
                    "host: choose the server's host, one of {names}"
                )))
            }
        }
    }

    async fn boot_there(
        &self,
        boot: api::Boot,
        project: String,
    ) -> Result<api::Server, ComputeError> {
        let (host, address) = self.host_for(boot.host.as_deref())?;
        let call = Call::Boot(boot, project);
        let server: api::Server = self.links.ask((&host, &address), &call, CHANGE).await?;
        // The caller's next request then finds it.
        let known = async {
            let mut news = self.directory.servers_change();
            while self.directory.server(server.id).is_none() && news.changed().await.is_ok() {}
        };
        let _ = tokio::time::timeout(KNOW, known).await;
        Ok(server)
    }

    /// The server as its host describes it now, or as it was last known.
    async fn one(&self, id: ServerId) -> Result<api::Server, ComputeError> {
        let listed = self.listed(id)?;
        match self.ask::<api::Server>(id, &Call::Server(id), KNOW).await {
            Err(ComputeError::Unavailable(_)) => Ok(self.directory.seen(id, &listed.value)),
            Ok(server) if server.id != id => Err(other(&listed.value.host)),
            Ok(server) => Ok(api::Server { host: listed.value.host.clone(), ..server }),
            refused => refused,
        }
    }

    async fn all_lines(&self, page: Page<LineKey>) -> Result<api::Lines, ComputeError> {
        let limit = page.limit();
        let call = Call::Lines(page.clone());
        let is_of = |id| self.directory.server(id).is_none_or(|at| page.is_of(&at.value.project));
        let own = |answer: &mut api::Lines, has: &dyn Fn(ServerId) -> bool| {
            // Only who may watch a line sees what it printed, whatever a host answers.
            answer.lines.retain(|line| has(line.server.id) && is_of(line.server.id));
        };
        let Gathered { answers, unreachable } = self.ask_all(&call, own).await?;
        let mut lines: Vec<_> = answers.into_iter().flat_map(|answer| answer.lines).collect();
        lines.sort_by_key(|line| (line.server.id, line.port));
        lines.truncate(limit);
        Ok(api::Lines { lines, unreachable })
    }

    async fn all_sessions(&self, project: Option<String>) -> Result<api::Sessions, ComputeError> {
        let own = |answer: &mut api::Sessions, has: &dyn Fn(ServerId) -> bool| {
            answer.sessions.retain(|session| has(session.server.id));
        };
        let Gathered { answers, unreachable } = self.ask_all(&Call::Sessions(project), own).await?;
        let sessions = answers.into_iter().flat_map(|answer| answer.sessions).collect();
        Ok(api::Sessions { sessions, unreachable })
    }

    /// A page from the directory, which says so where it may be out of date.
    fn page(&self, page: &Page<ServerMark>) -> Result<api::Servers, ComputeError> {
        let known = self.directory.as_of().ok_or_else(not_current)?;
        let as_of = known.stale.then_some(known.time);
        Ok(api::Servers::new(self.directory.servers(page), as_of))
    }
}

impl Servers for Remote {
    fn servers(&self, page: Page<ServerMark>) -> Answer<'_, api::Servers> {
        Box::pin(async move { self.page(&page) })
    }

    fn server(&self, id: ServerId) -> Answer<'_, api::Server> {
        Box::pin(self.one(id))
    }

    fn known_project(&self, id: ServerId) -> Option<String> {
        Some(self.directory.server(id)?.value.project.clone())
    }

    fn boot(&self, boot: api::Boot, project: String) -> Answer<'_, api::Server> {
        Box::pin(self.boot_there(boot, project))
    }

    fn delete(&self, id: ServerId) -> Answer<'_, ()> {
        Box::pin(async move { self.ask(id, &Call::Delete(id), CHANGE).await })
    }

    fn power(&self, id: ServerId, power: Power) -> Answer<'_, ()> {
        Box::pin(async move { self.ask(id, &Call::Power(id, power), CHANGE).await })
    }

    fn adopt(&self, id: ServerId, adopt: api::Adopt) -> Answer<'_, api::Adopted> {
        Box::pin(async move { self.ask(id, &Call::Adopt(id, adopt), CHANGE).await })
    }

    fn unadopt(&self, id: ServerId) -> Answer<'_, api::Server> {
        Box::pin(async move { self.ask(id, &Call::Unadopt(id), CHANGE).await })
    }
}

impl LineBook for Remote {
    fn open_console(&self, ask: OpenConsole) -> Answer<'_, OpenedConsole> {
        Box::pin(async move {
            let id = ask.line.server;
            let listed = self.listed(id)?;
            // As fast as for a server that does not exist: the time must not reveal that this one
            // does.
            if !ask.is_for(&listed.value.project) {
                return Err(not_found(id));
            }
            let call = Call::OpenConsole(ask.clone());
            let opened: OpenedConsole = self.ask(id, &call, KNOW).await?;
            // A token is for the requested line, whatever a host answers.
            match opened.line == ask.line && ask.is_for(&opened.project) {
                true => Ok(opened),
                false => Err(other(&listed.value.host)),
            }
        })
    }

    fn lines(&self, page: Page<LineKey>) -> Answer<'_, api::Lines> {
        Box::pin(self.all_lines(page))
    }

    fn line(&self, line: LineKey) -> Answer<'_, api::Line> {
        Box::pin(async move { self.ask(line.server, &Call::Line(line), KNOW).await })
    }

    fn output(&self, line: LineKey, from: u64, max: usize) -> Answer<'_, Output> {
        let call = Call::Output(line, from, max);
        Box::pin(async move { self.ask(line.server, &call, KNOW).await })
    }

    fn boots(&self, line: LineKey) -> Answer<'_, api::BootList> {
        Box::pin(async move { self.ask(line.server, &Call::Boots(line), KNOW).await })
    }

    fn send_break(&self, line: LineKey) -> Answer<'_, ()> {
        Box::pin(async move { self.ask(line.server, &Call::SendBreak(line), KNOW).await })
    }

    fn sysrq(&self, line: LineKey, key: char) -> Answer<'_, ()> {
        Box::pin(async move { self.ask(line.server, &Call::Sysrq(line, key), KNOW).await })
    }

    fn type_at(&self, line: LineKey, typing: Typing) -> Answer<'_, Sent> {
        let call = Call::TypeAt(line, typing);
        Box::pin(async move { self.ask(line.server, &call, TYPE).await })
    }

    fn wait_at(&self, line: LineKey, awaited: Awaited) -> Answer<'_, Waited> {
        let within = Duration::from_secs(awaited.timeout) + KNOW;
        let call = Call::WaitAt(line, awaited);
        Box::pin(async move { self.ask(line.server, &call, within).await })
    }

    fn sessions(&self, project: Option<String>) -> Answer<'_, api::Sessions> {
        Box::pin(self.all_sessions(project))
    }

    fn disconnect_writer(&self, line: LineKey, by: Disconnect) -> Answer<'_, api::Writer> {
        let call = Call::DisconnectWriter(line, by);
        Box::pin(async move { self.ask(line.server, &call, KNOW).await })
    }

    fn disconnect(&self, line: LineKey, session: SessionId, by: Disconnect) -> Answer<'_, ()> {
        let call = Call::Disconnect(line, session, by);
        Box::pin(async move { self.ask(line.server, &call, KNOW).await })
    }
}

fn not_current() -> ComputeError {
    ComputeError::Unavailable(
        "the servers are not known now, because etcd does not answer: try again".into(),
    )
}

/// The refusal of an answer about something else.
fn other(host: &str) -> ComputeError {
    tracing::warn!(host, "a host answers for what it was not asked");
    ComputeError::Failed(format!(
        "host {host} sent an answer that cannot be used: compare the versions in `serialproxy cluster status`"
    ))
}

fn not_found(id: ServerId) -> ComputeError {
    ComputeError::NotFound(format!("Instance {id} could not be found."))
}
