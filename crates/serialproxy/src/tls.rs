//! TLS for users, for the API's callers, and for the proxy's calls to the API.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use anyhow::anyhow;
use rustls::ClientConfig;
use serialproxy_audit::Audit;
use serialproxy_audit::EventName;
use serialproxy_config::Config;
use serialproxy_config::values::SerialConsole;
use serialproxy_config::values::TlsVersion;
use serialproxy_tls::Certificate;
use serialproxy_tls::Files;
use serialproxy_tls::Handshakes;
use serialproxy_tls::Policy;
use serialproxy_tls::Reception;
use serialproxy_tls::Version;
use tokio::time::MissedTickBehavior;

use crate::hypervisors::Hypervisors;
use crate::notify;
use crate::reload::Reread;
use crate::reload::Rereads;

/// How often the files of certificates are checked.
const LOOK: Duration = Duration::from_secs(10);

/// A listener's TLS.
#[derive(Debug)]
pub(crate) struct Listening {
    pub(crate) reception: Reception,
    pub(crate) certificate: Option<Arc<Certificate>>,
}

/// TLS for users. As in Nova's proxy, users connect without TLS where no certificate is set and there is none
/// in the default place.
pub(crate) fn users(config: &Config, handshakes: &Handshakes) -> anyhow::Result<Listening> {
    let SerialConsole { cert, key, ssl_only, base_url, .. } = &config.serial_console;
    if !config.serial_console.has_certificate() {
        tracing::warn!(
            cert = %cert.display(),
            "users connect without TLS, because there is no certificate: `serialproxy tls \
             self-signed` creates one"
        );
        return Ok(Listening::plain());
    }
    if let Some(base_url) = base_url
        && *ssl_only
        && ["http:", "ws:"].iter().any(|scheme| base_url.starts_with(scheme))
    {
        tracing::warn!(
            %base_url,
            "[serial_console] ssl_only is set, but base_url has a scheme without TLS: use https \
             or wss"
        );
    }
    let files = Files { cert: cert.clone(), key: key.clone() };
    let certificate = Certificate::load(files).map_err(|error| {
        anyhow!(
            "[serial_console] cert: {error}; correct it, or set `cert =` to let users connect without TLS"
        )
    })?;
    Listening::with(certificate, config, *ssl_only, handshakes)
}

/// TLS for the API's callers.
pub(crate) fn api(config: &Config, handshakes: &Handshakes) -> anyhow::Result<Listening> {
    let Some(cert) = config.api.cert.clone() else { return Ok(Listening::plain()) };
    let files = Files { cert, key: config.api.key.clone() };
    let certificate = Certificate::load(files).context("[api] cert")?;
    Listening::with(certificate, config, config.api.ssl_only, handshakes)
}

/// How the proxy verifies the API; an API in this process by its own certificate.
pub(crate) fn relay(config: &Config, own: &Listening) -> anyhow::Result<Option<Arc<ClientConfig>>> {
    let trust = match (&config.proxy.api, &own.certificate) {
        (Some(api), _) if api.tls => serialproxy_tls::trusting(config.proxy.cafile.as_deref()),
        (None, Some(certificate)) => serialproxy_tls::trusting_only(Arc::clone(certificate)),
        _ => return Ok(None),
    };
    Ok(Some(Arc::new(trust.context("[proxy] api_url")?)))
}

impl Listening {
    pub(crate) fn plain() -> Self {
        Self { reception: Reception::plain(), certificate: None }
    }

    fn with(
        certificate: Certificate,
        config: &Config,
        only: bool,
        handshakes: &Handshakes,
    ) -> anyhow::Result<Self> {
        let certificate = Arc::new(certificate);
        let policy = Policy {
            minimum: match config.console.ssl_minimum_version {
                TlsVersion::Tls12 => Version::Tls12,
                TlsVersion::Tls13 => Version::Tls13,
            },
            ciphers: config.console.ssl_ciphers.clone(),
        };
        let reception =
            Reception::new(Arc::clone(&certificate), &policy, only, handshakes.clone())?;
        Ok(Self { reception, certificate: Some(certificate) })
    }

    /// The beginning of a URL of the listener.
    pub(crate) fn scheme(&self) -> &'static str {
        if self.certificate.is_some() { "https" } else { "http" }
    }
}

/// The certificates that a role reads again.
#[derive(Debug, Default)]
pub(crate) struct Renewal {
    /// That for users.
    pub(crate) users: Option<Arc<Certificate>>,
    /// That for the API's callers.
    pub(crate) api: Option<Arc<Certificate>>,
    /// Those for TLS to hypervisors.
    pub(crate) hypervisors: Option<Arc<Hypervisors>>,
}

/// Why `config.reloaded` is recorded: another configuration, or another certificate, is in effect.
const CONFIGURATION: &str = "configuration";
const CERTIFICATE: &str = "certificate";

impl Renewal {
    /// Reads certificates again at each SIGHUP, and when their files have changed, and records what is in
    /// effect. Never ends.
    pub(crate) async fn run(self, mut rereads: Rereads, audit: Audit) {
        let renewal = Arc::new(self);
        let mut clock = tokio::time::interval(LOOK);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let reread = tokio::select! {
                Some(reread) = rereads.recv() => Some(reread),
                _ = clock.tick() => None,
            };
            let is_asked = reread.is_some();
            if let Some(Reread::Taken(options)) = reread {
                record(&audit, CONFIGURATION, &options.join(", "));
            }
            let reading = Arc::clone(&renewal);
            // The files may be on another machine.
            let read = tokio::task::spawn_blocking(move || reading.read(is_asked)).await;
            for option in read.unwrap_or_default() {
                record(&audit, CERTIFICATE, option);
            }
            if is_asked {
                notify::reloaded();
            }
        }
    }

    /// The options whose certificates are other ones now.
    fn read(&self, is_asked: bool) -> Vec<&'static str> {
        type Read = (fn(&Certificate) -> bool, fn(&Hypervisors) -> bool);
        let (read, read_hypervisors): Read = match is_asked {
            true => (Certificate::reload, Hypervisors::reload),
            false => (Certificate::reload_if_changed, Hypervisors::reload_if_changed),
        };
        let options = [
            ("[serial_console] cert", self.users.as_deref().is_some_and(read)),
            ("[api] cert", self.api.as_deref().is_some_and(read)),
            (
                "[serial_console] tls_ca_certs",
                self.hypervisors.as_deref().is_some_and(read_hypervisors),
            ),
        ];
        options.into_iter().filter(|(_, is_other)| *is_other).map(|(option, _)| option).collect()
    }
}

/// Records that other values of these options are in effect.
fn record(audit: &Audit, what: &str, options: &str) {
    let event = audit.event(EventName::ConfigReloaded).cause(what);
    audit.record(match options {
        "" => event,
        options => event.target(options),
    });
}
