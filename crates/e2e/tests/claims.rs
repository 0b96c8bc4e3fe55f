//! Two programs on one host: one serves a line, the other says so and takes over when it ends.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "that is how a test fails"
)]

use rustix::process::Signal;
use serialproxy_e2e::eventually;
use serialproxy_e2e::guest::Host;
use serialproxy_e2e::port::Port;
use serialproxy_e2e::server::Server;
use serialproxy_e2e::socket::Socket;

/// Runs a program as a user with few permissions.
const NOBODY: [&str; 4] = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];

/// Runs a program in namespaces of its own.
const APART: [&str; 4] = ["unshare", "--mount", "--net", "--"];

fn served_by(other: &Server) -> String {
    format!("served by another serialproxy (pid {})", other.pid())
}

/// Waits until a line has this reason.
async fn says(server: &Server, id: &str, reason: &str) {
    eventually(async || (server.line(id, 0).await["reason"] == reason).then_some(())).await;
}

async fn is_connected(server: &Server, id: &str) {
    eventually(async || (server.line(id, 0).await["state"] == "connected").then_some(())).await;
}

/// Waits until the program logs this.
async fn logs(server: &Server, text: &str) {
    eventually(async || server.log().contains(text).then_some(())).await;
}

/// Checks that QEMU was not made to disconnect a client.
fn left_alone(servers: [&Server; 2]) {
    for server in servers {
        let log = server.log();
        assert!(!log.contains("made QEMU disconnect"), "{log}");
    }
}

#[tokio::test]
async fn of_two_programs_for_one_libvirt_the_second_says_who_serves_a_guest_and_takes_over() {
    let mut host = Host::start(&[]).await;
    let second = host.beside(&[], &[]).await;
    // Both are told of the guest; the one that booted it has its line.
    let guest = host.boot(1).await;
    let mut shell = host.shell(&guest, 0).await;
    says(&second, &guest.id, &served_by(&host.server)).await;
    assert_eq!(second.line(&guest.id, 0).await["state"], "failed");
    let path = format!("/?token={}", second.token(&guest.id, "").await);
    let refused = Socket::refused(&second.proxy, &path, &[]).await;
    assert_eq!(refused.status, 502);
    assert!(refused.reason.ends_with(&served_by(&host.server)), "{}", refused.reason);
    assert_eq!(shell.run("echo $((6*7))").await, "42");
    left_alone([&host.server, &second]);

    host.server.signal(Signal::TERM);
    host.server.ended().await;
    is_connected(&second, &guest.id).await;
    let mut shell = Host::shell_at(&second, &guest, 0).await;
    assert_eq!(shell.run("echo $((6*7))").await, "42");

    let mut third = host.beside(&[], &[]).await;
    says(&third, &guest.id, &served_by(&second)).await;
    second.signal(Signal::KILL);
    is_connected(&third, &guest.id).await;
    left_alone([&second, &third]);
    third.signal(Signal::TERM);
    third.ended().await;
}

#[tokio::test]
async fn programs_of_different_users_serve_a_line_in_turns() {
    let port = Port::new("switch").await;
    let directory = tempfile::tempdir().unwrap();
    let everybodys = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(directory.path(), everybodys).unwrap();
    let claims = directory.path().join("lines");
    let [flag, line] = port.flag();
    let flags = [&flag, &line, "--line-claims", claims.to_str().unwrap()];
    let mut root = Server::start(&flags).await;
    let _guest = port.accept().await;
    let nobody = Server::start_by(&NOBODY, &flags).await;
    says(&nobody, &port.server(), &served_by(&root)).await;
    root.signal(Signal::KILL);
    root.ended().await;
    let _guest = port.accept().await;
    is_connected(&nobody, &port.server()).await;

    let root = root.restart().await;
    says(&root, &port.server(), &served_by(&nobody)).await;
    drop(nobody);
    let _guest = port.accept().await;
    is_connected(&root, &port.server()).await;
}

#[tokio::test]
async fn a_program_in_other_namespaces_that_shares_run_leaves_a_line_alone_too() {
    let mut host = Host::start(&["--compute-transport", "unix"]).await;
    let guest = host.boot(1).await;
    // Its API is in another network, so only its log can be seen.
    let apart = host.beside(&APART, &[]).await;
    logs(&apart, &served_by(&host.server)).await;
    let mut shell = host.shell(&guest, 0).await;
    assert_eq!(shell.run("echo $((6*7))").await, "42");
    left_alone([&host.server, &apart]);
    host.server.signal(Signal::TERM);
    host.server.ended().await;
    logs(&apart, "state=Connected").await;
}

#[tokio::test]
async fn a_user_who_may_not_claim_lines_is_told_and_makes_nobody_hang_up() {
    let port = Port::new("switch").await;
    let [flag, line] = port.flag();
    let flags = [&flag, &line, "--line-claims", "/proc/lines"];
    let server = Server::start(&flags).await;
    let _guest = port.accept().await;
    is_connected(&server, &port.server()).await;
    logs(&server, "lines cannot be claimed").await;
}
