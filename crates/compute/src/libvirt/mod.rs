//! The connection to libvirt. Only this module uses its library.
//!
//! Calls run on threads of their own, and those that only read on other threads than those that
//! change something: a QEMU that hangs blocks a call that waits for it, and a console of another
//! guest must not wait behind that. Each thread has its own connection, since libvirt before 10.3
//! loses wake-ups between threads that share one.

#![allow(unsafe_code, reason = "libvirt's callbacks are C; see `callbacks`")]

mod callbacks;
mod calls;
mod lane;
mod link;
mod open;

use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use serialproxy_metrics as metrics;
use serialproxy_metrics::Call;
use serialproxy_proto::id::ServerId;
use virt::connect::Connect;
use virt::error::Error;
use virt::error::ErrorNumber;

use self::lane::Lane;
use self::lane::NoAnswer;
use self::link::Link;
use self::open::Opener;
use crate::hypervisor::Action;
use crate::hypervisor::Domain;
use crate::hypervisor::Events;
use crate::hypervisor::HypervisorError;
use crate::hypervisor::events;

/// How long a caller waits for a call. libvirt itself gives a starting QEMU 30 s and more.
const READ: Duration = Duration::from_secs(15);
const CHANGE: Duration = Duration::from_secs(60);

const READERS: usize = 2;
const CHANGERS: usize = 4;

/// A handle to the hypervisor.
#[derive(Debug)]
pub(crate) struct Hypervisor {
    link: Arc<Link>,
    opener: Arc<Opener>,
    reads: Lane<Option<Connect>>,
    changes: Lane<Option<Connect>>,
}

impl Hypervisor {
    /// Begins to connect. If the hypervisor cannot be reached, tries again for good.
    pub(crate) fn connect(uri: &str) -> (Self, Events) {
        let (reporter, events) = events();
        let opener = Arc::new(Opener::new(uri));
        let hypervisor = Self {
            link: Link::start(Arc::clone(&opener), reporter),
            opener,
            reads: Lane::start("libvirt-read", READERS),
            changes: Lane::start("libvirt-change", CHANGERS),
        };
        (hypervisor, events)
    }

    /// Whether it can be reached, as far as is known; otherwise why not.
    pub(crate) fn reachable(&self) -> Result<(), HypervisorError> {
        self.link.down().map_or(Ok(()), |why| Err(away(&self.opener, &why)))
    }

    /// All domains, running or not.
    pub(crate) async fn domains(&self) -> Result<Vec<Domain>, HypervisorError> {
        self.call(Call::Read, calls::domains).await
    }

    /// One domain, if it exists.
    pub(crate) async fn domain(&self, id: ServerId) -> Result<Option<Domain>, HypervisorError> {
        self.call(Call::Read, move |connect| calls::domain(connect, id)).await
    }

    /// The domain with a name, if it exists.
    pub(crate) async fn find(&self, name: &str) -> Result<Option<ServerId>, HypervisorError> {
        let name = name.to_owned();
        self.call(Call::Read, move |connect| calls::find(connect, &name)).await
    }

    /// The XML of a domain's next start.
    pub(crate) async fn next_xml(&self, id: ServerId) -> Result<String, HypervisorError> {
        self.call(Call::Read, move |connect| calls::next_xml(connect, id)).await
    }

    /// Defines a domain, or changes its definition for the next start.
    pub(crate) async fn define(&self, xml: String) -> Result<(), HypervisorError> {
        self.call(Call::Change, move |connect| calls::define(connect, &xml)).await
    }

    /// Applies an action to one domain.
    pub(crate) async fn act(&self, id: ServerId, action: Action) -> Result<(), HypervisorError> {
        self.call(Call::Change, move |connect| calls::act(connect, id, action)).await
    }

    /// Sends a QMP command to a running domain's QEMU; returns the answer.
    pub(crate) async fn monitor(
        &self,
        id: ServerId,
        command: String,
    ) -> Result<String, HypervisorError> {
        self.call(Call::Change, move |connect| calls::monitor(connect, id, &command)).await
    }

    async fn call<T: Send + 'static>(
        &self,
        kind: Call,
        call: impl FnOnce(&Connect) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, HypervisorError> {
        let began = Instant::now();
        let outcome = self.call_lane(kind, call).await;
        metrics::LIBVIRT_SECONDS.of(kind).observe(began.elapsed());
        if outcome.as_ref().is_err_and(|error| !matches!(error, HypervisorError::NoDomain)) {
            metrics::LIBVIRT_ERRORS.of(kind).inc();
        }
        outcome
    }

    async fn call_lane<T: Send + 'static>(
        &self,
        kind: Call,
        call: impl FnOnce(&Connect) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, HypervisorError> {
        self.reachable()?;
        let (lane, within) = match kind {
            Call::Read => (&self.reads, READ),
            Call::Change => (&self.changes, CHANGE),
        };
        let opener = Arc::clone(&self.opener);
        let call = move |connection: &mut Option<Connect>| {
            let connect = match connection.take().filter(is_alive) {
                Some(connect) => connect,
                None => opener.open().map_err(|why| away(&opener, &why))?,
            };
            let connect = connection.insert(connect);
            call(connect).map_err(|error| {
                if is_alive(connect) { error.into() } else { away(&opener, error.message()) }
            })
        };
        lane.run(within, call).await.unwrap_or_else(|why| {
            Err(HypervisorError::Unavailable(match why {
                NoAnswer::Busy => "libvirt is slow, and too many calls are waiting for it: try \
                         again later"
                    .into(),
                NoAnswer::TimedOut => {
                    format!("libvirt did not respond within {} s", within.as_secs())
                }
                NoAnswer::Broken => "the call to libvirt failed inside this program".into(),
            }))
        })
    }
}

/// One look, over a connection of its own: the hypervisor's version, where there is one, and all domains.
/// Blocks no thread of a runtime, and a libvirt that hangs does not keep the process from ending.
///
/// # Errors
///
/// In libvirt's words.
pub(crate) async fn look(uri: &str) -> Result<(Option<u32>, Vec<Domain>), String> {
    callbacks::start_event_loop();
    let opener = Opener::new(uri);
    let (sender, looked) = tokio::sync::oneshot::channel();
    let thread = std::thread::Builder::new().name("libvirt-look".into());
    // Nobody hears it when the caller gave up meanwhile.
    let started = thread.spawn(move || drop(sender.send(look_with(&opener))));
    started.map_err(|error| error.to_string())?;
    looked.await.unwrap_or_else(|_| Err("the call to libvirt failed inside this program".into()))
}

fn look_with(opener: &Opener) -> Result<(Option<u32>, Vec<Domain>), String> {
    let connect = opener.open()?;
    let domains = calls::domains(&connect).map_err(|error| error.message().to_owned())?;
    Ok((connect.hyp_version().ok(), domains))
}

fn is_alive(connect: &Connect) -> bool {
    connect.is_alive().unwrap_or(false)
}

fn away(opener: &Opener, why: &str) -> HypervisorError {
    HypervisorError::Unavailable(format!(
        "libvirt cannot be reached at {}: {why}. Check that libvirtd is running",
        opener.uri()
    ))
}

impl From<Error> for HypervisorError {
    fn from(error: Error) -> Self {
        let text = error.message().to_owned();
        match error.code().known() {
            Some(ErrorNumber::NoDomain) => Self::NoDomain,
            Some(
                ErrorNumber::NoSupport
                | ErrorNumber::OperationUnsupported
                | ErrorNumber::ArgumentUnsupported,
            ) => Self::Unsupported(text),
            _ => Self::Failed(text),
        }
    }
}
