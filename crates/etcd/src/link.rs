//! The connection to one of etcd's nodes, which moves to the next node after a failure.
//!
//! A client library's own balancer would continue to choose nodes that are down or hang. So there
//! is one node at a time, and a call that fails there moves all later calls to the next.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use std::time::SystemTime;

use etcd_client::Channel;
use etcd_client::Client;
use etcd_client::ConnectOptions;
use serialproxy_metrics as metrics;
use tokio::runtime::Handle;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio::time::sleep;
use tokio::time::timeout;
use tokio::time::timeout_at;
use tonic::transport::Certificate;
use tonic::transport::ClientTlsConfig;
use tonic::transport::Endpoint;
use tonic::transport::Identity;

use crate::EtcdError;
use crate::Settings;
use crate::Tls;
use crate::error::Failure;
use crate::error::brief;

/// How long a call may take, so that users get an answer in less than 2 s.
pub(crate) const DEADLINE: Duration = Duration::from_millis(1800);

/// How long one of several nodes may take to connect, authenticate, or answer a repeatable call.
const PATIENCE: Duration = Duration::from_millis(600);

/// The pause after all nodes were tried.
const PAUSE: Duration = Duration::from_millis(100);

/// How often to check whether the client's certificate was renewed.
const LOOK: Duration = Duration::from_secs(5);

/// The time between pings while a call waits for a node: etcd takes more than one in 5 s for an
/// attack.
const PING: Duration = Duration::from_secs(6);

/// Whether a call may be sent again when the outcome of the first is unknown.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Nature {
    /// It has the same outcome again.
    Repeatable,
    /// It may undo or misjudge changes made since.
    Once,
}

/// The connection.
#[derive(Debug)]
pub(crate) struct Link {
    settings: Settings,
    /// The runtime of the connection's tasks, whoever calls.
    runtime: Handle,
    state: Mutex<State>,
}

struct State {
    /// How many nodes were tried so far, in turn.
    turn: usize,
    client: Option<Arc<Client>>,
    /// When the client's certificate was last checked, and when the present one was written.
    looked: Instant,
    written: Option<SystemTime>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("turn", &self.turn).finish_non_exhaustive()
    }
}

impl Link {
    pub(crate) fn new(settings: Settings) -> Result<Self, EtcdError> {
        settings.check()?;
        let runtime = Handle::try_current()
            .map_err(|_| EtcdError::Settings("there is no runtime for its connection".into()))?;
        // Hosts begin at different nodes, so that nodes share the load.
        let first = getrandom::u32().unwrap_or_default();
        let turn = usize::try_from(first).unwrap_or_default() % settings.endpoints.len();
        let (looked, written) = (Instant::now(), None);
        let state = Mutex::new(State { turn, client: None, looked, written });
        Ok(Self { settings, runtime, state })
    }

    pub(crate) fn prefix(&self) -> &str {
        &self.settings.prefix
    }

    pub(crate) fn endpoints(&self) -> &[String] {
        &self.settings.endpoints
    }

    /// The runtime for tasks of this etcd.
    pub(crate) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Does `work` at a node, and at the next one after a failure that allows another attempt.
    ///
    /// # Errors
    ///
    /// When no node answers within [`DEADLINE`], or one refuses.
    pub(crate) async fn call<T, F>(
        &self,
        nature: Nature,
        work: impl Fn(Arc<Client>) -> F,
    ) -> Result<T, EtcdError>
    where
        F: Future<Output = Result<T, etcd_client::Error>>,
    {
        let began = Instant::now();
        let outcome = self.call_nodes(nature, work).await;
        metrics::ETCD_SECONDS.observe(began.elapsed());
        if outcome.is_err() {
            metrics::ETCD_ERRORS.inc();
        }
        outcome
    }

    async fn call_nodes<T, F>(
        &self,
        nature: Nature,
        work: impl Fn(Arc<Client>) -> F,
    ) -> Result<T, EtcdError>
    where
        F: Future<Output = Result<T, etcd_client::Error>>,
    {
        let ends = Instant::now() + DEADLINE;
        let attempts = async {
            let mut tried = 0;
            loop {
                let (turn, failure) = match self.attempt(nature, &work).await {
                    Ok(done) => return Ok(done),
                    Err(failed) => failed,
                };
                let reason = match failure {
                    Failure::Final(error) => return Err(error),
                    Failure::Lost(reason) if nature == Nature::Once => {
                        self.move_on(turn).await;
                        return Err(EtcdError::Away(reason));
                    }
                    Failure::Lost(reason) | Failure::Unsent(reason) => reason,
                };
                self.move_on(turn).await;
                tried += 1;
                if tried % self.settings.endpoints.len() == 0 {
                    if ends.saturating_duration_since(Instant::now()) < PATIENCE {
                        return Err(EtcdError::Away(reason));
                    }
                    sleep(PAUSE).await;
                }
            }
        };
        let outcome = timeout_at(ends, Box::pin(attempts)).await;
        outcome.unwrap_or_else(|_| Err(EtcdError::Away("no answer in time".into())))
    }

    async fn attempt<T, F>(
        &self,
        nature: Nature,
        work: &impl Fn(Arc<Client>) -> F,
    ) -> Result<T, (usize, Failure)>
    where
        F: Future<Output = Result<T, etcd_client::Error>>,
    {
        let (turn, client) = self.client().await?;
        let is_hasty = nature == Nature::Repeatable && self.settings.endpoints.len() > 1;
        let patience = if is_hasty { PATIENCE } else { DEADLINE - PAUSE };
        match timeout(patience, work(client)).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(error)) => Err((turn, error.into())),
            Err(_) => Err((turn, Failure::Lost("no answer in time".into()))),
        }
    }

    /// The client of the present node, with the turn to pass to [`Link::move_on`] if it fails.
    pub(crate) async fn client(&self) -> Result<(usize, Arc<Client>), (usize, Failure)> {
        let mut state = self.state.lock().await;
        let turn = state.turn;
        let mut written = state.written;
        if state.client.is_none() || state.looked.elapsed() > LOOK {
            state.looked = Instant::now();
            written = self.settings.tls.as_ref().and_then(Tls::written);
        }
        match &state.client {
            Some(client) if written == state.written => return Ok((turn, Arc::clone(client))),
            _ => {}
        }
        let opened = timeout(PATIENCE, self.open(turn)).await;
        let opened = opened.unwrap_or_else(|_| Err(Failure::Unsent("no answer in time".into())));
        match (opened, &state.client) {
            (Ok(client), _) => {
                let client = Arc::new(client);
                (state.client, state.written) = (Some(Arc::clone(&client)), written);
                Ok((turn, client))
            }
            // Its key may not be written yet. The present connection stays in use until then.
            (Err(_), Some(client)) => Ok((turn, Arc::clone(client))),
            (Err(failure), None) => Err((turn, failure)),
        }
    }

    /// Leaves the node of this turn, unless another caller has already done so.
    pub(crate) async fn move_on(&self, turn: usize) {
        let mut state = self.state.lock().await;
        if state.turn == turn {
            (state.turn, state.client) = (turn.wrapping_add(1), None);
        }
    }

    /// A client of the node of this turn.
    pub(crate) async fn open(&self, turn: usize) -> Result<Client, Failure> {
        let endpoints = &self.settings.endpoints;
        let url = endpoints.get(turn % endpoints.len()).cloned().unwrap_or_default();
        let is_secure = url.starts_with("https:");
        let mut endpoint = Endpoint::from_shared(url)
            .map_err(|error| unusable(&error))?
            .connect_timeout(PATIENCE)
            .http2_keep_alive_interval(PING)
            .keep_alive_timeout(PATIENCE)
            .keep_alive_while_idle(false);
        if is_secure {
            endpoint = endpoint.tls_config(self.tls().await?).map_err(|error| unusable(&error))?;
        }
        let channel = {
            let _entered = self.runtime.enter();
            endpoint.connect_lazy()
        };
        let mut options = ConnectOptions::new().with_require_leader(true);
        if let Some((name, password)) = &self.settings.user {
            options = options.with_user(name, password).with_auto_token_refresh(true);
        }
        Client::from_channel(Channel::Tonic(channel), Some(options)).await.map_err(|error| {
            match error.into() {
                // A client that failed to authenticate has changed nothing.
                Failure::Lost(reason) => Failure::Unsent(reason),
                failure => failure,
            }
        })
    }

    async fn tls(&self) -> Result<ClientTlsConfig, Failure> {
        let read = async |what: &str, path| {
            let file = tokio::fs::read(path).await;
            file.map_err(|error| unusable(&format!("its {what} cannot be read: {}", error.kind())))
        };
        let mut config = ClientTlsConfig::new();
        if let Some(tls) = &self.settings.tls {
            let ca = read("CA bundle", &tls.ca).await?;
            config = config.ca_certificate(Certificate::from_pem(ca));
            if let Some((certificate, key)) = &tls.client {
                let certificate = read("client certificate", certificate).await?;
                let key = read("client key", key).await?;
                config = config.identity(Identity::from_pem(certificate, key));
            }
        }
        Ok(config)
    }
}

fn unusable(error: &impl ToString) -> Failure {
    Failure::Final(EtcdError::Settings(brief(&error.to_string())))
}
