//! A painted screen beside another terminal: that which got all output from the start. The other terminal is xterm.js,
//! as the page has it (`other.mjs`).

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "that is how a test fails"
)]

mod generated;
mod other;
mod parts;
mod recorded;
