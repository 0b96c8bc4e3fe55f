//! The compute role: its servers, the addresses of their serial ports, and their power.
//!
//! ```text
//!   Manager ──┬─▶ Statics ──────────────────────────────┐
//!   (Servers, └─▶ Guests ──▶ Hypervisor (libvirt)        ├──▶ Lines
//!    LineBook)      │  ▲───── events ────┘               │
//!                   ├─▶ Ports ──▶ Ledger (leases) ───────┘
//! ```
//!
//! The hypervisor is the source of truth for servers, the ledger for port leases. This crate only
//! remembers the last known state of each, to tell lines what has changed.

#![cfg_attr(
    not(feature = "libvirt"),
    allow(dead_code, reason = "what is left without libvirt is never asked for much")
)]

mod bind;
mod domain;
mod exclusions;
#[doc(hidden)]
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod guests;
mod hypervisor;
mod image;
#[cfg(feature = "libvirt")]
mod libvirt;
#[cfg(not(feature = "libvirt"))]
#[path = "absent.rs"]
mod libvirt;
mod manager;
mod no_console;
mod owners;
mod ports;
mod probe;
mod serial_ports;
mod statics;

pub use crate::guests::kvm_works;
pub use crate::manager::Manager;
pub use crate::probe::Found;
pub use crate::probe::GuestPort;
pub use crate::probe::probe;

/// Locks a mutex even if a holder has panicked: every critical section here keeps its data
/// consistent at each step.
fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
