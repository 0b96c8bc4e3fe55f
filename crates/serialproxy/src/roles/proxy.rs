//! `serialproxy proxy`: what users connect to. In nova-serialproxy's place, the tokens are a real Nova's,
//! and the ports are those of its servers; otherwise it is a cluster's (`front`).

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use serialproxy_config::Config;
use serialproxy_config::Role;
use serialproxy_line::Lines;
use serialproxy_metrics::Certificate as Of;
use serialproxy_openstack::Nova;
use serialproxy_proxy::Backing;
use serialproxy_proxy::NovaTokens;
use serialproxy_proxy::Proxy;
use serialproxy_proxy::Targets;
use serialproxy_proxy::Tls;
use tokio_util::sync::CancellationToken;

use crate::EXIT_USAGE;
use crate::audit;
use crate::checks::Watched;
use crate::complain;
use crate::config;
use crate::cores;
use crate::daemon::Files;
use crate::daemon::PidFile;
use crate::hypervisors::Hypervisors;
use crate::limits;
use crate::listen::listen_for_users;
use crate::monitoring::Monitoring;
use crate::monitoring::monitor;
use crate::options::ServerArgs;
use crate::reload::Rereads;
use crate::roles::check_nova_user;
use crate::roles::close;
use crate::roles::front;
use crate::roles::say_ready;
use crate::roles::settings;
use crate::roles::several::Several;
use crate::roles::shutdown_on_signal;
use crate::roles::start;
use crate::tls;
use crate::tls::Listening;
use crate::tls::Renewal;
use crate::watchdog::Watchdog;

pub(crate) const HELP: &str = "\
On a host of a cluster, it passes users on to the host of their server. With a Nova in its \
configuration, it replaces nova-serialproxy, and looks up console tokens in Nova, as the service user \
of the configuration, which needs the role admin. On hosts of a cluster, several such proxies may be \
active at once. \
When ready, stdout gets one line: serialproxy ready proxy=http://H:P (https if there is a certificate).

Example:
  serialproxy proxy --config-file /etc/nova/nova.conf";

pub(crate) fn run(args: &ServerArgs) -> ExitCode {
    let loaded = match config::load(args, Role::Proxy) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    if let Err(what) = check(&loaded.config) {
        loaded.warnings.iter().for_each(|warning| complain(warning));
        complain(&what);
        return ExitCode::from(EXIT_USAGE);
    }
    if is_front(&loaded.config) {
        return start(args, Role::Proxy, loaded, front::serve);
    }
    let (passed_over, warnings) = (loaded.passed_over.clone(), loaded.warnings.clone());
    start(args, Role::Proxy, loaded, async |config, files, watchdog, rereads| {
        for warning in &warnings {
            tracing::warn!("{warning}");
        }
        if !passed_over.is_empty() {
            tracing::debug!("ignored, because only Nova uses them: {}", passed_over.join(", "));
        }
        serve(config, files, watchdog, rereads).await
    })
}

/// Whether it is the proxy of a cluster, and not one in front of a Nova.
pub(crate) fn is_front(config: &Config) -> bool {
    config.nova_user().is_none() && config.cluster.is_set()
}

/// What this role needs, and cannot do.
pub(crate) fn check(config: &Config) -> Result<(), String> {
    if is_front(config) {
        return Ok(());
    }
    if config.nova_user().is_none() {
        return Err("the proxy role needs a cluster or a Nova. On a host of a cluster, [cluster] etcd_endpoints is \
             set, as `serialproxy join` writes it. To replace nova-serialproxy, pass --config-file /etc/nova/nova.conf, whose \
             [service_user] or [keystone_authtoken] names a user with the role admin, or set \
             auth_url, username, password and project_name in [nova]. To serve the guests of this \
             machine, use `serialproxy serve`"
            .into());
    }
    check_nova_user(config)?;
    if config.consoleauth.single_use {
        return Err("[consoleauth] single_use is not possible with Nova's tokens: remove it".into());
    }
    if config.serial_console.tls_required {
        return Err(
            "[serial_console] tls_required is not possible: Nova's serial ports use plain TCP. \
             Remove it"
                .into(),
        );
    }
    Ok(())
}

/// As [`crate::roles::serve`], without an API and guests; alone, or with other proxies.
async fn serve(
    config: Config,
    files: Files,
    watchdog: Watchdog,
    rereads: Rereads,
) -> anyhow::Result<()> {
    let shutdown = shutdown_on_signal()?;
    let recorded = config.serial_console.record.place.is_some();
    let connections = limits::raise(recorded).context("the limit of open files")?;
    let daemon = config.serial_console.daemon;
    let nova = Nova::new(&config)?.context("no service user for Nova is configured")?;
    let nova = nova.with_health(watchdog.health());
    let several = Several::join(&config, &shutdown).await?;
    // Users who come by themselves, and those whom other proxies pass on.
    let connections = if several.is_some() { connections / 2 } else { connections };
    let listener = listen_for_users(&config.serial_console).await?.into_std()?;
    let address = listener.local_addr()?;
    let monitoring = Monitoring::listen(&config).await?;
    // Written after bind, so that only the port's owner claims the pid file.
    let _pid = files.pid.as_deref().map(PidFile::write).transpose()?;
    let audit = audit::start(&config)?;
    let end = CancellationToken::new();
    let _end = end.clone().drop_guard();
    let handshakes = cores::handshakes(&end, &watchdog).context("the program cannot start")?;
    let users = tls::users(&config, &handshakes)?;
    let tls =
        Tls { users: users.reception.clone(), api: tls::relay(&config, &Listening::plain())? };

    let cores = cores::start(&end, &watchdog).context("the program cannot start")?;
    let hypervisors = Hypervisors::load(&config.serial_console)?;
    let lines = Lines::new(settings(&config, hypervisors.as_deref(), &audit), cores);
    let tokens = NovaTokens::new(nova, &config);
    tokio::spawn(Arc::clone(&tokens).log_in());
    let neighbors = several.as_ref().map(Several::neighbors);
    let targets = Arc::new(Targets::new(tokens, neighbors, lines.clone(), &config));
    let backing = Backing::Nova(Arc::clone(&targets));
    let proxy = Proxy::new(Arc::new(config), lines.clone(), backing, tls)
        .context("[serial_console] record: cannot record sessions there")?
        .with_health(watchdog.health());
    let proxy = Arc::new(match &several {
        Some(several) => proxy.with_drain(several.drained()),
        None => proxy,
    });

    let watched = several.as_ref().map(Several::watched).unwrap_or_default();
    let watched = Watched { lines: Some(lines.clone()), ..watched };
    let watched = watched.with_certificate(Of::Proxy, users.certificate.as_ref());
    let mut ready = format!("proxy={}://{address}", users.scheme());
    let mut beside = None;
    if let Some(several) = several {
        ready = format!("{ready} cluster={}", several.address);
        beside = Some(several.serve(&proxy, connections, &audit, &shutdown)?);
    }
    ready.push_str(&monitoring.ready());
    monitoring.serve(monitor(watched, &audit, watchdog.health()), &shutdown);
    let renewal = Renewal { users: users.certificate, hypervisors, ..Renewal::default() };
    tokio::spawn(renewal.run(rereads, audit.clone()));
    say_ready(&ready, daemon)?;
    let served = tokio::select! {
        served = proxy.serve(listener, connections, shutdown) => served,
        never = targets.remove_unused() => match never {},
    };
    let closed = close(&lines).await;
    audit::finish(audit).await;
    served.context("users cannot be served")?;
    match beside {
        Some(beside) => beside.finish(closed).await,
        None => Ok(()),
    }
}
