//! What every role tells those who watch over it, at `[api] metrics_listen` and, where it has an API, there.

use std::sync::Arc;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use jiff::Timestamp;
use rustix::process::Resource;
use rustix::process::getrlimit;
use serialproxy_api::Callers;
use serialproxy_api::Monitor;
use serialproxy_audit::Audit;
use serialproxy_cluster::Directory;
use serialproxy_config::Config;
use serialproxy_metrics as metrics;
use serialproxy_metrics::Certificate as Of;
use serialproxy_proto::health::Health;
use serialproxy_tls::Certificate;
use serialproxy_tls::Reception;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::checks::Watched;
use crate::listen::listen_for_metrics;

/// The listener of `[api] metrics_listen`, if it is set.
pub(crate) struct Monitoring {
    listener: Option<TcpListener>,
    callers: Callers,
}

impl Monitoring {
    /// Listens.
    ///
    /// # Errors
    ///
    /// In words, which name the option.
    pub(crate) async fn listen(config: &Config) -> anyhow::Result<Self> {
        let listener = listen_for_metrics(&config.api).await?;
        let trusted = config.proxy.trusted_proxies.clone();
        let callers = Callers::new(config.limits.connections_per_address, trusted);
        Ok(Self { listener, callers })
    }

    /// What the ready line says of it, behind the other addresses.
    pub(crate) fn ready(&self) -> String {
        let address = self.listener.as_ref().and_then(|listener| listener.local_addr().ok());
        address.map_or_else(String::new, |address| format!(" metrics=http://{address}"))
    }

    /// Answers until the shutdown.
    pub(crate) fn serve(self, monitor: Monitor, shutdown: &CancellationToken) -> JoinHandle<()> {
        let stop = shutdown.clone().cancelled_owned();
        tokio::spawn(async move {
            if let Some(listener) = self.listener {
                let router = serialproxy_api::monitor_router(monitor);
                let plain = Reception::plain();
                serialproxy_api::serve(listener, plain, self.callers, router, stop).await;
            }
        })
    }
}

/// Looks at what a role depends on from now on; what is told of it.
pub(crate) fn monitor(watched: Watched, audit: &Audit, health: Health) -> Monitor {
    let watched = Arc::new(Watched { audit: audit.clone(), ..watched });
    let (checked, said) = (Arc::clone(&watched), health.clone());
    tokio::spawn(async move { checked.check(&said).await });
    Monitor::new(health, move || measure(&watched))
}

/// Measures what is not counted as it happens.
fn measure(watched: &Watched) {
    measure_process();
    if let Some(lines) = &watched.lines {
        lines.measure();
    }
    let as_of = watched.etcd.as_ref().map(Directory::as_of);
    metrics::ETCD_WATCH_LAG.set(match as_of {
        None => f64::NAN,
        Some(Some(as_of)) if as_of.stale => {
            Timestamp::now().duration_since(as_of.time).as_secs_f64()
        }
        // What was never read has no age, and is told by `/healthz`.
        Some(_) => 0.0,
    });
    measure_certificates(watched);
}

fn measure_certificates(watched: &Watched) {
    let of_listener = |of| {
        let mut all = watched.certificates.iter();
        all.find(|(known, _)| *known == of).and_then(|(_, certificate)| expiry(certificate))
    };
    let of_host = || Some(seconds(watched.identity.as_ref()?.own().ok()?.until));
    for (of, until) in [
        (Of::Proxy, of_listener(Of::Proxy)),
        (Of::Api, of_listener(Of::Api)),
        (Of::Cluster, of_host()),
    ] {
        let left = until.map_or(f64::NAN, |until| until - seconds(SystemTime::now()));
        metrics::CERTIFICATE_SECONDS.of(of).set(left);
    }
}

fn measure_process() {
    // One of them is the directory that is read here.
    let open =
        std::fs::read_dir("/proc/self/fd").map_or(0, |files| files.count().saturating_sub(1));
    metrics::OPEN_FILES.set(open as f64);
    let most = getrlimit(Resource::Nofile).current;
    metrics::OPEN_FILES_LIMIT.set(most.map_or(f64::INFINITY, |most| most as f64));
}

/// When a certificate expires, in seconds since 1970.
fn expiry(certificate: &Certificate) -> Option<f64> {
    let shown = certificate.shown();
    serialproxy_tls::validity(shown.cert.first()?).map(|validity| seconds(validity.until))
}

fn seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// Notes when the process started.
pub(crate) fn note_start() {
    metrics::START_TIME.set(seconds(SystemTime::now()));
}
