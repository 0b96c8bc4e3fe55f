//! The REST API as its callers see it, above a simulated compute role.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests"
)]

mod access;
mod auth_tokens;
mod bench;
mod blueprint;
mod bodies;
mod console_output;
mod document;
mod fake;
mod guard;
mod identity;
mod isolation;
mod keystone;
mod links;
mod login;
mod openstack;
mod page_login;
mod power;
mod remote_consoles;
mod scripts;
mod serving;
mod tokens;
mod v1;
mod versions;
