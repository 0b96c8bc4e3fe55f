//! The listener for other hosts of the cluster: proxies connect with users' requests, api roles
//! with calls, and hosts that join or renew their certificates.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http::Request;
use http::Response;
use http::StatusCode;
use http_body_util::BodyExt;
use http_body_util::Full;
use http_body_util::Limited;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::rt::TokioTimer;
use serialproxy_audit::Audit;
use serialproxy_limits::Places;
use serialproxy_limits::Source;
use serialproxy_limits::seldom;
use serialproxy_proto::compute::BoxFuture;
use serialproxy_proto::request_id;
use serialproxy_proto::request_id::RequestId;
use serialproxy_tls::Stream;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::ServerConnection;
use tokio_util::sync::CancellationToken;

use crate::Admission;
use crate::CALLS;
use crate::Peer;
use crate::PeerError;
use crate::Removed;
use crate::Role;
use crate::Watching;
use crate::publish::Has;
use crate::reason;
use crate::remote::call;
use crate::remote::call::Answering;
use crate::wire::WATCH_LINK;

/// How long a handshake may take: between hosts it takes milliseconds.
const HANDSHAKE: Duration = Duration::from_secs(3);

/// How long the head and the body of a call may take to arrive.
const PATIENCE: Duration = Duration::from_secs(10);

/// Connections whose handshake may be in progress at a time. Anybody can begin one.
const HANDSHAKES: usize = 1024;

/// How many of these, and of the connections without a certificate, one address may have, so that
/// it cannot keep all other hosts out.
const UNKNOWN_EACH: usize = 128;

/// The pause after a failed accept, since no file descriptor becomes free at once.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves a connection over which a proxy forwards a user's request. The arguments include whether
/// the certificate is a proxy's, and what to do when the certificate is removed: then nothing may
/// continue that came over the connection.
pub type Attach =
    Arc<dyn Fn(Stream, bool, BoxFuture<'static, ()>) -> BoxFuture<'static, ()> + Send + Sync>;

/// The services for other hosts.
#[derive(Clone)]
pub struct Served {
    /// Consoles.
    pub attach: Option<Attach>,
    /// Calls of api roles.
    pub calls: Option<Has>,
    /// The audit trail, which api roles read.
    pub audit: Audit,
    /// Certificates.
    pub admission: Option<Admission>,
    /// Links for watching.
    pub watching: Option<Watching>,
    /// The removed certificates, whose connections end.
    pub removed: Removed,
}

impl fmt::Debug for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Served").field("calls", &self.calls).finish_non_exhaustive()
    }
}

/// Serves other hosts until `shutdown`, over a limited number of connections; requests in progress
/// go on.
pub async fn serve(
    listener: TcpListener,
    tls: ServerConfig,
    served: Served,
    most: usize,
    shutdown: CancellationToken,
) {
    let tls = Arc::new(tls);
    let (handshakes, connections) =
        (Arc::new(Semaphore::new(HANDSHAKES)), Arc::new(Semaphore::new(most)));
    let each = Places::new(UNKNOWN_EACH);
    loop {
        let accepted = async {
            let shaking = Arc::clone(&handshakes).acquire_owned().await;
            let place = Arc::clone(&connections).acquire_owned().await;
            listener.accept().await.map(|accepted| (accepted, shaking, place))
        };
        let accepted = tokio::select! {
            () = shutdown.cancelled() => return,
            accepted = accepted => accepted,
        };
        let ((tcp, from), shaking, place) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                if seldom::is_due("cluster accept") {
                    tracing::warn!(%error, "a connection of another host could not be accepted");
                }
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let Some(own) = each.enter(Source::from(from.ip())) else {
            if seldom::is_due("cluster handshakes") {
                tracing::warn!(%from, "an address has too many connections without a certificate: closed one");
            }
            continue;
        };
        let (tls, served) = (Arc::clone(&tls), served.clone());
        tokio::spawn(async move {
            let shaken = timeout(HANDSHAKE, shake_hands(tcp, tls)).await;
            drop(shaking);
            match shaken.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
                Ok((stream, peer)) => {
                    let own = peer.is_err().then_some(own);
                    one(stream, peer, from, served).await;
                    drop(own);
                }
                Err(error) => {
                    let error = reason(&error);
                    match seldom::is_due("cluster handshake") {
                        true => {
                            tracing::warn!(%from, error, "a connection to the cluster listener is refused")
                        }
                        false => tracing::debug!(%from, error, "a connection is refused"),
                    }
                }
            }
            drop(place);
        });
    }
}

async fn shake_hands(
    tcp: TcpStream,
    tls: Arc<ServerConfig>,
) -> io::Result<(Stream, Result<Peer, PeerError>)> {
    tcp.set_nodelay(true)?;
    let tls = ServerConnection::new(tls).map_err(io::Error::other)?;
    let stream = Stream::shake_hands(tcp, tls).await?;
    let peer = stream.agreed().ok_or(PeerError::NoCertificate).and_then(Peer::of);
    Ok((stream, peer))
}

/// Serves one connection. The host's roles and the protocol determine the allowed requests; a
/// client without a certificate may only join.
async fn one(stream: Stream, peer: Result<Peer, PeerError>, from: SocketAddr, served: Served) {
    let peer = match (peer, &served.admission) {
        (Ok(peer), _) => Some(peer),
        (Err(PeerError::NoCertificate | PeerError::OtherProtocol), Some(_)) => None,
        (Err(error), _) => {
            if seldom::is_due("cluster peer") {
                tracing::warn!(%from, %error, "a connection to the cluster listener is refused");
            }
            return;
        }
    };
    let is_call = stream.agreed().is_some_and(|agreed| agreed.alpn_protocol() == Some(CALLS));
    let Some(peer) = peer else { return requests(stream, None, from, served).await };
    let (removed, serial) = (served.removed.clone(), peer.serial.clone());
    // Until the removed certificates are known, no certificate is accepted.
    if timeout(PATIENCE, removed.known()).await.is_err() {
        return;
    }
    let (known, of_peer) = (removed.clone(), serial.clone());
    let serving = async {
        match served {
            Served { attach: Some(attach), .. } if !is_call => {
                let cut = Box::pin(async move { known.until(&of_peer).await });
                attach(stream, peer.roles.has(Role::Proxy), cut).await;
            }
            served => requests(stream, Some(peer), from, served).await,
        }
    };
    tokio::select! {
        () = serving => {}
        () = removed.until(&serial) => {}
    }
}

/// Answers requests, one after the other.
async fn requests(stream: Stream, peer: Option<Peer>, from: SocketAddr, served: Served) {
    let (peer, served) = (&peer, &served);
    let service = service_fn(|request| async move {
        Ok::<_, Infallible>(request_of(request, peer.as_ref(), from, served).await)
    });
    // A host keeps a connection for further calls; a client without a certificate makes one
    // request.
    let patience = peer.is_none().then_some(PATIENCE);
    let requests = http1::Builder::new()
        .timer(TokioTimer::new())
        .keep_alive(peer.is_some())
        .header_read_timeout(patience)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = requests.await {
        tracing::debug!(%from, %error, "a connection of another host ended");
    }
}

async fn request_of(
    request: Request<Incoming>,
    peer: Option<&Peer>,
    from: SocketAddr,
    served: &Served,
) -> Response<Full<Bytes>> {
    let is_call = request.uri().path() == call::PATH;
    match (peer, served) {
        (Some(peer), Served { calls, audit, .. }) if is_call => match peer.require(Role::Api) {
            Ok(()) => {
                // The log of this host names the call of the api host.
                let id = request.headers().get(request_id::HEADER);
                let id = id.and_then(|id| RequestId::parse(id.to_str().ok()?));
                let answered = answer(request, Answering { has: calls.as_ref(), audit });
                match id {
                    Some(id) => id.scope(answered).await,
                    None => answered.await,
                }
            }
            Err(error) => {
                if seldom::is_due("cluster calls") {
                    tracing::warn!(%from, %error, "a host may not make calls");
                }
                plain(StatusCode::FORBIDDEN)
            }
        },
        (Some(peer), Served { watching: Some(watching), .. })
            if request.uri().path() == WATCH_LINK =>
        {
            watching.answer(request, peer).await
        }
        (_, Served { admission: Some(admission), .. }) => {
            admission.answer(request, from.ip(), peer).await
        }
        _ => plain(StatusCode::NOT_FOUND),
    }
}

async fn answer(request: Request<Incoming>, by: Answering<'_>) -> Response<Full<Bytes>> {
    if request.method() != Method::POST {
        return plain(StatusCode::NOT_FOUND);
    }
    let body = Limited::new(request.into_body(), call::CALL).collect();
    let Ok(Ok(body)) = timeout(PATIENCE, body).await else {
        return plain(StatusCode::BAD_REQUEST);
    };
    match serde_json::from_slice(&body.to_bytes()) {
        Ok(call) => Response::new(call::answer(call, by).await.into()),
        Err(_) => plain(StatusCode::BAD_REQUEST),
    }
}

fn plain(status: StatusCode) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = status;
    answer
}
