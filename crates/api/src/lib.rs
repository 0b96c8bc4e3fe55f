//! The REST API: it authenticates callers, authorizes their calls, and answers in the words of
//! Nova.
//!
//! It owns the routes, the callers' identities and the making of console tokens. It never touches a
//! line, a hypervisor or a WebSocket: for these it calls [`Servers`] and [`LineBook`].
//!
//! ```text
//! serve ─▶ observe (request id, log) ─▶ negotiate (microversion) ─▶ a row of the route table ─▶ handler ─▶ Servers, LineBook, Grants
//!                                        (who may, how long, status)
//! ```

mod admin_token;
mod auth;
mod blueprint;
mod client;
mod consoles;
mod evidence;
mod fault;
mod guard;
mod identity;
mod monitor;
mod observe;
mod openapi;
mod openstack;
mod power;
mod query;
mod request;
mod route;
mod routes;
mod schema;
mod scope;
mod secret;
mod serve;
mod strangers;
mod tokens;
mod v1;
mod validation;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware;
use serialproxy_audit::Audit;
use serialproxy_config::Config;
use serialproxy_grants::Grants;
use serialproxy_limits::Places;
use serialproxy_proto::audit::Trails;
use serialproxy_proto::compute::ComputeError;
use serialproxy_proto::compute::LineBook;
use serialproxy_proto::compute::Servers;
use serialproxy_proto::request_id;
use serialproxy_proto::script::WAITS;

pub use crate::admin_token::admin_token;
pub use crate::admin_token::has_admin_token;
pub use crate::admin_token::read_admin_token;
pub use crate::auth::Auth;
pub use crate::auth::Keystone;
pub use crate::auth::Local;
pub use crate::auth::end_admin_logins;
pub use crate::auth::end_admin_token;
use crate::auth::failures::Failures;
use crate::auth::failures::Trier;
pub use crate::auth::share_admin_token;
use crate::client::Client;
use crate::fault::Fault;
use crate::guard::Guard;
pub use crate::monitor::Monitor;
pub use crate::monitor::monitor_router;
use crate::openstack::Public;
use crate::route::Route;
pub use crate::serve::Callers;
pub use crate::serve::serve;
use crate::strangers::StrangerLog;
pub use crate::tokens::purge_tokens;

/// What the calls work with.
pub struct Api {
    servers: Arc<dyn Servers>,
    lines: Arc<dyn LineBook>,
    grants: Grants,
    auth: Auth,
    failures: Failures,
    guard: Guard,
    log: Arc<StrangerLog>,
    base_url: String,
    token_ttl: Duration,
    link_ttl: Duration,
    page_lifetime: Duration,
    public: Public,
    monitor: Monitor,
    audit: Audit,
    trails: Option<Arc<dyn Trails>>,
    /// The waits of users.
    waits: Places<String>,
}

impl Api {
    /// An API with the options of `config` for consoles, their tokens and links.
    pub fn new(
        servers: Arc<dyn Servers>,
        lines: Arc<dyn LineBook>,
        grants: Grants,
        config: &Config,
        auth: Auth,
    ) -> Self {
        Self {
            servers,
            lines,
            grants,
            guard: Guard::new(config, &auth),
            log: Arc::default(),
            failures: Failures::new(config.limits.failures_per_minute),
            auth,
            base_url: config.serial_console.console_url(),
            token_ttl: config.consoleauth.token_ttl,
            link_ttl: config.consoleauth.link_ttl,
            page_lifetime: config.api.page_lifetime,
            public: Public::new(config),
            monitor: Monitor::default(),
            audit: Audit::none(),
            trails: None,
            waits: Places::new(WAITS),
        }
    }

    /// Answers `/healthz` and `/metrics` with this.
    #[must_use]
    pub fn with_monitor(self, monitor: Monitor) -> Self {
        Self { monitor, ..self }
    }

    /// The login attempts of a client.
    fn trier(&self, client: Client) -> Trier<'_> {
        Trier { client, failures: &self.failures, audit: &self.audit }
    }

    /// Runs a change to its end even when its caller hangs up, so that no half-made guest is left
    /// behind. The compute role limits how many changes run at a time.
    async fn change<T: Send + 'static>(
        &self,
        change: impl Future<Output = Result<T, ComputeError>> + Send + 'static,
    ) -> Result<T, Fault> {
        match tokio::spawn(request_id::in_current(change)).await {
            Ok(outcome) => outcome.map_err(Fault::from),
            Err(_) => Err(Fault::Failed("the change to the server was interrupted".into())),
        }
    }
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api")
            .field("servers", &self.servers)
            .field("lines", &self.lines)
            .finish_non_exhaustive()
    }
}

/// The router of all calls.
pub fn router(api: &Arc<Api>) -> Router {
    routes::all()
        .into_iter()
        .fold(Router::new(), |router, route: Route| route.add_to(router, api))
        .fallback(openstack::unknown_path)
        .method_not_allowed_fallback(openstack::other_method)
        .layer(middleware::from_fn_with_state(Arc::clone(api), guard::guard))
        .layer(middleware::from_fn(openstack::negotiate))
        .layer(middleware::from_fn_with_state(Arc::clone(&api.log), observe::observe))
        .with_state(Arc::clone(api))
}
