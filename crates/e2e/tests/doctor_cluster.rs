//! `serialproxy doctor` on hosts of a cluster: etcd, the other hosts, and the roles that run apart.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "that is how a test fails"
)]

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::WebPkiClientVerifier;
use serialproxy_e2e::address::free_port;
use serialproxy_e2e::cluster::Cluster;
use serialproxy_e2e::cluster::Role;
use serialproxy_e2e::doctor::Patient;
use serialproxy_e2e::eventually;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// A host of a cluster with this role.
fn member(cluster: &Cluster, name: &str, role: &str) -> Patient {
    let file = |name: &str| cluster.file(name).display().to_string();
    Patient::new()
        .with("role", role)
        .with("cluster-etcd_endpoints", &cluster.etcd.endpoints().join(","))
        .with("cluster-listen", "127.0.0.1:0")
        .with("cluster-name", name)
        .with("cluster-ca_file", &file("ca.pem"))
        .with("cluster-cert_file", &file(&format!("{name}.pem")))
        .with("cluster-key_file", &file(&format!("{name}-key.pem")))
}

#[tokio::test]
async fn a_cluster_whose_hosts_respond_is_healthy_and_each_host_that_does_not_fit_is_found() {
    let mut cluster = Cluster::new(1).await;
    cluster.certify("a1", &["api"]);
    cluster.certify("h1", &["compute"]);
    let address = free_port();
    let advertise = format!("127.0.0.1:{address}");
    let flags = ["--cluster-listen", &advertise, "--cluster-advertise", &advertise];
    let api = cluster.start("a1", "api", &flags).await;
    eventually(async || {
        cluster.etcd.ctl(&["get", "/serialproxy/v1/hosts/a1"]).contains("api").then_some(())
    })
    .await;
    let patient = member(&cluster, "h1", "compute");
    let said = patient.examine(&[]).await;
    said.is_healthy();
    said.has("ok", "peers", "1 other processes");
    said.has("ok", "cluster-clock", "agree");

    let put = |name: &str, more: &str| {
        let value = format!("{{\"address\":\"127.0.0.1:9\",\"roles\":[\"proxy\"],{more}}}");
        cluster.etcd.ctl(&["put", &format!("/serialproxy/v1/hosts/{name}"), &value]);
    };
    let remove = |name: &str| cluster.etcd.ctl(&["del", &format!("/serialproxy/v1/hosts/{name}")]);
    put("old", "\"version\":\"0.0.1\"");
    patient.has("warning", "versions", "0.0.1 (old)").await;
    remove("old");
    let own = format!("\"version\":\"{}\"", env!("CARGO_PKG_VERSION"));
    put("h2", &format!("{own},\"conflicts\":[\"2b0b6b7e-3f0c-5c8f-9b1a-6f5f2f3f4f50\"]"));
    patient.has("warning", "conflicts", "h2").await;
    remove("h2");
    api.freeze().await;
    patient.has("problem", "peers", "a1 (127.0.0.1").await;
    api.thaw();

    cluster.remove_certificate("h1");
    patient.examine(&[]).await.has("problem", "certificate", "was removed");
    cluster.etcd.kill(0);
    patient.has("problem", "etcd", "no node of etcd responds").await;
}

/// Starts the role of a host as its patient's flags say.
async fn start(cluster: &Cluster, host: &str, patient: &Patient) -> Role {
    let role = patient.value("role").to_owned();
    let flags: Vec<&str> = patient.service();
    let at = flags.iter().position(|flag| *flag == "--role").unwrap();
    cluster.start(host, &role, &[&flags[..at], &flags[at + 2..]].concat()).await
}

#[tokio::test]
async fn roles_that_run_apart_and_well_have_no_warning_and_no_problem() {
    let cluster = Cluster::new(3).await;
    let mut hosts = Vec::new();
    let address = || format!("127.0.0.1:{}", free_port());
    let (api, users) = (address(), free_port().to_string());
    let base_url = format!("http://127.0.0.1:{users}/serial.html");
    for (name, role) in [("a1", "api"), ("h1", "compute"), ("f1", "proxy")] {
        cluster.certify(name, &[role]);
        let patient = member(&cluster, name, role)
            .with("api-listen", &api)
            .with("cluster-listen", &address())
            .with("serial_console-serialproxy_port", &users)
            .with("serial_console-base_url", &base_url)
            .with("proxy-api_url", &format!("http://{api}"));
        let running = start(&cluster, name, &patient).await;
        hosts.push((patient, running));
    }
    eventually(async || {
        let keys = cluster.etcd.ctl(&["get", "--prefix", "--keys-only", "/serialproxy/v1/hosts/"]);
        ["a1", "h1", "f1"].iter().all(|name| keys.contains(name)).then_some(())
    })
    .await;
    for (patient, running) in &hosts {
        // A busy machine may delay the answer of a node.
        let said = eventually(async || {
            let said = patient.examine_at(running.state()).await;
            said.finds("ok", "etcd", "all 3 nodes").then_some(said)
        })
        .await;
        said.is_healthy();
        said.has("ok", "versions", "all 3 processes");
        let has_url = patient.value("role") != "compute";
        assert_eq!(said.mentions("public-url"), has_url, "{said:?}");
        assert_eq!(said.mentions("origin"), has_url, "{said:?}");
    }
}

#[tokio::test]
async fn an_etcd_without_some_of_its_nodes_is_found() {
    let mut cluster = Cluster::new(3).await;
    cluster.certify("h1", &["compute"]);
    let patient = member(&cluster, "h1", "compute");
    let finds = async |level: &str, text: &str| {
        eventually(async || patient.examine(&[]).await.finds(level, "etcd", text).then_some(()))
            .await;
    };
    cluster.etcd.kill(0);
    // At first there may be no leader.
    finds("warning", "nodes of etcd do not respond").await;
    cluster.etcd.kill(1);
    finds("problem", "has no leader").await;
}

/// The commands by which docs/cluster.md gives each role its permissions.
fn permissions() -> Vec<String> {
    let document = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/cluster.md");
    let document = std::fs::read_to_string(document).unwrap();
    let commands = document.lines().filter_map(|line| line.strip_prefix("etcdctl role "));
    commands.map(|command| format!("role {command}")).collect()
}

#[tokio::test]
async fn an_etcd_that_denies_a_role_what_it_needs_is_found() {
    let cluster = Cluster::new(1).await;
    let run = |command: &str| cluster.etcd.ctl(&command.split(' ').collect::<Vec<_>>());
    let permissions = permissions();
    assert!(permissions.len() > 10, "{permissions:?}");
    permissions.iter().for_each(|command| drop(run(command)));
    for role in ["api", "compute", "proxy"] {
        cluster.certify(role, &[role]);
        run(&format!("user add {role}:secret"));
        run(&format!("user grant-role {role} serialproxy-{role}"));
    }
    run("user add root:root");
    run("user grant-role root root");
    run("auth enable");
    let patient = |role: &str, password: &str| {
        let login = format!("[cluster]\netcd_username = {role}\netcd_password = {password}\n");
        member(&cluster, role, role).configured("login.conf", &login)
    };
    for role in ["api", "compute", "proxy"] {
        let said = patient(role, "secret").examine(&[]).await;
        said.has("ok", "etcd", "all 1 nodes");
        assert!(!said.finds("problem", "etcd", ""), "{said:?}");
    }
    // Of an api host, everything; of a compute host, a prefix that it reads, and one that it changes.
    for (role, change, text) in [
        (
            "compute",
            "revoke-permission serialproxy-compute --prefix=true /serialproxy/v1/grants/",
            "read /serialproxy/v1/grants/",
        ),
        (
            "compute",
            "grant-permission serialproxy-compute read --prefix=true /serialproxy/v1/spent/",
            "change /serialproxy/v1/spent/",
        ),
        (
            "proxy",
            "revoke-permission serialproxy-proxy --prefix=true /serialproxy/v1/hosts/",
            "change /serialproxy/v1/hosts/",
        ),
        (
            "api",
            "revoke-permission serialproxy-api --prefix=true /serialproxy/v1/",
            "change /serialproxy/v1/",
        ),
    ] {
        run(&format!("--user root:root role {change}"));
        patient(role, "secret").examine(&[]).await.has("problem", "etcd", text);
    }
    patient("compute", "wrong").has("problem", "etcd", "invalid user ID or password").await;
    let keys = run("--user root:root get --prefix --keys-only /serialproxy/v1/");
    assert_eq!(keys.trim(), "", "the doctor wrote");
}

/// An api host whose clock is ten years behind.
async fn late_host(cluster: &Cluster) -> SocketAddr {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(cluster.file("ca.pem")).unwrap()).unwrap();
    let clients = WebPkiClientVerifier::builder(Arc::new(roots)).build().unwrap();
    let chain = vec![CertificateDer::from_pem_file(cluster.file("a1.pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(cluster.file("a1-key.pem")).unwrap();
    let config = ServerConfig::builder().with_client_cert_verifier(clients);
    let mut config = config.with_single_cert(chain, key).unwrap();
    config.alpn_protocols = vec![b"serialproxy/1".to_vec()];
    let (tls, listener) =
        (TlsAcceptor::from(Arc::new(config)), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let Ok(mut stream) = tls.accept(tcp).await else { continue };
            let answer = "HTTP/1.1 404 Not Found\r\nDate: Sun, 29 Nov 2015 10:00:00 GMT\r\n\r\n";
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    address
}

#[tokio::test]
async fn clocks_of_a_cluster_that_differ_are_found() {
    let cluster = Cluster::new(1).await;
    cluster.certify("a1", &["api"]);
    cluster.certify("h1", &["compute"]);
    let address = late_host(&cluster).await;
    let value = format!(
        "{{\"address\":\"{address}\",\"roles\":[\"api\"],\"version\":\"{}\"}}",
        env!("CARGO_PKG_VERSION")
    );
    cluster.etcd.ctl(&["put", "/serialproxy/v1/hosts/a1", &value]);
    member(&cluster, "h1", "compute").has("problem", "cluster-clock", "a1 (127.0.0.1").await;
}
