//! Links for watching. The host of a session requests them from an api role, because only api roles
//! write grants.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use bytes::Bytes;
use http::Method;
use http::Request;
use http::Response;
use http::StatusCode;
use http_body_util::BodyExt;
use http_body_util::Full;
use http_body_util::Limited;
use hyper::body::Incoming;
use jiff::Timestamp;
use serde::Deserialize;
use serde::Serialize;
use serialproxy_limits::Meter;
use serialproxy_limits::seldom;
use serialproxy_proto::compute::BoxFuture;
use serialproxy_proto::id::LineKey;
use tokio::time::timeout;

use crate::admission::json;
use crate::call;
use crate::directory::Directory;
use crate::identity::Identity;
use crate::peer::Peer;
use crate::role::Role;
use crate::wire::MAX_REQUEST;
use crate::wire::Refusal;
use crate::wire::WATCH_LINK;

/// How long a host waits for a link, for all api roles together.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long one api role may take.
const OWN: Duration = Duration::from_secs(4);

/// Links for one host in a minute.
const PER_MINUTE: u32 = 300;

/// The request of a session's host for a link.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct WatchRequest {
    /// The line of the session.
    pub line: LineKey,
    /// Id of the project of the session's grant.
    pub project: String,
    /// The user of the session.
    pub user: String,
    /// When the link expires.
    pub expires: Timestamp,
}

#[derive(Deserialize, Serialize)]
struct WatchAnswer {
    url: String,
}

/// Makes the URL for a host's request. The link is valid only at that host.
pub type MakeLink =
    Arc<dyn Fn(String, WatchRequest) -> BoxFuture<'static, Result<String, String>> + Send + Sync>;

/// Answers requests for links from hosts of the cluster. Cheap to clone.
#[derive(Clone)]
pub struct Watching {
    directory: Directory,
    make: MakeLink,
    calls: Arc<Meter>,
}

impl fmt::Debug for Watching {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watching").finish_non_exhaustive()
    }
}

impl Watching {
    /// For the servers in the directory; `make` makes the links.
    pub fn new(directory: Directory, make: MakeLink) -> Self {
        let calls = Meter::new(PER_MINUTE, Duration::from_secs(60), Duration::ZERO);
        Self { directory, make, calls: Arc::new(calls) }
    }

    /// Answers a call of [`WATCH_LINK`].
    pub(crate) async fn answer(
        &self,
        request: Request<Incoming>,
        peer: &Peer,
    ) -> Response<Full<Bytes>> {
        let made = timeout(OWN, self.make(request, peer)).await;
        let late = |_| Err((StatusCode::SERVICE_UNAVAILABLE, "it took too long".to_owned()));
        match made.unwrap_or_else(late) {
            Ok(url) => json(StatusCode::OK, &WatchAnswer { url }),
            Err((status, error)) => {
                if seldom::is_due("watch link") {
                    tracing::warn!(
                        host = peer.host,
                        error,
                        "refused a host's request for a watch link"
                    );
                }
                json(status, &Refusal { error })
            }
        }
    }

    async fn make(
        &self,
        request: Request<Incoming>,
        peer: &Peer,
    ) -> Result<String, (StatusCode, String)> {
        peer.require(Role::Compute).map_err(|error| (StatusCode::FORBIDDEN, error.to_string()))?;
        if !self.calls.count(&peer.host, Instant::now()).is_zero() {
            let text = "the host asks for too many links; try again in a minute";
            return Err((StatusCode::TOO_MANY_REQUESTS, text.to_owned()));
        }
        let bad = || (StatusCode::BAD_REQUEST, "the request is not valid".to_owned());
        if request.method() != Method::POST {
            return Err(bad());
        }
        let body = Limited::new(request.into_body(), MAX_REQUEST).collect().await;
        let body = body.map_err(|_| bad())?.to_bytes();
        let asked: WatchRequest = serde_json::from_slice(&body).map_err(|_| bad())?;
        let listed = self.directory.server(asked.line.server);
        // A host may request links only for its own servers.
        if listed.is_none_or(|listed| listed.value.host != peer.host) {
            let server = asked.line.server;
            return Err((StatusCode::FORBIDDEN, format!("the host does not have server {server}")));
        }
        let made = (self.make)(peer.host.clone(), asked).await;
        made.map_err(|error| (StatusCode::SERVICE_UNAVAILABLE, error))
    }
}

/// Requests links from the api roles of a cluster.
#[derive(Clone, Debug)]
pub struct Watchable {
    identity: Arc<Identity>,
    directory: Directory,
}

impl Watchable {
    /// Uses the api roles in the directory.
    pub fn new(identity: Arc<Identity>, directory: Directory) -> Self {
        Self { identity, directory }
    }

    /// The URL of a link, from the first api role that makes one.
    ///
    /// # Errors
    ///
    /// In words, if none does.
    pub async fn link(&self, wanted: &WatchRequest) -> Result<String, String> {
        let asked = timeout(PATIENCE, self.ask(wanted)).await;
        asked.unwrap_or_else(|_| Err("no api host answered in time".into()))
    }

    async fn ask(&self, wanted: &WatchRequest) -> Result<String, String> {
        let mut failed = "no api host is known".to_owned();
        for (host, address) in self.directory.up(Role::Api) {
            let tls = self.identity.client_config(Role::Api, &host);
            let tls = tls.map_err(|error| error.to_string())?;
            match call::post::<WatchAnswer>(&address, tls, WATCH_LINK, wanted).await {
                Ok(answer) => return Ok(answer.url),
                Err(error) => failed = format!("api host {host}: {error}"),
            }
        }
        Err(failed)
    }
}
