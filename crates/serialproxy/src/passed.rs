//! Listeners that the service manager passes to this process by name (`sd_listen_fds(3)`): those of socket
//! units, and those that a process before this one let it keep. They stay open between two processes, so that
//! whoever connects meanwhile waits for the next one.

use std::net::SocketAddr;
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use anyhow::Context;
use listenfd::ListenFd;

use crate::notify;

/// What the names of those begin with that are kept for the next process.
const KEPT: &str = "kept-";

/// Those that no role has taken yet.
static PASSED: Mutex<Vec<Passed>> = Mutex::new(Vec::new());

/// What a listener is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Purpose {
    /// Users: pages and consoles.
    Users,
    /// Callers of the API.
    Api,
    /// Who asks for health and metrics alone.
    Metrics,
    /// Other hosts of the cluster.
    Cluster,
}

impl Purpose {
    pub(crate) const ALL: [Self; 4] = [Self::Users, Self::Api, Self::Metrics, Self::Cluster];

    /// As socket units name it in `FileDescriptorName=`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Users => "proxy",
            Self::Api => "api",
            Self::Metrics => "metrics",
            Self::Cluster => "cluster",
        }
    }

    /// What sets the address, where the service manager passes no listener.
    pub(crate) fn option(self) -> &'static str {
        match self {
            Self::Users => "[serial_console] serialproxy_host and serialproxy_port",
            Self::Api => "[api] listen",
            Self::Metrics => "[api] metrics_listen",
            Self::Cluster => "[cluster] listen",
        }
    }
}

#[derive(Debug)]
struct Passed {
    purpose: Purpose,
    /// Whether a process before this one opened it, as its configuration said; else a socket unit did.
    kept: bool,
    listener: TcpListener,
}

/// Takes over what was passed. Called once, before any thread is started: it changes the environment.
///
/// # Errors
///
/// When something was passed that is no listener for a known purpose: nobody would ever accept there.
pub(crate) fn take_over() -> anyhow::Result<()> {
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    let mut all = ListenFd::from_env();
    for at in 0..all.len() {
        let name = names.next().unwrap_or_default();
        let (purpose, kept) = named(name)?;
        let listener = all.take_tcp_listener(at).ok().flatten().filter(is_listening);
        let listener = listener.with_context(|| {
            format!(
                "the service manager passes as {name} what is no listening TCP socket: set ListenStream= \
                 to an address and port in its socket unit"
            )
        })?;
        listener.set_nonblocking(true).context("a listener of the service manager")?;
        let mut passed = lock();
        anyhow::ensure!(
            kept || passed.iter().all(|other| other.kept || other.purpose != purpose),
            "the service manager passes two listeners named {name}: keep one ListenStream= in \
             the socket unit; [::]:PORT accepts IPv4 too"
        );
        passed.push(Passed { purpose, kept, listener });
    }
    Ok(())
}

/// The listener of a socket unit for this purpose.
pub(crate) fn take(purpose: Purpose) -> Option<TcpListener> {
    let mut passed = lock();
    let at = passed.iter().position(|one| !one.kept && one.purpose == purpose)?;
    Some(passed.swap_remove(at).listener)
}

/// The listener that was kept for this purpose, if it has one of these addresses. Otherwise it is of no use
/// any more.
pub(crate) fn take_kept(purpose: Purpose, addresses: &[SocketAddr]) -> Option<TcpListener> {
    let mut passed = lock();
    let is_it = |one: &mut Passed| one.kept && one.purpose == purpose;
    let kept: Vec<_> = passed.extract_if(.., is_it).collect();
    drop(passed);
    let was_kept = !kept.is_empty();
    let has_one = |listener: &TcpListener| {
        listener.local_addr().is_ok_and(|address| addresses.contains(&address))
    };
    let found = kept.into_iter().map(|one| one.listener).find(has_one);
    if was_kept && found.is_none() {
        notify::forget(&kept_name(purpose));
    }
    found
}

/// Keeps a listener beyond this process.
pub(crate) fn keep(purpose: Purpose, listener: impl AsFd) {
    notify::keep(&kept_name(purpose), listener);
}

/// Closes the listeners at which nobody accepts, and says so in the log where a socket unit opened them.
pub(crate) fn refuse_rest() {
    for Passed { purpose, kept, .. } in lock().drain(..) {
        if kept {
            notify::forget(&kept_name(purpose));
            continue;
        }
        tracing::warn!(
            name = purpose.name(),
            "the service manager passes a listener that this role does not use: disable its \
             socket unit for this service"
        );
    }
}

fn kept_name(purpose: Purpose) -> String {
    format!("{KEPT}{}", purpose.name())
}

/// The purpose that a name means, and whether it is one of those that are kept.
fn named(name: &str) -> anyhow::Result<(Purpose, bool)> {
    let (purpose, kept) = name.strip_prefix(KEPT).map_or((name, false), |name| (name, true));
    let purpose = Purpose::ALL.into_iter().find(|known| known.name() == purpose);
    let purpose = purpose.with_context(|| {
        let known = Purpose::ALL.map(Purpose::name).join(", ");
        format!(
            "the service manager passes a listener named `{}`: set FileDescriptorName= in its \
             socket unit to one of {known}",
            name.escape_debug()
        )
    })?;
    Ok((purpose, kept))
}

fn is_listening(listener: &TcpListener) -> bool {
    rustix::net::sockopt::socket_acceptconn(listener).unwrap_or_default()
}

fn lock() -> MutexGuard<'static, Vec<Passed>> {
    PASSED.lock().unwrap_or_else(PoisonError::into_inner)
}
