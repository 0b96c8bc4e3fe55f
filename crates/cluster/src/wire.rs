//! The messages between an api host and a host that joins or renews its certificate: JSON over TLS.

use serde::Deserialize;
use serde::Serialize;

use crate::role::Roles;

/// `POST` with a `JoinRequest`, without a client certificate.
pub const JOIN: &str = "/cluster/v1/join";

/// `POST` with a `RenewRequest`, and with the client certificate that expires.
pub const RENEW: &str = "/cluster/v1/renew";

/// `POST` with a `WatchRequest`, and with a compute host's client certificate.
pub(crate) const WATCH_LINK: &str = "/cluster/v1/watch-link";

/// Largest request, in bytes.
pub(crate) const MAX_REQUEST: usize = 16 * 1024;

/// Largest answer, in bytes.
pub(crate) const MAX_ANSWER: usize = 2 * 1024 * 1024;

#[derive(Deserialize, Serialize)]
pub(crate) struct JoinRequest {
    /// The secret of the code.
    pub(crate) secret: String,
    pub(crate) name: String,
    /// A request for a certificate (PKCS #10 in PEM).
    pub(crate) request: String,
}

#[derive(Deserialize, Serialize)]
pub(crate) struct JoinAnswer {
    pub(crate) roles: Roles,
    /// The host's certificate, followed by the CA's (PEM).
    pub(crate) certificate: String,
    /// The CA's certificate (PEM).
    pub(crate) ca: String,
    /// Its key, for an api host (PEM).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ca_key: Option<String>,
    pub(crate) etcd_endpoints: Vec<String>,
    pub(crate) etcd_prefix: String,
    /// CA bundle that verifies etcd, where it is not the cluster's (PEM).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) etcd_ca: Option<String>,
}

#[derive(Deserialize, Serialize)]
pub(crate) struct RenewRequest {
    /// A request for a certificate (PKCS #10 in PEM).
    pub(crate) request: String,
}

#[derive(Deserialize, Serialize)]
pub(crate) struct RenewAnswer {
    /// The host's certificate, followed by the CA's (PEM).
    pub(crate) certificate: String,
}

/// The reason for a refusal, for people.
#[derive(Deserialize, Serialize)]
pub(crate) struct Refusal {
    pub(crate) error: String,
}
