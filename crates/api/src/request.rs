//! The parts of a request: the names in its path, and its body.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::FromRequest;
use axum::extract::FromRequestParts;
use axum::extract::RawPathParams;
use axum::extract::Request;
use axum::http::header::CONTENT_LENGTH;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serialproxy_proto::id::LineKey;
use serialproxy_proto::id::LinkId;
use serialproxy_proto::id::ServerId;
use serialproxy_proto::id::SessionId;

use crate::Api;
use crate::auth::Caller;
use crate::fault::BODY_LIMIT;
use crate::fault::Fault;
use crate::query::PORT;
use crate::query::bad;
use crate::validation::Part;

/// How long the client may take to send a body.
const BODY_TIME: Duration = Duration::from_secs(30);

/// `{server}` of a path: the UUID of a server, or a name that has the form of one.
#[derive(Debug)]
pub(crate) struct ServerPath(pub(crate) ServerId);

/// `{server}/{port}` of a path.
#[derive(Debug)]
pub(crate) struct LinePath(pub(crate) LineKey);

/// `{session}` of a path.
#[derive(Debug)]
pub(crate) struct SessionPath(pub(crate) SessionId);

/// `{server}/{port}` and `{link}` of a path.
#[derive(Debug)]
pub(crate) struct LinkPath {
    pub(crate) line: LineKey,
    pub(crate) link: LinkId,
}

/// The name of a user or token, the last part of a path.
#[derive(Debug)]
pub(crate) struct NamePath(pub(crate) String);

/// `{token}` of a path: a secret.
pub(crate) struct TokenPath(pub(crate) String);

/// The body; its content type is JSON.
#[derive(Debug)]
pub(crate) struct Body(Bytes);

impl Body {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn json(&self) -> Result<Value, Fault> {
        serde_json::from_slice(&self.0)
            .map_err(|error| Fault::BadRequest(format!("the body is not JSON: {error}")))
    }

    /// The body as a `T`, which is a struct.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<T, Fault> {
        let body = self.json()?;
        if !body.is_object() {
            return Err(Part::whole(&body, true).is_not_of_type("'object'"));
        }
        serde_json::from_value(body)
            .map_err(|error| Fault::BadRequest(format!("the body is not valid: {error}")))
    }
}

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = Fault;

    async fn from_request(request: Request, state: &S) -> Result<Self, Fault> {
        let length = request.headers().get(CONTENT_LENGTH).and_then(|text| text.to_str().ok());
        if length.is_some_and(|text| text.parse().is_ok_and(|length: usize| length > BODY_LIMIT)) {
            return Err(Fault::TooLarge);
        }
        tokio::time::timeout(BODY_TIME, Bytes::from_request(request, state))
            .await
            .map_err(|_| {
                Fault::BadRequest(format!(
                    "the request body did not arrive within {} s",
                    BODY_TIME.as_secs()
                ))
            })?
            .map(Self)
            .map_err(Fault::from)
    }
}

impl FromRequestParts<Arc<Api>> for ServerPath {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Fault> {
        let params = params(parts, api).await?;
        server(&params, parts, api).await.map(Self)
    }
}

impl FromRequestParts<Arc<Api>> for LinePath {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Fault> {
        let params = params(parts, api).await?;
        let server = server(&params, parts, api).await?;
        let text = param(&params, "port");
        let port = text.parse().map_err(|_| bad("port", text, PORT))?;
        Ok(Self(LineKey { server, port }))
    }
}

impl FromRequestParts<Arc<Api>> for LinkPath {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Fault> {
        let LinePath(line) = LinePath::from_request_parts(parts, api).await?;
        let params = params(parts, api).await?;
        let text = param(&params, "link");
        let link = text.parse().map_err(|_| bad("link", text, "the id of a link"))?;
        Ok(Self { line, link })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for SessionPath {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Fault> {
        let params = params(parts, state).await?;
        let text = param(&params, "session");
        text.parse().map(Self).map_err(|_| Fault::no_such_session(text))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for NamePath {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Fault> {
        let params = params(parts, state).await?;
        Ok(Self(params.iter().next().map(|(_, value)| value.to_owned()).unwrap_or_default()))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for TokenPath {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Fault> {
        Ok(Self(param(&params(parts, state).await?, "token").to_owned()))
    }
}

async fn params<S: Send + Sync>(parts: &mut Parts, state: &S) -> Result<RawPathParams, Fault> {
    RawPathParams::from_request_parts(parts, state)
        .await
        .map_err(|_| Fault::BadRequest("the path is not UTF-8".into()))
}

/// The server that the path names for its caller.
async fn server(params: &RawPathParams, parts: &Parts, api: &Api) -> Result<ServerId, Fault> {
    let text = param(params, "server");
    let id = text.parse().map_err(|_| Fault::no_such_server(text))?;
    Ok(match parts.extensions.get::<Caller>() {
        Some(caller) => api.located(caller, id).await,
        None => id,
    })
}

fn param<'a>(params: &'a RawPathParams, name: &str) -> &'a str {
    params.iter().find(|(key, _)| *key == name).map(|(_, value)| value).unwrap_or_default()
}
