//! A cluster in one process: a host with one line, hosts that misbehave, and proxies in front of them.

mod client;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use serialproxy_compute::Manager;
use serialproxy_config::Config;
use serialproxy_console as console;
use serialproxy_grants::Grants;
use serialproxy_ledger::Ledger;
use serialproxy_line::Line;
use serialproxy_line::Lines;
use serialproxy_line::Resolve;
use serialproxy_line::Settings;
use serialproxy_line::Unresolved;
use serialproxy_proto::compute::BoxFuture;
use serialproxy_proto::console::ServerRef;
use serialproxy_proto::endpoint::Endpoint;
use serialproxy_proto::id::LineKey;
use serialproxy_proto::id::ServerId;
use serialproxy_proto::refusal::Refusal;
use serialproxy_proto::token::Grant;
use serialproxy_proto::token::Mode;
use serialproxy_tls::Reception;
use serialproxy_tls::Stream;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::ClientConnection;
use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::ServerConnection;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_util::sync::CancellationToken;

use crate::Backing;
use crate::Hosts;
use crate::Proxy;
use crate::Reach;
use crate::Reached;
use crate::Sought;
use crate::Tls;
pub(super) use crate::passing::rig::client::Client;

pub(super) const PROJECT: &str = "team-a";
pub(super) const HOST: &str = "host-1";

pub(super) const SWITCHING: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Accept: x\r\nSet-Cookie: a=b\r\n\r\n";

/// The certificate and the TLS configuration that both ends of a connection between roles use.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    /// The certificate and its key, in DER.
    pub(super) cert: Vec<u8>,
    pub(super) key: Vec<u8>,
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
}

/// A cluster in which one host has all lines.
#[derive(Debug)]
pub(super) struct Cluster {
    identity: Identity,
    pub(super) at: Mutex<SocketAddr>,
    pub(super) refusal: Mutex<Option<Refusal>>,
    pub(super) sought: Mutex<Vec<Sought>>,
    pub(super) lost: CancellationToken,
}

/// The host of a line whose guest is simulated.
pub(super) struct Rig {
    _state: tempfile::TempDir,
    pub(super) grants: Grants,
    pub(super) line: Line,
    pub(super) lines: Lines,
    pub(super) proxy: Arc<Proxy>,
    pub(super) guest: TcpStream,
    pub(super) cluster: Arc<Cluster>,
    pub(super) drained: watch::Sender<bool>,
}

/// A proxy in front of a cluster.
pub(super) struct Front {
    pub(super) at: SocketAddr,
    pub(super) shutdown: CancellationToken,
    pub(super) drained: watch::Sender<bool>,
}

impl Identity {
    pub(super) fn new() -> Self {
        let pair = rcgen::generate_simple_self_signed([HOST.to_owned()]).unwrap();
        Self::of(pair.cert.der().to_vec(), pair.signing_key.serialize_der())
    }

    pub(super) fn of(cert: Vec<u8>, private: Vec<u8>) -> Self {
        let chain = || vec![CertificateDer::from(cert.clone())];
        let key = || PrivatePkcs8KeyDer::from(private.clone()).into();
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(cert.clone())).unwrap();
        let roots = Arc::new(roots);
        let verifier = WebPkiClientVerifier::builder(Arc::clone(&roots)).build().unwrap();
        let server = ServerConfig::builder().with_client_cert_verifier(verifier);
        let server = server.with_single_cert(chain(), key()).unwrap();
        let client = ClientConfig::builder().with_root_certificates(roots);
        let client = client.with_client_auth_cert(chain(), key()).unwrap();
        let (client, server) = (Arc::new(client), Arc::new(server));
        Self { cert, key: private, client, server }
    }

    /// Certificate and key in PEM.
    pub(super) fn pem(&self) -> String {
        let pem = |label: &str, der: &[u8]| {
            let text = BASE64_STANDARD.encode(der);
            format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
        };
        pem("CERTIFICATE", &self.cert) + &pem("PRIVATE KEY", &self.key)
    }

    pub(super) async fn accept(&self, listener: &TcpListener) -> Stream {
        let (tcp, _) = listener.accept().await.unwrap();
        let tls = ServerConnection::new(Arc::clone(&self.server)).unwrap();
        let stream = Stream::shake_hands(tcp, tls).await.unwrap();
        assert!(stream.agreed().unwrap().peer_certificates().is_some());
        stream
    }

    pub(super) async fn connect(&self, at: SocketAddr) -> io::Result<Stream> {
        let name = ServerName::try_from(HOST).unwrap();
        let tls = ClientConnection::new(Arc::clone(&self.client), name).unwrap();
        Stream::shake_hands(TcpStream::connect(at).await?, tls).await
    }
}

impl Cluster {
    pub(super) fn new(at: SocketAddr, identity: &Identity) -> Arc<Self> {
        Arc::new(Self {
            identity: identity.clone(),
            at: Mutex::new(at),
            refusal: Mutex::default(),
            sought: Mutex::default(),
            lost: CancellationToken::new(),
        })
    }

    /// A cluster whose host does this with each connection.
    pub(super) async fn of<F>(host: impl Fn(Stream) -> F + Send + 'static) -> Arc<Self>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let identity = Identity::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let cluster = Self::new(listener.local_addr().unwrap(), &identity);
        tokio::spawn(async move {
            loop {
                let stream = identity.accept(&listener).await;
                tokio::spawn(host(stream));
            }
        });
        cluster
    }

    pub(super) async fn front(self: &Arc<Self>) -> Front {
        self.front_with(|_| ()).await
    }

    pub(super) async fn front_with(self: &Arc<Self>, change: impl FnOnce(&mut Config)) -> Front {
        let mut config = Config::default();
        change(&mut config);
        let tls = Tls { users: Reception::plain(), api: None };
        self.front_with_tls(config, tls).await
    }

    pub(super) async fn front_with_tls(self: &Arc<Self>, config: Config, tls: Tls) -> Front {
        let lines = Lines::new(Settings::default(), vec![Handle::current()]);
        let backing = Backing::Cluster(Arc::clone(self) as Arc<dyn Hosts>);
        let drained = watch::Sender::new(false);
        let proxy = Proxy::new(Arc::new(config), lines, backing, tls).unwrap();
        let (at, shutdown) = serve(Arc::new(proxy.with_drain(drained.subscribe()))).await;
        Front { at, shutdown, drained }
    }
}

impl Hosts for Cluster {
    fn find(&self, sought: Sought) -> BoxFuture<'_, Result<String, Refusal>> {
        self.sought.lock().unwrap().push(sought);
        let refusal = self.refusal.lock().unwrap().clone();
        Box::pin(async move { refusal.map_or_else(|| Ok(HOST.into()), Err) })
    }
}

impl Reach for Cluster {
    fn connect<'a>(&'a self, host: &'a str) -> BoxFuture<'a, io::Result<Reached>> {
        assert_eq!(host, HOST);
        let at = *self.at.lock().unwrap();
        Box::pin(async move {
            let stream = self.identity.connect(at).await?;
            Ok(Reached { stream, lost: self.lost.clone() })
        })
    }
}

#[derive(Debug)]
struct At(Endpoint);

impl Resolve for At {
    fn resolve(&self, _: LineKey) -> BoxFuture<'_, Result<Endpoint, Unresolved>> {
        Box::pin(async { Ok(self.0.clone()) })
    }
}

impl Rig {
    pub(super) async fn new() -> Self {
        Self::with(|_| (), |host, _, _| Backing::Own(host, None)).await
    }

    /// One with this configuration, and what is behind the proxy of a host whose guest's port is there.
    pub(super) async fn with(
        change: impl FnOnce(&mut Config),
        backing: impl FnOnce(console::Host, &Config, SocketAddr) -> Backing,
    ) -> Self {
        let state = tempfile::tempdir().unwrap();
        let file = state.path().join("store.sqlite");
        let grants = Grants::open(&file).unwrap();
        let ledger = Arc::new(Ledger::open(&file).unwrap());
        let mut config = Config::default();
        config.compute.libvirt = false;
        change(&mut config);
        let port = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = port.local_addr().unwrap();
        let lines = Lines::new(Settings::default(), vec![Handle::current()]);
        let compute = Manager::start(&config, ledger, lines.clone());
        let host = console::Host::alone(grants.clone(), &compute);
        let backing = backing(host, &config, address);
        let drained = watch::Sender::new(false);
        let proxy = proxy(config, lines.clone(), backing).with_drain(drained.subscribe());
        let proxy = Arc::new(proxy);
        let at = Endpoint::Tcp { host: address.ip().to_string(), port: address.port() };
        let server = ServerRef { id: ServerId::of_static("web"), name: "web".into() };
        let line = lines.add(&server, Some(PROJECT), 0, Arc::new(At(at)));
        line.guest_running();
        let (guest, _) = port.accept().await.unwrap();
        let identity = Identity::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let cluster = Cluster::new(listener.local_addr().unwrap(), &identity);
        let serves = Arc::clone(&proxy);
        tokio::spawn(async move {
            loop {
                let stream = identity.accept(&listener).await;
                tokio::spawn(Arc::clone(&serves).serve_peer(
                    stream,
                    true,
                    Box::pin(std::future::pending()),
                ));
            }
        });
        Self { _state: state, grants, line, lines, proxy, guest, cluster, drained }
    }

    pub(super) async fn token(&self, user: &str, mode: Mode) -> String {
        let grant = Grant {
            line: self.line.key(),
            project: PROJECT.into(),
            user: user.into(),
            mode,
            operator: false,
            wait: true,
            expires: Timestamp::MAX,
            link: None,
            host: None,
        };
        self.grants.authorize(grant).await.unwrap().expose().to_owned()
    }

    /// The next bytes that the guest receives.
    pub(super) async fn typed(&mut self, length: usize) -> Vec<u8> {
        let mut typed = vec![0; length];
        self.guest.read_exact(&mut typed).await.unwrap();
        typed
    }
}

pub(super) fn proxy(config: Config, lines: Lines, backing: Backing) -> Proxy {
    let tls = Tls { users: Reception::plain(), api: None };
    Proxy::new(Arc::new(config), lines, backing, tls).unwrap()
}

/// Serves users.
pub(super) async fn serve(proxy: Arc<Proxy>) -> (SocketAddr, CancellationToken) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap().into_std().unwrap();
    let at = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    tokio::spawn(proxy.serve(listener, 1000, shutdown.clone()));
    (at, shutdown)
}

/// Reads a request's head, and answers it.
pub(super) async fn answer(stream: &mut Stream, answer: &[u8]) -> String {
    let head = head(stream).await;
    stream.write_all(answer).await.unwrap();
    stream.flush().await.unwrap();
    head
}

/// Sends a request, and reads the answer's head.
pub(super) async fn ask(stream: &mut Stream, request: &str) -> String {
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    head(stream).await
}

async fn head(stream: &mut Stream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}
