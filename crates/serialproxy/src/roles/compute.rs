//! `serialproxy compute`: the lines of a hypervisor's guests, and their sessions. Users come through the
//! proxies of the cluster.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use serialproxy_cluster::Has;
use serialproxy_cluster::Host as Listing;
use serialproxy_cluster::Role;
use serialproxy_cluster::Served;
use serialproxy_cluster::Strangers;
use serialproxy_compute::Manager;
use serialproxy_config::Config;
use serialproxy_config::Role as ConfigRole;
use serialproxy_console::Host;
use serialproxy_grants::Grants;
use serialproxy_ledger::Ledger;
use serialproxy_line::Lines;
use serialproxy_openstack::Nova;
use serialproxy_proxy::Backing;
use serialproxy_proxy::NovaTokens;
use serialproxy_proxy::Proxy;
use serialproxy_proxy::Tls;
use serialproxy_tls::Reception;
use tokio::time::timeout;
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
use crate::hypervisors::Hypervisors;
use crate::limits;
use crate::listen::Prefer;
use crate::listen::listen;
use crate::monitoring::Monitoring;
use crate::monitoring::monitor;
use crate::options::ServerArgs;
use crate::passed::Purpose;
use crate::reload::Rereads;
use crate::roles::CLOSE;
use crate::roles::check_nova_user;
use crate::roles::close;
use crate::roles::say_ready;
use crate::roles::settings;
use crate::roles::shutdown_on_signal;
use crate::roles::start;
use crate::sessions;
use crate::state;
use crate::tls::Renewal;
use crate::watchdog::Watchdog;

pub(crate) const HELP: &str = "\
The host belongs to a cluster: `serialproxy join` makes it so, with the line that `serialproxy enroll \
--role compute` prints on an api host. With a Nova in its configuration ([nova] or [service_user], as in \
nova.conf), it also checks the console tokens with which Nova's users come through `serialproxy proxy`. \
When ready, stdout gets one line: serialproxy ready cluster=H:P

Example:
  serialproxy compute";

pub(crate) fn run(args: &ServerArgs) -> ExitCode {
    let loaded = match config::load(args, ConfigRole::Compute) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    if let Err(what) = check(&loaded.config) {
        complain(&what);
        return ExitCode::from(EXIT_USAGE);
    }
    start(args, ConfigRole::Compute, loaded, serve)
}

/// What this role needs.
pub(crate) fn check(config: &Config) -> Result<(), String> {
    cluster::check(config, Role::Compute)?;
    check_nova_user(config)
}

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
    let _lock = state::lock(&config.state_dir, Role::Compute)?;
    let _pid = files.pid.as_deref().map(PidFile::write).transpose()?;
    let daemon = config.serial_console.daemon;
    let own = Own::load(&config, Role::Compute, &shutdown).await?;
    let audit = audit::start(&config)?;
    let identity = Arc::clone(&own.identity);
    let ledger = Arc::new(Ledger::open(&config.state_dir.join("serialproxy.sqlite"))?);
    let grants = Grants::on(own.etcd.clone());
    let listener = listen(&config.cluster.listen, Prefer::V4, Purpose::Cluster).await?;
    let address = listener.local_addr()?;
    let monitoring = Monitoring::listen(&config).await?;

    let end = CancellationToken::new();
    let _end = end.clone().drop_guard();
    let cores = cores::start(&end, &watchdog).context("the program cannot start")?;
    let hypervisors = Hypervisors::load(&config.serial_console)?;
    let lines = Lines::new(settings(&config, hypervisors.as_deref(), &audit), cores);
    let keeping = sessions::keep(Arc::clone(&ledger), lines.clone())?;
    let compute = Manager::start(&config, ledger, lines.clone());
    let watched = Watched {
        compute: Some(Arc::clone(&compute)),
        lines: Some(lines.clone()),
        ..Watched::of_cluster(&own)
    };
    let monitor = monitor(watched, &audit, watchdog.health());
    // The lines know where their ports are.
    config.static_lines = Vec::new();
    let listing = Listing {
        libvirt: config.compute.libvirt,
        ..Listing::of(config.cluster.advertised(address.port()), Role::Compute)
    };
    tokio::spawn(serialproxy_console::end_with_links(grants.clone(), lines.clone()));
    let host = Host {
        grants,
        servers: compute.clone(),
        lines: compute.clone(),
        cluster: Some(own.membership()),
    };
    let has = Has { servers: compute.clone(), lines: compute };
    let tls = Tls { users: Reception::plain(), api: None };
    let nova = Nova::new(&config)?.map(|nova| NovaTokens::new(nova, &config));
    if let Some(nova) = &nova {
        tokio::spawn(Arc::clone(nova).log_in());
    }
    let proxy = Proxy::new(Arc::new(config), lines.clone(), Backing::Own(host, nova), tls)
        .context("[serial_console] record: cannot record sessions there")?;
    let proxy = Arc::new(proxy.with_drain(own.drained.clone()));
    let attached = Arc::clone(&proxy);
    let served = Served {
        attach: Some(Arc::new(move |stream, forwards, cut| {
            Box::pin(Arc::clone(&attached).serve_peer(stream, forwards, cut))
        })),
        calls: Some(has.clone()),
        audit: audit.clone(),
        admission: None,
        watching: None,
        removed: identity.removed().clone(),
    };
    let tls = own.identity.server_config(Strangers::Refused)?;
    let renewal = Renewal { hypervisors, ..Renewal::default() };
    tokio::spawn(renewal.run(rereads, audit.clone()));
    let publishing = own.publish(listing, Some(has), &shutdown);
    let metrics = monitoring.ready();
    monitoring.serve(monitor, &shutdown);
    say_ready(&format!("cluster={address}{metrics}"), daemon)?;
    serialproxy_cluster::serve(listener, tls, served, connections, shutdown).await;
    proxy.drain().await;
    let _ = publishing.await;
    let _ = timeout(CLOSE, keeping).await;
    close(&lines).await;
    audit::finish(audit).await;
    cluster::check_membership(&identity)
}
