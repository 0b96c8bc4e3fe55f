//! A WebSocket connection to a console. It answers pings whenever it is polled, and a peer that
//! reads slowly does not keep it from reading.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures_util::SinkExt;
use futures_util::StreamExt;
use http::HeaderValue;
use http::Uri;
use http::header::SEC_WEBSOCKET_PROTOCOL;
use reqwest::Url;
use serialproxy_proto::bounds::FRAME;
use serialproxy_proto::close::CloseCode;
use serialproxy_proto::console::ClientMessage;
use serialproxy_proto::console::SUBPROTOCOL;
use serialproxy_proto::console::ServerMessage;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_websockets::ClientBuilder;
use tokio_websockets::Connector;
use tokio_websockets::Error;
use tokio_websockets::Limits;
use tokio_websockets::MaybeTlsStream;
use tokio_websockets::Message;
use tokio_websockets::WebSocketStream;

use crate::api::Api;
use crate::connect::overheard::Answer;
use crate::connect::overheard::Overheard;
use crate::connect::overheard::answer;
use crate::failure::Failure;
use crate::failure::is_no_tls;
use crate::failure::root_cause;
use crate::text::printable;

/// How long the TCP connection and the handshake may take.
const OPEN_TIME: Duration = Duration::from_secs(10);
/// How long the TCP connection may take if there is another address to try.
const CONNECT_TIME: Duration = Duration::from_secs(1);
/// How long the peer may take to answer a Close frame.
const CLOSE_TIME: Duration = Duration::from_secs(1);
/// The status that opens a WebSocket.
const SWITCHING: u16 = 101;
/// 1 MiB: far more than the largest message of a proxy, even of a later version.
const MESSAGE_SIZE: usize = 16 * FRAME;

type Stream = WebSocketStream<Overheard<MaybeTlsStream<TcpStream>>>;

/// An open connection.
#[derive(Debug)]
pub(crate) struct Wire {
    /// Boxed, since TLS is large.
    stream: Box<Stream>,
    outbox: VecDeque<Message>,
}

/// An event of the connection.
#[derive(Debug)]
pub(crate) enum Event {
    /// Output of the line.
    Bytes(Bytes),
    Control(ServerMessage),
    /// A ping, a pong, or an unknown message.
    SignOfLife,
    Closed {
        code: u16,
        reason: String,
    },
    /// The connection ended without a Close frame.
    Lost(String),
}

impl Wire {
    /// Connects to a `ws` or `wss` URL, which contains a secret and is never shown, at `at`, one of
    /// its host name's addresses. If there is another address, the TCP connection has less time.
    pub(crate) async fn open(
        api: &Api,
        url: &Url,
        at: SocketAddr,
        is_last: bool,
    ) -> Result<Self, Failure> {
        let address = url.origin().ascii_serialization();
        let connect_time = if is_last { OPEN_TIME } else { CONNECT_TIME };
        let connector = match url.scheme() {
            "wss" => Connector::Rustls(Arc::new(api.trust()?).into()),
            _ => Connector::Plain,
        };
        let opening = async {
            let socket = Self::reach(at, connect_time).await?;
            let host = url.host_str().ok_or(Error::CannotResolveHost)?;
            let host = host.trim_start_matches('[').trim_end_matches(']');
            let socket = connector.wrap(host, socket).await?;
            let (socket, heard) = Overheard::new(socket);
            let opened = Self::handshake(url, socket).await;
            Ok((opened, heard))
        };
        let late = format!("no answer in {} s", OPEN_TIME.as_secs());
        let failed = |error: &Error| match is_no_tls(error) {
            true => Failure::NoTls { address: address.clone() },
            false => Failure::Proxy { address: address.clone(), cause: root_cause(error) },
        };
        match timeout(OPEN_TIME, Box::pin(opening)).await {
            Err(_) => Err(Failure::Proxy { address, cause: late }),
            Ok(Err(error)) => Err(failed(&error)),
            Ok(Ok((Ok(Some(stream)), _))) => {
                Ok(Self { stream: Box::new(stream), outbox: VecDeque::new() })
            }
            Ok(Ok((Ok(None), _))) => Err(Failure::Speech(address)),
            Ok(Ok((Err(error), heard))) => match answer(&heard) {
                Answer { tls: true, .. } => Err(Failure::OnlyTls { address }),
                Answer { status: Some(status), reason, .. } if status != SWITCHING => {
                    Err(Failure::Refused { address, status, reason })
                }
                _ => Err(failed(&error)),
            },
        }
    }

    async fn reach(at: SocketAddr, limit: Duration) -> io::Result<TcpStream> {
        let late = |_| io::Error::other(format!("no answer in {} s", limit.as_secs()));
        let socket = timeout(limit, TcpStream::connect(at)).await.map_err(late)??;
        socket.set_nodelay(true)?;
        Ok(socket)
    }

    /// `None` where the peer does not support our protocol.
    async fn handshake(
        url: &Url,
        socket: Overheard<MaybeTlsStream<TcpStream>>,
    ) -> Result<Option<Stream>, Error> {
        let uri = Uri::try_from(url.as_str()).map_err(|_| Error::CannotResolveHost)?;
        let (stream, response) = ClientBuilder::from_uri(uri)
            .limits(Limits::default().max_payload_len(Some(MESSAGE_SIZE)))
            .add_header(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL))?
            .connect_on(socket)
            .await?;
        let chosen = response.headers().get(SEC_WEBSOCKET_PROTOCOL);
        Ok(chosen.is_some_and(|name| name == SUBPROTOCOL).then_some(stream))
    }

    /// Queues input for the guest.
    pub(crate) fn send_bytes(&mut self, bytes: Vec<u8>) {
        self.outbox.push_back(Message::binary(bytes));
    }

    /// Queues a control message.
    pub(crate) fn send_control(&mut self, message: &ClientMessage) {
        if let Ok(text) = serde_json::to_string(message) {
            self.outbox.push_back(Message::text(text));
        }
    }

    /// Queues a ping.
    pub(crate) fn send_ping(&mut self) {
        self.outbox.push_back(Message::ping(Bytes::new()));
    }

    /// How many messages are queued.
    pub(crate) fn waiting(&self) -> usize {
        self.outbox.len()
    }

    /// Sends queued messages and, if `reading`, waits for the next event. Cancel-safe.
    pub(crate) async fn next(&mut self, reading: bool) -> Event {
        poll_fn(|context| self.poll(context, reading)).await
    }

    fn poll(&mut self, context: &mut Context<'_>, reading: bool) -> Poll<Event> {
        let item = match reading {
            true => self.stream.poll_next_unpin(context),
            false => Poll::Pending,
        };
        // Even in a flood of output, input and pongs are sent.
        let sent = self.poll_send(context);
        match (item, sent) {
            // An event that has arrived comes first: if the connection breaks while writing, it may
            // contain the reason.
            (Poll::Ready(item), _) => Poll::Ready(event(item)),
            (Poll::Pending, Err(error)) => Poll::Ready(Event::Lost(root_cause(&error))),
            (Poll::Pending, Ok(())) => Poll::Pending,
        }
    }

    fn poll_send(&mut self, context: &mut Context<'_>) -> Result<(), Error> {
        while !self.outbox.is_empty() {
            match self.stream.poll_ready_unpin(context) {
                Poll::Pending => return Ok(()),
                Poll::Ready(ready) => ready?,
            }
            if let Some(message) = self.outbox.pop_front() {
                self.stream.start_send_unpin(message)?;
            }
        }
        match self.stream.poll_flush_unpin(context) {
            Poll::Ready(Err(error)) => Err(error),
            _ => Ok(()),
        }
    }

    /// Sends queued messages and a Close frame, so that the proxy frees the pen at once.
    pub(crate) async fn close(mut self) {
        let goodbye = async {
            while let Some(message) = self.outbox.pop_front() {
                self.stream.feed(message).await?;
            }
            self.stream.close().await
        };
        let _ = timeout(CLOSE_TIME, goodbye).await;
    }
}

fn event(item: Option<Result<Message, Error>>) -> Event {
    let message = match item {
        None => return Event::Lost("the connection ended".to_owned()),
        Some(Err(error)) => return Event::Lost(root_cause(&error)),
        Some(Ok(message)) => message,
    };
    if let Some((code, reason)) = message.as_close() {
        // A frame without a code means a normal end (RFC 6455 section 7.1.5, as 1005).
        let code = match u16::from(code) {
            1005 => CloseCode::Normal.number(),
            code => code,
        };
        return Event::Closed { code, reason: printable(reason) };
    }
    if let Some(text) = message.as_text() {
        return match serde_json::from_str(text) {
            Ok(control) => Event::Control(control),
            Err(_) => Event::SignOfLife,
        };
    }
    match message.is_binary() {
        true => Event::Bytes(message.into_payload().into()),
        false => Event::SignOfLife,
    }
}
