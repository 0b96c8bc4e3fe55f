//! One connection: HTTP until it is upgraded.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use http::Method;
use http::Request;
use http::StatusCode;
use http::header;
use http_body_util::Either;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::rt::TokioTimer;
use serialproxy_config::Config;
use serialproxy_limits::Place;
use serialproxy_limits::Source;
use serialproxy_limits::seldom;
use serialproxy_proto::cause::Cause;
use serialproxy_proto::health::Status;
use serialproxy_tls::Stream;
use serialproxy_tls::Timed;
use tokio::net::TcpStream;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::Proxy;
use crate::Room;
use crate::answer::Answer;
use crate::answer::plain;
use crate::answer::refused;
use crate::client::Client;
use crate::client::Peer;
use crate::handshake;
use crate::handshake::Upgrade;
use crate::history;
use crate::pages;
use crate::relay;
use crate::relay::Relayed;
use crate::secure;
use crate::upgrade;

/// Timeout for the head of a request.
const HEAD: Duration = Duration::from_secs(10);

/// Path of the health check of load balancers.
const HEALTH: &str = "/healthz";

/// Maximum length of a request's head, in bytes.
const HEAD_SIZE: usize = 16 * 1024;

/// A place of a user's address; none if the connection is already counted.
type UserPlace = Option<Place<Source>>;

/// What follows on an upgraded connection.
pub(crate) struct Next {
    pub(crate) upgrade: Upgrade,
    /// The places of the user's address, held until the connection ends.
    pub(crate) places: [UserPlace; 2],
}

/// Serves a connection until it ends or is upgraded; returns what follows an upgrade. `arriving` is held until
/// the first request is answered.
pub(crate) async fn serve_connection(
    proxy: &Arc<Proxy>,
    room: &Room,
    stream: TcpStream,
    (from, arriving): (SocketAddr, TaskTrackerToken),
) -> Option<Next> {
    // Boxed, because the TLS handshake needs its memory only for a short time.
    let received = Box::pin(receive(proxy, stream, from)).await;
    let (stream, peer) = match received {
        Ok(received) => received,
        Err(error) => {
            tracing::debug!(peer = %from, %error, "a connection failed before its first request");
            return None;
        }
    };
    let own = match peer.address().ip() == from.ip() || peer.is_trusted() {
        true => None,
        false => Some(room.of_address(peer.address().ip())?),
    };
    let insecure = proxy.reception.refuses(&stream);
    let tls = matches!(stream, Stream::Tls(_));
    let who = |request: &Request<Incoming>| match insecure {
        true => Err(Box::new(secure::refuse(request))),
        false => identify(&proxy.config, room, peer, tls, request),
    };
    let (upgrade, place) = serve(proxy, stream, (from, arriving), who).await?;
    Some(Next { upgrade, places: [own, place] })
}

/// Serves HTTP until the connection ends or is upgraded; returns what follows an upgrade. `who` identifies the
/// client of a request, and returns what is held until the request or its session ends. `arriving` is held
/// until the first request is answered.
pub(crate) async fn serve<P>(
    proxy: &Arc<Proxy>,
    stream: Stream,
    (from, arriving): (SocketAddr, TaskTrackerToken),
    who: impl Fn(&Request<Incoming>) -> Result<(Client, P), Box<Answer>>,
) -> Option<(Upgrade, P)> {
    // A session begins after hyper has released the connection, so that it does not hold hyper's buffers.
    let next: Arc<Mutex<Option<(Upgrade, P)>>> = Arc::new(Mutex::new(None));
    let arriving = Mutex::new(Some(arriving));
    let service = service_fn(|request| {
        let (identified, next) = (who(&request), Arc::clone(&next));
        let arriving = arriving.lock().unwrap_or_else(PoisonError::into_inner).take();
        async move {
            let (client, place) = match identified {
                Ok(identified) => identified,
                Err(refused) => return Ok::<_, Infallible>((*refused).map(Either::Left)),
            };
            let (answer, upgrade) = answer(proxy, client, request).await;
            let upgrade = upgrade.map(|upgrade| (upgrade, place));
            *next.lock().unwrap_or_else(PoisonError::into_inner) = upgrade;
            drop(arriving);
            Ok(answer)
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(HEAD_SIZE)
        .serve_connection(TokioIo::new(Timed::new(stream)), service)
        .with_upgrades();
    if let Err(error) = connection.await {
        tracing::debug!(peer = %from, %error, "connection ended");
    }
    next.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// Receives the PROXY protocol header and the TLS handshake. The socket sends without delay, and the kernel ends
/// the connection when data is unacknowledged for the grace time.
async fn receive(
    proxy: &Proxy,
    mut stream: TcpStream,
    from: SocketAddr,
) -> io::Result<(Stream, Peer)> {
    stream.set_nodelay(true)?;
    socket2::SockRef::from(&stream).set_tcp_user_timeout(Some(proxy.config.session.grace))?;
    let peer = Peer::receive(&mut stream, from, &proxy.config).await.inspect_err(|error| {
        if seldom::is_due("proxy protocol") {
            tracing::warn!(peer = %from, %error, "closed a connection without an accepted PROXY \
                     protocol header");
        }
    })?;
    Ok((proxy.reception.receive(stream).await?, peer))
}

/// The client of a request, and a connection place for its address if a reverse proxy reports it.
fn identify(
    config: &Config,
    room: &Room,
    peer: Peer,
    tls: bool,
    request: &Request<Incoming>,
) -> Result<(Client, UserPlace), Box<Answer>> {
    let refused = |status, cause, reason: &str| Box::new(refused(status, cause, reason));
    let client = peer
        .client(tls, request.headers(), config)
        .map_err(|fault| refused(StatusCode::BAD_REQUEST, Cause::Handshake, &fault.to_string()))?;
    let address = client.address.ip();
    if address == peer.address().ip() {
        return Ok((client, None));
    }
    let place = room.of_address(address).ok_or_else(|| {
        let reason = "your address has too many connections: try again later";
        refused(StatusCode::TOO_MANY_REQUESTS, Cause::Limit, reason)
    })?;
    Ok((client, Some(place)))
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
    let asks_history = is_get && history::is_asked_for(&request);
    let answer = if misplaced {
        plain(StatusCode::BAD_REQUEST, "the path must not start with //\n")
    } else if client.passed_on && !asks_history {
        plain(StatusCode::NOT_FOUND, "only consoles and their history are served here\n")
    } else if upgrade::check_host(&request).is_err() {
        plain(StatusCode::BAD_REQUEST, "the Host header is missing, repeated or not valid\n")
    } else if is_get && request.uri().path() == HEALTH {
        health(proxy)
    } else if *request.method() == Method::OPTIONS && !relay::is_call(&request) {
        // Load balancers use OPTIONS as a health check.
        allowing(plain(StatusCode::OK, ""))
    } else if relay::is_call(&request) && !(is_get && pages::has_token(&request)) {
        return (proxy.relay.answer(client, request).await, None);
    } else if asks_history {
        history::answer(proxy, client, &request).await
    } else if is_get {
        pages::answer(&proxy.config, &request).await
    } else {
        allowing(plain(StatusCode::METHOD_NOT_ALLOWED, "only GET is supported here\n"))
    };
    (answer.map(Either::Left), None)
}

/// The answer to a health check. Anyone may ask, so it gives no details.
fn health(proxy: &Proxy) -> Answer {
    let unavailable = |text| plain(StatusCode::SERVICE_UNAVAILABLE, text);
    if proxy.lines.is_draining() || proxy.drain.is_wanted() {
        unavailable("draining\n")
    } else if proxy.health.status() == Status::Failing {
        unavailable("not available\n")
    } else {
        plain(StatusCode::OK, "ok\n")
    }
}

/// The answer with the list of the methods that work here.
fn allowing(mut answer: Answer) -> Answer {
    let methods = header::HeaderValue::from_static("GET, HEAD, OPTIONS");
    answer.headers_mut().insert(header::ALLOW, methods);
    answer
}
