//! One call to an api host: JSON over TLS.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use http::header::HOST;
use http_body_util::BodyExt;
use http_body_util::Full;
use http_body_util::Limited;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;

use crate::identity::server_name;
use crate::trust::reason;
use crate::wire::MAX_ANSWER;
use crate::wire::Refusal;

/// How long a call may take: longer than the time limit of the other side.
const PATIENCE: Duration = Duration::from_secs(15);

/// Most characters shown of another host's error text.
const MAX_REASON: usize = 500;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The host does not respond, or is not the expected one.
    #[error("cannot connect to {address}: {reason}")]
    Connect {
        /// Its address.
        address: String,
        /// The error.
        reason: String,
    },
    /// Its response has another form.
    #[error("{address} gave no answer that can be understood: {reason}")]
    Answer {
        /// Its address.
        address: String,
        /// The error.
        reason: String,
    },
    /// It refuses the call.
    #[error("{0}")]
    Refused(String),
}

/// Sends a request to `HOST:PORT` and returns the answer.
pub(crate) async fn post<T: DeserializeOwned>(
    address: &str,
    tls: ClientConfig,
    path: &str,
    body: &impl Serialize,
) -> Result<T, CallError> {
    let answer = |reason: String| CallError::Answer { address: address.to_owned(), reason };
    let body = serde_json::to_vec(body).map_err(|error| answer(error.to_string()))?;
    let called = tokio::time::timeout(PATIENCE, exchange(address, tls, path, body)).await;
    let (status, body) = called.unwrap_or_else(|_| Err(answer("it took too long".into())))?;
    if status == StatusCode::OK {
        // The parser's error text could repeat a key.
        return serde_json::from_slice(&body)
            .map_err(|_| answer("it is not the JSON expected".into()));
    }
    match serde_json::from_slice::<Refusal>(&body) {
        Ok(refusal) => Err(CallError::Refused(plain(&refusal.error))),
        Err(_) => Err(answer(format!("status {status}"))),
    }
}

async fn exchange(
    address: &str,
    tls: ClientConfig,
    path: &str,
    body: Vec<u8>,
) -> Result<(StatusCode, Bytes), CallError> {
    let connect = |reason: String| CallError::Connect { address: address.to_owned(), reason };
    let answer = |reason: String| CallError::Answer { address: address.to_owned(), reason };
    let failed = |error: io::Error| connect(plain(&reason(&error)));
    let tcp = TcpStream::connect(address).await.map_err(failed)?;
    let tls =
        TlsConnector::from(Arc::new(tls)).connect(server_name(), tcp).await.map_err(failed)?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(tls))
        .await
        .map_err(|error| answer(error.to_string()))?;
    let _connection = AbortOnDropHandle::new(tokio::spawn(connection));
    let request = Request::post(path)
        .header(HOST, address)
        .header(CONTENT_TYPE, "application/json")
        .body(Full::<Bytes>::from(body))
        .map_err(|error| answer(error.to_string()))?;
    let response = sender.send_request(request).await.map_err(|error| answer(in_full(&error)))?;
    let status = response.status();
    let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
    let body = body.map_err(|error| answer(error.to_string()))?;
    Ok((status, body.to_bytes()))
}

/// The last cause, which is the most specific.
fn in_full(error: &hyper::Error) -> String {
    let causes =
        std::iter::successors(Some(error as &(dyn std::error::Error + 'static)), |error| {
            error.source()
        });
    plain(&causes.last().map(ToString::to_string).unwrap_or_default())
}

/// Another host's text in a form that a terminal may show.
fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_REASON).collect()
}
