//! The same line over every kind of port.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use rcgen::BasicConstraints;
use rcgen::CertificateParams;
use rcgen::IsCa;
use rcgen::Issuer;
use rcgen::KeyPair;
use rustls::ClientConfig;
use rustls::RootCertStore;
use rustls::ServerConfig;
use rustls::ServerConnection;
use rustls::StreamOwned;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use serialproxy_line::Settings;
use serialproxy_line::Start;
use serialproxy_proto::api::Protocol;
use serialproxy_proto::api::Status;
use serialproxy_proto::console::LineState;
use serialproxy_proto::endpoint::Endpoint;
use serialproxy_proto::endpoint::EndpointKind;
use serialproxy_proto::token::Mode;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixListener;
use tokio::net::UnixStream;
use tokio::sync::watch;

use crate::rig::PATIENCE;
use crate::rig::Rig;
use crate::rig::endpoint;
use crate::rig::eventually;
use crate::rig::output_until;
use crate::rig::visitor;
use crate::rig::within;
use crate::rig::writer;

pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new() -> Self {
        let path = std::env::temp_dir().join(format!("line-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(crate) async fn unix_guest(rig: &Rig, path: &Path) -> UnixStream {
    let listener = UnixListener::bind(path).unwrap();
    *rig.told.0.lock().unwrap() = Ok(Endpoint::Unix(path.to_owned()));
    rig.line.guest_started(true);
    let (guest, _) = within(listener.accept()).await.unwrap();
    assert!(rig.line.connected(PATIENCE).await);
    guest
}

#[tokio::test]
async fn every_byte_passes_a_unix_socket_both_ways() {
    let rig = Rig::new().await;
    let directory = Directory::new();
    let mut guest = unix_guest(&rig, &directory.join("port")).await;
    let (mut attachment, keyboard) = rig.attach(&writer("alice")).unwrap();
    // More than may be in flight.
    let all: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    guest.write_all(&all).await.unwrap();
    assert_eq!(output_until(&mut attachment, &all).await, all);
    let mut typed = vec![0; all.len()];
    keyboard.write(&all);
    within(guest.read_exact(&mut typed)).await.unwrap();
    assert_eq!(typed, all);
}

/// A pseudo-terminal as a hypervisor holds it, and the path of its other side.
pub(crate) fn pty() -> (OwnedFd, PathBuf) {
    use rustix::pty::OpenptFlags;
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
    let fd = rustix::pty::openpt(flags).unwrap();
    rustix::pty::grantpt(&fd).unwrap();
    rustix::pty::unlockpt(&fd).unwrap();
    let path = rustix::pty::ptsname(&fd, Vec::new()).unwrap().into_string().unwrap();
    (fd, path.into())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_byte_passes_a_pseudo_terminal_both_ways() {
    let rig = Rig::new().await;
    let (fd, path) = pty();
    *rig.told.0.lock().unwrap() = Ok(Endpoint::Pty(path.clone()));
    rig.line.guest_started(true);
    assert!(rig.line.connected(PATIENCE).await);
    let (mut attachment, keyboard) = rig.attach(&writer("alice")).unwrap();
    let all: Vec<u8> = (0..=255).cycle().take(50_000).collect();
    let guest = Arc::new(std::fs::File::from(fd));
    let prints = {
        let (guest, all) = (guest.clone(), all.clone());
        tokio::task::spawn_blocking(move || std::io::Write::write_all(&mut &*guest, &all).unwrap())
    };
    assert_eq!(output_until(&mut attachment, &all).await, all);
    within(prints).await.unwrap();
    let reads = {
        let (guest, length) = (guest.clone(), all.len());
        tokio::task::spawn_blocking(move || {
            let mut typed = vec![0; length];
            std::io::Read::read_exact(&mut &*guest, &mut typed).unwrap();
            typed
        })
    };
    keyboard.write(&all);
    assert_eq!(within(reads).await.unwrap(), all);
    drop(guest);
    eventually(|| !rig.line.describe().reason.starts_with("connected")).await;
}

#[tokio::test]
async fn a_pseudo_terminal_is_opened_again_after_it_was_closed() {
    let rig = Rig::new().await;
    let (_hypervisor, path) = pty();
    *rig.told.0.lock().unwrap() = Ok(Endpoint::Pty(path));
    for _ in 0..2 {
        rig.line.guest_started(true);
        assert!(rig.line.connected(PATIENCE).await, "{}", rig.line.describe().reason);
        rig.line.guest_stopped(Status::Shutoff);
        eventually(|| rig.line.describe().state != LineState::Connected).await;
    }
}

/// As the service is on a host: it may open every file, but not in spite of `TIOCEXCL`.
#[test]
fn a_pseudo_terminal_is_opened_again_without_cap_sys_admin() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let again = Command::new("setpriv")
        .args(["--bounding-set=-sys_admin", "--inh-caps=-sys_admin"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "transports::a_pseudo_terminal_is_opened_again_after_it_was_closed"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&again.stdout);
    assert!(again.status.success() && said.contains("1 passed"), "{again:?}");
}

#[tokio::test]
async fn every_byte_passes_telnet_as_qemu_speaks_it() {
    let rig = Rig::new().await;
    let port = rig.port.local_addr().unwrap();
    let telnet = Endpoint::Telnet { host: port.ip().to_string(), port: port.port() };
    *rig.told.0.lock().unwrap() = Ok(telnet);
    rig.line.guest_started(true);
    let (mut guest, _) = within(rig.port.accept()).await.unwrap();
    guest.write_all(&[255, 251, 1, 255, 251, 3, 255, 251, 0, 255]).await.unwrap();
    assert!(rig.line.connected(PATIENCE).await);
    assert_eq!(rig.line.describe().endpoint.unwrap().kind(), EndpointKind::Telnet);
    let mut visitor = visitor("alice", Mode::Write, Protocol::ConsoleV1);
    visitor.start = Start::Oldest;
    let (mut attachment, keyboard) = rig.attach(&visitor).unwrap();
    // The guest's output is not doubled.
    let all: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    guest.write_all(&[253, 0]).await.unwrap();
    guest.write_all(&all).await.unwrap();
    assert_eq!(output_until(&mut attachment, &all).await, all);
    keyboard.write(&all);
    let doubled: Vec<u8> =
        all.iter().flat_map(|byte| vec![*byte; 1 + usize::from(*byte == 255)]).collect();
    let mut typed = vec![0; doubled.len()];
    within(guest.read_exact(&mut typed)).await.unwrap();
    assert_eq!(typed, doubled);
}

/// A port that speaks TLS and requires a client certificate, and the configuration of such a
/// client.
fn tls() -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let ca_key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new([]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = params.self_signed(&ca_key).unwrap();
    let issuer = Issuer::from_params(&params, &ca_key);
    let mut roots = RootCertStore::empty();
    roots.add(ca.der().clone()).unwrap();
    let roots = Arc::new(roots);
    let sign = |name: &str| {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &issuer).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        (vec![certificate.der().clone()], key)
    };
    let verifier = WebPkiClientVerifier::builder(Arc::clone(&roots)).build().unwrap();
    let (chain, key) = sign("127.0.0.1");
    let server = ServerConfig::builder()
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .unwrap();
    let (chain, key) = sign("proxy");
    let client = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .unwrap();
    (Arc::new(server), Arc::new(client))
}

/// Starts a guest whose port speaks TLS.
fn start_behind_tls(rig: &Rig) {
    let Endpoint::Tcp { host, port } = endpoint(&rig.port) else { panic!("it is TCP") };
    *rig.told.0.lock().unwrap() = Ok(Endpoint::Tls { host, port });
    rig.line.guest_started(true);
}

/// A line that speaks TLS to its guest's port, and the port's configuration.
pub(crate) async fn tls_rig() -> (Rig, Arc<ServerConfig>) {
    let (server, client) = tls();
    let settings = Settings { tls: Some(watch::channel(client).1), ..Settings::default() };
    let rig = Rig::with(settings).await;
    start_behind_tls(&rig);
    (rig, server)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_byte_passes_tls_with_client_certificates_both_ways() {
    let (rig, server) = tls_rig().await;
    let (guest, _) = within(rig.port.accept()).await.unwrap();
    let guest = guest.into_std().unwrap();
    guest.set_nonblocking(false).unwrap();
    let all: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    let plays = {
        let all = all.clone();
        tokio::task::spawn_blocking(move || {
            let session = ServerConnection::new(server).unwrap();
            let mut stream = StreamOwned::new(session, guest);
            std::io::Write::write_all(&mut stream, &all).unwrap();
            let mut typed = vec![0; all.len()];
            std::io::Read::read_exact(&mut stream, &mut typed).unwrap();
            typed
        })
    };
    assert!(rig.line.connected(PATIENCE).await);
    let mut visitor = visitor("alice", Mode::Write, Protocol::ConsoleV1);
    visitor.start = Start::Oldest;
    let (mut attachment, keyboard) = rig.attach(&visitor).unwrap();
    assert_eq!(output_until(&mut attachment, &all).await, all);
    keyboard.write(&all);
    assert_eq!(within(plays).await.unwrap(), all);
    assert_eq!(rig.line.describe().endpoint.unwrap().kind(), EndpointKind::Tls);
}

#[tokio::test]
async fn a_port_that_speaks_tls_needs_the_options_for_it() {
    let rig = Rig::new().await;
    start_behind_tls(&rig);
    let _guest = within(rig.port.accept()).await.unwrap();
    eventually(|| rig.line.describe().reason.contains("set [serial_console] tls_ca_certs")).await;
}

/// A line whose port requires a request for a path, and the guest's end after it.
async fn tunnel(answer: &[u8]) -> (Rig, tokio::net::TcpStream) {
    let rig = Rig::new().await;
    let Endpoint::Tcp { host, port } = endpoint(&rig.port) else { panic!("it is TCP") };
    *rig.told.0.lock().unwrap() = Ok(Endpoint::Tunnel { host, port, path: "a-path".into() });
    rig.line.guest_started(true);
    let (mut guest, _) = within(rig.port.accept()).await.unwrap();
    let mut request = [0; 27];
    within(guest.read_exact(&mut request)).await.unwrap();
    assert_eq!(&request, b"CONNECT a-path HTTP/1.1\r\n\r\n");
    guest.write_all(answer).await.unwrap();
    (rig, guest)
}

#[tokio::test]
async fn what_follows_the_answer_for_a_path_is_the_guests() {
    let (rig, mut guest) = tunnel(b"HTTP/1.1 200 OK\r\nX: y\r\n\r\nlogin: ").await;
    assert!(rig.line.connected(PATIENCE).await);
    let mut visitor = visitor("alice", Mode::Write, Protocol::ConsoleV1);
    visitor.start = Start::Oldest;
    let (mut attachment, keyboard) = rig.attach(&visitor).unwrap();
    assert_eq!(output_until(&mut attachment, b"login: ").await, b"login: ");
    keyboard.write(b"root");
    let mut typed = [0; 4];
    within(guest.read_exact(&mut typed)).await.unwrap();
    assert_eq!(&typed, b"root");
}

#[tokio::test]
async fn a_path_that_is_not_opened_makes_the_line_fail() {
    for answer in ["HTTP/1.1 500 No\r\n\r\n", "200\r\n\r\n", "\r\n\r\n"] {
        let (rig, _guest) = tunnel(answer.as_bytes()).await;
        eventually(|| rig.line.describe().reason.contains("does not accept the path")).await;
        assert!(!rig.line.describe().reason.contains("a-path"));
    }
    let (rig, _guest) = tunnel(&[b'x'; 5000]).await;
    eventually(|| rig.line.describe().reason.contains("its response has no end")).await;
}
