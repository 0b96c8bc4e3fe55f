//! Settings that all lines of a process share.

use std::sync::Arc;
use std::time::Duration;

use serialproxy_audit::Audit;
use tokio::sync::watch;

use crate::claim::Claims;
use crate::places::SessionPlaces;

/// Settings that all lines share.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Bytes of a boot's beginning that are kept.
    pub history_head: usize,
    /// Bytes of the newest output that are kept.
    pub history_tail: usize,
    /// Most bytes of input in flight to a guest, where the transport shows how many there are.
    pub input_in_flight: usize,
    /// How long after its last sign of life a session without a connection is kept.
    pub grace: Duration,
    /// How long the holder of the pen may take to answer a request.
    pub pen_request_timeout: Duration,
    /// What happens to a raw session whose next byte was dropped.
    pub raw_lag: RawLag,
    /// The limits for the sessions of a user and an address.
    pub places: SessionPlaces,
    /// The claims on this process's lines.
    pub claims: Arc<Claims>,
    /// Records how sessions begin and end, and who has the pen.
    pub audit: Audit,
    /// TLS for hypervisors' ports; each connection uses the present value.
    pub tls: Option<watch::Receiver<Arc<rustls::ClientConfig>>>,
}

/// What happens to a raw session whose next byte was dropped, since raw has no message for a gap.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RawLag {
    /// It ends with 4011.
    Close,
    /// It continues with the next kept byte.
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
            audit: Audit::none(),
            tls: None,
        }
    }
}
