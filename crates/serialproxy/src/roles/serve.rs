//! `serialproxy serve`: every role in one process.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use serialproxy_api::Api;
use serialproxy_api::Callers;
use serialproxy_compute::Manager;
use serialproxy_config::Config;
use serialproxy_config::Role;
use serialproxy_config::values::ApiAddress;
use serialproxy_console::Host;
use serialproxy_grants::Grants;
use serialproxy_ledger::Ledger;
use serialproxy_line::Lines;
use serialproxy_metrics::Certificate as Of;
use serialproxy_proxy::Backing;
use serialproxy_proxy::Proxy;
use serialproxy_proxy::Tls;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::audit;
use crate::checks::Watched;
use crate::config;
use crate::cores;
use crate::daemon::Files;
use crate::daemon::PidFile;
use crate::hypervisors::Hypervisors;
use crate::limits;
use crate::listen::listen_for_api;
use crate::listen::listen_for_users;
use crate::listen::reachable;
use crate::monitoring::Monitoring;
use crate::monitoring::monitor;
use crate::options::ServerArgs;
use crate::reload::Rereads;
use crate::roles::CLOSE;
use crate::roles::auth;
use crate::roles::close;
use crate::roles::say_ready;
use crate::roles::settings;
use crate::roles::shutdown_on_signal;
use crate::roles::start;
use crate::sessions;
use crate::state;
use crate::tls;
use crate::tls::Renewal;
use crate::watchdog::Watchdog;
use crate::welcome::welcome;

pub(crate) const HELP: &str = "\
Without a configuration file, it serves the consoles of all guests of qemu:///system. \
When ready, stdout gets one line: serialproxy ready api=http://H:P proxy=http://H:P \
(https if there is a certificate).

Example:
  serialproxy serve --config-file /etc/serialproxy/serialproxy.conf";

pub(crate) fn run(args: &ServerArgs) -> ExitCode {
    match config::load(args, Role::Serve) {
        Ok(loaded) => start(args, Role::Serve, loaded, serve),
        Err(code) => code,
    }
}

/// Everything that can fail comes first, in the order of who needs whom; then all roles serve
/// until a signal.
async fn serve(
    mut config: Config,
    files: Files,
    watchdog: Watchdog,
    rereads: Rereads,
) -> anyhow::Result<()> {
    let shutdown = shutdown_on_signal()?;
    let recorded = config.serial_console.record.place.is_some();
    let connections = limits::raise(recorded).context("the limit of open files")?;
    state::make(&config.state_dir)?;
    let _locks = state::lock_all(&config.state_dir)?;
    let _pid = files.pid.as_deref().map(PidFile::write).transpose()?;
    let daemon = config.serial_console.daemon;
    let state_dir = Arc::from(config.state_dir.as_path());
    let file = config.state_dir.join("serialproxy.sqlite");
    let audit = audit::start(&config)?;
    let (ledger, grants) = (Arc::new(Ledger::open(&file)?), Grants::open(&file)?);
    if !serialproxy_api::has_admin_token(&config.state_dir) {
        // Somebody may have removed it because others know it.
        serialproxy_api::end_admin_logins(&grants).await?;
    }
    let auth = auth(&config, &grants, watchdog.health())?;
    let api_listener = listen_for_api(&config.api).await?;
    let monitoring = Monitoring::listen(&config).await?;
    let proxy_listener = listen_for_users(&config.serial_console).await?.into_std()?;
    let addresses = (api_listener.local_addr()?, proxy_listener.local_addr()?);
    // Console URLs follow the port, also where any free one was wanted.
    config.serial_console.listen.port = addresses.1.port();

    let end = CancellationToken::new();
    let _end = end.clone().drop_guard();
    let handshakes = cores::handshakes(&end, &watchdog).context("the program cannot start")?;
    let (users, callers) = (tls::users(&config, &handshakes)?, tls::api(&config, &handshakes)?);
    let relay = tls::relay(&config, &callers)?;
    let own =
        ApiAddress { tls: config.api.ssl_only, authority: reachable(addresses.0).to_string() };
    config.proxy.api.get_or_insert(own);
    let cores = cores::start(&end, &watchdog).context("the program cannot start")?;
    let hypervisors = Hypervisors::load(&config.serial_console)?;
    let lines = Lines::new(settings(&config, hypervisors.as_deref(), &audit), cores);
    let keeping = sessions::keep(Arc::clone(&ledger), lines.clone())?;
    let compute = Manager::start(&config, ledger, lines.clone());
    let per_address = config.limits.connections_per_address;
    let callers_from = Callers::new(per_address, config.proxy.trusted_proxies.clone());
    // The lines know where their ports are.
    config.static_lines = Vec::new();
    let config = Arc::new(config);
    let watched = watched(&grants, &compute, &lines)
        .with_certificate(Of::Proxy, users.certificate.as_ref())
        .with_certificate(Of::Api, callers.certificate.as_ref());
    let monitor = monitor(watched, &audit, watchdog.health());
    let api = Api::new(compute.clone(), compute.clone(), grants.clone(), &config, auth);
    let api = Arc::new(api.with_monitor(monitor.clone()).with_audit(audit.clone()));
    let router = serialproxy_api::router(&api);
    let metrics = monitoring.ready();
    let monitored = monitoring.serve(monitor, &shutdown);
    let tls = Tls { users: users.reception.clone(), api: relay };
    tokio::spawn(serialproxy_console::end_with_links(grants.clone(), lines.clone()));
    let backing = Backing::Own(Host::alone(grants.clone(), &compute), None);
    let proxy = Proxy::new(config, lines.clone(), backing, tls)
        .context("[serial_console] record: cannot record sessions there")?
        .with_health(watchdog.health());

    let for_people = Arc::clone(&api);
    let (api, proxy_scheme) = (callers.scheme(), users.scheme());
    let ready =
        format!("api={api}://{} proxy={proxy_scheme}://{}{metrics}", addresses.0, addresses.1);
    let renewal = Renewal { users: users.certificate, api: callers.certificate, hypervisors };
    tokio::spawn(renewal.run(rereads, audit.clone()));
    // Not on this thread, so that `/healthz` is answered when it hangs.
    let stop = shutdown.clone().cancelled_owned();
    let called =
        serialproxy_api::serve(api_listener, callers.reception, callers_from, router, stop);
    let called = tokio::spawn(called);
    let roles = async {
        tokio::join!(
            called,
            monitored,
            Arc::new(proxy).serve(proxy_listener, connections, shutdown.clone()),
            serialproxy_api::purge_tokens(grants, shutdown.cancelled()),
        )
    };
    say_ready(&ready, daemon)?;
    let api_url = format!("{api}://{}", addresses.0);
    tokio::spawn(welcome(for_people, compute, api_url, state_dir));
    let (_, _, served, _) = roles.await;
    let _ = timeout(CLOSE, keeping).await;
    close(&lines).await;
    audit::finish(audit).await;
    served.context("users cannot be served")
}

/// What metrics and `/healthz` report on.
fn watched(grants: &Grants, compute: &Arc<Manager>, lines: &Lines) -> Watched {
    Watched {
        store: Some(grants.clone()),
        compute: Some(Arc::clone(compute)),
        lines: Some(lines.clone()),
        ..Watched::default()
    }
}
