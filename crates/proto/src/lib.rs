//! What every role of serialproxy shares: identifiers, tokens, the shapes of the REST and
//! WebSocket contracts, and the rules of the pen.
//!
//! This crate never opens a socket, never reads a clock and knows no runtime: time and
//! randomness come in as arguments, so all of it is tested without waiting.

pub mod address;
pub mod api;
pub mod audit;
pub mod bounds;
pub mod cause;
pub mod close;
pub mod compute;
pub mod console;
pub mod endpoint;
pub mod forwarded;
#[doc(hidden)]
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod health;
pub mod id;
pub mod identity;
pub mod kept;
mod octets;
pub mod pen;
pub mod refusal;
pub mod relayed;
pub mod request_id;
pub mod script;
pub mod terminal;
pub mod text;
pub mod times;
pub mod token;
pub mod utf8;
pub mod work;
