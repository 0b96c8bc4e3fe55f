//! The client as a process of its own, against an API and a console made by hand.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "the helpers of tests fail as tests do"
)]

mod addresses;
mod commands;
mod connect;
mod console;
mod input;
mod log;
mod lost;
mod pen;
mod refused;
mod reset;
mod resume;
mod settings;
mod support;
