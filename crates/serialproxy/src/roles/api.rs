//! `serialproxy api`: REST for the servers of all hosts of a cluster.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use serialproxy_api::Api;
use serialproxy_api::Callers;
use serialproxy_cluster::Host;
use serialproxy_cluster::Members;
use serialproxy_cluster::Remote;
use serialproxy_cluster::Role;
use serialproxy_cluster::Served;
use serialproxy_cluster::Strangers;
use serialproxy_cluster::Watching;
use serialproxy_config::Config;
use serialproxy_config::Role as ConfigRole;
use serialproxy_config::values::AuthStrategy;
use serialproxy_grants::Grants;
use serialproxy_metrics::Certificate as Of;
use tokio_util::sync::CancellationToken;

use crate::EXIT_USAGE;
use crate::audit;
use crate::checks::Watched;
use crate::cluster;
use crate::cluster::Own;
use crate::complain;
use crate::config;
use crate::cores;
use crate::daemon::Files;
use crate::daemon::PidFile;
use crate::limits;
use crate::listen::Prefer;
use crate::listen::listen;
use crate::listen::listen_for_api;
use crate::monitoring::Monitoring;
use crate::monitoring::monitor;
use crate::options::ServerArgs;
use crate::passed::Purpose;
use crate::reload::Rereads;
use crate::roles::auth;
use crate::roles::say_ready;
use crate::roles::shutdown_on_signal;
use crate::roles::start;
use crate::state;
use crate::tls;
use crate::tls::Renewal;
use crate::watch_links;
use crate::watchdog::Watchdog;

pub(crate) const HELP: &str = "\
The host belongs to a cluster: `serialproxy cluster init` begins one, `serialproxy join` joins it. \
When ready, stdout gets one line: serialproxy ready api=http://H:P cluster=H:P \
(https if there is a certificate).

Example:
  serialproxy api";

pub(crate) fn run(args: &ServerArgs) -> ExitCode {
    let loaded = match config::load(args, ConfigRole::Api) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    if let Err(what) = cluster::check(&loaded.config, Role::Api) {
        complain(&what);
        return ExitCode::from(EXIT_USAGE);
    }
    start(args, ConfigRole::Api, loaded, serve)
}

async fn serve(
    config: Config,
    files: Files,
    watchdog: Watchdog,
    rereads: Rereads,
) -> anyhow::Result<()> {
    let shutdown = shutdown_on_signal()?;
    let connections = limits::raise(false).context("the limit of open files")?;
    state::make(&config.state_dir)?;
    let _lock = state::lock(&config.state_dir, Role::Api)?;
    let _pid = files.pid.as_deref().map(PidFile::write).transpose()?;
    let daemon = config.serial_console.daemon;
    let own = Own::load(&config, Role::Api, &shutdown).await?;
    let audit = audit::start(&config)?;
    let identity = Arc::clone(&own.identity);
    let grants = Grants::on(own.etcd.clone());
    let auth = auth(&config, &grants, watchdog.health())?;
    if matches!(config.api.auth_strategy, AuthStrategy::Token | AuthStrategy::HttpBasic) {
        let admin = serialproxy_api::admin_token(&config.state_dir).context("the admin token")?;
        let name = config.cluster.name.clone();
        tokio::spawn(serialproxy_api::share_admin_token(grants.clone(), admin, name));
    }
    let listener = listen_for_api(&config.api).await?;
    let monitoring = Monitoring::listen(&config).await?;
    let others = listen(&config.cluster.listen, Prefer::V4, Purpose::Cluster).await?;
    let addresses = (listener.local_addr()?, others.local_addr()?);

    let end = CancellationToken::new();
    let _end = end.clone().drop_guard();
    let handshakes = cores::handshakes(&end, &watchdog).context("the program cannot start")?;
    let callers = tls::api(&config, &handshakes)?;
    let remote = Remote::new(own.directory.clone(), own.links.clone());
    let remote = Arc::new(remote.with_members(Members::new(own.etcd.clone())));
    let per_address = config.limits.connections_per_address;
    let callers_from = Callers::new(per_address, config.proxy.trusted_proxies.clone());
    let watched = Watched::of_cluster(&own).with_certificate(Of::Api, callers.certificate.as_ref());
    let monitor = monitor(watched, &audit, watchdog.health());
    let api = Api::new(remote.clone(), remote.clone(), grants.clone(), &config, auth);
    let api = api.with_monitor(monitor.clone()).with_audit(audit.clone());
    let api = Arc::new(api.with_trails(remote));
    let router = serialproxy_api::router(&api);
    let metrics = monitoring.ready();
    monitoring.serve(monitor, &shutdown);
    let tls = own.identity.server_config(Strangers::Admitted)?;
    let served = Served {
        attach: None,
        calls: None,
        audit: audit.clone(),
        admission: own.admission.clone().map(|own| own.with_audit(audit.clone())),
        watching: Some(Watching::new(
            own.directory.clone(),
            watch_links::maker(grants.clone(), &config, audit.clone()),
        )),
        removed: identity.removed().clone(),
    };
    tokio::spawn(serialproxy_cluster::serve(others, tls, served, connections, shutdown.clone()));
    let listing = Host::of(config.cluster.advertised(addresses.1.port()), Role::Api);
    let publishing = own.publish(listing, None, &shutdown);
    let scheme = callers.scheme();
    let ready = format!("api={scheme}://{} cluster={}{metrics}", addresses.0, addresses.1);
    let renewal = Renewal { api: callers.certificate, ..Renewal::default() };
    tokio::spawn(renewal.run(rereads, audit.clone()));
    say_ready(&ready, daemon)?;
    let stop = shutdown.cancelled_owned();
    let called = serialproxy_api::serve(listener, callers.reception, callers_from, router, stop);
    // Not on this thread, so that `/healthz` is answered when it hangs.
    let _ = tokio::spawn(called).await;
    let _ = publishing.await;
    audit::finish(audit).await;
    tracing::info!("stopped");
    cluster::check_membership(&identity)
}
