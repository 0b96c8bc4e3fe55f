//! Serving: accepts connections and answers their requests, with limits on number, time and size.

use std::net::IpAddr;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::extract::Request;
use axum::http::HeaderMap;
use axum::http::HeaderValue;
use axum::http::uri::Scheme;
use axum::response::IntoResponse;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service as _;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::rt::TokioTimer;
use hyper_util::service::TowerToHyperService;
use serialproxy_config::Networks;
use serialproxy_limits::Place;
use serialproxy_limits::Places;
use serialproxy_limits::Source;
use serialproxy_limits::seldom;
use serialproxy_proto::forwarded;
use serialproxy_proto::forwarded::Headers;
use serialproxy_tls::Reception;
use serialproxy_tls::Stream;
use serialproxy_tls::Timed;
use socket2::SockRef;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::fault::Fault;

/// Simultaneous connections; further ones wait in the accept backlog.
const CONNECTIONS: usize = 1024;

/// How long the head of a request may take to arrive. An idle connection is closed after the same
/// time.
const HEAD: Duration = Duration::from_secs(10);

/// Largest head of a request in bytes.
const HEAD_SIZE: usize = 64 * 1024;

/// How long a new connection has for its first request where the process stops.
const FIRST: Duration = Duration::from_secs(1);

/// How long a connection accepts new requests.
const LIFE: Duration = Duration::from_secs(600);

/// How long the last request of a connection may take after that. The slowest call is faster, so
/// this cuts off only a caller that does not read its answer.
const LAST: Duration = Duration::from_secs(700);

/// How long sent bytes may stay unacknowledged.
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);

/// How long calls may take to finish when the process stops.
const DRAIN: Duration = Duration::from_secs(2);

/// The pause after the system had no resources to accept a connection.
const RELIEF: Duration = Duration::from_millis(100);

/// The limits on callers by address.
#[derive(Clone, Debug)]
pub struct Callers {
    /// The connections of each address.
    places: Places<Source>,
    /// Reverse proxies that are trusted to name the address of a caller.
    trusted: Networks,
}

impl Callers {
    /// Allows an address `per_address` simultaneous connections; 0 is no limit. A trusted reverse
    /// proxy itself is not limited: the calls of each address that it names are.
    pub fn new(per_address: u32, trusted: Networks) -> Self {
        Self { places: Places::new(usize::try_from(per_address).unwrap_or(usize::MAX)), trusted }
    }

    /// A place for a connection, if its address has one left.
    fn enter(&self, address: IpAddr) -> Option<Place<Source>> {
        let source = Source::from(address);
        let place = self.places.enter(source);
        if place.is_none() && seldom::is_due("api places") {
            tracing::warn!(
                %source,
                most = self.places.most(),
                "an address has reached [limits] connections_per_address at the API: further \
                 connections are closed"
            );
        }
        place
    }

    /// The address of a call's caller; with its place, if a trusted reverse proxy made the
    /// connection.
    fn identify(
        &self,
        peer: SocketAddr,
        headers: &HeaderMap,
    ) -> Result<(SocketAddr, Option<Place<Source>>), Fault> {
        if !self.trusted.contain(peer.ip()) {
            return Ok((peer, None));
        }
        let values = |name| headers.get_all(name).into_iter().map(HeaderValue::as_bytes);
        let trusted = |address| self.trusted.contain(address);
        let user = forwarded::user(peer, trusted, &Headers::of(values));
        let address = user.map_err(|fault| Fault::BadRequest(fault.to_string()))?.address;
        if address.ip() == peer.ip() {
            return Ok((peer, None));
        }
        let place = self.enter(address.ip()).ok_or_else(|| {
            Fault::Unavailable("your address has too many connections: try again later".into())
        })?;
        Ok((address, Some(place)))
    }
}

/// Serves the API on a listener until `shutdown`; then calls in progress have 2 s to finish.
pub async fn serve(
    listener: TcpListener,
    reception: Reception,
    callers: Callers,
    router: Router,
    shutdown: impl Future<Output = ()>,
) {
    let mut shutdown = std::pin::pin!(shutdown);
    let stop = CancellationToken::new();
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased; // A flood of connections must not keep the process from stopping.
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < CONNECTIONS => match accepted {
                Ok((stream, peer)) => {
                    // Dropping the stream closes the connection.
                    let place = match callers.trusted.contain(peer.ip()) {
                        true => None,
                        false => match callers.enter(peer.ip()) {
                            Some(place) => Some(place),
                            None => continue,
                        },
                    };
                    let from = (peer, callers.clone());
                    let received =
                        receive(stream, from, reception.clone(), router.clone(), stop.clone());
                    connections.spawn(async move {
                        received.await;
                        drop(place);
                    });
                }
                Err(error) => {
                    if seldom::is_due("api accept") {
                        tracing::warn!(%error, "the API could not accept a connection");
                    }
                    tokio::time::sleep(RELIEF).await;
                }
            },
        }
    }
    drop(listener);
    stop.cancel();
    let drained = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN, drained).await.is_err() {
        tracing::warn!(
            calls = connections.len(),
            "the API stopped before these calls had finished"
        );
    }
}

async fn receive(
    tcp: TcpStream,
    from: (SocketAddr, Callers),
    reception: Reception,
    router: Router,
    stop: CancellationToken,
) {
    // So the connection of a vanished caller ends while an answer is sent.
    if let Err(error) = SockRef::from(&tcp).set_tcp_user_timeout(Some(UNACKNOWLEDGED)) {
        tracing::warn!(%error, "cannot set the TCP timeout of a connection to the API");
    }
    // The caller causes these errors: it sent nothing, hung up, or failed its handshake.
    match reception.receive(tcp).await {
        Ok(stream) if reception.refuses(&stream) => {
            attend(stream, from, Scheme::HTTP, Router::new().fallback(tls_only), stop).await;
        }
        Ok(stream @ Stream::Plain(_)) => attend(stream, from, Scheme::HTTP, router, stop).await,
        Ok(stream @ Stream::Tls(_)) => attend(stream, from, Scheme::HTTPS, router, stop).await,
        Err(error) => tracing::debug!(peer = %from.0, %error, "a connection failed before its \
                 first request"),
    }
}

/// Refuses instead of redirecting, so that a token that was sent without TLS does not seem to work.
async fn tls_only() -> Fault {
    Fault::BadRequest("This port speaks only TLS: use https:// instead of http://.".into())
}

async fn attend<I>(
    io: I,
    (peer, callers): (SocketAddr, Callers),
    scheme: Scheme,
    router: Router,
    stop: CancellationToken,
) where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let first = tokio::time::Instant::now() + FIRST;
    let asked = CancellationToken::new();
    let router = TowerToHyperService::new(router);
    let asks = asked.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        asks.cancel();
        let mut request = request.map(Body::new);
        let (router, identified) = (router.clone(), callers.identify(peer, request.headers()));
        request.extensions_mut().insert(scheme.clone());
        async move {
            let (address, _place) = match identified {
                Ok(identified) => identified,
                Err(fault) => return Ok(fault.into_response()),
            };
            request.extensions_mut().insert(ConnectInfo(address));
            router.call(request).await
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(HEAD_SIZE)
        .serve_connection(TokioIo::new(Timed::new(io)), service);
    let mut connection = std::pin::pin!(connection);
    // The caller causes these errors: it hung up, was too slow or did not speak HTTP.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = stop.cancelled() => {}
        () = tokio::time::sleep(LIFE) => {}
    }
    // The first request of a caller that has just connected is under way, and would have no answer.
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = tokio::time::timeout_at(first, asked.cancelled()) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = tokio::time::timeout(LAST, connection).await;
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;
    use tokio::io::AsyncWriteExt;
    use tokio::io::DuplexStream;

    use super::*;

    fn attended() -> DuplexStream {
        attended_until(CancellationToken::new())
    }

    fn attended_until(stop: CancellationToken) -> DuplexStream {
        let (client, server) = tokio::io::duplex(HEAD_SIZE);
        let router = Router::new()
            .route("/", axum::routing::get(async || "hello"))
            .route("/", axum::routing::post(async |_: crate::request::Body| "thanks"));
        let peer = SocketAddr::from(([127, 0, 0, 1], 1));
        let from = (peer, Callers::new(0, Networks::default()));
        tokio::spawn(attend(server, from, Scheme::HTTP, router, stop));
        client
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_sends_half_a_head_is_cut_off_after_ten_seconds() {
        let mut client = attended();
        let started = tokio::time::Instant::now();
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n").await.unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        assert_eq!(started.elapsed().as_secs(), HEAD.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_says_nothing_is_closed_after_ten_seconds() {
        let mut client = attended();
        let started = tokio::time::Instant::now();
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        assert!(answer.ends_with(b"hello"));
        assert_eq!(started.elapsed().as_secs(), HEAD.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn who_connects_right_before_the_process_stops_is_answered() {
        let stop = CancellationToken::new();
        let mut client = attended_until(stop.clone());
        stop.cancel();
        tokio::time::sleep(FIRST / 2).await;
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        assert!(answer.ends_with(b"hello"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_connection_that_says_nothing_holds_up_the_stop_for_a_second() {
        let stop = CancellationToken::new();
        let mut client = attended_until(stop.clone());
        let started = tokio::time::Instant::now();
        stop.cancel();
        client.read_to_end(&mut Vec::new()).await.unwrap();
        assert_eq!(started.elapsed(), FIRST);
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_does_not_hold_up_the_stop() {
        let stop = CancellationToken::new();
        let mut client = attended_until(stop.clone());
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        let mut answer = vec![0; 12];
        client.read_exact(&mut answer).await.unwrap();
        let started = tokio::time::Instant::now();
        stop.cancel();
        client.read_to_end(&mut answer).await.unwrap();
        assert_eq!(started.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_asks_on_and_reads_nothing_is_cut_off_after_half_a_minute() {
        let mut client = attended();
        let started = tokio::time::Instant::now();
        let asking =
            async { while client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.is_ok() {} };
        tokio::time::timeout(Duration::from_secs(100), asking).await.unwrap();
        assert_eq!(started.elapsed().as_secs(), 30);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_come_is_waited_for_half_a_minute() {
        let mut client = attended();
        let started = tokio::time::Instant::now();
        client.write_all(b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nhalf").await.unwrap();
        let mut answer = vec![0; 12];
        client.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer, b"HTTP/1.1 400");
        assert_eq!(started.elapsed().as_secs(), 30);
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_without_end_is_refused() {
        let mut client = attended();
        client.write_all(b"GET / HTTP/1.1\r\nX-Long: ").await.unwrap();
        let _ = client.write_all(&[b'x'; 2 * HEAD_SIZE]).await;
        let mut answer = vec![0; 12];
        client.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer, b"HTTP/1.1 431");
    }
}
