//! Connections to other hosts of the cluster.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http::StatusCode;
use http::header;
use http_body_util::BodyExt;
use http_body_util::Full;
use http_body_util::Limited;
use hyper::client::conn::http1;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use serialproxy_limits::seldom;
use serialproxy_proto::compute::ComputeError;
use serialproxy_proto::request_id;
use serialproxy_proto::request_id::RequestId;
use serialproxy_tls::Stream;
use socket2::SockRef;
use socket2::TcpKeepalive;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::rustls::ClientConnection;

use crate::ALPN;
use crate::CALLS;
use crate::Identity;
use crate::Peer;
use crate::Role;
use crate::remote::call;
use crate::remote::call::Call;
use crate::server_name;

/// How long connecting to a host may take.
const CONNECT: Duration = Duration::from_secs(2);

/// How long a host's kernel may be silent.
const GONE: Duration = Duration::from_secs(10);

/// Connections to a host that are kept for further calls.
const KEPT: usize = 4;

/// Hosts whose connections are kept.
const HOSTS: usize = 2_000;

/// Makes calls over a connection.
type Sender = SendRequest<Full<Bytes>>;

/// Makes the kernel end a connection whose other side has vanished, also while an answer is
/// awaited.
fn tend(tcp: &TcpStream) -> io::Result<()> {
    let socket = SockRef::from(tcp);
    socket.set_tcp_user_timeout(Some(GONE))?;
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(GONE / 2).with_interval(GONE / 4))
}

/// Connections of this host to other hosts.
#[derive(Clone, Debug)]
pub struct Links {
    identity: Arc<Identity>,
    idle: Arc<Mutex<HashMap<String, Vec<Sender>>>>,
}

/// Why a host did not answer. The text names no address.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Silent(String);

impl From<Silent> for ComputeError {
    fn from(Silent(text): Silent) -> Self {
        Self::Unavailable(text)
    }
}

impl Links {
    /// For connections of this host.
    pub fn new(identity: Arc<Identity>) -> Self {
        Self { identity, idle: Arc::default() }
    }

    /// A connection to the host of that name in this role, over which a proxy forwards a user's
    /// request.
    ///
    /// # Errors
    ///
    /// When it cannot be reached in time, or another host responds there.
    pub async fn attach(&self, host: &str, role: Role, address: &str) -> io::Result<Stream> {
        self.open((host, role), address, ALPN).await
    }

    async fn open(
        &self,
        (host, role): (&str, Role),
        address: &str,
        protocol: &[u8],
    ) -> io::Result<Stream> {
        let open = async {
            let mut config = self.identity.client_config(role, host).map_err(io::Error::other)?;
            config.alpn_protocols = vec![protocol.to_vec()];
            let tcp = TcpStream::connect(address).await?;
            tcp.set_nodelay(true)?;
            tend(&tcp)?;
            let tls = ClientConnection::new(Arc::new(config), server_name());
            let stream = Stream::shake_hands(tcp, tls.map_err(io::Error::other)?).await?;
            let agreed = stream.agreed().ok_or(io::ErrorKind::InvalidData)?;
            Peer::of(agreed).map_err(io::Error::other)?;
            Ok(stream)
        };
        timeout(CONNECT, open).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Makes a call. If the answer does not arrive in time, the call may have been executed
    /// nevertheless.
    pub(crate) async fn ask<T: DeserializeOwned>(
        &self,
        to: (&str, &str),
        call: &Call,
        within: Duration,
    ) -> Result<T, ComputeError> {
        self.ask_role(Role::Compute, to, call, within).await
    }

    /// The same, of a host in this role.
    pub(crate) async fn ask_role<T: DeserializeOwned>(
        &self,
        role: Role,
        (host, address): (&str, &str),
        call: &Call,
        within: Duration,
    ) -> Result<T, ComputeError> {
        let body = serde_json::to_vec(call)
            .map_err(|error| ComputeError::Failed(format!("a call cannot be written: {error}")))?;
        let asked = timeout(within, self.post((host, role), address, body.into())).await;
        let answer = asked.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        match answer {
            Ok(answer) => call::read(&answer),
            Err(error) => {
                if seldom::is_due("cluster call") {
                    tracing::warn!(host, %error, "a call to another host failed");
                }
                let text = format!("host {host} does not answer: try again");
                Err(Silent(text).into())
            }
        }
    }

    async fn post(
        &self,
        (host, role): (&str, Role),
        address: &str,
        body: Bytes,
    ) -> io::Result<Bytes> {
        let name = format!("{host}/{role}");
        let request = || {
            let request = Request::post(call::PATH).header(header::HOST, host);
            let request = request.header(header::CONTENT_TYPE, "application/json");
            let request = match RequestId::current() {
                Some(id) => request.header(request_id::HEADER, id.to_string()),
                None => request,
            };
            request.body(Full::new(body.clone())).map_err(io::Error::other)
        };
        let mut sender = match self.kept(&name) {
            Some(sender) => sender,
            None => self.connect((host, role), address).await?,
        };
        let answer = match sender.send_request(request()?).await {
            // The host ended the kept connection before it received the call.
            Err(error) if error.is_canceled() => {
                sender = self.connect((host, role), address).await?;
                sender.send_request(request()?).await
            }
            answer => answer,
        };
        let answer = answer.map_err(io::Error::other)?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), call::ANSWER).collect().await;
        let body = body.map_err(io::Error::other)?.to_bytes();
        if status != StatusCode::OK {
            return Err(io::Error::other(format!("it answers {status}")));
        }
        self.keep(&name, sender);
        Ok(body)
    }

    async fn connect(&self, host: (&str, Role), address: &str) -> io::Result<Sender> {
        let stream = self.open(host, address, CALLS).await?;
        let (sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection to another host ended");
            }
        });
        Ok(sender)
    }

    /// A kept connection that is still open.
    fn kept(&self, host: &str) -> Option<Sender> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = idle.get_mut(host)?;
        while let Some(sender) = kept.pop() {
            if sender.is_ready() {
                return Some(sender);
            }
        }
        None
    }

    fn keep(&self, host: &str, sender: Sender) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < HOSTS || idle.contains_key(host) {
            let kept = idle.entry(host.to_owned()).or_default();
            if kept.len() < KEPT {
                kept.push(sender);
            }
        }
    }
}
