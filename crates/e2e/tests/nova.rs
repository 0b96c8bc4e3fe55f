//! The proxy in nova-serialproxy's place: the tokens are a real Nova's, and the guest is a real one.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "that is how a test fails")]

use std::net::SocketAddr;
use std::time::SystemTime;

use rustix::process::Signal;
use serialproxy_e2e::drop_in::DropIn;
use serialproxy_e2e::eventually;
use serialproxy_e2e::guest::Guest;
use serialproxy_e2e::guest::Host;
use serialproxy_e2e::guest::Shell;
use serialproxy_e2e::openstack::keystone::ALICE;
use serialproxy_e2e::openstack::keystone::NOVA;
use serialproxy_e2e::openstack::nova::Nova;
use serialproxy_e2e::port::Port;
use serialproxy_e2e::socket::Socket;

/// A Nova with one server of alice, and its proxy.
struct Cloud {
    nova: Nova,
    server: String,
    drop_in: DropIn,
}

impl Cloud {
    async fn start() -> Self {
        let mut nova = Nova::start().await;
        let server = nova.server("vm1", ALICE).await;
        let drop_in = DropIn::start(&nova.config(), &[]).await;
        Self { nova, server, drop_in }
    }

    /// A token for that port of the server.
    async fn token(&mut self, port: SocketAddr) -> String {
        self.nova.authorize(&self.server, port, 600).await
    }

    /// Status and reason of the refusal of a handshake with this token.
    async fn refused(&self, token: &str, headers: &[(&str, &str)]) -> (u16, String) {
        let path = format!("/?token={token}");
        let refused = Socket::refused(&self.drop_in.proxy, &path, headers).await;
        assert_eq!(refused.body, 0);
        (refused.status, refused.reason)
    }
}

fn second() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs()
}

/// A running guest whose port has no connection.
async fn guest() -> (Host, Guest, SocketAddr) {
    let mut host = Host::start(&[]).await;
    let guest = host.boot(1).await;
    // Reading until the shell's prompt keeps earlier output out of the test.
    host.shell(&guest, 0).await.0.leave().await;
    let port = host.endpoint(&guest, 0).await.parse().unwrap();
    host.server.signal(Signal::KILL);
    host.server.ended().await;
    (host, guest, port)
}

#[tokio::test]
async fn a_session_with_a_guest_outlives_nova_and_keystone_which_new_ones_need() {
    let ((host, guest, port), mut cloud) = tokio::join!(guest(), Cloud::start());
    let token = cloud.token(port).await;
    let mut shell = Shell(Socket::raw(&cloud.drop_in.proxy, &token).await);
    shell.0.send("\r").await;
    shell.0.output_with(b"# ").await;
    assert_eq!(shell.run("echo $((6 * 7))").await, "42");
    shell.carries_every_byte().await;

    cloud.nova.kill().await;
    let (status, reason) = cloud.refused(&token, &[]).await;
    assert!(status == 503 && reason.contains("Nova"), "{status} {reason}");
    assert_eq!(shell.run("echo $((6 * 8))").await, "48");
    cloud.nova.keystone.kill().await;
    assert_eq!(cloud.refused(&token, &[]).await.0, 503);
    assert_eq!(shell.run("echo $((6 * 9))").await, "54");
    drop((host, guest));
}

#[tokio::test]
async fn keystone_alone_down_refuses_new_sessions_and_no_live_one() {
    let (mut cloud, port) = (Cloud::start().await, Port::new("vm1").await);
    let token = cloud.token(port.address()).await;
    let (mut session, mut guest) =
        tokio::join!(Socket::raw(&cloud.drop_in.proxy, &token), port.accept());
    cloud.nova.keystone.kill().await;
    guest.print(b"still here").await;
    session.output_with(b"still here").await;
    // A proxy without a token of its own cannot get one now.
    let fresh = DropIn::start(&cloud.nova.config(), &[]).await;
    let refused = Socket::refused(&fresh.proxy, &format!("/?token={token}"), &[]).await;
    assert_eq!(refused.status, 503, "{refused:?}");
    session.send("x").await;
    assert_eq!(guest.typed(1).await, b"x");
}

#[tokio::test]
async fn a_service_user_with_an_application_credential_looks_tokens_up() {
    let (mut nova, port) = (Nova::start().await, Port::new("vm1").await);
    let server = nova.server("vm1", ALICE).await;
    let token = nova.authorize(&server, port.address(), 600).await;
    let (id, secret) = nova.keystone.application_credential(NOVA).await;
    let password =
        "auth_type = password\nusername = nova\npassword = nova\nproject_name = service\n";
    let credential = format!(
        "auth_type = v3applicationcredential\napplication_credential_id = {id}\n\
         application_credential_secret = {secret}\n"
    );
    let nova_conf = nova.config();
    assert!(nova_conf.contains(password), "{nova_conf}");
    let drop_in = DropIn::start(&nova_conf.replace(password, &credential), &[]).await;
    let (mut session, mut guest) = tokio::join!(Socket::raw(&drop_in.proxy, &token), port.accept());
    guest.print(b"hello").await;
    session.output_with(b"hello").await;
}

#[tokio::test]
async fn expired_and_unknown_tokens_are_refused_alike() {
    let (mut cloud, port) = (Cloud::start().await, Port::new("vm1").await);
    let server = cloud.server.clone();
    let expired = cloud.nova.authorize(&server, port.address(), -1).await;
    let refused = cloud.refused(&expired, &[]).await;
    assert_eq!(refused.0, 401);
    assert_eq!(refused, cloud.refused("818eac6a-0d8a-4bbb-8127-3f15a47b1369", &[]).await);
    // The token was valid before.
    let fresh = cloud.token(port.address()).await;
    tokio::join!(Socket::raw(&cloud.drop_in.proxy, &fresh), port.accept());
}

#[tokio::test]
async fn the_token_of_a_server_that_is_stopped_busy_or_gone_is_refused() {
    let (mut cloud, port) = (Cloud::start().await, Port::new("vm1").await);
    let (server, token) = (cloud.server.clone(), cloud.token(port.address()).await);
    for (vm_state, task_state, word) in
        [("stopped", None, "SHUTOFF"), ("active", Some("migrating"), "MIGRATING (migrating)")]
    {
        cloud.nova.state(&server, vm_state, task_state).await;
        let (status, reason) = cloud.refused(&token, &[]).await;
        assert!(status == 409 && reason.contains(word), "{status} {reason}");
    }
    // Nova's times of change have a resolution of a second.
    let then = second();
    eventually(async || (second() > then).then_some(())).await;
    cloud.nova.state(&server, "active", None).await;
    assert_eq!(cloud.refused(&token, &[]).await.0, 401, "its port may be another's since");
    let token = cloud.token(port.address()).await;
    tokio::join!(Socket::raw(&cloud.drop_in.proxy, &token), port.accept());
    cloud.nova.delete(&server).await;
    assert_eq!(cloud.refused(&token, &[]).await.0, 401);
}

#[tokio::test]
async fn a_page_of_another_origin_is_refused() {
    let (mut cloud, port) = (Cloud::start().await, Port::new("vm1").await);
    let token = cloud.token(port.address()).await;
    assert_eq!(cloud.refused(&token, &[("origin", "http://evil.example")]).await.0, 403);
    let path = format!("/?token={token}");
    let own = [("origin", "http://127.0.0.1")];
    tokio::join!(Socket::open(&cloud.drop_in.proxy, &path, &own), port.accept());
}
