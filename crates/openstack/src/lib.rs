//! What we ask of Keystone and Nova as their client, in the name of a service user: whose token
//! this is ([`Keystone`]), and which port a console token of Nova's stands for ([`Nova`]).
//!
//! Every call is bounded in time and size, and the calls under way are in number. Nothing that a
//! user sent is in an error: it may be a secret.

mod http;
mod keystone;
mod nova;
mod session;
mod unavailable;

pub use keystone::Identity;
pub use keystone::Keystone;
pub use nova::Console;
pub use nova::Nova;
pub use nova::Server;
pub use unavailable::Unavailable;
