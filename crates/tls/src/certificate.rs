//! The certificate of a listener. It changes while the program runs: when its files change, and on
//! request. Open connections keep their keys.

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

/// The files of a certificate, in PEM.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Files {
    /// The certificate and its intermediate certificates; may contain the key.
    pub cert: PathBuf,
    /// The private key, if it is in another file.
    pub key: Option<PathBuf>,
}

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The file cannot be read, or is not PEM.
    #[error("{path} cannot be read: {error}")]
    File {
        /// The file.
        path: PathBuf,
        /// The error.
        error: pem::Error,
    },
    /// It contains no certificate.
    #[error("{0} contains no certificate")]
    NoCertificate(PathBuf),
    /// It contains no usable private key.
    #[error("{0} contains no usable private key; keys with a passphrase are not supported")]
    NoKey(PathBuf),
    /// The certificate and the key do not fit, or their type is not supported.
    #[error("the certificate in {cert} and the key in {key} cannot be used: {error}")]
    Unusable {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// The error.
        error: rustls::Error,
    },
}

/// The present certificate of a listener.
#[derive(Debug)]
pub struct Certificate {
    files: Files,
    current: RwLock<Current>,
}

#[derive(Debug)]
struct Current {
    shown: Arc<CertifiedKey>,
    /// The versions of the files that were read last, whether they could be used or not.
    stamps: Stamps,
}

/// The versions of both files.
type Stamps = [Option<Stamp>; 2];

/// The version of a file, which changes when it is written or replaced.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl Certificate {
    /// Reads a certificate.
    ///
    /// # Errors
    ///
    /// When the files contain no certificate with its key.
    pub fn load(files: Files) -> Result<Self, CertificateError> {
        let stamps = files.stamps();
        let current = RwLock::new(Current { shown: Arc::new(files.read()?), stamps });
        Ok(Self { files, current })
    }

    /// Uses the present content of the files from now on. If it cannot be used, logs that and keeps
    /// the certificate. Returns whether another certificate is used now.
    pub fn reload(&self) -> bool {
        let stamps = self.files.stamps();
        let read = self.files.read();
        let cert = self.files.cert.display();
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        current.stamps = stamps;
        match read {
            Ok(new) => {
                let is_other = new.cert != current.shown.cert;
                current.shown = Arc::new(new);
                tracing::info!(%cert, "the certificate was reloaded");
                is_other
            }
            Err(error) => {
                tracing::error!(%error, "the new certificate cannot be used; keeping the \
                         previous one");
                false
            }
        }
    }

    /// Calls [`Self::reload`] if a file has changed since it was read last.
    pub fn reload_if_changed(&self) -> bool {
        let known = self.current.read().unwrap_or_else(PoisonError::into_inner).stamps;
        self.files.stamps() != known && self.reload()
    }

    /// The present certificate and its key.
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
    /// The version of the present file.
    ///
    /// # Errors
    ///
    /// When the file does not exist or is not accessible.
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
