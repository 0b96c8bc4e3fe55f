//! The harness of the end-to-end tests: the real program as a separate process, simulated ports,
//! and clients that see what users see.
//!
//! The program is `target/release/serialproxy` (what users run), or the one in
//! `SERIALPROXY_TEST_BIN`. The harness panics when it cannot continue.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

pub mod address;
pub mod audit;
pub mod cloud;
pub mod cluster;
pub mod connection;
pub mod doctor;
pub mod drop_in;
pub mod etcd;
pub mod exchange;
pub mod front;
pub mod full;
pub mod fuzz;
pub mod guest;
pub mod hostile;
pub mod libvirtd;
pub mod manager;
pub mod metrics;
pub mod network;
pub mod openstack;
pub mod page;
pub mod pki;
pub mod place;
pub mod port;
pub mod relay;
pub mod rig;
pub mod server;
pub mod socket;
pub mod space;
pub mod terminal;
pub mod watched;

use std::process::Output;
use std::time::Duration;

/// How long anything may take before a test fails instead of hanging.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// The outcome of `future`, which must be ready within [`PATIENCE`].
pub async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it took too long")
}

/// Repeats `ask` until it returns some value, within [`PATIENCE`].
pub async fn eventually<T>(mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    within(async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
}

/// The standard output of a command.
pub fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The standard error of a command.
pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
