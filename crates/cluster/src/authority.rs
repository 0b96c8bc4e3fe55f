//! The CA of a cluster. Api hosts have its key, and issue the hosts' certificates.

use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;
use std::time::SystemTime;

use rcgen::BasicConstraints;
use rcgen::CertificateParams;
use rcgen::CertificateSigningRequestParams;
use rcgen::CertifiedIssuer;
use rcgen::DnType;
use rcgen::ExtendedKeyUsagePurpose;
use rcgen::IsCa;
use rcgen::Issuer;
use rcgen::KeyPair;
use rcgen::KeyUsagePurpose;
use rcgen::PKCS_ECDSA_P256_SHA256;
use rcgen::PublicKey;
use rcgen::PublicKeyData;
use rcgen::SanType;
use rcgen::SerialNumber;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use sha2::Digest;
use sha2::Sha256;

use crate::code::Code;
use crate::files;
use crate::files::Readers;
use crate::peer::Peer;
use crate::peer::Serial;
use crate::peer::uri;
use crate::role::Roles;

/// Lifetime of the CA's own certificate.
const CA_LIFE: Duration = Duration::from_secs(3650 * 24 * 3600);

/// How far other hosts' clocks may be behind, if a certificate is valid for long enough.
const CLOCK_SKEW: Duration = Duration::from_secs(300);

/// Largest request for a certificate, in bytes.
pub(crate) const MAX_REQUEST: usize = 4096;

/// Why the CA cannot be made, read or used.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// A file cannot be read or written.
    #[error("{path}: {error}")]
    File {
        /// The file.
        path: PathBuf,
        /// The error.
        error: io::Error,
    },
    /// This host already has a CA.
    #[error("{0} exists: this host belongs to a cluster already")]
    Exists(PathBuf),
    /// A file contains no usable certificate or key, or a certificate cannot be made.
    #[error("the CA in {path} cannot be used: {error}")]
    Unusable {
        /// The place of the CA.
        path: PathBuf,
        /// The error.
        error: rcgen::Error,
    },
    /// Keys cannot be made.
    #[error("a key or certificate cannot be created: {0}")]
    Create(#[from] rcgen::Error),
    /// No random numbers are available.
    #[error("no random numbers are available: {0}")]
    Random(#[from] getrandom::Error),
    /// A request for a certificate cannot be used.
    #[error("the request for a certificate is not valid: {0}")]
    Request(&'static str),
}

/// The CA of a cluster.
#[derive(Debug)]
pub struct Authority {
    certificate: CertificateDer<'static>,
    certificate_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// An issued certificate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Issued {
    /// The certificate, followed by the CA's, in PEM.
    pub chain: String,
    /// Its serial number.
    pub serial: Serial,
    /// When it expires.
    pub until: SystemTime,
}

impl Authority {
    /// Makes a CA whose key is `STATE/cluster/ca-key.pem`, and whose certificate is `ca.pem` beside it.
    ///
    /// # Errors
    ///
    /// When there is a CA already, or the files cannot be written.
    pub fn create(state_dir: &Path) -> Result<Self, AuthorityError> {
        let (path, key_path) = paths(state_dir);
        for path in [&path, &key_path] {
            if path.exists() {
                return Err(AuthorityError::Exists(path.clone()));
            }
        }
        let key = KeyPair::generate()?;
        let made = CertifiedIssuer::self_signed(ca_parameters()?, &key)?;
        let ca = Self::parse(&path, made.pem(), &key.serialize_pem())?;
        ca.save(state_dir)?;
        Ok(ca)
    }

    /// Reads the CA of this host; none where this host does not have its key.
    ///
    /// # Errors
    ///
    /// When the files cannot be used.
    pub fn load(state_dir: &Path) -> Result<Option<Self>, AuthorityError> {
        let (path, key_path) = paths(state_dir);
        let is_there = key_path.try_exists();
        if !is_there.map_err(|error| AuthorityError::File { path: key_path.clone(), error })? {
            return Ok(None);
        }
        let read = |path: &Path| {
            files::read(path).map_err(|error| AuthorityError::File { path: path.into(), error })
        };
        Self::parse(&path, read(&path)?, &read(&key_path)?).map(Some)
    }

    /// The CA of these texts; `path` is for error texts.
    fn parse(path: &Path, certificate_pem: String, key: &str) -> Result<Self, AuthorityError> {
        let unusable = |error| AuthorityError::Unusable { path: path.into(), error };
        let certificate = CertificateDer::from_pem_slice(certificate_pem.as_bytes())
            .map_err(|_| unusable(rcgen::Error::CouldNotParseCertificate))?;
        let key = KeyPair::from_pem(key).map_err(unusable)?;
        let issuer = Issuer::from_ca_cert_der(&certificate, key).map_err(unusable)?;
        Ok(Self { certificate, certificate_pem, issuer })
    }

    /// Writes the files of the CA.
    fn save(&self, state_dir: &Path) -> Result<(), AuthorityError> {
        let (path, key_path) = paths(state_dir);
        let directory = state_dir.join("cluster");
        let failed = |path: &Path, error| AuthorityError::File { path: path.into(), error };
        files::make_directory(&directory, Readers::Owner)
            .map_err(|error| failed(&directory, error))?;
        files::replace(&key_path, &self.key(), Readers::Owner)
            .map_err(|error| failed(&key_path, error))?;
        files::replace(&path, &self.certificate_pem, Readers::All)
            .map_err(|error| failed(&path, error))
    }

    /// Issues the certificate of a host for a new key of its own.
    ///
    /// # Errors
    ///
    /// When no random numbers are available, or the certificate cannot be signed.
    pub fn issue(
        &self,
        host: &str,
        roles: &Roles,
        key: &impl PublicKeyData,
        life: Duration,
    ) -> Result<Issued, AuthorityError> {
        let serial = serial()?;
        let (parameters, until) = parameters(host, roles, &serial, life)?;
        let certificate = parameters.signed_by(key, &self.issuer)?;
        let chain = format!("{}{}", certificate.pem(), self.certificate_pem);
        Ok(Issued { chain, serial: Serial::of(&serial), until })
    }

    /// Issues the certificate of a host for its request (PKCS #10 in PEM). Only the key of the
    /// request is used; the name and the roles are given.
    ///
    /// # Errors
    ///
    /// When the request cannot be used, or the certificate cannot be signed.
    pub fn sign(
        &self,
        host: &str,
        roles: &Roles,
        request: &str,
        life: Duration,
    ) -> Result<Issued, AuthorityError> {
        self.issue(host, roles, &key_of(request)?, life)
    }

    /// Issues a further certificate for a host that has one, for the same key.
    ///
    /// # Errors
    ///
    /// As for [`Self::sign`], and when the request has another key.
    pub(crate) fn sign_again(
        &self,
        peer: &Peer,
        request: &str,
        life: Duration,
    ) -> Result<Issued, AuthorityError> {
        let key = key_of(request)?;
        if key.der_bytes() != peer.key {
            return Err(AuthorityError::Request("its key is not that of the host's certificate"));
        }
        self.issue(&peer.host, &peer.roles, &key, life)
    }

    /// A new code for one host.
    ///
    /// # Errors
    ///
    /// When no random numbers are available.
    pub fn code(&self) -> Result<Code, AuthorityError> {
        Ok(Code::new(self.fingerprint())?)
    }

    /// SHA-256 of its certificate. A host that joins recognizes the cluster by this.
    pub fn fingerprint(&self) -> [u8; 32] {
        fingerprint(&self.certificate)
    }

    /// Its certificate (PEM).
    pub fn certificate(&self) -> &str {
        &self.certificate_pem
    }

    /// Its private key (PEM).
    pub(crate) fn key(&self) -> String {
        self.issuer.key().serialize_pem()
    }
}

pub(crate) fn fingerprint(certificate: &CertificateDer<'_>) -> [u8; 32] {
    Sha256::digest(certificate).into()
}

/// The key of a request for a certificate (PKCS #10 in PEM). It also signs the request.
fn key_of(request: &str) -> Result<PublicKey, AuthorityError> {
    if request.len() > MAX_REQUEST {
        return Err(AuthorityError::Request("it is larger than 4 KiB"));
    }
    let request = CertificateSigningRequestParams::from_pem(request)
        .map_err(|_| AuthorityError::Request("it cannot be parsed, or is not signed by its key"))?;
    if *request.public_key.algorithm() != PKCS_ECDSA_P256_SHA256 {
        return Err(AuthorityError::Request("its key is not one of ECDSA P-256"));
    }
    Ok(request.public_key)
}

fn paths(state_dir: &Path) -> (PathBuf, PathBuf) {
    let directory = state_dir.join("cluster");
    (directory.join("ca.pem"), directory.join("ca-key.pem"))
}

fn ca_parameters() -> Result<CertificateParams, AuthorityError> {
    let serial = serial()?;
    let mut parameters = CertificateParams::default();
    // The CAs of two clusters have different names.
    let name = format!("serialproxy cluster {}", Serial::of(&serial[..4]));
    parameters.distinguished_name.push(DnType::CommonName, name);
    parameters.serial_number = Some(SerialNumber::from_slice(&serial));
    parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let now = SystemTime::now();
    parameters.not_before = (now - CLOCK_SKEW).into();
    parameters.not_after = (now + CA_LIFE).into();
    Ok(parameters)
}

fn parameters(
    host: &str,
    roles: &Roles,
    serial: &[u8],
    life: Duration,
) -> Result<(CertificateParams, SystemTime), AuthorityError> {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name.push(DnType::CommonName, roles.etcd_user());
    for role in roles.iter() {
        parameters.subject_alt_names.push(SanType::URI(uri(role, host).try_into()?));
    }
    parameters.serial_number = Some(SerialNumber::from_slice(serial));
    parameters.is_ca = IsCa::ExplicitNoCa;
    parameters.use_authority_key_identifier_extension = true;
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    parameters.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let now = SystemTime::now();
    let until = now + life;
    // So two thirds of the whole time are about two thirds of the lifetime.
    parameters.not_before = (now - CLOCK_SKEW.min(life / 10)).into();
    parameters.not_after = until.into();
    Ok((parameters, until))
}

/// A random serial number: positive, and always of full length (RFC 5280 section 4.1.2.2).
fn serial() -> Result<[u8; 16], AuthorityError> {
    let mut serial = [0; 16];
    getrandom::fill(&mut serial)?;
    serial[0] = serial[0] & 0x7f | 0x40;
    Ok(serial)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::role::Role;

    const HOUR: Duration = Duration::from_secs(3600);

    fn request(key: &KeyPair, change: impl FnOnce(&mut CertificateParams)) -> String {
        let mut parameters = CertificateParams::default();
        change(&mut parameters);
        parameters.serialize_request(key).unwrap().pem().unwrap()
    }

    fn first(chain: &str) -> Peer {
        Peer::read(&CertificateDer::from_pem_slice(chain.as_bytes()).unwrap()).unwrap()
    }

    #[test]
    fn the_key_of_a_ca_is_for_its_owner_alone_and_is_never_made_twice() {
        let state = tempfile::tempdir().unwrap();
        let ca = Authority::create(state.path()).unwrap();
        let key = state.path().join("cluster/ca-key.pem");
        assert_eq!(key.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let again = Authority::create(state.path()).unwrap_err().to_string();
        assert!(again.contains("ca.pem exists: this host belongs to a cluster already"), "{again}");
        let loaded = Authority::load(state.path()).unwrap().unwrap();
        assert_eq!(loaded.fingerprint(), ca.fingerprint());
        assert!(Authority::load(tempfile::tempdir().unwrap().path()).unwrap().is_none());
        assert!(!format!("{ca:?}").contains("PRIVATE"), "{ca:?}");
    }

    #[test]
    fn of_a_request_only_the_key_counts() {
        let state = tempfile::tempdir().unwrap();
        let ca = Authority::create(state.path()).unwrap();
        let key = KeyPair::generate().unwrap();
        let greedy = request(&key, |wishes| {
            wishes.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            let other = SanType::URI("serialproxy://api/h2".try_into().unwrap());
            wishes.subject_alt_names.push(other);
        });
        let issued = ca.sign("h1", &Roles::from(Role::Proxy), &greedy, HOUR).unwrap();
        let peer = first(&issued.chain);
        assert_eq!((peer.host.as_str(), peer.roles), ("h1", Roles::from(Role::Proxy)));
        assert_eq!(peer.serial, issued.serial);
        let another = ca.sign("h1", &Roles::from(Role::Proxy), &greedy, HOUR).unwrap();
        assert_ne!(another.serial, issued.serial);
    }

    #[test]
    fn a_host_gets_another_certificate_for_the_key_that_it_has_and_for_no_other() {
        let state = tempfile::tempdir().unwrap();
        let ca = Authority::create(state.path()).unwrap();
        let (key, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let peer = first(&ca.issue("h1", &Role::Proxy.into(), &key, HOUR).unwrap().chain);
        let again = ca.sign_again(&peer, &request(&key, |_| {}), HOUR).unwrap();
        assert_ne!(again.serial, peer.serial);
        let refused = ca.sign_again(&peer, &request(&other, |_| {}), HOUR).unwrap_err();
        assert!(
            refused.to_string().ends_with("is not that of the host's certificate"),
            "{refused}"
        );
    }

    #[test]
    fn a_request_of_no_use_is_refused() {
        let state = tempfile::tempdir().unwrap();
        let ca = Authority::create(state.path()).unwrap();
        let rsa_like = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let mut broken = request(&KeyPair::generate().unwrap(), |_| {}).into_bytes();
        let middle = broken.len() / 2;
        broken[middle] = if broken[middle] == b'A' { b'B' } else { b'A' };
        let broken = String::from_utf8(broken).unwrap();
        for text in [String::new(), "x".repeat(5000), broken, request(&rsa_like, |_| {})] {
            let error = ca.sign("h1", &Roles::from(Role::Proxy), &text, HOUR).unwrap_err();
            assert!(matches!(error, AuthorityError::Request(_)), "{error}");
        }
    }
}
