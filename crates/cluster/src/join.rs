//! How a host joins a cluster.

use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::CertificateParams;
use rcgen::KeyPair;
use rustls::ClientConfig;
use rustls::Error;
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::version::TLS13;

use crate::authority::Authority;
use crate::authority::AuthorityError;
use crate::authority::fingerprint;
use crate::call;
use crate::call::CallError;
use crate::code::Code;
use crate::files;
use crate::files::Readers;
use crate::fingerprint::ByFingerprint;
use crate::host;
use crate::peer::ALPN;
use crate::peer::Peer;
use crate::role::Roles;
use crate::wire::JOIN;
use crate::wire::JoinAnswer;
use crate::wire::JoinRequest;

/// The cluster to join, and the new host's name in it.
#[derive(Clone, Debug)]
pub struct Joining<'a> {
    /// `HOST:PORT` of an api host.
    pub address: &'a str,
    /// The code from that api host.
    pub code: &'a Code,
    /// The host's name in the cluster.
    pub name: &'a str,
    /// The directory for its certificate and key.
    pub state_dir: &'a Path,
    /// The directory for `cluster.conf`.
    pub config_dir: &'a Path,
}

/// A host that has joined.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Joined {
    /// Its roles.
    pub roles: Roles,
    /// The file with its options.
    pub config_file: PathBuf,
}

/// Why a host did not join.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The api host cannot be reached, or refused.
    #[error(transparent)]
    Call(#[from] CallError),
    /// A key or a file cannot be written.
    #[error(transparent)]
    Files(#[from] AuthorityError),
    /// TLS cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] Error),
    /// This host has the key of another CA, which must not be lost.
    #[error("{0} is the key of another cluster's CA: to leave that cluster, move the file away")]
    OtherCa(PathBuf),
    /// The answer of the api host cannot be used.
    #[error("the answer of the api host cannot be used: {0}")]
    Answer(&'static str),
}

/// Makes a key, gets a certificate for it, and writes the files that the host's roles need. The
/// secret of the code is sent only to an api host of the cluster that the code names.
///
/// # Errors
///
/// When the api host refuses or is not in that cluster, or when a file cannot be written.
pub async fn join(joining: &Joining<'_>) -> Result<Joined, JoinError> {
    let Joining { address, code, name, state_dir, config_dir } = joining;
    if let Some(ca) = Authority::load(state_dir)?
        && ca.fingerprint() != code.fingerprint
    {
        return Err(JoinError::OtherCa(state_dir.join("cluster/ca-key.pem")));
    }
    // Before the code is used, so that the code stays valid if this fails.
    host::make_directory(state_dir)?;
    make_config_dir(config_dir)?;
    let key = KeyPair::generate().map_err(AuthorityError::from)?;
    let request = CertificateParams::default().serialize_request(&key);
    let request = request.and_then(|request| request.pem()).map_err(AuthorityError::from)?;
    let (secret, name) = (code.secret.to_text(), (*name).to_owned());
    let request = JoinRequest { secret, name, request };
    let answer: JoinAnswer = call::post(address, stranger(code)?, JOIN, &request).await?;
    check(&answer, &request.name, code)?;
    save(&answer, state_dir, &key)?;
    let config_file = save_options(&answer, &request.name, state_dir, config_dir)?;
    Ok(Joined { roles: answer.roles, config_file })
}

/// TLS for a host without a certificate. It verifies the CA by the code.
fn stranger(code: &Code) -> Result<ClientConfig, Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = ByFingerprint { fingerprint: code.fingerprint, provider: Arc::clone(&provider) };
    let builder =
        ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&TLS13])?;
    let mut config = builder
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.enable_sni = false;
    config.resumption = Resumption::disabled();
    Ok(config)
}

fn check(answer: &JoinAnswer, name: &str, code: &Code) -> Result<(), JoinError> {
    let ca = CertificateDer::from_pem_slice(answer.ca.as_bytes());
    let ca = ca.map_err(|_| JoinError::Answer("it has no CA certificate"))?;
    if fingerprint(&ca) != code.fingerprint {
        return Err(JoinError::Answer("it has the CA certificate of another cluster"));
    }
    let own = CertificateDer::from_pem_slice(answer.certificate.as_bytes());
    let own = own.ok().and_then(|own| Peer::read(&own).ok());
    let own = own.ok_or(JoinError::Answer("it has no certificate of a host"))?;
    if own.host != name || own.roles != answer.roles {
        return Err(JoinError::Answer("it has the certificate of another host"));
    }
    // They become lines of a file.
    let options = answer.etcd_endpoints.iter().chain([&answer.etcd_prefix]);
    if options.into_iter().any(|text| text.chars().any(char::is_control)) {
        return Err(JoinError::Answer("an option contains a control character"));
    }
    Ok(())
}

fn save(answer: &JoinAnswer, state_dir: &Path, key: &KeyPair) -> Result<(), JoinError> {
    host::save(state_dir, "ca.pem", &answer.ca, Readers::All)?;
    if let Some(ca_key) = &answer.ca_key {
        host::save(state_dir, "ca-key.pem", ca_key, Readers::Owner)?;
    }
    if let Some(etcd_ca) = &answer.etcd_ca {
        host::save(state_dir, "etcd-ca.pem", etcd_ca, Readers::All)?;
    }
    host::save(state_dir, "key.pem", &key.serialize_pem(), Readers::Owner)?;
    host::save(state_dir, "cert.pem", &answer.certificate, Readers::Owner)?;
    Ok(())
}

/// Only root writes to the directories above it, so it may be reached over links.
fn make_config_dir(path: &Path) -> Result<(), AuthorityError> {
    if path.is_dir() {
        return Ok(());
    }
    files::make_directory(path, Readers::All)
        .map_err(|error| AuthorityError::File { path: path.into(), error })
}

/// Writes `cluster.conf`.
fn save_options(
    answer: &JoinAnswer,
    name: &str,
    state_dir: &Path,
    config_dir: &Path,
) -> Result<PathBuf, AuthorityError> {
    let mut text = format!(
        "# Written by `serialproxy join`. Files whose names sort after this one override it.\n\
         [cluster]\nname = {name}\netcd_endpoints = {}\netcd_prefix = {}\n",
        answer.etcd_endpoints.join(","),
        answer.etcd_prefix
    );
    if answer.etcd_ca.is_some() {
        let file = state_dir.join("cluster/etcd-ca.pem");
        text += &format!("etcd_ca_file = {}\n", file.display());
    }
    let path = config_dir.join("cluster.conf");
    let resolved = config_dir.canonicalize().map(|directory| directory.join("cluster.conf"));
    // A dollar sign would refer to another option.
    resolved
        .and_then(|path| files::replace(&path, &text.replace('$', "$$"), Readers::All))
        .map_err(|error| AuthorityError::File { path: path.clone(), error })?;
    Ok(path)
}
