//! Compares a painted screen with another terminal, which received all output from the start. The
//! other terminal is xterm.js, as in the page (`other.mjs`).

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
