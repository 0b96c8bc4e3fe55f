//! What a certificate says of itself, and who would accept it.

use std::sync::Arc;
use std::time::Duration;
use std::time::SystemTime;

use rustls::CertificateError;
use rustls::Error;
use rustls::RootCertStore;
use rustls::client::danger::ServerCertVerifier;
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::client::verify_server_name;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::ServerName;
use rustls::pki_types::UnixTime;
use rustls::server::ParsedCertificate;
use rustls_platform_verifier::Verifier;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

/// When a certificate is valid.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Validity {
    /// Since when.
    pub since: SystemTime,
    /// Until when.
    pub until: SystemTime,
}

/// When a certificate is valid; none where it cannot be parsed.
pub fn validity(certificate: &CertificateDer<'_>) -> Option<Validity> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let validity = parsed.validity();
    let time = |seconds: i64| {
        SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or_default())
    };
    let (since, until) = (validity.not_before.timestamp(), validity.not_after.timestamp());
    Some(Validity { since: time(since), until: time(until) })
}

/// Whether a certificate names itself as its issuer.
pub fn is_self_signed(certificate: &CertificateDer<'_>) -> bool {
    X509Certificate::from_der(certificate)
        .is_ok_and(|(_, parsed)| parsed.issuer().as_raw() == parsed.subject().as_raw())
}

/// Whether a certificate has a name or address, as clients compare it.
///
/// # Errors
///
/// When it has other names, or cannot be parsed.
pub fn has_name(certificate: &CertificateDer<'_>, host: &str) -> Result<(), Error> {
    let name = ServerName::try_from(host).map_err(|_| CertificateError::NotValidForName)?;
    verify_server_name(&ParsedCertificate::try_from(certificate)?, &name)
}

/// Whether each certificate of a chain was issued by the next one. When they are valid does not matter.
///
/// # Errors
///
/// When one was not, or the first is not a server's.
pub fn is_chain(chain: &[CertificateDer<'_>]) -> Result<(), Error> {
    let (Some((first, _)), Some((last, before))) = (chain.split_first(), chain.split_last()) else {
        return Ok(());
    };
    if chain.len() == 1 {
        return Ok(());
    }
    let mut anchor = RootCertStore::empty();
    anchor.add(last.clone().into_owned())?;
    let between = before.get(1..).unwrap_or_default();
    let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms.all;
    let parsed = ParsedCertificate::try_from(first)?;
    // Each of them is looked at by itself, where its time is over.
    let when = chain.iter().filter_map(validity).map(|validity| validity.since).max();
    let when = when.and_then(|since| since.duration_since(SystemTime::UNIX_EPOCH).ok());
    let when = when.map_or_else(UnixTime::now, UnixTime::since_unix_epoch);
    match verify_server_cert_signed_by_trust_anchor(&parsed, &anchor, between, when, algorithms) {
        Err(error) if is_about_time(&error) => Ok(()),
        verified => verified,
    }
}

/// Whether the CA store of this host leads to the issuer of a chain.
///
/// # Errors
///
/// When it does not, or there is no such store.
pub fn system_trusts(chain: &[CertificateDer<'_>]) -> Result<(), Error> {
    let Some((first, issuers)) = chain.split_first() else { return Ok(()) };
    let verifier = Verifier::new(Arc::new(aws_lc_rs::default_provider()))?;
    let any = ServerName::IpAddress(std::net::Ipv4Addr::UNSPECIFIED.into());
    match verifier.verify_server_cert(first, issuers, &any, &[], UnixTime::now()) {
        // The name is compared last.
        Err(Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        )) => Ok(()),
        Err(error) if is_about_time(&error) => Ok(()),
        verified => verified.map(drop),
    }
}

fn is_about_time(error: &Error) -> bool {
    use CertificateError as Why;
    let Error::InvalidCertificate(why) = error else { return false };
    matches!(
        why,
        Why::Expired
            | Why::ExpiredContext { .. }
            | Why::NotValidYet
            | Why::NotValidYetContext { .. }
    )
}

#[cfg(test)]
mod tests {
    use rcgen::BasicConstraints;
    use rcgen::Certificate;
    use rcgen::CertificateParams;
    use rcgen::DnType;
    use rcgen::IsCa;
    use rcgen::Issuer;
    use rcgen::KeyPair;

    use super::*;

    fn params(name: &str, ca: bool) -> CertificateParams {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        if ca {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        params
    }

    /// A root, an intermediate CA, and a server's certificate by that.
    fn chain() -> [Certificate; 3] {
        let keys = [(); 3].map(|()| KeyPair::generate().unwrap());
        let (root_of, middle_of) = (params("root", true), params("middle", true));
        let root = root_of.self_signed(&keys[0]).unwrap();
        let issuer = Issuer::new(root_of, &keys[0]);
        let middle = middle_of.signed_by(&keys[1], &issuer).unwrap();
        let issuer = Issuer::new(middle_of, &keys[1]);
        let server = params("console.example", false).signed_by(&keys[2], &issuer).unwrap();
        [root, middle, server]
    }

    #[test]
    fn certificates_in_the_order_of_their_issuers_are_a_chain() {
        let [root, middle, server] = chain().map(|made| made.der().clone());
        is_chain(std::slice::from_ref(&server)).unwrap();
        is_chain(&[server.clone(), middle.clone()]).unwrap();
        is_chain(&[server.clone(), middle.clone(), root.clone()]).unwrap();
        is_chain(&[server.clone(), root.clone()]).unwrap_err();
        is_chain(&[middle, server]).unwrap_err();
        assert!(is_self_signed(&root));
    }

    #[test]
    fn names_are_those_of_the_certificate_and_no_others() {
        let [.., server] = chain();
        has_name(server.der(), "console.example").unwrap();
        for other in ["example", "192.0.2.1", "not a name"] {
            has_name(server.der(), other).unwrap_err();
        }
        assert!(!is_self_signed(server.der()));
    }

    #[test]
    fn nobody_s_certificate_is_trusted_by_the_system() {
        let [root, middle, server] = chain().map(|made| made.der().clone());
        system_trusts(&[server, middle, root]).unwrap_err();
    }

    #[test]
    fn times_are_those_of_the_certificate() {
        let mut params = params("a", false);
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2020, 1, 2);
        let made = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let Validity { since, until } = validity(made.der()).unwrap();
        assert_eq!(until.duration_since(since).unwrap(), Duration::from_secs(24 * 3600));
        assert!(until < SystemTime::now());
    }
}
