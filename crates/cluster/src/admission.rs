//! The calls of an api host's cluster listener that issue certificates: for hosts that join, and
//! for hosts that renew theirs.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;
use std::time::SystemTime;

use bytes::Bytes;
use http::Method;
use http::Request;
use http::Response;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use http_body::Body;
use http_body_util::BodyExt;
use http_body_util::Full;
use http_body_util::Limited;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serialproxy_audit::Audit;
use serialproxy_audit::EventName;
use serialproxy_config::cluster_name;
use serialproxy_config::values::Cluster;
use serialproxy_limits::Meter;
use serialproxy_limits::Source;
use serialproxy_limits::seldom;
use tokio::sync::Semaphore;
use tokio::sync::SemaphorePermit;

use crate::authority::Authority;
use crate::authority::AuthorityError;
use crate::code::Secret;
use crate::files;
use crate::host;
use crate::member::MemberError;
use crate::members::Members;
use crate::peer::Peer;
use crate::role::Role;
use crate::wire::JOIN;
use crate::wire::JoinAnswer;
use crate::wire::JoinRequest;
use crate::wire::MAX_REQUEST;
use crate::wire::RENEW;
use crate::wire::Refusal;
use crate::wire::RenewAnswer;
use crate::wire::RenewRequest;

/// How long one call may take, including the request's body.
const PATIENCE: Duration = Duration::from_secs(10);

/// Simultaneous calls; each makes some calls to etcd and a signature.
const AT_ONCE: usize = 16;

/// Calls of one address in a minute: the hosts of a rack may share an address.
const PER_MINUTE: u32 = 60;

/// Issues the certificates of a cluster. Cheap to clone; all clones are the same one.
#[derive(Clone, Debug)]
pub struct Admission(Arc<Inner>, Audit);

#[derive(Debug)]
struct Inner {
    ca: Authority,
    members: Members,
    life: Duration,
    etcd_endpoints: Vec<String>,
    etcd_prefix: String,
    etcd_ca: Option<String>,
    calls: Meter,
    places: Semaphore,
}

/// Why a certificate is not issued.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AdmissionError {
    #[error(transparent)]
    Member(#[from] MemberError),
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    #[error("`{0}` is not a name of a host: use 1 to 253 of the characters a-z 0-9 . _ -")]
    Name(String),
    #[error("the request is not valid: {0}")]
    Request(&'static str),
    #[error("there is no such call; this version has POST {JOIN} and POST {RENEW}")]
    NoCall,
    #[error("a certificate of the cluster is required")]
    Stranger,
    #[error("too many requests; try again in a minute")]
    TooMany,
    #[error("the request took too long; try again")]
    TooSlow,
}

impl Admission {
    /// For the CA of this host; none where this host does not have the CA's key, or where another
    /// PKI issues the certificates.
    ///
    /// # Errors
    ///
    /// When the files of the CA cannot be used.
    pub fn load(
        cluster: &Cluster,
        state_dir: &Path,
        members: Members,
    ) -> Result<Option<Self>, AuthorityError> {
        if !host::has_own_pki(cluster, state_dir) {
            return Ok(None);
        }
        let Some(ca) = Authority::load(state_dir)? else { return Ok(None) };
        let etcd_ca = cluster.etcd_ca_file.as_deref();
        let etcd_ca = etcd_ca.map(|path| {
            files::read(path).map_err(|error| AuthorityError::File { path: path.into(), error })
        });
        let inner = Inner {
            ca,
            members,
            life: cluster.certificate_life,
            etcd_endpoints: cluster.etcd_endpoints.clone(),
            etcd_prefix: cluster.etcd_prefix.clone(),
            etcd_ca: etcd_ca.transpose()?,
            calls: Meter::new(PER_MINUTE, Duration::from_secs(60), Duration::ZERO),
            places: Semaphore::new(AT_ONCE),
        };
        Ok(Some(Self(Arc::new(inner), Audit::none())))
    }

    /// Records who joins.
    #[must_use]
    pub fn with_audit(self, audit: Audit) -> Self {
        Self(self.0, audit)
    }

    /// Answers a call of [`JOIN`] or [`RENEW`] from an address, which may have a certificate.
    pub async fn answer<B>(
        &self,
        request: Request<B>,
        from: IpAddr,
        peer: Option<&Peer>,
    ) -> Response<Full<Bytes>>
    where
        B: Body<Data = Bytes> + Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let answered = tokio::time::timeout(PATIENCE, self.call(request, from, peer)).await;
        answered.unwrap_or(Err(AdmissionError::TooSlow)).unwrap_or_else(|error| {
            if seldom::is_due("refused to issue a certificate") {
                tracing::warn!(%from, %error, "refused to issue a certificate");
            }
            error.response()
        })
    }

    async fn call<B>(
        &self,
        request: Request<B>,
        from: IpAddr,
        peer: Option<&Peer>,
    ) -> Result<Response<Full<Bytes>>, AdmissionError>
    where
        B: Body<Data = Bytes> + Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        if !self.0.calls.count(&Source::from(from), Instant::now()).is_zero() {
            return Err(AdmissionError::TooMany);
        }
        match (request.method(), request.uri().path()) {
            (&Method::POST, JOIN) => {
                let asked = body(request).await?;
                let _place = self.place()?;
                let answer = self.join(&asked, from).await?;
                Ok(json(StatusCode::OK, &answer))
            }
            (&Method::POST, RENEW) => {
                let peer = peer.ok_or(AdmissionError::Stranger)?;
                let asked: RenewRequest = body(request).await?;
                let _place = self.place()?;
                let certificate = self.renew(peer, &asked.request).await?;
                Ok(json(StatusCode::OK, &RenewAnswer { certificate }))
            }
            _ => Err(AdmissionError::NoCall),
        }
    }

    /// Called when the request is complete, so that a slow request does not occupy a place.
    fn place(&self) -> Result<SemaphorePermit<'_>, AdmissionError> {
        self.0.places.try_acquire().map_err(|_| AdmissionError::TooMany)
    }

    /// Checks everything before it uses the code, so that the code stays valid after a mistake.
    async fn join(&self, asked: &JoinRequest, from: IpAddr) -> Result<JoinAnswer, AdmissionError> {
        let inner = &*self.0;
        let digest = Secret::from_text(&asked.secret).ok_or(MemberError::Code)?.digest();
        let invitation = inner.members.invitation(&digest).await?;
        let name = &asked.name;
        if cluster_name(name).as_ref() != Ok(name) {
            return Err(AdmissionError::Name(
                name.chars().filter(|c| !c.is_control()).take(80).collect(),
            ));
        }
        inner.members.may_join(name, invitation.value.replace.as_deref()).await?;
        let roles = invitation.value.roles.clone();
        let issued = inner.ca.sign(name, &roles, &asked.request, inner.life)?;
        inner.members.admit(name, &digest, &invitation, &issued).await?;
        tracing::info!(host = name, %roles, %from, serial = %issued.serial, "a host joined the cluster");
        let event = self.1.event(EventName::HostEnrolled).target(name.as_str());
        self.1.record(event.address(from.to_string()));
        Ok(JoinAnswer {
            ca_key: roles.has(Role::Api).then(|| inner.ca.key()),
            roles,
            certificate: issued.chain,
            ca: inner.ca.certificate().to_owned(),
            etcd_endpoints: inner.etcd_endpoints.clone(),
            etcd_prefix: inner.etcd_prefix.clone(),
            etcd_ca: inner.etcd_ca.clone(),
        })
    }

    /// Records this host itself, which issued its own certificate.
    pub(crate) async fn register(&self, own: &Peer) -> Result<(), MemberError> {
        self.0.members.register(own).await
    }

    /// A certificate for a host that has a valid one: a new one if half the time of the newest has
    /// passed, otherwise the newest. So a host whose answer was lost gets the same certificate
    /// again. A thief of a certificate gets no others than the host has, and they are all removed
    /// with the host.
    pub(crate) async fn renew(&self, peer: &Peer, request: &str) -> Result<String, AdmissionError> {
        let inner = &*self.0;
        let member = inner.members.of(peer).await?;
        let issued = inner.ca.sign_again(peer, request, inner.life)?;
        if let Some(fresh) = member.value.fresh(SystemTime::now()) {
            return Ok(fresh.to_owned());
        }
        inner.members.renewed(&peer.host, member, &issued).await?;
        tracing::info!(host = peer.host, serial = %issued.serial, "renewed a certificate");
        Ok(issued.chain)
    }
}

impl AdmissionError {
    fn status(&self) -> StatusCode {
        match self {
            Self::Member(MemberError::Store(_)) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Member(MemberError::Code) | Self::Stranger => StatusCode::UNAUTHORIZED,
            Self::Member(MemberError::Unknown(_)) => StatusCode::FORBIDDEN,
            Self::Member(_) => StatusCode::CONFLICT,
            Self::Authority(AuthorityError::Request(_)) | Self::Name(_) | Self::Request(_) => {
                StatusCode::BAD_REQUEST
            }
            Self::Authority(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::NoCall => StatusCode::NOT_FOUND,
            Self::TooMany => StatusCode::TOO_MANY_REQUESTS,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
        }
    }

    fn response(&self) -> Response<Full<Bytes>> {
        let status = self.status();
        // Other hosts must not learn paths of this host.
        let error = match status {
            StatusCode::INTERNAL_SERVER_ERROR => {
                "the certificate cannot be issued; the log of the api host says why".to_owned()
            }
            _ => self.to_string(),
        };
        json(status, &Refusal { error })
    }
}

async fn body<T, B>(request: Request<B>) -> Result<T, AdmissionError>
where
    T: DeserializeOwned,
    B: Body<Data = Bytes> + Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let body = Limited::new(request.into_body(), MAX_REQUEST).collect().await;
    let body =
        body.map_err(|_| AdmissionError::Request("it is larger than 16 KiB, or incomplete"))?;
    // The parser's error text could repeat the secret.
    serde_json::from_slice(&body.to_bytes())
        .map_err(|_| AdmissionError::Request("it is not the JSON that this call takes"))
}

pub(crate) fn json<T: Serialize>(status: StatusCode, value: &T) -> Response<Full<Bytes>> {
    // The value consists of strings and lists, so this cannot fail.
    let body = serde_json::to_vec(value).unwrap_or_default();
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    let kind = http::HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
