//! The line: one serial port of one server, and the one owner of its byte stream.
//!
//! ```text
//!   hypervisor's port ⇄ owner task ─▶ History ─▶ Attachment (a cursor each)
//!                          ▲                          │
//!                          └──── Desk: pen + input ◀──┘ (who holds the pen)
//! ```
//!
//! Only the owner task ever connects to the hypervisor's port. It is connected as long as the guest
//! runs, even if nobody watches, and reads even if no session keeps up. A session reads from the
//! history at its own pace. Its input goes through the desk, which drops it unless the session
//! holds the pen.
//!
//! What the owner and the sessions share is in parts (`shared`): `Guest`, `Output`, `Input`, `Roster`
//! and `News`, each with its locks. The order in which locks are taken is in `ordered`.
//!
//! The crate does not depend on HTTP, libvirt or SQL: a [`Resolve`] tells it the address of a port.

mod attach;
mod attachment;
mod boots;
mod catch_up;
mod claim;
mod desk;
mod detached;
mod diag;
mod dial;
mod evidence;
#[doc(hidden)]
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod guest;
mod history;
mod holders;
mod input;
mod intruders;
mod kept;
mod keyboard;
mod keys;
mod last_line;
mod lifecycle;
mod line;
mod listener;
mod measure;
mod members;
mod membership;
mod meter;
mod news;
mod ordered;
mod output;
mod owner;
mod pace;
mod painter;
mod patience;
mod piece;
mod places;
mod pump;
mod registry;
mod resolve;
mod roster;
mod send;
mod session;
mod settings;
mod shared;
mod stamps;
mod status;
mod stream;
mod telnet;
mod timeline;
mod tunnel;
mod visitor;
mod wait;

use tokio::time::Instant;

pub use crate::attachment::Attachment;
pub use crate::attachment::Event;
pub use crate::attachment::Wanted;
pub use crate::claim::Claims;
pub use crate::claim::claim_at;
pub use crate::holders::Program;
pub use crate::holders::programs_of;
pub use crate::keyboard::Keyboard;
pub use crate::line::Line;
pub use crate::membership::Expected;
pub use crate::piece::Piece;
pub use crate::places::SessionPlaces;
pub use crate::registry::Lines;
pub use crate::resolve::Permit;
pub use crate::resolve::Resolve;
pub use crate::resolve::Unresolved;
pub use crate::settings::RawLag;
pub use crate::settings::Settings;
pub use crate::status::Halt;
pub use crate::visitor::Start;
pub use crate::visitor::Visitor;

/// Locks a mutex even if a holder has panicked: every critical section here keeps its data
/// consistent at each step.
fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Seconds until this time, rounded up.
fn seconds_until(time: Instant) -> u64 {
    time.saturating_duration_since(Instant::now())
        .as_millis()
        .div_ceil(1000)
        .try_into()
        .unwrap_or(u64::MAX)
}

/// Waits until this time; returns at once where there is none.
async fn sleep_until(time: Option<Instant>) {
    if let Some(time) = time {
        // Boxed, since it is rarely needed.
        Box::pin(tokio::time::sleep_until(time)).await;
    }
}
