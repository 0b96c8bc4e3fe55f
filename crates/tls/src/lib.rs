//! TLS for users and the API's callers: a listener that accepts plain connections and TLS on one
//! port, its certificate, which may change while it runs, and the CAs that our own clients trust.
//!
//! ```text
//!   listener ─▶ Reception: first byte ─┬─ 0x16 ─▶ handshake ─▶ Stream::Tls
//!                                      └─ else ─────────────▶ Stream::Plain
//! ```

mod certificate;
mod handshakes;
mod inspect;
mod reception;
mod secure;
mod stream;
mod timed;
mod trust;

pub use certificate::Certificate;
pub use certificate::CertificateError;
pub use certificate::Files;
pub use certificate::Stamp;
pub use certificate::certificates;
pub use handshakes::Handshakes;
pub use inspect::Validity;
pub use inspect::has_name;
pub use inspect::is_chain;
pub use inspect::is_self_signed;
pub use inspect::system_trusts;
pub use inspect::validity;
pub use reception::Policy;
pub use reception::Reception;
pub use reception::Version;
pub use stream::Stream;
pub use timed::Timed;
pub use trust::TrustError;
pub use trust::trusting;
pub use trust::trusting_only;
