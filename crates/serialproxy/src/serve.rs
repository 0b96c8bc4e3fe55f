//! `serialproxy serve`: every role in one process.

use std::fs::DirBuilder;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use serialproxy_api::Api;
use serialproxy_api::Auth;
use serialproxy_api::Callers;
use serialproxy_api::Keystone;
use serialproxy_api::Local;
use serialproxy_compute::Manager;
use serialproxy_config::Config;
use serialproxy_config::Role;
use serialproxy_config::values;
use serialproxy_config::values::ApiAddress;
use serialproxy_config::values::AuthStrategy;
use serialproxy_grants::Grants;
use serialproxy_ledger::Ledger;
use serialproxy_line::Claims;
use serialproxy_line::Lines;
use serialproxy_line::RawLag;
use serialproxy_line::SessionPlaces;
use serialproxy_line::Settings;
use serialproxy_proxy::Backing;
use serialproxy_proxy::Proxy;
use serialproxy_proxy::Tls;
use serialproxy_tls::Reception;
use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;
use tokio_util::sync::CancellationToken;

use crate::complain;
use crate::config;
use crate::cores;
use crate::daemon;
use crate::daemon::Files;
use crate::daemon::PidFile;
use crate::hypervisors::Hypervisors;
use crate::limits;
use crate::listen::Prefer;
use crate::listen::listen;
use crate::listen::listen_for_users;
use crate::listen::reachable;
use crate::logging;
use crate::options::ServerArgs;
use crate::tls;
use crate::watchdog::Watchdog;

pub(crate) const HELP: &str = "\
Without a configuration file, consoles of all guests of qemu:///system are served on this machine.
When ready, stdout gets one line: serialproxy ready api=http://H:P proxy=http://H:P
(https where there is a certificate).

Example:
  serialproxy serve --config-file /etc/serialproxy/serialproxy.conf";

/// Name of the threads of the runtime that is no line's.
const WORKERS: &str = "workers";

/// How long ports have to be let go at the end.
const CLOSE: Duration = Duration::from_secs(1);

pub(crate) fn run(args: &ServerArgs) -> ExitCode {
    match config::load(args, Role::Serve) {
        Ok(loaded) => start(args, loaded.config, serve),
        Err(code) => code,
    }
}

/// Runs a role until it ends, in the background where the configuration says so.
pub(crate) fn start<F>(
    args: &ServerArgs,
    config: Config,
    role: impl FnOnce(Config, Files, Watchdog) -> F,
) -> ExitCode
where
    F: Future<Output = anyhow::Result<()>>,
{
    let files = Files::new(args, &config);
    if config.serial_console.daemon && !args.detached {
        return daemon::start(&files);
    }
    let logs = files.log.is_some();
    let ended = run_here(config, files, role);
    if let Err(error) = &ended
        && logs
    {
        tracing::error!("{error:#}");
    }
    let is_read = logging::flush();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Whoever does not read the log on stderr does not read this either.
            if logs || is_read {
                complain(&format!("{error:#}"));
            }
            ExitCode::FAILURE
        }
    }
}

fn run_here<F>(
    config: Config,
    files: Files,
    role: impl FnOnce(Config, Files, Watchdog) -> F,
) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<()>>,
{
    if files.are_below(&config.state_dir) {
        make_state_dir(&config.state_dir)?;
    }
    logging::start(config.debug, files.log.as_deref()).with_context(|| {
        let log = files.log.as_deref().unwrap_or_else(|| Path::new("stderr"));
        format!("the log {} cannot be written", log.display())
    })?;
    if config.serial_console.daemon {
        daemon::leave_terminal()?;
    }
    let watchdog = Watchdog::start().context("the program cannot start")?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().thread_name(WORKERS).enable_all().build();
    let runtime = runtime.context("the program cannot start")?;
    watchdog.watch(WORKERS, runtime.handle());
    let role = Box::pin(role(config, files, watchdog.clone()));
    runtime.block_on(watchdog.watch_main(role))
}

/// Everything that can fail comes first, in the order of who needs whom; then all roles serve
/// until a signal.
async fn serve(mut config: Config, files: Files, watchdog: Watchdog) -> anyhow::Result<()> {
    let shutdown = shutdown_on_signal()?;
    // From the beginning: it ends a process that does not wait for it.
    let hangup = signal(SignalKind::hangup())?;
    let recorded = config.serial_console.record.place.is_some();
    let connections = limits::raise(recorded).context("the limit of open files")?;
    make_state_dir(&config.state_dir)?;
    let _lock = lock_state_dir(&config.state_dir)?;
    let _pid = files.pid.as_deref().map(PidFile::write).transpose()?;
    let daemon = config.serial_console.daemon;
    let file = config.state_dir.join("serialproxy.sqlite");
    let (ledger, grants) = (Arc::new(Ledger::open(&file)?), Grants::open(&file)?);
    let auth = auth(&config, &grants)?;
    let api_listener = listen(&config.api.listen, Prefer::V4, "[api] listen").await?;
    let health_listener = match &config.api.metrics_listen {
        Some(to) => Some(listen(to, Prefer::V4, "[api] metrics_listen").await?),
        None => None,
    };
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
    let lines = Lines::new(settings(&config, hypervisors.as_deref()), cores);
    let compute = Manager::start(&config, ledger, lines.clone());
    let per_address = config.limits.connections_per_address;
    let from = || Callers::new(per_address, config.proxy.trusted_proxies.clone());
    let (api_from, health_from) = (from(), from());
    // The lines know where their ports are.
    config.static_lines = Vec::new();
    let config = Arc::new(config);
    let api = Api::new(compute.clone(), grants.clone(), &config, auth);
    let api = Arc::new(api.with_health(watchdog.health()));
    let router = serialproxy_api::router(&api);
    let stop = || shutdown.clone().cancelled_owned();
    let health = health_listener.map(|listener| {
        let (plain, router) = (Reception::plain(), serialproxy_api::health_router(&api));
        tokio::spawn(serialproxy_api::serve(listener, plain, health_from, router, stop()))
    });
    let health = async {
        if let Some(served) = health {
            let _ = served.await;
        }
    };
    let tls = Tls { users: users.reception.clone(), api: relay };
    let backing = Backing::Own { grants: grants.clone(), compute };
    let proxy = Proxy::new(config, lines.clone(), backing, tls)
        .context("[serial_console] record: sessions cannot be recorded there")?;

    let ready = format!(
        "api={}://{} proxy={}://{}",
        callers.scheme(),
        addresses.0,
        users.scheme(),
        addresses.1
    );
    let certificates = [users.certificate, callers.certificate];
    tokio::spawn(tls::renew(certificates, hypervisors, hangup));
    // Not on this thread, so that `/healthz` is answered when it hangs.
    let called = serialproxy_api::serve(api_listener, callers.reception, api_from, router, stop());
    let called = tokio::spawn(called);
    let roles = async {
        tokio::join!(
            called,
            health,
            proxy.serve(proxy_listener, connections, shutdown.clone()),
            serialproxy_api::purge_tokens(grants, shutdown.cancelled()),
        )
    };
    say_ready(&ready, daemon)?;
    let (_, (), served, _) = roles.await;
    close(&lines).await;
    served.context("users cannot be served")
}

/// Who is asked who someone is.
fn auth(config: &Config, grants: &Grants) -> anyhow::Result<Auth> {
    if config.api.auth_strategy == AuthStrategy::Noauth && !config.api.listen.is_local() {
        let listen = &config.api.listen.host;
        tracing::warn!(
            listen,
            "[api] noauth_anywhere: everyone who reaches it is an administrator"
        );
    }
    Ok(match config.api.auth_strategy {
        AuthStrategy::Noauth => Auth::Noauth,
        AuthStrategy::Token => local(config, grants)?.into(),
        AuthStrategy::Keystone => keystone(config)?.into(),
        AuthStrategy::HttpBasic => local(config, grants)?.with_basic()?.into(),
    })
}

fn keystone(config: &Config) -> anyhow::Result<Keystone> {
    let auth = &config.keystone_authtoken;
    for (option, is_set) in [
        ("auth_url", auth.auth_url.is_some()),
        ("username", auth.username.is_some()),
        ("password", auth.password.is_some()),
    ] {
        anyhow::ensure!(
            is_set,
            "[keystone_authtoken] {option} is not set: [api] auth_strategy = keystone needs it"
        );
    }
    Keystone::new(auth).context("[keystone_authtoken]")
}

fn local(config: &Config, grants: &Grants) -> anyhow::Result<Local> {
    let admin = serialproxy_api::admin_token(&config.state_dir).context("the admin token")?;
    Ok(Local::new(admin, grants.clone(), config.api.token_lifetime))
}

/// Lets go of all ports.
pub(crate) async fn close(lines: &Lines) {
    let _ = tokio::time::timeout(CLOSE, lines.close()).await;
    tracing::info!("stopped");
}

pub(crate) fn settings(config: &Config, hypervisors: Option<&Hypervisors>) -> Settings {
    Settings {
        history_head: config.line.history_head,
        history_tail: config.line.history_tail,
        input_in_flight: config.line.input_in_flight,
        grace: config.session.grace,
        pen_request_timeout: config.session.pen_request_timeout,
        raw_lag: match config.session.raw_lag {
            values::RawLag::Close => RawLag::Close,
            values::RawLag::Skip => RawLag::Skip,
        },
        places: SessionPlaces::new(
            config.limits.sessions_per_user as usize,
            config.limits.sessions_per_address as usize,
        ),
        claims: Arc::new(Claims::new(&config.line.claims)),
        tls: hypervisors.map(Hypervisors::current),
    }
}

pub(crate) fn shutdown_on_signal() -> anyhow::Result<CancellationToken> {
    let shutdown = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stop = shutdown.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping");
        stop.cancel();
    });
    Ok(shutdown)
}

/// Locks the state directory: two processes on one state would each take the other's guests for their
/// own.
fn lock_state_dir(directory: &Path) -> anyhow::Result<File> {
    let path = directory.join("lock");
    // Who else could open it could lock it, and keep the program from starting.
    let lock = File::options().write(true).create(true).truncate(false).mode(0o600).open(&path);
    let lock = lock.with_context(|| format!("{} cannot be written", path.display()))?;
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive).with_context(
        || {
            format!(
                "another serialproxy uses {}: stop it, or choose another --state-dir",
                directory.display()
            )
        },
    )?;
    Ok(lock)
}

/// Makes the state directory, which only its owner lists.
fn make_state_dir(directory: &Path) -> anyhow::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o711)
        .create(directory)
        .with_context(|| format!("the state directory {} cannot be made", directory.display()))
}

/// Says so, and then is a daemon for good, if it is to be one.
pub(crate) fn say_ready(addresses: &str, daemon: bool) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "serialproxy ready {addresses}")?;
    stdout.flush()?;
    drop(stdout);
    if daemon {
        daemon::let_go_of_stdio().context("/dev/null")?;
    }
    Ok(())
}
