//! A client of Keystone and Nova, which logs in as a service user. It looks up the user of a token
//! ([`Keystone`]), and the port of a console token of Nova ([`Nova`]).
//!
//! Time and size of each call are limited, and so is the number of concurrent calls. Errors contain
//! nothing that a user sent, because it may be a secret.

mod http;
mod keystone;
mod nova;
mod reach;
mod session;
mod unavailable;

pub use keystone::Identity;
pub use keystone::Keystone;
pub use keystone::PasswordLogin;
pub use nova::Console;
pub use nova::Nova;
pub use nova::Server;
pub use unavailable::Unavailable;
