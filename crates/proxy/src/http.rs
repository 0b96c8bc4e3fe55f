//! One connection: HTTP until it is upgraded.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http::Request;
use http::Response;
use http::StatusCode;
use http::header;
use http_body_util::Either;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::rt::TokioTimer;
use serialproxy_tls::Stream;
use serialproxy_tls::Timed;
use tokio::net::TcpStream;

use crate::Proxy;
use crate::handshake;
use crate::handshake::Upgrade;
use crate::history;
use crate::pages;
use crate::relay;
use crate::relay::Relayed;
use crate::secure;
use crate::upgrade;

/// How long a client may take to send the head of a request.
const HEAD: Duration = Duration::from_secs(10);

/// Bytes of a request's head at most.
const HEAD_SIZE: usize = 16 * 1024;

pub(crate) type Answer = Response<Full<Bytes>>;

/// Who is connected.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Client {
    pub(crate) address: SocketAddr,
    /// Whether by TLS.
    pub(crate) tls: bool,
}

/// Serves a connection until it ends, or until it stops being HTTP: then returns what follows.
pub(crate) async fn serve_connection(
    proxy: Arc<Proxy>,
    stream: TcpStream,
    peer: SocketAddr,
) -> Option<Upgrade> {
    // Boxed, since the handshake is over soon.
    let received = Box::pin(receive(&proxy, stream)).await;
    let stream = match received {
        Ok(stream) => stream,
        Err(error) => {
            tracing::debug!(%peer, %error, "no connection came about");
            return None;
        }
    };
    let insecure = proxy.reception.refuses(&stream);
    let client = Client { address: peer, tls: matches!(stream, Stream::Tls(_)) };
    // A session begins when its connection has stopped being HTTP, so that no buffer of the one is
    // held by the other.
    let next: Arc<Mutex<Option<Upgrade>>> = Arc::default();
    let service = service_fn(|request| {
        let (proxy, next) = (Arc::clone(&proxy), Arc::clone(&next));
        async move {
            let (answer, upgrade) = match insecure {
                true => (secure::refuse(&request).map(Either::Left), None),
                false => answer(&proxy, client, request).await,
            };
            *next.lock().unwrap_or_else(PoisonError::into_inner) = upgrade;
            Ok::<_, Infallible>(answer)
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(HEAD_SIZE)
        .serve_connection(TokioIo::new(Timed::new(stream)), service)
        .with_upgrades();
    if let Err(error) = connection.await {
        tracing::debug!(%peer, %error, "connection ended");
    }
    next.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// Keys go out at once, and a peer that vanished without a word is noticed by the kernel too:
/// what is unacknowledged for the grace time ends the connection.
async fn receive(proxy: &Proxy, stream: TcpStream) -> io::Result<Stream> {
    stream.set_nodelay(true)?;
    socket2::SockRef::from(&stream).set_tcp_user_timeout(Some(proxy.config.session.grace))?;
    proxy.reception.receive(stream).await
}

async fn answer(
    proxy: &Arc<Proxy>,
    client: Client,
    request: Request<Incoming>,
) -> (Relayed, Option<Upgrade>) {
    let misplaced = request.uri().path().starts_with("//");
    if upgrade::is_asked_for(&request) && !misplaced {
        let (answer, upgrade) = handshake::answer(proxy, client, request).await;
        return (answer.map(Either::Left), upgrade);
    }
    let is_get = [Method::GET, Method::HEAD].contains(request.method());
    let answer = if misplaced {
        plain(StatusCode::BAD_REQUEST, "the path must not start with //\n")
    } else if upgrade::check_host(&request).is_err() {
        plain(StatusCode::BAD_REQUEST, "the Host header is missing, repeated or not valid\n")
    } else if relay::is_call(&request) && !(is_get && pages::has_token(&request)) {
        return (proxy.relay.answer(client, request).await, None);
    } else if is_get && history::is_asked_for(&request) {
        history::answer(proxy, &request)
    } else if is_get {
        pages::answer(&proxy.config, &request).await
    } else {
        let mut answer = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET is answered here\n");
        answer.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static("GET, HEAD"));
        answer
    };
    (answer.map(Either::Left), None)
}

pub(crate) fn plain(status: StatusCode, text: &'static str) -> Answer {
    let mut answer = Response::new(Full::from(text));
    *answer.status_mut() = status;
    answer.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    answer
}
