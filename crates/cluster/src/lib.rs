//! Who belongs to a cluster, and how its hosts know each other.
//!
//! Each host has one certificate, whose URI names say which host it is and which roles it has
//! ([`Peer`]). [`Identity`] makes the TLS configurations with which hosts talk to each other; a host is
//! known by the name in its certificate, never by its address.
//!
//! ```text
//!   Authority (api hosts) ── issues ──▶ certificate ── Identity ─┬─▶ server: any host of the cluster
//!                                       Removed ────────────────┘└─▶ client: this host, in this role
//! ```

mod authority;
mod files;
mod identity;
mod peer;
mod removed;
mod role;
mod trust;

pub use crate::authority::Authority;
pub use crate::authority::AuthorityError;
pub use crate::authority::Issued;
pub use crate::identity::ALPN;
pub use crate::identity::Identity;
pub use crate::identity::IdentityError;
pub use crate::identity::Strangers;
pub use crate::identity::server_name;
pub use crate::peer::Peer;
pub use crate::peer::PeerError;
pub use crate::peer::Serial;
pub use crate::removed::Removed;
pub use crate::role::Role;
pub use crate::role::Roles;
pub use crate::trust::reason;
