//! Membership in a cluster, and how its hosts authenticate each other.
//!
//! Each host has one certificate, whose URI names contain the host's name and its roles ([`Peer`]).
//! [`Identity`] makes the TLS configurations for connections between hosts. A host is identified by
//! the name in its certificate, never by its address.
//!
//! Hosts join with a code ([`Code`], [`join()`]). Api hosts, which have the CA's key, issue the
//! certificates ([`Admission`]), and [`Renewal`] keeps them valid. The members of the cluster are
//! stored in etcd ([`Members`]).
//!
//! ```text
//!   Authority (api hosts) ── issues ──▶ certificate ── Identity ─┬─▶ server: any host of the cluster
//!                                       Removed ────────────────┘└─▶ client: this host, in this role
//! ```

#[macro_use]
mod signatures;

mod admission;
mod authority;
mod call;
mod code;
mod directory;
mod drain;
mod files;
mod fingerprint;
mod host;
mod identity;
mod join;
mod listener;
mod member;
mod members;
mod owners;
mod peer;
mod publish;
mod remote;
mod removed;
mod renewal;
mod role;
mod survey;
mod trust;
mod watching;
mod wire;

pub use crate::admission::Admission;
pub use crate::authority::Authority;
pub use crate::authority::AuthorityError;
pub use crate::authority::Issued;
pub use crate::call::CallError;
pub use crate::code::Code;
pub use crate::directory::Directory;
pub use crate::directory::Host;
pub use crate::directory::Listed;
pub use crate::drain::Drained;
pub use crate::drain::follow_drain;
pub use crate::host::has_own_pki;
pub use crate::host::init;
pub use crate::identity::Identity;
pub use crate::identity::Strangers;
pub use crate::identity::server_name;
pub use crate::join::JoinError;
pub use crate::join::Joined;
pub use crate::join::Joining;
pub use crate::join::join;
pub use crate::listener::Attach;
pub use crate::listener::Served;
pub use crate::listener::serve;
pub use crate::member::Member;
pub use crate::member::MemberError;
pub use crate::member::Valid;
pub use crate::members::Members;
pub use crate::members::etcd_settings;
pub use crate::owners::NotOwner;
pub use crate::owners::Owners;
pub use crate::owners::Ownership;
pub use crate::peer::ALPN;
pub use crate::peer::CALLS;
pub use crate::peer::Peer;
pub use crate::peer::PeerError;
pub use crate::peer::Serial;
pub use crate::publish::Has;
pub use crate::publish::publish;
pub use crate::remote::Links;
pub use crate::remote::Remote;
pub use crate::removed::Removed;
pub use crate::renewal::Renewal;
pub use crate::renewal::RenewalError;
pub use crate::role::Role;
pub use crate::role::Roles;
pub use crate::survey::Conflict;
pub use crate::survey::Surveyed;
pub use crate::survey::processes;
pub use crate::survey::survey;
pub use crate::trust::IdentityError;
pub use crate::trust::reason;
pub use crate::watching::MakeLink;
pub use crate::watching::WatchRequest;
pub use crate::watching::Watchable;
pub use crate::watching::Watching;
pub use crate::wire::JOIN;
pub use crate::wire::RENEW;
