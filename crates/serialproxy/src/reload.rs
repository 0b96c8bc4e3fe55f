//! The configuration of a role that runs: SIGHUP reads it again, and SIGUSR1 turns debug messages on and off.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::path::PathBuf;

use serialproxy_config::Loaded;
use serialproxy_config::Setting;
use serialproxy_config::Sources;
use serialproxy_config::values::LogLevel;
use tokio::signal::unix::Signal;
use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;
use tokio::sync::mpsc;

use crate::logging::Filter;
use crate::notify;

/// Options that take effect at once.
const AT_ONCE: [(&str, &str); 2] = [("DEFAULT", "debug"), ("DEFAULT", "log_level")];

/// What SIGHUP and SIGUSR1 mean to a role.
#[derive(Debug)]
pub(crate) struct Reload {
    sources: Sources,
    /// What the role started with.
    started: Loaded,
    /// The configuration that was read last without an error.
    taken: Loaded,
    /// Whether SIGUSR1 replaced its log level.
    toggled: bool,
    filter: Filter,
    role: mpsc::Sender<Reread>,
}

/// What became of the configuration at a SIGHUP.
#[derive(Debug)]
pub(crate) enum Reread {
    /// It is taken: the options of which another value is in effect now.
    Taken(Vec<String>),
    /// It has an error, and nothing is changed.
    Rejected,
}

/// Tells the role of each SIGHUP, also of those that came before it was ready.
pub(crate) type Rereads = mpsc::Receiver<Reread>;

/// SIGHUPs that wait until the role is ready.
const WAITING: usize = 8;

/// The two signals, waited for from the beginning: each ends a process that does not wait for it.
#[derive(Debug)]
pub(crate) struct Signals {
    hangup: Signal,
    user: Signal,
}

/// The same sources, also from another directory.
pub(crate) fn absolute(sources: Sources) -> Sources {
    let absolute = |paths: Vec<PathBuf>| {
        let paths = paths.into_iter();
        paths.map(|path| std::path::absolute(&path).unwrap_or(path)).collect()
    };
    Sources {
        files: absolute(sources.files),
        directories: absolute(sources.directories),
        state_dir: sources.state_dir.map(|path| std::path::absolute(&path).unwrap_or(path)),
        ..sources
    }
}

impl Signals {
    /// Must be called in a runtime.
    pub(crate) fn new() -> std::io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            user: signal(SignalKind::user_defined1())?,
        })
    }
}

impl Reload {
    /// `sources` as they were before a daemon left its directory; see [`absolute`].
    pub(crate) fn new(sources: Sources, started: Loaded, filter: Filter) -> (Self, Rereads) {
        let (role, rereads) = mpsc::channel(WAITING);
        let taken = started.clone();
        (Self { sources, started, taken, toggled: false, filter, role }, rereads)
    }

    /// Obeys the signals. Never ends.
    pub(crate) async fn follow(mut self, mut signals: Signals) {
        loop {
            tokio::select! {
                Some(()) = signals.hangup.recv() => {
                    notify::reloading();
                    let reread = self.read().await;
                    // A role that has ended needs it no more.
                    let _ = self.role.send(reread).await;
                }
                Some(()) = signals.user.recv() => self.toggle(),
                else => return,
            }
        }
    }

    fn toggle(&mut self) {
        self.toggled = !self.toggled;
        let level = match (self.toggled, self.taken.config.log_level()) {
            (false, level) => level,
            (true, LogLevel::Debug) => LogLevel::Info,
            (true, _) => LogLevel::Debug,
        };
        self.filter.set(level);
        tracing::warn!(
            ?level,
            "SIGUSR1: the log level is changed until the next SIGUSR1 or SIGHUP"
        );
    }

    /// Reads the configuration again. One with errors changes nothing.
    async fn read(&mut self) -> Reread {
        let sources = self.sources.clone();
        // Files may be on another machine.
        let read = tokio::task::spawn_blocking(move || serialproxy_config::load(&sources)).await;
        let loaded = match read {
            Ok(Ok(loaded)) => loaded,
            Ok(Err(error)) => {
                for problem in error.problems {
                    tracing::error!(%problem, "SIGHUP: the configuration is not changed");
                }
                return Reread::Rejected;
            }
            Err(error) => {
                tracing::error!(%error, "SIGHUP: the configuration could not be read");
                return Reread::Rejected;
            }
        };
        self.toggled = false;
        self.filter.set(loaded.config.log_level());
        match later(&self.started, &loaded).as_slice() {
            [] => tracing::info!("SIGHUP: the configuration was read again"),
            later => tracing::warn!(
                options = later.join(", "),
                "SIGHUP: the configuration was read again; these options take effect at the next \
                 start"
            ),
        }
        let at_once = changed(&self.taken, &loaded).filter(|option| AT_ONCE.contains(option));
        let taken = at_once.map(named).collect();
        self.taken = loaded;
        Reread::Taken(taken)
    }
}

/// Options that take effect at the next start and have another value than at the start.
fn later(started: &Loaded, now: &Loaded) -> Vec<String> {
    let later = changed(started, now).filter(|option| !AT_ONCE.contains(option));
    let mut names: Vec<_> = later.map(named).collect();
    let mut same_level = now.config.clone();
    same_level.debug = started.config.debug;
    same_level.log_level = started.config.log_level;
    if names.is_empty() && same_level != started.config {
        names.push("a password".into());
    }
    names
}

type Name = (&'static str, &'static str);

fn named((group, name): Name) -> String {
    format!("[{group}] {name}")
}

/// Options that have another value.
fn changed(before: &Loaded, after: &Loaded) -> impl Iterator<Item = Name> {
    let (before, after) = (values(&before.settings), values(&after.settings));
    let names = before.keys().chain(after.keys()).copied().collect::<BTreeSet<_>>();
    names.into_iter().filter(move |name| before.get(name) != after.get(name))
}

type Values<'a> = BTreeMap<Name, Vec<Option<&'a str>>>;

fn values(settings: &[Setting]) -> Values<'_> {
    let mut values = Values::new();
    for Setting { group, option, value, .. } in settings {
        values.entry((*group, *option)).or_default().push(value.as_deref());
    }
    values
}
