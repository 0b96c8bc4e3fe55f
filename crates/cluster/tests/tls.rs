//! Hosts of a cluster that talk to each other, and others that would like to.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rcgen::BasicConstraints;
use rcgen::CertificateParams;
use rcgen::ExtendedKeyUsagePurpose;
use rcgen::IsCa;
use rcgen::Issuer;
use rcgen::KeyPair;
use rcgen::SanType;
use rustls::ClientConfig;
use rustls::ServerConfig;
use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::sign::CertifiedKey;
use serialproxy_cluster::Authority;
use serialproxy_cluster::Identity;
use serialproxy_cluster::Peer;
use serialproxy_cluster::Role;
use serialproxy_cluster::Roles;
use serialproxy_cluster::Strangers;
use serialproxy_cluster::reason;
use serialproxy_cluster::server_name;
use serialproxy_config::Config;
use serialproxy_config::values::Cluster;
use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::TlsConnector;

const HOUR: Duration = Duration::from_secs(3600);

/// A CA, and a directory for the files of its hosts.
struct Place {
    dir: TempDir,
    ca: Authority,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ca = Authority::create(dir.path()).unwrap();
        Self { dir, ca }
    }

    /// The options of a host that has a certificate.
    fn host(&self, name: &str, roles: &str) -> Cluster {
        let key = KeyPair::generate().unwrap();
        let issued = self.ca.issue(name, &roles.parse().unwrap(), &key, HOUR).unwrap();
        options(self.dir.path(), name, self.ca.certificate(), &issued.chain, &key)
    }
}

fn options(dir: &Path, name: &str, ca: &str, cert: &str, key: &KeyPair) -> Cluster {
    let file = |kind: &str, text: &str| {
        let path = dir.join(format!("{name}-{kind}.pem"));
        std::fs::write(&path, text).unwrap();
        path
    };
    Cluster {
        name: name.to_owned(),
        ca_file: file("ca", ca),
        cert_file: file("cert", cert),
        key_file: file("key", &key.serialize_pem()),
        ..Config::default().cluster
    }
}

fn identity(options: &Cluster) -> Identity {
    Identity::load(options).unwrap()
}

/// A handshake and a byte each way. What the client knows of the server, and the server of the client.
async fn talk(
    client: ClientConfig,
    server: ServerConfig,
) -> (Result<Peer, String>, Result<Peer, String>) {
    let failed = |error: io::Error| reason(&error);
    let (near, far) = tokio::io::duplex(64 * 1024);
    let server = async {
        let mut tls = TlsAcceptor::from(Arc::new(server)).accept(far).await?;
        tls.write_all(b"s").await?;
        tls.flush().await?;
        tls.read_u8().await?;
        Peer::of(tls.get_ref().1).map_err(io::Error::other)
    };
    let client = async {
        let mut tls = TlsConnector::from(Arc::new(client)).connect(server_name(), near).await?;
        tls.write_all(b"c").await?;
        tls.flush().await?;
        tls.read_u8().await?;
        Peer::of(tls.get_ref().1).map_err(io::Error::other)
    };
    let (client, server): (io::Result<_>, io::Result<_>) = tokio::join!(client, server);
    (client.map_err(failed), server.map_err(failed))
}

/// The proxy of `one` dials the compute role of `other`.
async fn dial(one: &Identity, other: &Identity) -> (Result<Peer, String>, Result<Peer, String>) {
    let name = other.own().unwrap().host;
    let client = one.client_config(Role::Compute, &name).unwrap();
    talk(client, other.server_config(Strangers::Refused).unwrap()).await
}

#[tokio::test]
async fn two_hosts_know_each_other_by_name_and_role() {
    let place = Place::new();
    let (proxy, compute) =
        (identity(&place.host("p1", "proxy")), identity(&place.host("c1", "compute")));
    let (server, client) = dial(&proxy, &compute).await;
    let (server, client) = (server.unwrap(), client.unwrap());
    assert_eq!((server.host.as_str(), server.roles), ("c1", Roles::from(Role::Compute)));
    assert_eq!((client.host.as_str(), client.roles), ("p1", Roles::from(Role::Proxy)));
    assert_eq!(client.serial, proxy.own().unwrap().serial);
}

#[tokio::test]
async fn another_host_and_another_role_are_refused_with_the_reason() {
    let place = Place::new();
    let (proxy, compute) =
        (identity(&place.host("p1", "proxy")), identity(&place.host("c1", "compute")));
    for (role, host, why) in [
        (Role::Compute, "c2", "this is host c1, not c2"),
        (Role::Api, "c1", "host c1 has the role compute, and not api"),
    ] {
        let client = proxy.client_config(role, host).unwrap();
        let (server, _) = talk(client, compute.server_config(Strangers::Refused).unwrap()).await;
        assert_eq!(server.unwrap_err(), why);
    }
}

#[tokio::test]
async fn a_host_of_another_cluster_is_refused_on_both_sides() {
    let (place, other) = (Place::new(), Place::new());
    let (proxy, compute) =
        (identity(&place.host("p1", "proxy")), identity(&other.host("c1", "compute")));
    let (server, client) = dial(&proxy, &compute).await;
    assert!(server.unwrap_err().contains("issued by another CA"));
    assert!(client.is_err());
    // A client that trusts the other cluster is still refused by it.
    let trusting = identity(&place.host("p1", "proxy"));
    let both = format!("{}{}", place.ca.certificate(), other.ca.certificate());
    std::fs::write(place.dir.path().join("p1-ca.pem"), both).unwrap();
    trusting.reload_if_changed();
    let (_, client) = dial(&trusting, &compute).await;
    assert!(client.unwrap_err().contains("issued by another CA"));
}

/// A client without a certificate.
#[derive(Debug)]
struct Nameless;

impl ResolvesClientCert for Nameless {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

#[tokio::test]
async fn a_client_without_a_certificate_is_refused_unless_strangers_may_join() {
    let place = Place::new();
    let api = identity(&place.host("a1", "api"));
    let stranger = || {
        let mut config = api.client_config(Role::Api, "a1").unwrap();
        config.client_auth_cert_resolver = Arc::new(Nameless);
        config
    };
    let (_, client) = talk(stranger(), api.server_config(Strangers::Refused).unwrap()).await;
    assert!(client.unwrap_err().contains("peer sent no certificates"));
    let (server, client) = talk(stranger(), api.server_config(Strangers::Admitted).unwrap()).await;
    assert_eq!(server.unwrap().host, "a1");
    assert_eq!(client.unwrap_err(), "no certificate was shown");
}

#[tokio::test]
async fn a_removed_certificate_is_refused_by_clients_and_servers_from_then_on() {
    let place = Place::new();
    let (proxy, compute) =
        (identity(&place.host("p1", "proxy")), identity(&place.host("c1", "compute")));
    let server = compute.server_config(Strangers::Refused).unwrap();
    let client = || proxy.client_config(Role::Compute, "c1").unwrap();
    assert!(talk(client(), server.clone()).await.1.is_ok());

    compute.removed().replace(BTreeSet::from([proxy.own().unwrap().serial]));
    let (_, refused) = talk(client(), server.clone()).await;
    assert_eq!(refused.unwrap_err(), "host p1 was removed from the cluster");

    compute.removed().replace(BTreeSet::new());
    proxy.removed().replace(BTreeSet::from([compute.own().unwrap().serial]));
    let (refused, _) = talk(client(), server).await;
    assert_eq!(refused.unwrap_err(), "host c1 was removed from the cluster");
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_by_configurations_that_exist_already() {
    let place = Place::new();
    let (proxy, compute) =
        (identity(&place.host("p1", "proxy")), identity(&place.host("c1", "compute")));
    let server = compute.server_config(Strangers::Refused).unwrap();
    let client = proxy.client_config(Role::Compute, "c1").unwrap();
    let before = (proxy.own().unwrap().serial, compute.own().unwrap().serial);
    // The same files, with new keys.
    place.host("p1", "proxy");
    place.host("c1", "compute");
    proxy.reload_if_changed();
    compute.reload_if_changed();
    let (seen_server, seen_client) = talk(client, server).await;
    assert_ne!(seen_client.unwrap().serial, before.0);
    assert_ne!(seen_server.unwrap().serial, before.1);
}

#[test]
fn files_that_others_would_not_accept_are_refused_at_the_start() {
    let place = Place::new();
    let other_name = Cluster { name: "h2".into(), ..place.host("h1", "api") };
    let missing = Cluster { cert_file: "/none.pem".into(), ..place.host("h4", "api") };
    for (options, why) in [
        (other_name, "the certificate is that of host h1, but [cluster] name is h2"),
        (missing, "`serialproxy join` create"),
    ] {
        let error = Identity::load(&options).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
}

#[tokio::test]
async fn certificates_of_another_pki_work_with_an_intermediate_ca() {
    let dir = tempfile::tempdir().unwrap();
    let ca = |path_length| {
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(path_length));
        parameters
    };
    let root_key = KeyPair::generate().unwrap();
    let root = ca(1).self_signed(&root_key).unwrap();
    let root_issuer = Issuer::new(ca(1), root_key);
    let middle_key = KeyPair::generate().unwrap();
    let mut middle_parameters = ca(0);
    middle_parameters.distinguished_name.push(rcgen::DnType::CommonName, "middle");
    let middle = middle_parameters.clone().signed_by(&middle_key, &root_issuer).unwrap();
    let issuer = Issuer::new(middle_parameters, middle_key);
    let host = |name: &str, uris: &[&str], last_year| {
        let mut parameters = CertificateParams::new(vec![format!("{name}.example")]).unwrap();
        let uris = uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap()));
        parameters.subject_alt_names.extend(uris);
        parameters.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        parameters.not_after = rcgen::date_time_ymd(last_year, 12, 31);
        let key = KeyPair::generate().unwrap();
        let certificate = parameters.signed_by(&key, &issuer).unwrap();
        let chain = format!("{}{}", certificate.pem(), middle.pem());
        options(dir.path(), name, &root.pem(), &chain, &key)
    };
    let proxy = identity(&host("p1", &["serialproxy://proxy/p1"], 4000));
    let compute = identity(&host("c1", &["spiffe://x/c1", "serialproxy://compute/c1"], 4000));
    let (server, client) = dial(&proxy, &compute).await;
    assert_eq!((server.unwrap().host, client.unwrap().host), ("c1".into(), "p1".into()));
    for (options, why) in [
        (host("web", &[], 4000), "names no host of a cluster"),
        (host("p2", &["serialproxy://proxy/p2"], 2020), "certificate expired"),
    ] {
        let error = Identity::load(&options).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
}
