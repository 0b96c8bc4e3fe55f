//! A real etcd with one node or several. They are the test's own processes, with their own ports
//! and directories, and end with the test.

use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Output;
use std::process::Stdio;

use rcgen::BasicConstraints;
use rcgen::CertificateParams;
use rcgen::DnType;
use rcgen::ExtendedKeyUsagePurpose;
use rcgen::IsCa;
use rcgen::Issuer;
use rcgen::KeyPair;
use rcgen::KeyUsagePurpose;
use tempfile::TempDir;

use crate::address::free_port;
use crate::eventually;

/// The nodes of one etcd. They run until they are killed, or this is dropped.
#[derive(Debug)]
pub struct Etcd {
    /// The IP address of all nodes.
    address: String,
    nodes: Vec<Node>,
    certificates: Option<Certificates>,
}

#[derive(Debug)]
struct Node {
    directory: TempDir,
    /// The ports for clients, for other nodes, and for health checks.
    ports: [u16; 3],
    process: Option<Child>,
}

impl Etcd {
    /// Starts this many nodes, and waits until they respond.
    pub async fn start(nodes: usize) -> Self {
        Self::start_at("127.0.0.1", nodes).await
    }

    /// The same at an address that other hosts can reach.
    pub async fn start_at(address: &str, nodes: usize) -> Self {
        Self::start_with(address, nodes, None).await
    }

    /// Starts this many nodes that speak TLS and require a client certificate.
    pub async fn start_with_tls(nodes: usize) -> Self {
        Self::start_with("127.0.0.1", nodes, Some(Certificates::new())).await
    }

    async fn start_with(address: &str, count: usize, certificates: Option<Certificates>) -> Self {
        let nodes = std::iter::repeat_with(|| Node {
            directory: tempfile::Builder::new().prefix("etcd-").tempdir().unwrap(),
            ports: [free_port(), free_port(), free_port()],
            process: None,
        });
        let nodes = nodes.take(count).collect();
        let mut etcd = Self { address: address.into(), nodes, certificates };
        for node in 0..etcd.nodes.len() {
            etcd.launch(node);
        }
        for node in 0..etcd.nodes.len() {
            etcd.healthy(node).await;
        }
        etcd
    }

    /// The URLs of all nodes.
    pub fn endpoints(&self) -> Vec<String> {
        let scheme = if self.certificates.is_some() { "https" } else { "http" };
        let urls = self.nodes.iter().map(|node| node.ports[0]);
        urls.map(|port| format!("{scheme}://{}:{port}", self.address)).collect()
    }

    /// The CA that etcd trusts, which also issued its nodes' certificates.
    pub fn certificates(&self) -> &Certificates {
        self.certificates.as_ref().expect("it was started without TLS")
    }

    /// Kills a node with SIGKILL; its data stays.
    pub fn kill(&mut self, node: usize) {
        let mut process = self.nodes[node].process.take().expect("it does not run");
        process.kill().unwrap();
        process.wait().unwrap();
    }

    /// Starts a node again, and waits until it responds.
    pub async fn restart(&mut self, node: usize) {
        self.launch(node);
        self.healthy(node).await;
    }

    /// Starts a node again in two steps: first on another port, where connected clients do not find
    /// it, for `what`; then on its own port.
    pub async fn restart_after(&mut self, node: usize, what: impl AsyncFnOnce(&Self)) {
        let port = std::mem::replace(&mut self.nodes[node].ports[0], free_port());
        self.restart(node).await;
        what(self).await;
        self.kill(node);
        self.nodes[node].ports[0] = port;
        self.restart(node).await;
    }

    /// The directory of a node's data.
    pub fn data(&self, node: usize) -> PathBuf {
        self.nodes[node].directory.path().join("data")
    }

    /// The URL of a node, `node0` and so on, for other nodes.
    pub fn peer_url(&self, node: usize) -> String {
        format!("http://127.0.0.1:{}", self.nodes[node].ports[1])
    }

    /// Starts a killed node again with no data.
    pub async fn restart_empty(&mut self, node: usize) {
        std::fs::remove_dir_all(self.data(node)).unwrap();
        self.restart(node).await;
    }

    /// Stops a node's process without ending it: connections to it stay open, but it does not
    /// respond.
    pub fn freeze(&self, node: usize) {
        self.signal(node, "-STOP");
    }

    /// Resumes the process.
    pub fn thaw(&self, node: usize) {
        self.signal(node, "-CONT");
    }

    fn signal(&self, node: usize, signal: &str) {
        let process = self.nodes[node].process.as_ref().expect("it does not run");
        let sent = Command::new("kill").args([signal, &process.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Runs `etcdctl` on the first running node; returns its output.
    pub fn ctl(&self, arguments: &[&str]) -> String {
        let output = self.try_ctl(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs `etcdctl` on the first running node.
    pub fn try_ctl(&self, arguments: &[&str]) -> Output {
        let mut ctl = Command::new("etcdctl");
        ctl.env("ETCDCTL_API", "3");
        let running = self.nodes.iter().position(|node| node.process.is_some()).unwrap();
        ctl.arg("--endpoints").arg(&self.endpoints()[running]);
        if let Some(certificates) = &self.certificates {
            let (certificate, key) = certificates.issue("root");
            ctl.arg("--cacert").arg(certificates.ca());
            ctl.arg("--cert").arg(certificate).arg("--key").arg(key);
        }
        ctl.args(arguments).output().unwrap()
    }

    fn launch(&mut self, index: usize) {
        let name = |index: usize| format!("node{index}");
        let members = 0..self.nodes.len();
        let members: Vec<_> =
            members.map(|index| format!("{}={}", name(index), self.peer_url(index))).collect();
        let client = &self.endpoints()[index];
        let (node, peer) = (&self.nodes[index], self.peer_url(index));
        // setpriv ends the process with the test, even if the test is killed.
        let mut etcd = Command::new("setpriv");
        etcd.args(["--pdeathsig", "KILL", "etcd"])
            .args(["--name", &name(index)])
            .arg("--data-dir")
            .arg(self.data(index))
            .args(["--listen-client-urls", client, "--advertise-client-urls", client])
            .args(["--listen-peer-urls", &peer])
            .args(["--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &members.join(",")])
            .args(["--listen-metrics-urls", &format!("http://127.0.0.1:{}", node.ports[2])])
            // Passwords of tests are no secrets, and cost no time.
            .args(["--bcrypt-cost", "4"])
            .args(["--logger", "zap", "--log-level", "error"]);
        if self.nodes.len() == 1 {
            // A single node elects itself, so short intervals save time.
            etcd.args(["--heartbeat-interval", "10", "--election-timeout", "100"]);
        }
        if let Some(certificates) = &self.certificates {
            let (certificate, key) = certificates.issue("etcd");
            etcd.arg("--client-cert-auth").arg("--trusted-ca-file").arg(certificates.ca());
            etcd.arg("--cert-file").arg(certificate).arg("--key-file").arg(key);
        }
        let log = std::fs::File::create(node.directory.path().join("log")).unwrap();
        let process = etcd.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
        let process = process.expect("no setpriv, of util-linux");
        self.nodes[index].process = Some(process);
    }

    async fn healthy(&self, node: usize) {
        let url = format!("http://127.0.0.1:{}/health", self.nodes[node].ports[2]);
        eventually(async || {
            let answer = reqwest::get(&url).await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        for node in &mut self.nodes {
            if std::thread::panicking() {
                let log = std::fs::read(node.directory.path().join("log")).unwrap_or_default();
                eprintln!("--- etcd: {}", String::from_utf8_lossy(&log));
            }
            if let Some(process) = &mut node.process {
                let _ = process.kill();
                let _ = process.wait();
            }
        }
    }
}

/// A CA for etcd, with the certificates that it issued.
#[derive(Debug)]
pub struct Certificates {
    directory: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Certificates {
    /// Makes a CA.
    pub fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("etcd-pki-").tempdir().unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.distinguished_name.push(DnType::CommonName, "etcd's CA");
        let certificate = params.self_signed(&key).unwrap();
        std::fs::write(directory.path().join("ca.pem"), certificate.pem()).unwrap();
        Self { directory, issuer: Issuer::new(params, key) }
    }

    /// The CA's certificate.
    pub fn ca(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    /// A certificate for a server and client on this machine with that common name, and its key. A
    /// further call for the same name replaces the files.
    pub fn issue(&self, name: &str) -> (PathBuf, PathBuf) {
        let names = ["127.0.0.1".to_owned(), "localhost".to_owned()];
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let write = |file: String, text: String| {
            let path = Path::join(self.directory.path(), file);
            std::fs::write(&path, text).unwrap();
            path
        };
        let certificate = write(format!("{name}.pem"), certificate.pem());
        (certificate, write(format!("{name}-key.pem"), key.serialize_pem()))
    }
}

impl Default for Certificates {
    fn default() -> Self {
        Self::new()
    }
}
