//! Options of serialproxy: the file format of oslo.config, one table of all options, and the
//! typed values that the rest of the program reads.
//!
//! [`load()`] reads defaults, files and flags, in this order, and gives either a whole checked
//! [`Config`] or every problem that it found. Nothing here opens a socket.

mod audit;
mod auth_section;
mod ciphers;
mod cluster;
mod console_url;
mod defaults;
mod drop_in;
mod effective;
mod error;
mod excluded;
#[doc(hidden)]
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod hint;
mod ini;
mod keystone;
mod load;
mod login;
mod machine;
mod network;
mod nova;
mod option;
mod options;
mod page_origin;
mod projects;
mod proxies;
mod readers;
mod record;
mod reference;
mod refusal;
mod sample;
mod scalar;
mod show;
mod sources;
mod statics;
mod substitution;
mod table;
pub mod values;
mod written;

pub use cluster::duration;
pub use cluster::name as cluster_name;
pub use error::ConfigError;
pub use error::Origin;
pub use error::Problem;
pub use load::Loaded;
pub use load::Setting;
pub use load::load;
pub use machine::host_name;
pub use option::Opt;
pub use options::options;
pub use page_origin::AllowedOrigin;
pub use page_origin::PageOrigin;
pub use proxies::Networks;
pub use proxies::ProxyProtocol;
pub use reference::reference;
pub use sample::sample;
pub use show::show;
pub use sources::Role;
pub use sources::Sources;
pub use values::Config;
