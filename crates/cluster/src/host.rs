//! The files of a host of a cluster, in `STATE/cluster`.

use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use rcgen::KeyPair;
use serialproxy_config::values::Cluster;

use crate::authority::Authority;
use crate::authority::AuthorityError;
use crate::files;
use crate::files::Readers;
use crate::role::Roles;

/// Makes the cluster's CA on this host, and the host's own certificate. A CA without such a
/// certificate was left behind by a crash.
///
/// # Errors
///
/// When there is a CA already, or the files cannot be written.
pub fn init(
    state_dir: &Path,
    name: &str,
    roles: &Roles,
    life: Duration,
) -> Result<Authority, AuthorityError> {
    let has_certificate = state_dir.join("cluster/cert.pem").exists();
    let ca = match Authority::load(state_dir)? {
        Some(ca) if !has_certificate => ca,
        _ => Authority::create(state_dir)?,
    };
    let key = KeyPair::generate()?;
    let issued = ca.issue(name, roles, &key, life)?;
    save(state_dir, "key.pem", &key.serialize_pem(), Readers::Owner)?;
    save(state_dir, "cert.pem", &issued.chain, Readers::Owner)?;
    Ok(ca)
}

/// Whether the certificates come from the cluster's own CA, and not from another PKI.
pub fn has_own_pki(cluster: &Cluster, state_dir: &Path) -> bool {
    let directory = state_dir.join("cluster");
    cluster.cert_file == directory.join("cert.pem") && cluster.ca_file == directory.join("ca.pem")
}

/// Writes one of the files.
pub(crate) fn save(
    state_dir: &Path,
    name: &str,
    text: &str,
    readers: Readers,
) -> Result<PathBuf, AuthorityError> {
    let path = state_dir.join("cluster").join(name);
    match files::replace(&path, text, readers) {
        Ok(()) => Ok(path),
        Err(error) => Err(failed(path, error)),
    }
}

/// Makes the directory of the files.
pub(crate) fn make_directory(state_dir: &Path) -> Result<(), AuthorityError> {
    let path = state_dir.join("cluster");
    files::make_directory(&path, Readers::Owner).map_err(|error| failed(path, error))
}

fn failed(path: PathBuf, error: io::Error) -> AuthorityError {
    AuthorityError::File { path, error }
}
