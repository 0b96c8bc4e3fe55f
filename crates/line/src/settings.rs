//! What is the same for all lines of a process.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::claim::Claims;
use crate::places::SessionPlaces;

/// What is the same for all lines.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Bytes of a boot's beginning that are kept.
    pub history_head: usize,
    /// Bytes of the newest output that are kept.
    pub history_tail: usize,
    /// Bytes of input that are under way to a guest at most, where the transport shows how many
    /// are.
    pub input_in_flight: usize,
    /// How long after its last sign of life a session is kept whose connection is gone.
    pub grace: Duration,
    /// How long the holder of the pen has to answer who asks for it.
    pub pen_request_timeout: Duration,
    /// What becomes of a raw session that fell out of what is kept.
    pub raw_lag: RawLag,
    /// How many sessions a user and an address may have.
    pub places: SessionPlaces,
    /// Which lines are this process's.
    pub claims: Arc<Claims>,
    /// Towards ports that speak TLS, as it is at a connect.
    pub tls: Option<watch::Receiver<Arc<rustls::ClientConfig>>>,
}

/// What becomes of a raw session that fell out of what is kept, since raw has no words for a gap.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RawLag {
    /// It ends with 4011.
    Close,
    /// It goes on with what is kept.
    Skip,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            history_head: 256 * 1024,
            history_tail: 256 * 1024,
            input_in_flight: 512,
            grace: Duration::from_secs(60),
            pen_request_timeout: Duration::from_secs(15),
            raw_lag: RawLag::Close,
            places: SessionPlaces::new(0, 0),
            claims: Arc::default(),
            tls: None,
        }
    }
}
