//! Errors in plain words, and whether another attempt is safe.

use std::error::Error;

use etcd_client::Error as ClientError;
use tonic::Code;
use tonic::ConnectError;
use tonic::Status;

/// Most characters of another program's error text.
const REASON: usize = 200;

/// Why a call to etcd failed. The text contains neither secrets nor addresses.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum EtcdError {
    /// No node answered in time. A change may or may not have been made.
    #[error("etcd does not answer: {0}")]
    Away(String),
    /// A node refused the call.
    #[error("etcd refused: {0}")]
    Refused(String),
    /// The lease has expired or was revoked.
    #[error("the lease in etcd has ended")]
    NoLease,
    /// A value is too large, or does not parse.
    #[error("a value in etcd cannot be used: {0}")]
    Value(String),
    /// The settings are contradictory.
    #[error("etcd cannot be used: {0}")]
    Settings(String),
}

/// How an attempt at one node failed.
pub(crate) enum Failure {
    /// The node did nothing: another node may be tried.
    Unsent(String),
    /// The node may have made the change.
    Lost(String),
    /// Another node would respond in the same way.
    Final(EtcdError),
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::GRpcStatus(status) => Self::of(&status),
            error @ (ClientError::TransportError(_) | ClientError::IoError(_)) => {
                Self::Lost(root_cause(&error))
            }
            error => Self::Final(EtcdError::Refused(brief(&error.to_string()))),
        }
    }
}

impl From<Failure> for EtcdError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Final(error) => error,
            Failure::Lost(reason) | Failure::Unsent(reason) => Self::Away(reason),
        }
    }
}

impl Failure {
    fn of(status: &Status) -> Self {
        let text = brief(status.message());
        match status.code() {
            _ if causes(status).any(|cause| cause.is::<ConnectError>()) => {
                Self::Unsent(root_cause(status))
            }
            Code::Unavailable if text.contains("no leader") => Self::Unsent(text),
            Code::NotFound if text.contains("lease not found") => Self::Final(EtcdError::NoLease),
            Code::Unavailable | Code::Unknown | Code::Internal | Code::Cancelled => {
                Self::Lost(if status.source().is_some() { root_cause(status) } else { text })
            }
            Code::DeadlineExceeded => Self::Lost(text),
            _ => Self::Final(EtcdError::Refused(text)),
        }
    }
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// The last cause, which is the most specific: `Connection refused`, not `transport error`.
fn root_cause(error: &(dyn Error + 'static)) -> String {
    causes(error).last().map(|cause| brief(&cause.to_string())).unwrap_or_default()
}

/// A text from another program, of limited length and without control characters.
pub(crate) fn brief(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(REASON).collect()
}
