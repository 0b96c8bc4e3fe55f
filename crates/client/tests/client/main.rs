//! The client as a process of its own, against an API and a console made by hand.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "the helpers of tests fail as tests do"
)]

mod accounts;
mod addresses;
mod changes;
mod connect;
mod console;
mod console_urls;
mod fake_api;
mod faults;
mod input;
mod lists;
mod log;
mod lost;
mod pen;
mod refused;
mod reset;
mod resume;
mod settings;
mod support;
