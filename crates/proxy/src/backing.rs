//! Who stands behind the proxy: this program's own store and compute role, or a real Nova in whose
//! nova-serialproxy's place it is.

use std::sync::Arc;

use jiff::Timestamp;
use serialproxy_line::Keyboard;
use serialproxy_line::Line;
use serialproxy_proto::compute::Compute;
use serialproxy_proto::id::LineKey;
use serialproxy_proto::refusal::Refusal;
use serialproxy_proto::token::ConsoleToken;
use serialproxy_proto::token::Grant;
use serialproxy_proto::token::Mode;
use serialproxy_store::Store;
use serialproxy_store::StoreError;

use crate::Proxy;
use crate::targets::Sighting;
use crate::targets::Targets;

/// Who made the tokens, and who controls the guests.
#[derive(Debug)]
pub enum Backing {
    /// This program.
    Own {
        /// Where the tokens are.
        store: Arc<Store>,
        /// Who controls the guests' power.
        compute: Arc<dyn Compute>,
    },
    /// A real Nova: it has the tokens, and nothing is done to guests.
    Nova(Arc<Targets>),
}

/// What a token stands for.
pub(crate) struct Console {
    pub(crate) line: LineKey,
    pub(crate) user: String,
    /// The most that the session may do.
    pub(crate) mode: Mode,
    pub(crate) operator: bool,
    pub(crate) wait: bool,
    /// When the token ends, as far as that is known.
    pub(crate) expires: Option<Timestamp>,
    /// Where Nova says that the port is.
    pub(crate) sighting: Option<Sighting>,
}

impl Backing {
    /// What a token stands for. A store or a Nova that fails is told apart from a token that is
    /// wrong.
    pub(crate) async fn look_up(&self, token: &ConsoleToken) -> Result<Console, Refusal> {
        match self {
            Self::Own { store, .. } => {
                let digest = token.digest();
                with_store(store, move |store| store.validate(digest, Timestamp::now()))
                    .await?
                    .map(Console::from)
                    .ok_or(Refusal::Token)
            }
            Self::Nova(targets) => targets.look_up(token).await,
        }
    }

    /// The line of a console.
    pub(crate) fn line(&self, proxy: &Proxy, console: &Console) -> Result<Line, Refusal> {
        match (self, &console.sighting) {
            (Self::Nova(targets), Some(sighting)) => targets.open(sighting),
            _ => proxy.lines.get(console.line).ok_or_else(|| {
                Refusal::NoSuchLine(
                    "the server is gone, or has no such serial port any more".into(),
                )
            }),
        }
    }

    /// Ends a token that was good for one attach.
    pub(crate) async fn spend(&self, token: &ConsoleToken) -> Result<(), Refusal> {
        let Self::Own { store, .. } = self else { return Ok(()) };
        let digest = token.digest();
        match with_store(store, move |store| store.revoke(digest)).await? {
            true => Ok(()),
            false => Err(Refusal::Token),
        }
    }

    /// Makes a token, which ends when its server comes to another project.
    pub(crate) async fn authorize(&self, grant: Grant) -> Result<ConsoleToken, Refusal> {
        match self {
            Self::Own { store, compute } => {
                let server = compute.server(grant.line.server).await;
                let project =
                    server.map_err(|error| Refusal::Unavailable(error.to_string()))?.project;
                with_store(store, move |store| store.authorize_in(&project, &grant)).await
            }
            Self::Nova(_) => Err(Refusal::Unavailable(
                "Nova makes the URLs here: with &mode=watch behind it, one lets others watch"
                    .into(),
            )),
        }
    }

    /// Sees to it that a session ends with its token, where only asking again can tell.
    pub(crate) fn watch_over(&self, token: &ConsoleToken, keyboard: &Keyboard) {
        if let Self::Nova(targets) = self {
            tokio::spawn(Arc::clone(targets).end_with(token.clone(), keyboard.clone()));
        }
    }
}

impl From<Grant> for Console {
    fn from(grant: Grant) -> Self {
        let Grant { line, user, mode, operator, wait, expires } = grant;
        Self { line, user, mode, operator, wait, expires: Some(expires), sighting: None }
    }
}

async fn with_store<T: Send + 'static>(
    store: &Arc<Store>,
    call: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, Refusal> {
    let store = Arc::clone(store);
    match tokio::task::spawn_blocking(move || call(&store)).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => {
            tracing::error!(%error, "tokens cannot be looked up");
            Err(Refusal::Unavailable("tokens cannot be looked up now, try again".into()))
        }
        Err(error) => {
            tracing::error!(%error, "tokens cannot be looked up");
            Err(Refusal::Unavailable("tokens cannot be looked up now, try again".into()))
        }
    }
}

#[cfg(test)]
mod tests {
    use serialproxy_compute::Manager;
    use serialproxy_config::Config;
    use serialproxy_config::values::StaticEndpoint;
    use serialproxy_config::values::StaticLine;
    use serialproxy_line::Lines;
    use serialproxy_line::Settings;
    use serialproxy_proto::api::ADMIN_PROJECT;
    use serialproxy_proto::id::ServerId;

    use super::*;

    #[tokio::test]
    async fn a_token_made_for_a_session_ends_when_the_server_comes_to_another_project() {
        let directory = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(&directory.path().join("store.sqlite")).unwrap());
        let endpoint = StaticEndpoint::Tcp { host: "192.0.2.1".into(), port: 7 };
        let mut config = Config::default();
        config.compute.libvirt = false;
        config.static_lines = vec![StaticLine { name: "switch".into(), port: 0, endpoint }];
        let lines = Lines::new(Settings::default(), vec![tokio::runtime::Handle::current()]);
        let compute = Manager::start(&config, Arc::clone(&store), lines);
        let backing = Backing::Own { store: Arc::clone(&store), compute };
        let server = ServerId::of_static("switch");
        let grant = Grant {
            line: LineKey { server, port: 0 },
            user: "alice".into(),
            mode: Mode::Watch,
            operator: false,
            wait: true,
            expires: Timestamp::MAX,
        };
        let token = backing.authorize(grant).await.unwrap();
        let belongs_to = |project: &str| {
            store.revoke_tokens_of_former_owners(&[(server, project.to_owned())]).unwrap();
        };
        belongs_to(ADMIN_PROJECT);
        assert!(backing.look_up(&token).await.is_ok());
        belongs_to("other");
        assert_eq!(backing.look_up(&token).await.err(), Some(Refusal::Token));
    }
}
