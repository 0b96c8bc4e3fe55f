//! Certificates: the files themselves, who issued them, for which name, and until when.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;
use std::time::SystemTime;

use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use serialproxy_cluster::Identity;
use serialproxy_cluster::IdentityError;
use serialproxy_cluster::has_own_pki;
use serialproxy_config::Config;
use serialproxy_config::values::Cluster;
use serialproxy_tls::Certificate;
use serialproxy_tls::Files;
use serialproxy_tls::Validity;

use super::Role;
use super::Subject;
use super::finding::Check;
use super::finding::Finding;
use super::url::Url;
use crate::hypervisors::Hypervisors;

/// A certificate that ends so soon is a warning.
const SOON: Duration = Duration::from_secs(14 * 24 * 3600);

/// A certificate and where the configuration names it.
struct Shown {
    option: &'static str,
    files: Files,
    /// What clients connect to, where that is known.
    host: Option<String>,
}

/// All certificates of the role.
pub(super) fn check(subject: &Subject) -> Vec<Finding> {
    let config = subject.config();
    let mut findings = Vec::new();
    if subject.has_users() {
        findings.extend(users(subject));
    }
    if subject.has_api()
        && let Some(cert) = config.api.cert.clone()
    {
        let files = Files { cert, key: config.api.key.clone() };
        findings.extend(Shown { option: "[api] cert", files, host: None }.examine());
    }
    if subject.has_guests() || subject.is_drop_in() {
        findings.extend(hypervisors(config));
    }
    if subject.in_cluster() {
        findings.extend(cluster(subject));
    }
    if let (true, Some(cafile)) = (subject.has_users(), &config.proxy.cafile)
        && let Err(error) = serialproxy_tls::certificates(cafile)
    {
        let fix = "set [proxy] cafile to a file with CA certificates (PEM)";
        findings.push(Finding::problem(Check::Certificate, error.to_string(), fix));
    }
    findings
}

fn users(subject: &Subject) -> Vec<Finding> {
    let console = &subject.config().serial_console;
    if !console.has_certificate() {
        let text = "no certificate is configured, so users connect without TLS (docs/tls.md)";
        return vec![Finding::ok(Check::Certificate, text)];
    }
    // Users of a reverse proxy see its certificate, which the check of the public URL looks at.
    let url = Url::parse(&console.console_url());
    let host = url.filter(|url| url.port == console.listen.port).map(|url| url.host);
    let files = Files { cert: console.cert.clone(), key: console.key.clone() };
    Shown { option: "[serial_console] cert", files, host }.examine()
}

impl Shown {
    fn examine(self) -> Vec<Finding> {
        let Self { option, files, host } = self;
        let key = files.key.clone().unwrap_or_else(|| files.cert.clone());
        let name = format!("{option} ({})", files.cert.display());
        let chain = match Certificate::load(files) {
            Ok(certificate) => certificate.shown().cert.clone(),
            Err(error) => {
                return vec![Finding::problem(
                    Check::Certificate,
                    format!("{option}: {error}"),
                    "put the certificate, its issuers and its unencrypted key there, in PEM, readable \
                     for the service (docs/tls.md)",
                )];
            }
        };
        let mut findings = vec![key_readers(&key)];
        let now = SystemTime::now();
        findings.extend(
            chain
                .iter()
                .filter_map(serialproxy_tls::validity)
                .min_by_key(|valid| valid.until)
                .map(|valid| life(&name, valid, now, SOON)),
        );
        findings.push(issuers(&name, &chain));
        if let (Some(host), Some(first)) = (host, chain.first()) {
            findings.push(named(&name, first, &host));
        }
        findings
    }
}

fn key_readers(key: &Path) -> Finding {
    let shown = key.display();
    match key.metadata() {
        Ok(file) if file.mode() & 0o004 != 0 => Finding::problem(
            Check::Secrets,
            format!("every user of this host can read the private key in {shown}"),
            format!("run `chmod o= {shown}`, and replace the key if somebody may have read it"),
        ),
        _ => Finding::ok(
            Check::Certificate,
            format!("the key in {shown} belongs to its certificate"),
        ),
    }
}

fn life(
    name: &str,
    Validity { since, until }: Validity,
    now: SystemTime,
    soon: Duration,
) -> Finding {
    let at =
        |time| Timestamp::try_from(time).map_or_else(|_| "?".into(), |time| format!("{time:.0}"));
    let renew = "renew it; a running service loads the new file by itself";
    let Ok(left) = until.duration_since(now) else {
        let text = format!("the certificate of {name} has expired at {}", at(until));
        return Finding::problem(Check::CertificateLife, text, renew);
    };
    if since > now {
        return Finding::problem(
            Check::CertificateLife,
            format!("the certificate of {name} is not valid before {}", at(since)),
            "set the clock of this host, or wait until then",
        );
    }
    let days = left.as_secs() / (24 * 3600);
    let text = format!("the certificate of {name} expires in {days} days, at {}", at(until));
    match left < soon {
        true => Finding::warning(Check::CertificateLife, text, renew),
        false => Finding::ok(Check::CertificateLife, text),
    }
}

fn issuers(name: &str, chain: &[CertificateDer<'_>]) -> Finding {
    if let Err(error) = serialproxy_tls::is_chain(chain) {
        return Finding::problem(
            Check::CertificateChain,
            format!("the certificates of {name} are not a chain: {error}"),
            "put the server's certificate first, and after each certificate its issuer's",
        );
    }
    if serialproxy_tls::system_trusts(chain).is_ok() {
        let text = format!("this host's CA store verifies the certificate of {name}");
        return Finding::ok(Check::CertificateChain, text);
    }
    match chain.first().is_some_and(serialproxy_tls::is_self_signed) {
        true => Finding::warning(
            Check::CertificateChain,
            format!("the certificate of {name} is self-signed: browsers warn about it"),
            "get one from a CA that users' browsers trust (docs/tls.md)",
        ),
        false => Finding::warning(
            Check::CertificateChain,
            format!(
                "this host's CA store does not lead to the issuer of the certificate of {name}"
            ),
            "append the certificates of its issuers to the file; a CA of your own has to be in the CA \
             store of this host and of users' machines",
        ),
    }
}

fn named(name: &str, certificate: &CertificateDer<'_>, host: &str) -> Finding {
    match serialproxy_tls::has_name(certificate, host) {
        Ok(()) => Finding::ok(
            Check::CertificateName,
            format!("the certificate of {name} is valid for {host}, the host of base_url"),
        ),
        Err(_) => Finding::problem(
            Check::CertificateName,
            format!(
                "the certificate of {name} is not valid for {host}, to which console URLs lead"
            ),
            "set [serial_console] base_url to a name that the certificate has, or get a certificate with \
             that name",
        ),
    }
}

/// What lines use towards QEMU's ports.
fn hypervisors(config: &Config) -> Vec<Finding> {
    let console = &config.serial_console;
    match Hypervisors::load(console) {
        Ok(None) => Vec::new(),
        Err(error) => vec![Finding::problem(
            Check::Certificate,
            format!("{error:#}"),
            "correct the files for TLS to hypervisors (docs/deploy.md)",
        )],
        Ok(Some(_)) => {
            let certificate = console.tls_client_cert.as_deref();
            let read = certificate.and_then(|path| serialproxy_tls::certificates(path).ok());
            let first = read.and_then(|all| serialproxy_tls::validity(all.first()?));
            let name = "[serial_console] tls_client_cert";
            let text = "the certificates for TLS to hypervisors can be used";
            vec![first.map_or_else(
                || Finding::ok(Check::Certificate, text),
                |valid| life(name, valid, SystemTime::now(), SOON),
            )]
        }
    }
}

/// The certificate by which the other hosts know this one.
fn cluster(subject: &Subject) -> Vec<Finding> {
    let config = subject.config();
    let loaded =
        Identity::load(&config.cluster).and_then(|identity| Ok(identity.own()?)).and_then(|own| {
            subject
                .roles()
                .iter()
                .try_for_each(|role| own.require(*role))
                .map(|()| own)
                .map_err(IdentityError::from)
        });
    let own = match loaded {
        Ok(own) => own,
        Err(error) => {
            return vec![Finding::problem(
                Check::Certificate,
                format!("[cluster] cert_file: {error}"),
                join(subject.role),
            )];
        }
    };
    let valid = Validity { since: own.since, until: own.until };
    let Cluster { cert_file, .. } = &config.cluster;
    let name = format!("[cluster] cert_file ({})", cert_file.display());
    // A host renews its own at two thirds of the time: with a sixth left, it has failed to for long.
    let whole = valid.until.duration_since(valid.since).unwrap_or_default();
    let soon = if has_own_pki(&config.cluster, &config.state_dir) { whole / 6 } else { SOON };
    vec![
        Finding::ok(
            Check::Certificate,
            format!("the cluster's hosts know this one as {} ({})", own.host, own.roles),
        ),
        life(&name, valid, SystemTime::now(), soon),
    ]
}

fn join(role: Role) -> String {
    format!(
        "run `serialproxy enroll --role {0} --replace NAME` on an api host and the command that it prints \
         here; for the first api host, run `serialproxy cluster init`",
        role.name()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Level;

    #[test]
    fn a_certificate_is_good_from_its_beginning_until_shortly_before_its_end() {
        let now = SystemTime::now();
        let day = Duration::from_secs(24 * 3600);
        for (since, until, level) in [
            (now - day, now + 90 * day, Level::Ok),
            (now - day, now + 13 * day, Level::Warning),
            (now - day, now - day / 2, Level::Problem),
            (now + day, now + 90 * day, Level::Problem),
        ] {
            assert_eq!(life("x", Validity { since, until }, now, SOON).level, level);
        }
    }
}
