//! The certificate that a listener shows, which changes while it runs: when its files do, and when
//! somebody says so. Sessions that are open go on with the keys that they have.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::RwLock;

use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem;
use rustls::pki_types::pem::PemObject;
use rustls::server::ClientHello;
use rustls::server::ResolvesServerCert;
use rustls::sign::CertifiedKey;

/// Where a certificate is, in PEM.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Files {
    /// The certificate and those between it and its root; may hold the key.
    pub cert: PathBuf,
    /// The private key, if it is elsewhere.
    pub key: Option<PathBuf>,
}

/// Why a certificate cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The file cannot be read, or is no PEM.
    #[error("{path} cannot be read: {error}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: pem::Error,
    },
    /// It holds no certificate.
    #[error("{0} contains no certificate")]
    NoCertificate(PathBuf),
    /// It holds no private key that can be read.
    #[error("{0} contains no usable private key; keys with a passphrase are not supported")]
    NoKey(PathBuf),
    /// The two do not belong together, or their kind is not supported.
    #[error("the certificate in {cert} and the key in {key} cannot be used: {error}")]
    Unusable {
        /// Where the certificate is.
        cert: PathBuf,
        /// Where the key is.
        key: PathBuf,
        /// Why.
        error: rustls::Error,
    },
}

/// The certificate that a listener shows now.
#[derive(Debug)]
pub struct Certificate {
    files: Files,
    current: RwLock<Current>,
}

#[derive(Debug)]
struct Current {
    shown: Arc<CertifiedKey>,
    /// Of the files that were read last, whether they were of use or not.
    stamps: Stamps,
}

/// Of both files.
type Stamps = [Option<Stamp>; 2];

/// What differs when a file is written or replaced.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl Certificate {
    /// Reads one.
    ///
    /// # Errors
    ///
    /// When the files hold no certificate with its key.
    pub fn load(files: Files) -> Result<Self, CertificateError> {
        let stamps = files.stamps();
        let current = RwLock::new(Current { shown: Arc::new(files.read()?), stamps });
        Ok(Self { files, current })
    }

    /// Shows from now on what its files hold. Where that is of no use, it says so in the log, and
    /// goes on with what it has.
    pub fn reload(&self) {
        let stamps = self.files.stamps();
        let read = self.files.read();
        let cert = self.files.cert.display();
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        current.stamps = stamps;
        match read {
            Ok(new) => {
                current.shown = Arc::new(new);
                tracing::info!(%cert, "the certificate was reloaded");
            }
            Err(error) => {
                tracing::error!(%error, "the new certificate cannot be used; keeping the \
                         previous one");
            }
        }
    }

    /// [`Self::reload`]s when the files are not those any more that were read last.
    pub fn reload_if_changed(&self) {
        let known = self.current.read().unwrap_or_else(PoisonError::into_inner).stamps;
        if self.files.stamps() != known {
            self.reload();
        }
    }

    /// The certificate and its key, as they are shown now.
    pub fn shown(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner).shown)
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.shown())
    }
}

impl ResolvesClientCert for Certificate {
    fn resolve(
        &self,
        _authorities: &[&[u8]],
        _schemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        Some(self.shown())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl Files {
    fn key(&self) -> &Path {
        self.key.as_deref().unwrap_or(&self.cert)
    }

    fn read(&self) -> Result<CertifiedKey, CertificateError> {
        let chain = certificates(&self.cert)?;
        let key = self.key();
        let der = PrivateKeyDer::from_pem_file(key).map_err(|error| match error {
            pem::Error::NoItemsFound => CertificateError::NoKey(key.into()),
            error => CertificateError::File { path: key.into(), error },
        })?;
        let provider = aws_lc_rs::default_provider();
        CertifiedKey::from_der(chain, der, &provider).map_err(|error| CertificateError::Unusable {
            cert: self.cert.clone(),
            key: key.into(),
            error,
        })
    }

    fn stamps(&self) -> Stamps {
        [Stamp::of(&self.cert).ok(), Stamp::of(self.key()).ok()]
    }
}

impl Stamp {
    /// That of the file which is there now.
    ///
    /// # Errors
    ///
    /// When there is none that can be seen.
    pub fn of(path: &Path) -> io::Result<Self> {
        let metadata = path.metadata()?;
        Ok(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        })
    }
}

/// All certificates in a file (PEM); at least one.
///
/// # Errors
///
/// When the file cannot be read or has none.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let all: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(path).and_then(|certificates| certificates.collect());
    match all {
        Ok(all) if all.is_empty() => Err(CertificateError::NoCertificate(path.into())),
        Ok(all) => Ok(all),
        Err(error) => Err(CertificateError::File { path: path.into(), error }),
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn pair() -> (String, String) {
        let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        (pair.cert.pem(), pair.signing_key.serialize_pem())
    }

    fn file(directory: &TempDir, name: &str, text: &str) -> PathBuf {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    #[test]
    fn the_key_is_beside_the_certificate_or_in_the_same_file() {
        let directory = tempfile::tempdir().unwrap();
        let (cert, key) = pair();
        let both = file(&directory, "both.pem", &format!("{key}{cert}"));
        Certificate::load(Files { cert: both, key: None }).unwrap();
        let cert = file(&directory, "cert.pem", &cert);
        let key = file(&directory, "key.pem", &key);
        let without = Certificate::load(Files { cert: cert.clone(), key: None }).unwrap_err();
        assert!(matches!(without, CertificateError::NoKey(_)), "{without}");
        Certificate::load(Files { cert, key: Some(key) }).unwrap();
    }

    #[test]
    fn a_key_of_another_certificate_is_refused_with_both_names() {
        let directory = tempfile::tempdir().unwrap();
        let cert = file(&directory, "cert.pem", &pair().0);
        let key = file(&directory, "key.pem", &pair().1);
        let error = Certificate::load(Files { cert, key: Some(key) }).unwrap_err().to_string();
        assert!(error.contains("cert.pem") && error.contains("key.pem"), "{error}");
    }

    #[test]
    fn a_file_that_is_missing_or_empty_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let missing = directory.path().join("missing.pem");
        let empty = file(&directory, "empty.pem", "");
        for cert in [missing, empty] {
            let name = cert.display().to_string();
            let error = Certificate::load(Files { cert, key: None }).unwrap_err().to_string();
            assert!(error.contains(&name), "{error}");
        }
    }

    #[test]
    fn a_change_is_noticed_and_a_broken_one_leaves_the_old_certificate() {
        let directory = tempfile::tempdir().unwrap();
        let both = |(cert, key): (String, String)| format!("{cert}{key}");
        let path = file(&directory, "self.pem", &both(pair()));
        let certificate = Certificate::load(Files { cert: path.clone(), key: None }).unwrap();
        let first = certificate.shown();
        certificate.reload_if_changed();
        assert!(Arc::ptr_eq(&first, &certificate.shown()));

        std::fs::write(&path, "this is no certificate").unwrap();
        certificate.reload_if_changed();
        assert!(Arc::ptr_eq(&first, &certificate.shown()));

        let new = file(&directory, "new.pem", &both(pair()));
        std::fs::rename(new, path).unwrap();
        certificate.reload_if_changed();
        assert_ne!(first.cert, certificate.shown().cert);
    }
}
