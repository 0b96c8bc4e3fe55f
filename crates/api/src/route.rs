//! A call: who may make it, its parameters, body and answers.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::extract::DefaultBodyLimit;
use axum::extract::Request;
use axum::extract::State;
use axum::handler::Handler;
use axum::http::HeaderMap;
use axum::http::Method;
use axum::http::StatusCode;
use axum::http::Uri;
use axum::middleware;
use axum::middleware::Next;
use axum::response::IntoResponse;
use axum::response::Response;
use axum::routing::MethodRouter;
use axum::routing::delete;
use axum::routing::get;
use axum::routing::post;
use axum::routing::put;

use crate::Api;
use crate::auth::Caller;
use crate::client::Client;
use crate::fault::BODY_LIMIT;
use crate::fault::Fault;

/// How long a call may take.
const USUAL: Duration = Duration::from_secs(90);

/// One call.
pub(crate) struct Route {
    pub(crate) method: Method,
    pub(crate) path: String,
    handler: MethodRouter<Arc<Api>>,
    rule: Rule,
    pub(crate) summary: &'static str,
    pub(crate) query: &'static [&'static str],
    /// Name of the request body's schema.
    pub(crate) body: Option<&'static str>,
    /// Name of the response body's schema.
    pub(crate) answer: Option<&'static str>,
    /// Statuses of its other answers, beside those that [`Self::statuses`] adds.
    others: &'static [u16],
    /// A status that is no success, whose answer nevertheless has the schema of a successful one.
    pub(crate) failure: Option<u16>,
}

/// Who may make a call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Access {
    /// Everyone.
    Anyone,
    /// Everyone on this machine.
    Loopback,
    /// Authenticated callers.
    Caller,
}

#[derive(Clone, Copy)]
struct Rule {
    access: Access,
    limit: Duration,
    /// Whether the second part of the path is a project.
    in_project: bool,
    /// The status of a successful answer.
    success: StatusCode,
}

impl Route {
    pub(crate) fn get<T: 'static>(
        path: impl Into<String>,
        handler: impl Handler<T, Arc<Api>>,
    ) -> Self {
        Self::new(Method::GET, path.into(), get(handler))
    }

    pub(crate) fn post<T: 'static>(
        path: impl Into<String>,
        handler: impl Handler<T, Arc<Api>>,
    ) -> Self {
        Self::new(Method::POST, path.into(), post(handler))
    }

    pub(crate) fn delete<T: 'static>(
        path: impl Into<String>,
        handler: impl Handler<T, Arc<Api>>,
    ) -> Self {
        Self::new(Method::DELETE, path.into(), delete(handler))
    }

    /// A call for every method, of which the document names only GET.
    pub(crate) fn any<T: 'static>(
        path: impl Into<String>,
        handler: impl Handler<T, Arc<Api>>,
    ) -> Self {
        Self::new(Method::GET, path.into(), get(handler.clone()).fallback(handler))
    }

    pub(crate) fn put<T: 'static>(
        path: impl Into<String>,
        handler: impl Handler<T, Arc<Api>>,
    ) -> Self {
        Self::new(Method::PUT, path.into(), put(handler))
    }

    fn new(method: Method, path: String, handler: MethodRouter<Arc<Api>>) -> Self {
        let in_project = path.split('/').nth(2) == Some("{project}");
        let access = Access::Caller;
        let rule = Rule { access, limit: USUAL, in_project, success: StatusCode::OK };
        Self {
            method,
            path,
            handler,
            rule,
            summary: "",
            query: &[],
            body: None,
            answer: None,
            others: &[],
            failure: None,
        }
    }

    pub(crate) fn summary(self, summary: &'static str) -> Self {
        Self { summary, ..self }
    }

    pub(crate) fn query(self, query: &'static [&'static str]) -> Self {
        Self { query, ..self }
    }

    pub(crate) fn body(self, schema: &'static str) -> Self {
        Self { body: Some(schema), ..self }
    }

    pub(crate) fn answer(self, schema: &'static str) -> Self {
        Self { answer: Some(schema), ..self }
    }

    pub(crate) fn others(self, others: &'static [u16]) -> Self {
        Self { others, ..self }
    }

    pub(crate) fn failure(self, status: u16) -> Self {
        Self { failure: Some(status), ..self }
    }

    pub(crate) fn success(mut self, status: StatusCode) -> Self {
        self.rule.success = status;
        self
    }

    pub(crate) fn open_to(mut self, access: Access) -> Self {
        self.rule.access = access;
        self
    }

    pub(crate) fn limit(mut self, limit: Duration) -> Self {
        self.rule.limit = limit;
        self
    }

    pub(crate) fn access(&self) -> Access {
        self.rule.access
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.rule.success
    }

    /// The statuses of all answers except the successful one.
    pub(crate) fn statuses(&self) -> BTreeSet<u16> {
        let mut statuses: BTreeSet<_> = self.others.iter().copied().collect();
        // Under noauth, a call by an unknown host name is refused; a change by a page of another
        // origin always.
        statuses.extend([403]);
        if self.method != Method::GET {
            statuses.extend([415]);
        }
        match self.rule.access {
            Access::Anyone | Access::Loopback => {}
            // 400 is for an invalid name or project.
            Access::Caller => statuses.extend([400, 401, 403, 429, 500, 503]),
        }
        if self.is_microversioned() {
            statuses.extend([400, 406]);
        }
        if self.body.is_some() {
            statuses.extend([400, 413]);
        }
        if self.path.contains("{server}") {
            statuses.extend([404]);
        }
        statuses
    }

    pub(crate) fn is_microversioned(&self) -> bool {
        self.path.split('/').nth(1) == Some("v2.1")
    }

    pub(crate) fn add_to(self, router: Router<Arc<Api>>, api: &Arc<Api>) -> Router<Arc<Api>> {
        let state = (Arc::clone(api), self.rule);
        let handler = self
            .handler
            .route_layer(middleware::from_fn_with_state(state, apply))
            .layer(DefaultBodyLimit::max(BODY_LIMIT));
        router.route(&self.path, handler)
    }
}

/// Checks the caller, limits the time and sets the status of success.
async fn apply(
    State((api, rule)): State<(Arc<Api>, Rule)>,
    mut request: Request,
    next: Next,
) -> Response {
    let client = Client::of(request.headers(), request.extensions());
    let caller = match rule.access {
        Access::Anyone => None,
        Access::Loopback if is_local(&request) => None,
        Access::Loopback => {
            return Fault::Forbidden(
                "this call is answered only to callers on the same machine".into(),
            )
            .into_response();
        }
        Access::Caller => {
            match caller(&api, rule, client, request.uri(), request.headers()).await {
                Ok(caller) => Some(caller),
                Err(fault) => return fault.into_response(),
            }
        }
    };
    if let Some(caller) = caller.clone() {
        request.extensions_mut().insert(caller);
    }
    let outcome = tokio::time::timeout(rule.limit, next.run(request)).await;
    let mut response = outcome.unwrap_or_else(|_| too_slow(rule.limit).into_response());
    if response.status() == StatusCode::OK {
        *response.status_mut() = rule.success;
    }
    if let Some(caller) = caller {
        response.extensions_mut().insert(caller);
    }
    response
}

/// The authenticated caller, who may use the project in the path.
async fn caller(
    api: &Api,
    rule: Rule,
    client: Client,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<Caller, Fault> {
    let caller = api.caller(headers, api.trier(client)).await?;
    if rule.in_project {
        let project = uri.path().split('/').nth(2).unwrap_or_default();
        api.auth.check_project(&caller, project)?;
    }
    Ok(caller)
}

/// Headers by which a proxy says that a request is somebody else's. Any proxy of this machine is meant, also one
/// that is not in `trusted_proxies`.
const FORWARDED: [&str; 5] =
    ["forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip"];

/// Whether the caller is on this machine. A forwarded request may come from anywhere.
fn is_local(request: &Request) -> bool {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    peer.is_some_and(|ConnectInfo(address)| address.ip().to_canonical().is_loopback())
        && FORWARDED.iter().all(|name| !request.headers().contains_key(*name))
}

fn too_slow(limit: Duration) -> Fault {
    Fault::Unavailable(format!(
        "no result within {} s: check the state of the server, then try again",
        limit.as_secs()
    ))
}
