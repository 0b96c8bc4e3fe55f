//! `serialproxy proxy` on a host of a cluster: users come here, and their sessions run where their lines
//! are.

use std::sync::Arc;

use anyhow::Context;
use serialproxy_cluster::Host as Listing;
use serialproxy_cluster::Role;
use serialproxy_config::Config;
use serialproxy_grants::Grants;
use serialproxy_line::Lines;
use serialproxy_metrics::Certificate as Of;
use serialproxy_proxy::Backing;
use serialproxy_proxy::Proxy;
use serialproxy_proxy::Tls;
use tokio_util::sync::CancellationToken;

use crate::audit;
use crate::checks::Watched;
use crate::cluster;
use crate::cluster::OtherHosts;
use crate::cluster::Own;
use crate::cores;
use crate::daemon::Files;
use crate::daemon::PidFile;
use crate::limits;
use crate::listen::listen_for_users;
use crate::monitoring::Monitoring;
use crate::monitoring::monitor;
use crate::reload::Rereads;
use crate::roles::say_ready;
use crate::roles::settings;
use crate::roles::shutdown_on_signal;
use crate::state;
use crate::tls;
use crate::tls::Listening;
use crate::tls::Renewal;
use crate::watchdog::Watchdog;

/// Everything that can fail comes first; then users are served until a signal.
pub(super) async fn serve(
    config: Config,
    files: Files,
    watchdog: Watchdog,
    rereads: Rereads,
) -> anyhow::Result<()> {
    let shutdown = shutdown_on_signal()?;
    let connections = limits::raise(false).context("the limit of open files")?;
    state::make(&config.state_dir)?;
    let _lock = state::lock(&config.state_dir, Role::Proxy)?;
    let daemon = config.serial_console.daemon;
    let own = Own::load(&config, Role::Proxy, &shutdown).await?;
    let audit = audit::start(&config)?;
    let identity = Arc::clone(&own.identity);
    let listener = listen_for_users(&config.serial_console).await?.into_std()?;
    let address = listener.local_addr()?;
    let monitoring = Monitoring::listen(&config).await?;
    // Written after bind, so that only the port's owner claims the pid file.
    let _pid = files.pid.as_deref().map(PidFile::write).transpose()?;
    let end = CancellationToken::new();
    let _end = end.clone().drop_guard();
    let handshakes = cores::handshakes(&end, &watchdog).context("the program cannot start")?;
    let users = tls::users(&config, &handshakes)?;
    let tls =
        Tls { users: users.reception.clone(), api: tls::relay(&config, &Listening::plain())? };
    let cores = cores::start(&end, &watchdog).context("the program cannot start")?;
    // It has none; their runtimes serve the users.
    let lines = Lines::new(settings(&config, None, &audit), cores);
    let hosts = OtherHosts::new(Grants::on(own.etcd.clone()), &own);
    let proxy = Proxy::new(Arc::new(config), lines, Backing::Cluster(hosts), tls)?;
    let proxy = proxy.with_health(watchdog.health()).with_drain(own.drained.clone());
    let listing = Listing { for_users: true, ..Listing::of(address.to_string(), Role::Proxy) };
    let publishing = own.publish(listing, None, &shutdown);
    let watched = Watched::of_cluster(&own).with_certificate(Of::Proxy, users.certificate.as_ref());
    let ready = format!("proxy={}://{address}{}", users.scheme(), monitoring.ready());
    monitoring.serve(monitor(watched, &audit, watchdog.health()), &shutdown);
    let renewal = Renewal { users: users.certificate, ..Renewal::default() };
    tokio::spawn(renewal.run(rereads, audit.clone()));
    say_ready(&ready, daemon)?;
    let served = Arc::new(proxy).serve(listener, connections, shutdown).await;
    let _ = publishing.await;
    audit::finish(audit).await;
    tracing::info!("stopped");
    served.context("users cannot be served")?;
    cluster::check_membership(&identity)
}
