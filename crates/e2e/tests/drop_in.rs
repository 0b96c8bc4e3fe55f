//! The proxy in nova-serialproxy's place, before a small Keystone and Nova that fail when they are
//! asked to.

#![allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "that is how a test fails")]

use std::net::SocketAddr;
use std::time::Duration;

use serialproxy_e2e::address::free_port;
use serialproxy_e2e::cloud::Cloud;
use serialproxy_e2e::cloud::Fault;
use serialproxy_e2e::drop_in::DropIn;
use serialproxy_e2e::drop_in::Rig;
use serialproxy_e2e::eventually;
use serialproxy_e2e::port::Port;
use serialproxy_e2e::socket::Socket;
use serialproxy_e2e::within;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

const CONSOLE: &str = "GET /v2.1/os-console-auth-tokens/*** compute 2.31";

/// Bytes pass both ways.
async fn talk(session: &mut Socket, guest: &mut serialproxy_e2e::port::Guest) {
    // It may be a part of the painted screen, in which no row ends in blanks.
    guest.print(b"login:").await;
    session.output_with(b"login:").await;
    session.send("root\r").await;
    assert_eq!(guest.typed(5).await, b"root\r");
}

/// Waits until a v1 session is told that its line is connected. Who dialed before and was not
/// accepted is in the port's queue still.
async fn connected(session: &mut Socket, port: &Port) -> String {
    let accept = async {
        let mut guests = Vec::new();
        loop {
            guests.push(port.accept().await);
        }
    };
    tokio::select! {
        reason = state(session, "connected") => reason,
        () = accept => unreachable!("it has no end"),
    }
}

/// Waits until the server is in this state, as a v1 session is told.
async fn state(session: &mut Socket, state: &str) -> String {
    loop {
        let message = session.message("state").await;
        if message["state"] == state {
            return message["reason"].as_str().unwrap().to_owned();
        }
    }
}

#[tokio::test]
async fn a_token_of_novas_attaches_and_is_looked_up_once() {
    let rig = Rig::new().await;
    let (mut session, mut guest) = rig.attached().await;
    talk(&mut session, &mut guest).await;
    let lookups = rig.cloud.calls().into_iter().filter(|call| call == CONSOLE).count();
    assert_eq!(lookups, 1);
}

#[tokio::test]
async fn a_session_knows_that_nova_creates_the_urls_and_gets_no_link() {
    let rig = Rig::new().await;
    let (proxy, token) = (&rig.drop_in.proxy, rig.token());
    let (mut session, _guest) = tokio::join!(Socket::v1(proxy, &token, ""), rig.port.accept());
    assert_eq!(session.message("hello").await["nova"], true);
    session.say(r#"{"type":"link"}"#).await;
    let refused = session.message("error").await;
    assert!(refused["message"].as_str().unwrap().contains("Nova creates the console URLs"));
}

#[tokio::test]
async fn neither_token_nor_password_is_in_the_log_and_foreign_options_are() {
    let rig = Rig::with("[neutron]\nx = 1\n[DEFAULT]\nmy_ip = 10.0.0.1\n", &[]).await;
    let token = rig.token();
    let (_session, _guest) =
        tokio::join!(Socket::raw(&rig.drop_in.proxy, &token), rig.port.accept());
    let log = eventually(async || {
        let log = rig.drop_in.log();
        log.contains("session attached").then_some(log)
    })
    .await;
    assert!(!log.contains(&token), "{log}");
    assert!(!log.contains("ecret of the service") && !log.contains("rabbit"), "{log}");
    assert!(log.contains("[DEFAULT] my_ip, [DEFAULT] transport_url, [neutron]"), "{log}");
}

#[tokio::test]
async fn unknown_and_expired_tokens_are_refused_alike() {
    let rig = Rig::new().await;
    let expired = rig.token();
    rig.cloud.expire(&expired);
    let unknown = uuid::Uuid::new_v4().to_string();
    let mut answers = Vec::new();
    for token in [&*expired, &*unknown, "", "x", &"a".repeat(4000)] {
        let refused = rig.refused(token, &[]).await;
        assert_eq!((refused.status, refused.body), (401, 0), "{token}");
        answers.push(refused.reason);
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
}

#[tokio::test]
async fn a_server_that_does_not_run_or_is_moved_is_refused_with_words() {
    let rig = Rig::new().await;
    let token = rig.token();
    for (vm_state, task_state, reason) in [
        ("stopped", None, "stopped: server is SHUTOFF"),
        (
            "active",
            Some("migrating"),
            "unreachable: the server is ACTIVE (migrating): try again when that has finished",
        ),
    ] {
        rig.cloud.set_state(rig.server, vm_state, task_state);
        let refused = rig.refused(&token, &[]).await;
        assert_eq!((refused.status, &*refused.reason), (409, reason));
    }
    assert!(!rig.port.is_dialed_within(Duration::from_millis(100)).await);
}

#[tokio::test]
async fn while_nova_is_down_nobody_attaches_and_live_sessions_go_on() {
    let rig = Rig::new().await;
    let (mut session, mut guest) = rig.attached().await;
    let mut v1 = Socket::v1(&rig.drop_in.proxy, &rig.token(), "&mode=watch").await;
    let key = v1.message("hello").await["resume"].as_str().unwrap().to_owned();
    drop(v1);
    for fault in [Fault::Status(503), Fault::Nonsense, Fault::Status(403), Fault::Status(401)] {
        rig.cloud.fail(Some(("/v", fault)));
        let refused = rig.refused(&rig.token(), &[]).await;
        assert_eq!(refused.status, 503);
        assert!(
            refused.reason.starts_with("unavailable: cannot look up this console URL in Nova"),
            "{refused:?}"
        );
    }
    talk(&mut session, &mut guest).await;
    let headers = [("sec-websocket-protocol", "console.v1")];
    let mut back = Socket::open(&rig.drop_in.proxy, &format!("/?resume={key}"), &headers).await;
    back.message("hello").await;
    rig.cloud.fail(None);
    // A login that was refused is tried again some seconds later.
    let busy = async || (rig.refused(&rig.token(), &[]).await.status == 409).then_some(());
    eventually(busy).await;
}

#[tokio::test]
async fn a_second_proxy_on_one_port_leaves_the_pid_file_of_the_first() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("pid");
    let file = file.to_str().unwrap();
    let rig = Rig::with("", &["--pid-file", file]).await;
    let pid = std::fs::read_to_string(file).unwrap();
    let nova_conf = directory.path().join("nova.conf");
    std::fs::write(&nova_conf, rig.cloud.login("nova")).unwrap();
    let (host, port) = rig.drop_in.proxy.rsplit_once(':').unwrap();
    let nova_conf = nova_conf.to_str().unwrap();
    let flags = ["--config-file", nova_conf, "--host", host, "--port", port, "--pid-file", file];
    let (status, says) = DropIn::give_up(&flags).await;
    assert_eq!(status.code(), Some(1), "{says}");
    assert!(says.contains("cannot listen on"), "{says}");
    assert_eq!(std::fs::read_to_string(file).unwrap(), pid);
}

#[tokio::test]
async fn a_second_user_is_refused_by_a_name_of_the_first_or_watches() {
    let rig = Rig::new().await;
    let (mut session, mut guest) = rig.attached().await;
    let refused = rig.refused(&rig.token(), &[]).await;
    assert_eq!(refused.status, 409);
    let name = refused.reason.strip_prefix("busy: token ").unwrap();
    let (digits, since) = name.split_once(' ').unwrap();
    assert!(digits.len() == 8 && digits.bytes().all(|b| b.is_ascii_hexdigit()), "{digits}");
    assert!(since.starts_with("since 20"), "{since}");
    let watch = format!("/?token={}&mode=watch", rig.token());
    let mut watcher = Socket::open(&rig.drop_in.proxy, &watch, &[]).await;
    watcher.send("not typed").await;
    talk(&mut session, &mut guest).await;
    watcher.output_with(b"login:").await;
    assert!(!rig.port.is_dialed_within(Duration::from_millis(100)).await, "one connection");
}

#[tokio::test]
async fn a_port_that_answers_late_is_waited_for() {
    let rig = Rig::new().await;
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let token = rig.cloud.console_token(rig.server, address);
    let late = async {
        eventually(async || rig.drop_in.log().contains("cannot be reached").then_some(())).await;
        TcpListener::bind(address).await.unwrap().accept().await.unwrap()
    };
    let (_session, _guest) = tokio::join!(Socket::raw(&rig.drop_in.proxy, &token), late);
}

#[tokio::test]
async fn the_session_that_opens_a_port_sees_what_it_says_first() {
    let rig = Rig::new().await;
    let token = rig.token();
    let greets = async {
        let mut guest = rig.port.accept().await;
        guest.print(b"welcome\r\n").await;
        guest
    };
    let (mut session, mut guest) = tokio::join!(Socket::raw(&rig.drop_in.proxy, &token), greets);
    assert_eq!(session.output_with(b"\n").await, b"welcome\r\n");
    // Who comes later begins with what is printed then.
    let path = format!("/?token={}&mode=watch", rig.token());
    let mut watcher = Socket::open(&rig.drop_in.proxy, &path, &[]).await;
    guest.print(b"login: ").await;
    assert_eq!(watcher.output_with(b": ").await, b"login: ");
}

#[tokio::test]
async fn what_a_port_says_before_it_hangs_up_at_once_is_seen_too() {
    let rig = Rig::new().await;
    let token = rig.token();
    let refuses = async { rig.port.accept().await.print(b"busy\r\n").await };
    let (mut session, ()) = tokio::join!(Socket::raw(&rig.drop_in.proxy, &token), refuses);
    assert_eq!(session.output_with(b"\n").await, b"busy\r\n");
    assert_eq!(session.closed().await.0, 1000);
}

#[tokio::test]
async fn a_port_that_nobody_listens_on_is_502() {
    let rig = Rig::new().await;
    let token = rig.cloud.console_token(rig.server, "127.0.0.1:1".parse().unwrap());
    let refused = rig.refused(&token, &[]).await;
    assert_eq!(refused.status, 502);
    assert!(refused.reason.contains("127.0.0.1:1 cannot be reached"), "{refused:?}");
}

#[tokio::test]
async fn a_session_ends_with_its_target_and_on_v1_it_waits_for_it() {
    let rig = Rig::new().await;
    let (session, guest) = rig.attached().await;
    let watch = format!("{}&mode=watch", rig.token());
    let mut v1 = Socket::v1(&rig.drop_in.proxy, &watch, "").await;
    v1.message("hello").await;
    drop(guest);
    assert_eq!(session.closed().await, (1000, "Target closed".to_owned()));
    let mut guest = rig.port.accept().await;
    assert!(state(&mut v1, "connected").await.starts_with("connected"));
    guest.print(b"again").await;
    v1.output_with(b"again").await;
}

/// What was told last is that a new console URL is needed.
async fn new_url_wanted(session: &mut Socket) {
    while !state(session, "failed").await.contains("ask for a new console URL") {}
}

#[tokio::test]
async fn the_port_of_a_server_that_stopped_is_dialed_only_when_a_newer_token_names_it() {
    let rig = Rig::new().await;
    let (_session, guest) = rig.attached().await;
    let mut v1 = Socket::v1(&rig.drop_in.proxy, &rig.token(), "&mode=watch").await;
    v1.message("hello").await;
    rig.cloud.set_state(rig.server, "stopped", None);
    // What Nova said at the attach counts for a moment.
    drop(guest);
    while state(&mut v1, "waiting").await != "the server is SHUTOFF" {}
    within(async { while rig.port.is_dialed_within(Duration::from_millis(300)).await {} }).await;
    rig.cloud.set_state(rig.server, "active", None);
    new_url_wanted(&mut v1).await;
    assert!(!rig.port.is_dialed_within(Duration::from_millis(300)).await);
    // A newer token says where the port is, for everybody.
    let _watcher = Socket::v1(&rig.drop_in.proxy, &rig.token(), "&mode=watch").await;
    connected(&mut v1, &rig.port).await;
}

#[tokio::test]
async fn a_token_that_was_shown_before_its_server_changed_is_good_no_more() {
    let rig = Rig::new().await;
    let (used, unused) = (rig.token(), rig.token());
    let (session, guest) = tokio::join!(Socket::raw(&rig.drop_in.proxy, &used), rig.port.accept());
    rig.cloud.set_state(rig.server, "stopped", None);
    drop(guest);
    assert_eq!(session.closed().await, (1000, "Target closed".to_owned()));
    assert_eq!(rig.refused(&unused, &[]).await.status, 409);
    rig.cloud.set_state(rig.server, "active", None);
    for token in [used, unused] {
        assert_eq!(rig.refused(&token, &[]).await.status, 401);
    }
    let (_session, _guest) = rig.attached().await;
}

#[tokio::test]
async fn a_server_that_moved_is_followed_to_where_the_newest_token_says() {
    let rig = Rig::new().await;
    let token = rig.token();
    let (mut v1, mut guest) =
        tokio::join!(Socket::v1(&rig.drop_in.proxy, &token, ""), rig.port.accept());
    v1.message("hello").await;
    let there = Port::new("there").await;
    let token = rig.cloud.console_token(rig.server, there.address());
    let watch = format!("/?token={token}&mode=watch");
    let (_watcher, mut moved) =
        tokio::join!(Socket::open(&rig.drop_in.proxy, &watch, &[]), there.accept());
    assert_eq!(within(guest.0.read(&mut [0])).await.unwrap(), 0, "the old port is let go");
    state(&mut v1, "connected").await;
    v1.send("x").await;
    assert_eq!(moved.typed(1).await, b"x");
}

#[tokio::test]
async fn a_server_that_was_deleted_ends_its_sessions() {
    let rig = Rig::with("", &["--session-ping_interval=1", "--session-grace=4"]).await;
    let (_session, guest) = rig.attached().await;
    let v1 = Socket::v1(&rig.drop_in.proxy, &rig.token(), "&mode=watch").await;
    rig.cloud.delete(rig.server);
    drop(guest);
    let refuse_connections =
        async { while rig.port.is_dialed_within(Duration::from_secs(3)).await {} };
    let (closed, ()) = within(async { tokio::join!(v1.closed(), refuse_connections) }).await;
    assert_eq!(closed, (4003, "the server was deleted".to_owned()));
}

#[tokio::test]
async fn a_port_that_nobody_uses_any_more_is_let_go() {
    let rig = Rig::with("", &["--session-ping_interval=1", "--session-grace=2"]).await;
    let (session, mut guest) = rig.attached().await;
    session.leave().await;
    assert_eq!(within(guest.0.read(&mut [0])).await.unwrap(), 0);
    let (mut session, mut guest) = rig.attached().await;
    talk(&mut session, &mut guest).await;
}

#[tokio::test]
async fn the_page_is_served_at_the_same_url_and_attaches() {
    let rig = Rig::new().await;
    let token = rig.token();
    let url = format!("http://{}/?token={token}", rig.drop_in.proxy);
    let page = reqwest::get(url).await.unwrap();
    assert_eq!(page.status(), 200);
    assert!(page.text().await.unwrap().contains("<script"));
    let (mut v1, mut guest) =
        tokio::join!(Socket::v1(&rig.drop_in.proxy, &token, ""), rig.port.accept());
    let hello = v1.message("hello").await;
    assert_eq!(hello["can"], serde_json::json!(["write"]));
    assert_eq!(hello["server"]["name"], "vm");
    assert_eq!((&hello["port"], &hello["mode"]), (&0.into(), &"write".into()));
    talk(&mut v1, &mut guest).await;
    v1.say(r#"{"type":"break"}"#).await;
    let error = v1.message("error").await;
    assert!(error["message"].as_str().unwrap().contains("use Nova's API for this"), "{error}");
    v1.say(r#"{"type":"link"}"#).await;
    let error = v1.message("error").await;
    assert!(error["message"].as_str().unwrap().contains("&mode=watch"), "{error}");
}

#[tokio::test]
async fn at_the_end_sessions_are_told_and_ports_let_go() {
    let rig = Rig::new().await;
    let (session, mut guest) = rig.attached().await;
    let Rig { drop_in, .. } = rig;
    let (status, closed) = tokio::join!(drop_in.terminated(), session.closed());
    assert!(status.success());
    assert_eq!(closed.0, 4012);
    assert_eq!(within(guest.0.read(&mut [0])).await.unwrap(), 0);
}

#[tokio::test]
async fn without_a_nova_it_says_what_it_needs() {
    let (status, words) = DropIn::give_up(&["--config-file", "/dev/null"]).await;
    assert_eq!(status.code(), Some(2));
    assert!(words.contains("--config-file /etc/nova/nova.conf"), "{words}");
    let flags = ["--config-file", "/dev/null", "--nova-username", "nova"];
    let (status, words) = DropIn::give_up(&flags).await;
    assert_eq!(status.code(), Some(2));
    assert!(
        words.contains("[nova] names the service user for Nova, but does not set auth_url"),
        "{words}"
    );
}

#[tokio::test]
async fn what_cannot_be_done_with_novas_tokens_and_ports_is_refused_at_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let [nova_conf, ca] = ["nova.conf", "ca.pem"].map(|name| directory.path().join(name));
    std::fs::write(&ca, "").unwrap();
    let login = Cloud::start().await.login("nova");
    let tls = format!("[serial_console]\ntls_required = true\ntls_ca_certs = {}\n", ca.display());
    for (more, words) in [
        (
            "[consoleauth]\nsingle_use = true\n",
            "[consoleauth] single_use is not possible with \
                 Nova's tokens",
        ),
        (&tls, "[serial_console] tls_required is not possible: Nova's serial ports use plain TCP"),
    ] {
        std::fs::write(&nova_conf, format!("{login}{more}")).unwrap();
        let flags = ["--config-file", nova_conf.to_str().unwrap()];
        let (status, says) = DropIn::give_up(&flags).await;
        assert_eq!(status.code(), Some(2), "{says}");
        assert!(says.contains(words), "{says}");
    }
}

#[tokio::test]
async fn what_would_fail_at_the_first_attach_is_said_at_the_start() {
    let rig = Rig::new().await;
    eventually(async || rig.drop_in.log().contains("logged in at Keystone").then_some(())).await;
    for (more, words) in [
        ("password = wrong", "Keystone rejects the service user: check username, password"),
        ("region_name = Mars", "Nova is not in Keystone's catalog (interfaces internal, public"),
    ] {
        let rig = Rig::with(more, &[]).await;
        eventually(async || rig.drop_in.log().contains(words).then_some(())).await;
    }
}
