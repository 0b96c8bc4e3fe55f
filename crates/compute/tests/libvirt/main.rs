//! The compute role against libvirt: its test driver, and a daemon with real guests.

#![cfg(feature = "libvirt")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "that is how a test fails")]

mod adopt;
mod devices;
mod guests;
mod role;
mod test_driver;
