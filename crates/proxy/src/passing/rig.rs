//! A cluster in one process: a host with one line, hosts that misbehave, proxies in front of them, and
//! clients that see every byte.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use serde_json::Value;
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

pub(super) const PROJECT: &str = "team-a";
pub(super) const HOST: &str = "host-1";

/// What both ends of a connection between roles show and check.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    /// The certificate and its key, in DER.
    pub(super) cert: Vec<u8>,
    pub(super) key: Vec<u8>,
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
}

/// The hosts of a cluster, of which one has everything.
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

/// A client, and what came that it has not looked at.
pub(super) struct Client {
    pub(super) stream: TcpStream,
    pub(super) unread: Vec<u8>,
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

    /// Certificate and key as a file has them.
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

    /// One whose host does this with each connection.
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
        let state = tempfile::tempdir().unwrap();
        let file = state.path().join("store.sqlite");
        let grants = Grants::open(&file).unwrap();
        let ledger = Arc::new(Ledger::open(&file).unwrap());
        let mut config = Config::default();
        config.compute.libvirt = false;
        let lines = Lines::new(Settings::default(), vec![Handle::current()]);
        let compute = Manager::start(&config, ledger, lines.clone());
        let host = console::Host::alone(grants.clone(), &compute);
        let backing = Backing::Own(host);
        let drained = watch::Sender::new(false);
        let proxy = proxy(config, lines.clone(), backing).with_drain(drained.subscribe());
        let proxy = Arc::new(proxy);
        let port = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = port.local_addr().unwrap();
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
            host: None,
        };
        self.grants.authorize(grant).await.unwrap().expose().to_owned()
    }

    /// What the guest gets next.
    pub(super) async fn typed(&mut self, length: usize) -> Vec<u8> {
        let mut typed = vec![0; length];
        self.guest.read_exact(&mut typed).await.unwrap();
        typed
    }
}

fn proxy(config: Config, lines: Lines, backing: Backing) -> Proxy {
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

impl Client {
    /// Asks for a WebSocket; returns the answer's head as well.
    pub(super) async fn open(at: SocketAddr, target: &str, headers: &str) -> (Self, String) {
        let mut client = Self { stream: TcpStream::connect(at).await.unwrap(), unread: Vec::new() };
        let request = format!(
            "GET /{target} HTTP/1.1\r\nHost: {at}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             {headers}\r\n"
        );
        client.stream.write_all(request.as_bytes()).await.unwrap();
        let head = client.head().await;
        (client, head)
    }

    /// A session on raw.
    pub(super) async fn raw(at: SocketAddr, token: &str) -> Self {
        let (client, head) = Self::open(at, &format!("?token={token}"), "").await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        client
    }

    /// A session on `console.v1`, with its `hello`.
    pub(super) async fn v1(at: SocketAddr, query: &str) -> (Self, Value) {
        let protocol = "Sec-WebSocket-Protocol: console.v1\r\n";
        let (mut client, head) = Self::open(at, query, protocol).await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        let (opcode, hello) = client.frame().await;
        assert_eq!(opcode, 1);
        (client, serde_json::from_slice(&hello).unwrap())
    }

    async fn head(&mut self) -> String {
        loop {
            let end = self.unread.windows(4).position(|four| four == b"\r\n\r\n");
            if let Some(end) = end {
                let head = self.unread.drain(..end + 4).collect();
                return String::from_utf8(head).unwrap();
            }
            assert_ne!(self.stream.read_buf(&mut self.unread).await.unwrap(), 0, "no head");
        }
    }

    pub(super) async fn take(&mut self, length: usize) -> Vec<u8> {
        while self.unread.len() < length {
            let read = self.stream.read_buf(&mut self.unread).await.unwrap();
            assert_ne!(read, 0, "the connection ended before {length} bytes");
        }
        self.unread.drain(..length).collect()
    }

    /// The next frame: opcode and payload.
    pub(super) async fn frame(&mut self) -> (u8, Vec<u8>) {
        let head = self.take(2).await;
        let length = match head[1] {
            126 => u16::from_be_bytes(self.take(2).await.try_into().unwrap()).into(),
            127 => u64::from_be_bytes(self.take(8).await.try_into().unwrap()),
            short => short.into(),
        };
        (head[0] & 0x0f, self.take(usize::try_from(length).unwrap()).await)
    }

    /// The code of the Close frame, past all other frames, behind which the connection ends.
    pub(super) async fn closed(mut self) -> u16 {
        loop {
            let (opcode, payload) = self.frame().await;
            if opcode == 8 {
                let _ = self.stream.write_all(&[0x88, 0x80, 0, 0, 0, 0]).await;
                self.ended().await;
                return u16::from_be_bytes(payload[..2].try_into().unwrap());
            }
        }
    }

    /// Waits for the end of the connection, with nothing before it.
    pub(super) async fn ended(mut self) {
        assert_eq!(self.unread, b"");
        let end = self.stream.read_buf(&mut self.unread).await.unwrap_or_default();
        assert_eq!(end, 0, "{:?}", self.unread);
    }

    /// So many bytes of output.
    pub(super) async fn output(&mut self, length: usize) -> Vec<u8> {
        let mut output = Vec::new();
        while output.len() < length {
            match self.frame().await {
                (2, payload) => output.extend(payload),
                (opcode, _) => assert_ne!(opcode, 8, "the session was closed"),
            }
        }
        output
    }

    /// Types; the mask is zero.
    pub(super) async fn write(&mut self, bytes: &[u8]) {
        let length = u8::try_from(bytes.len()).unwrap();
        let frame = [&[0x82, 0x80 | length, 0, 0, 0, 0], bytes].concat();
        self.stream.write_all(&frame).await.unwrap();
    }
}
