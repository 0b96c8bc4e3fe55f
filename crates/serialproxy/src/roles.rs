//! What the roles of the program have in common: how they start, say that they are ready, and end.

pub(crate) mod api;
pub(crate) mod compute;
mod front;
pub(crate) mod proxy;
pub(crate) mod serve;
mod several;

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use serialproxy_api::Auth;
use serialproxy_api::Keystone;
use serialproxy_api::Local;
use serialproxy_audit::Audit;
use serialproxy_config::Config;
use serialproxy_config::Loaded;
use serialproxy_config::Role;
use serialproxy_config::Sources;
use serialproxy_config::values;
use serialproxy_config::values::AuthStrategy;
use serialproxy_grants::Grants;
use serialproxy_line::Claims;
use serialproxy_line::Lines;
use serialproxy_line::RawLag;
use serialproxy_line::SessionPlaces;
use serialproxy_line::Settings;
use serialproxy_proto::health::Health;
use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;
use tokio_util::sync::CancellationToken;

use crate::complain;
use crate::daemon;
use crate::daemon::Files;
use crate::hypervisors::Hypervisors;
use crate::logging;
use crate::monitoring;
use crate::notify;
use crate::options::ServerArgs;
use crate::passed;
use crate::reload;
use crate::reload::Reload;
use crate::reload::Rereads;
use crate::reload::Signals;
use crate::state;
use crate::watchdog::Watchdog;

/// Name of the threads of the runtime that is no line's.
const WORKERS: &str = "workers";

/// How long the end waits for each of two: what sessions need to resume is written, and ports are let go.
const CLOSE: Duration = Duration::from_secs(1);

/// Runs a role until it ends, in the background where the configuration says so.
fn start<F>(
    args: &ServerArgs,
    as_role: Role,
    loaded: Loaded,
    role: impl FnOnce(Config, Files, Watchdog, Rereads) -> F,
) -> ExitCode
where
    F: Future<Output = anyhow::Result<()>>,
{
    let files = Files::new(args, &loaded.config);
    if loaded.config.serial_console.daemon && !args.detached {
        return daemon::start(&files);
    }
    let logs = files.log.is_some();
    let ended = run_here(reload::absolute(args.sources(as_role)), loaded, files, role);
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
    sources: Sources,
    loaded: Loaded,
    files: Files,
    role: impl FnOnce(Config, Files, Watchdog, Rereads) -> F,
) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<()>>,
{
    passed::take_over()?;
    let config = loaded.config.clone();
    if files.are_below(&config.state_dir) {
        state::make(&config.state_dir)?;
    }
    let filter = logging::start(&config, files.log.as_deref()).with_context(|| {
        let log = files.log.as_deref().unwrap_or_else(|| Path::new("stderr"));
        format!("cannot write the log {}", log.display())
    })?;
    if config.serial_console.daemon {
        daemon::leave_terminal()?;
    }
    monitoring::note_start();
    let watchdog = Watchdog::start().context("the program cannot start")?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().thread_name(WORKERS).enable_all().build();
    let runtime = runtime.context("the program cannot start")?;
    watchdog.watch(WORKERS, runtime.handle());
    let signals = runtime.block_on(async { Signals::new() }).context("the program cannot start")?;
    let (reload, rereads) = Reload::new(sources, loaded, filter);
    runtime.spawn(reload.follow(signals));
    let role = Box::pin(role(config, files, watchdog.clone(), rereads));
    runtime.block_on(watchdog.watch_main(role))
}

fn shutdown_on_signal() -> anyhow::Result<CancellationToken> {
    let shutdown = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stop = shutdown.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            // By the program itself.
            () = stop.cancelled() => {}
        }
        tracing::info!("stopping");
        notify::stopping();
        stop.cancel();
    });
    Ok(shutdown)
}

fn settings(config: &Config, hypervisors: Option<&Hypervisors>, audit: &Audit) -> Settings {
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
        audit: audit.clone(),
        tls: hypervisors.map(Hypervisors::current),
    }
}

/// Says so, and then is a daemon for good, if it is to be one.
fn say_ready(addresses: &str, daemon: bool) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "serialproxy ready {addresses}")?;
    stdout.flush()?;
    drop(stdout);
    passed::refuse_rest();
    notify::ready(addresses);
    if daemon {
        daemon::let_go_of_stdio().context("/dev/null")?;
    }
    Ok(())
}

/// Lets go of all ports; false where that takes too long.
async fn close(lines: &Lines) -> bool {
    let closed = tokio::time::timeout(CLOSE, lines.close()).await.is_ok();
    tracing::info!("stopped");
    closed
}

/// What the service user for Nova lacks, if one is named.
fn check_nova_user(config: &Config) -> Result<(), String> {
    let lacking = config.nova_user().and_then(|(group, auth)| Some((group, auth.missing()?)));
    lacking.map_or(Ok(()), |(group, option)| {
        Err(format!("[{group}] names the service user for Nova, but does not set {option}: set it"))
    })
}

/// The authentication backend.
fn auth(config: &Config, grants: &Grants, health: Health) -> anyhow::Result<Auth> {
    if config.api.auth_strategy == AuthStrategy::Noauth && !config.api.listen.is_local() {
        let listen = &config.api.listen.host;
        tracing::warn!(
            listen,
            "[api] noauth_anywhere: everyone who reaches the API is an administrator"
        );
    }
    Ok(match config.api.auth_strategy {
        AuthStrategy::Noauth => Auth::Noauth,
        AuthStrategy::Token => local(config, grants)?.into(),
        AuthStrategy::Keystone => keystone(config)?.with_health(health).into(),
        AuthStrategy::HttpBasic => local(config, grants)?.with_basic()?.into(),
    })
}

fn keystone(config: &Config) -> anyhow::Result<Keystone> {
    let auth = &config.keystone_authtoken;
    if let Some(option) = auth.missing() {
        anyhow::bail!(
            "[keystone_authtoken] {option} is not set: [api] auth_strategy = keystone needs it"
        );
    }
    Keystone::new(auth).context("[keystone_authtoken]")
}

fn local(config: &Config, grants: &Grants) -> anyhow::Result<Local> {
    let admin = serialproxy_api::admin_token(&config.state_dir).context("the admin token")?;
    Ok(Local::new(admin, grants.clone(), config.api.token_lifetime))
}
