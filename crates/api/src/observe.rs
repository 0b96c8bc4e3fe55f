//! One log line and one request id per call.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::MatchedPath;
use axum::extract::Request;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::HeaderValue;
use axum::http::header;
use axum::middleware::Next;
use axum::response::Response;
use serialproxy_proto::request_id;
use serialproxy_proto::request_id::RequestId;

use crate::auth::Caller;
use crate::client::Client;
use crate::evidence::SENDER;
use crate::fault::FaultText;
use crate::strangers::StrangerLog;

/// Characters of a method that are logged.
const METHOD: usize = 16;

/// A call until it is logged. Dropping it logs it, also when the caller hung up before the answer.
struct Call {
    /// Its beginning: a client may send any word.
    method: String,
    /// The template of the path. The path itself may hold what a person typed, and the query a
    /// token.
    route: Option<MatchedPath>,
    request_id: RequestId,
    /// The id that an earlier service gave the user's whole request.
    global_request_id: Option<RequestId>,
    started: Instant,
    status: Option<u16>,
    user: Option<String>,
    fault: Option<String>,
    client: Client,
    log: Arc<StrangerLog>,
}

/// Adds the request id and the common headers to every answer, and logs the call.
pub(crate) async fn observe(
    State(log): State<Arc<StrangerLog>>,
    request: Request,
    next: Next,
) -> Response {
    let mut call = Call {
        method: request.method().as_str().chars().take(METHOD).collect(),
        route: request.extensions().get().cloned(),
        request_id: RequestId::random(),
        global_request_id: global_request_id(request.headers()),
        started: Instant::now(),
        status: None,
        user: None,
        fault: None,
        client: Client::of(request.headers(), request.extensions()),
        log,
    };
    let work = SENDER.scope(call.client, next.run(request));
    let mut response = call.request_id.scope(work).await;
    let extensions = response.extensions_mut();
    call.user = extensions.remove().map(|caller: Caller| caller.user);
    call.fault = extensions.remove().map(|text: FaultText| text.0);
    call.status = Some(response.status().as_u16());
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::try_from(call.request_id.to_string()) {
        headers.insert(request_id::HEADER, id.clone());
        headers.insert("x-compute-request-id", id);
    }
    // Answers hold tokens, or a state that may change at any time.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

fn global_request_id(headers: &HeaderMap) -> Option<RequestId> {
    RequestId::parse(headers.get(request_id::HEADER)?.to_str().ok()?)
}

impl Drop for Call {
    fn drop(&mut self) {
        if self.user.is_none() && !self.log.admit(self.client) {
            return;
        }
        macro_rules! log {
            ($level:ident) => {
                tracing::$level!(
            method = %self.method,
            route = self.route.as_ref().map(MatchedPath::as_str),
            status = self.status,
            user = self.user,
            seconds = self.started.elapsed().as_secs_f64(),
            request_id = %self.request_id,
            global_request_id = self.global_request_id.map(|id| id.to_string()),
            fault = self.fault,
            unlogged = self.log.unlogged(),
            "{}",
            if self.status.is_some() { "answered" } else { "caller hung up" }
                )
            };
        }
        // An error status is a warning, even if only the caller is at fault.
        match self.status {
            Some(status) if status >= 400 => log!(warn),
            _ => log!(info),
        }
    }
}
