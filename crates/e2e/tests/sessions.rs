//! Attaching by WebSocket, on simulated ports: who is accepted, the messages, and the bytes.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "that is how a test fails"
)]

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;
use std::time::Instant;

use futures_util::StreamExt;
use rustix::process::Signal;
use serialproxy_e2e::eventually;
use serialproxy_e2e::exchange::open;
use serialproxy_e2e::exchange::upgrade;
use serialproxy_e2e::rig::Rig;
use serialproxy_e2e::socket::Socket;
use serialproxy_e2e::within;

#[tokio::test]
async fn text_frames_are_taken_as_their_utf8_bytes_on_raw() {
    let mut rig = Rig::start(&[]).await;
    let mut socket = rig.raw().await;
    socket.say("ünï\r").await;
    assert_eq!(rig.guest.typed(6).await, "ünï\r".as_bytes());
}

#[tokio::test]
async fn a_missing_an_unknown_and_an_expired_token_get_the_same_answer() {
    let rig = Rig::start(&["--consoleauth-token_ttl", "1"]).await;
    let expired = rig.token("").await;
    let unknown = uuid::Uuid::new_v4();
    let mut answers = Vec::new();
    for path in ["/".to_owned(), format!("/?token={unknown}")] {
        let refused = Socket::refused(&rig.server.proxy, &path, &[]).await;
        answers.push((refused.status, refused.reason));
    }
    answers.push(
        eventually(async || {
            let path = format!("/?token={expired}&mode=watch");
            let refused = Socket::refused(&rig.server.proxy, &path, &[]).await;
            (refused.status != 101).then_some((refused.status, refused.reason))
        })
        .await,
    );
    assert_eq!(answers[0].0, 401);
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
}

#[tokio::test]
async fn a_second_writer_is_refused_within_100_ms_with_the_holders_name() {
    let mut rig = Rig::start(&[]).await;
    let mut first = rig.raw().await;
    let path = format!("/?token={}", rig.token("").await);
    // A busy machine delays some of the attempts, but not all.
    let refusal = async || {
        let started = Instant::now();
        let refused = Socket::refused(&rig.server.proxy, &path, &[]).await;
        assert_eq!(refused.status, 409);
        assert!(refused.reason.starts_with("busy: admin since 20"), "{}", refused.reason);
        (started.elapsed() < Duration::from_millis(100)).then_some(())
    };
    eventually(refusal).await;
    first.send("a").await;
    assert_eq!(rig.guest.typed(1).await, b"a");
}

#[tokio::test]
async fn on_v1_the_busy_one_is_told_who_writes_and_closed_with_4004() {
    let rig = Rig::start(&[]).await;
    let _first = rig.raw().await;
    let mut second = Socket::v1(&rig.server.proxy, &rig.token("").await, "").await;
    let pen = second.message("pen").await;
    assert_eq!((&pen["state"], &pen["holder"]), (&"held".into(), &"admin".into()));
    assert!(pen["can"].as_array().unwrap().contains(&"force".into()), "{pen}");
    let (code, reason) = second.closed().await;
    assert_eq!(code, 4004);
    assert!(reason.starts_with("busy: admin since "), "{reason}");
}

#[tokio::test]
async fn after_disconnect_the_first_gets_4006_and_the_second_gets_in_at_once() {
    let mut rig = Rig::start(&[]).await;
    let first = rig.raw().await;
    let path = format!("/v3/servers/{}/disconnect-serial-console", rig.port.server());
    let answer = rig.server.post(&path, "").await;
    assert_eq!(answer.status, 202);
    assert_eq!(answer.json["disconnected"]["user"], "admin");
    let mut second = rig.raw().await;
    second.send("b").await;
    assert_eq!(rig.guest.typed(1).await, b"b");
    let (code, reason) = first.closed().await;
    assert_eq!(code, 4006);
    assert!(reason.contains("disconnected by admin"), "{reason}");
}

#[tokio::test]
async fn a_session_is_listed_and_ended_by_its_id() {
    let rig = Rig::start(&[]).await;
    let socket = rig.raw().await;
    let sessions = rig.server.get("/v1/sessions").await.json;
    let session = &sessions["sessions"][0];
    assert_eq!(session["protocol"], "raw");
    assert_eq!(session["mode"], "write");
    let path = format!("/v1/sessions/{}?reason=lunch", session["id"].as_str().unwrap());
    assert_eq!(rig.server.call(reqwest::Method::DELETE, &path, "").await.status, 204);
    assert_eq!(socket.closed().await.1, "disconnected by admin: lunch");
    assert_eq!(rig.server.get("/v1/sessions").await.json["sessions"], serde_json::json!([]));
}

#[tokio::test]
async fn a_watcher_sees_everything_and_types_nothing() {
    let mut rig = Rig::start(&[]).await;
    let token = rig.token("?mode=watch").await;
    let mut watcher = Socket::raw(&rig.server.proxy, &token).await;
    let mut writer = rig.raw().await;
    watcher.send("x").await;
    writer.send("a").await;
    assert_eq!(rig.guest.typed(1).await, b"a");
    rig.guest.print(b"hello\n").await;
    assert_eq!(watcher.output_with(b"\n").await, b"hello\n");
    let path = format!("/?token={token}&mode=write");
    assert_eq!(Socket::refused(&rig.server.proxy, &path, &[]).await.status, 403);
}

#[tokio::test]
async fn with_source_is_ipv6_users_come_by_both_families() {
    let flags = ["--serial_console-serialproxy_host", "0.0.0.0", "--serial_console-source_is_ipv6"];
    let rig = Rig::start(&flags).await;
    let port = rig.server.proxy.strip_prefix("[::]:").unwrap().to_owned();
    for host in ["127.0.0.1", "[::1]"] {
        let token = rig.token("").await;
        let socket = Socket::raw(&format!("{host}:{port}"), &token).await;
        let sessions = rig.server.get("/v1/sessions").await.json;
        let address = sessions["sessions"][0]["address"].as_str().unwrap().to_owned();
        assert!(address.starts_with(&format!("{host}:")), "{address}");
        socket.leave().await;
        rig.deserted().await;
    }
}

#[tokio::test]
async fn names_are_listened_on_and_health_and_metrics_are_told_where_that_is_listened_for() {
    let metrics = format!("localhost:{}", serialproxy_e2e::address::free_port());
    let flags = ["--serial_console-serialproxy_host", "localhost", "--api-listen", "localhost:0"];
    let rig = Rig::start(&[&flags[..], &["--api-metrics_listen", &metrics]].concat()).await;
    rig.raw().await;
    let health = reqwest::get(format!("http://{metrics}/healthz")).await.unwrap();
    assert_eq!(health.status(), 200);
    let told = reqwest::get(format!("http://{metrics}/metrics")).await.unwrap();
    assert_eq!(told.headers()["content-type"], "text/plain; version=0.0.4");
    assert!(told.text().await.unwrap().contains("\nserialproxy_open_files "));
    let lines = reqwest::get(format!("http://{metrics}/v1/lines")).await.unwrap();
    assert_eq!(lines.status(), 404);
}

#[tokio::test]
async fn what_makes_no_sense_is_a_bad_request() {
    let rig = Rig::start(&[]).await;
    assert_eq!(rig.refused("&mode=own", &[]).await.0, 400);
    assert_eq!(rig.refused("&from=start", &[]).await.0, 400);
    assert_eq!(rig.refused("", &[("sec-websocket-protocol", "base64")]).await.0, 400);
}

#[tokio::test]
async fn a_port_that_does_not_answer_is_502_and_one_that_hangs_up_ends_the_session() {
    let rig = Rig::start(&[]).await;
    let socket = rig.raw().await;
    let token = rig.token("").await;
    drop(rig.port);
    drop(rig.guest);
    assert_eq!(socket.closed().await, (1000, "Target closed".into()));
    let refused = eventually(async || {
        let path = format!("/?token={token}");
        let refused = Socket::refused(&rig.server.proxy, &path, &[]).await;
        (refused.status == 502).then_some(refused)
    })
    .await;
    assert!(refused.reason.starts_with("unreachable: "), "{}", refused.reason);
}

#[tokio::test]
async fn a_client_that_answers_no_ping_is_let_go_after_the_grace_time() {
    let flags = ["--session-ping_interval", "1", "--session-grace", "2"];
    let rig = Rig::start(&flags).await;
    let token = rig.token("").await;
    let mut deaf = Socket::raw(&rig.server.proxy, &token).await;
    // Reading answers pings; this client reads nothing until the line is free.
    rig.deserted().await;
    let mut last = None;
    within(async {
        while let Some(Ok(message)) = deaf.0.next().await {
            last = message.as_close().map(|(code, _)| u16::from(code)).or(last);
        }
    })
    .await;
    assert_eq!(last, Some(4007));
    let log = rig.server.log();
    let ended = log.lines().find(|line| line.contains("session ended")).unwrap();
    assert!(ended.contains("code=4007 reason=\"idle: no sign of life for 2 s\""), "{ended}");
}

#[tokio::test]
async fn a_client_that_answers_pings_stays() {
    let flags = ["--session-ping_interval", "1", "--session-grace", "2"];
    let mut rig = Rig::start(&flags).await;
    let mut socket = rig.raw().await;
    let mut pings = 0;
    while pings < 4 {
        let message = within(socket.0.next()).await.unwrap().unwrap();
        assert!(!message.is_close(), "{message:?}");
        pings += usize::from(message.is_ping());
    }
    socket.send("x").await;
    assert_eq!(rig.guest.typed(1).await, b"x");
}

#[tokio::test]
async fn a_viewer_who_stops_reading_is_closed_and_the_guest_never_waits() {
    let rig = Rig::start(&[]).await;
    let stalled = rig.raw().await;
    let Rig { server, port, mut guest, .. } = rig;
    let id = port.server();
    let printing = async {
        let row = vec![b'.'; 64 * 1024];
        for _ in 0..1024 {
            guest.print(&row).await;
        }
        eventually(async || {
            (server.line(&id, 0).await["offset"] == 64 * 1024 * 1024).then_some(())
        })
        .await;
    };
    let closed = async {
        eventually(async || server.line(&id, 0).await["writer"].is_null().then_some(())).await;
        // The reason waits for five seconds until the viewer reads again.
        stalled.closed().await
    };
    let ((), (code, _)) = tokio::join!(printing, closed);
    assert_eq!(code, 4011);
}

#[tokio::test]
async fn a_port_that_breaks_the_connection_off_is_no_port_that_closes_it() {
    let mut rig = Rig::start(&[]).await;
    let raw = rig.raw().await;
    let token = rig.token("?mode=watch").await;
    let mut v1 = Socket::v1(&rig.server.proxy, &token, "").await;
    v1.message("hello").await;
    // Without lingering, closing the connection resets it.
    rig.guest.0.set_zero_linger().unwrap();
    drop(rig.guest);
    let (code, reason) = raw.closed().await;
    assert_eq!(code, 4013, "{reason}");
    assert!(reason.starts_with("the guest's port broke the connection off"), "{reason}");
    let state = v1.message("state").await;
    assert_eq!(state["state"], "waiting", "{state}");
    rig.guest = rig.port.accept().await;
    v1.message("state").await;
    rig.guest.print(b"again").await;
    v1.output_with(b"again").await;
}

#[tokio::test]
async fn sigterm_ends_sessions_with_4012_and_the_program_with_0_in_5_s() {
    let mut rig = Rig::start(&[]).await;
    let raw = rig.raw().await;
    let token = rig.token("?mode=watch").await;
    let v1 = Socket::v1(&rig.server.proxy, &token, "").await;
    let started = Instant::now();
    rig.server.signal(Signal::TERM);
    assert_eq!(raw.closed().await.0, 4012);
    assert_eq!(v1.closed().await.0, 4012);
    assert!(rig.server.ended().await.success());
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_single_use_token_is_good_for_one_attach() {
    let rig = Rig::start(&["--consoleauth-single_use=true"]).await;
    let token = rig.token("").await;
    let socket = Socket::raw(&rig.server.proxy, &token).await;
    drop(socket);
    let refused = Socket::refused(&rig.server.proxy, &format!("/?token={token}"), &[]).await;
    assert_eq!(refused.status, 401);
}

#[tokio::test]
async fn a_token_is_in_no_log_line_and_no_process_list() {
    let rig = Rig::start(&[]).await;
    let token = rig.token("").await;
    let socket = Socket::raw(&rig.server.proxy, &token).await;
    let path = format!("/?token={token}");
    Socket::refused(&rig.server.proxy, &path, &[("origin", "http://evil.example")]).await;
    Socket::refused(&rig.server.proxy, &path, &[]).await;
    reqwest::get(format!("http://{}/serial.html?token={token}", rig.server.proxy)).await.unwrap();
    let output = rig.server.client(&["get-serial-console", "switch", "serial"]).await;
    let printed = String::from_utf8(output.stdout).unwrap();
    let second = printed.split("token=").nth(1).unwrap().split_whitespace().next().unwrap();
    drop(socket);
    eventually(async || rig.server.log().contains("session ended").then_some(())).await;
    let log = rig.server.log();
    for secret in [token.as_str(), second, rig.server.admin_token().as_str()] {
        assert!(!log.contains(secret), "{log}");
        for process in std::fs::read_dir("/proc").unwrap().flatten() {
            let arguments = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
            assert!(!String::from_utf8_lossy(&arguments).contains(secret));
        }
    }
}

#[tokio::test]
async fn a_watch_link_of_a_session_lets_anyone_watch_and_nobody_type() {
    let Rig { server, mut guest, port, .. } = Rig::start(&[]).await;
    let token = server.token(&port.server(), "").await;
    let mut alice = Socket::v1(&server.proxy, &token, "").await;
    alice.say(r#"{"type":"link"}"#).await;
    let link = alice.message("link").await;
    assert_eq!(link["seconds"], 600);
    let url = link["url"].as_str().unwrap();
    let watches = url.split_once("token=").unwrap().1.strip_suffix("&mode=watch").unwrap();
    let writes = format!("/?token={watches}&mode=write");
    assert_eq!(Socket::refused(&server.proxy, &writes, &[]).await.status, 403);
    let mut bob = Socket::raw(&server.proxy, watches).await;
    bob.send("typed").await;
    guest.print(b"seen").await;
    bob.output_with(b"seen").await;
    alice.send("a").await;
    assert_eq!(guest.typed(1).await, b"a");
    let mut watcher = Socket::v1(&server.proxy, watches, "").await;
    watcher.say(r#"{"type":"link"}"#).await;
    let error = watcher.message("error").await;
    assert_eq!(error["message"], "only a session that may type can create links for watching");
}

#[tokio::test]
async fn who_opens_the_next_raw_session_while_closing_theirs_gets_in() {
    let rig = Rig::start(&[]).await;
    let proxy = &rig.server.proxy;
    let request = upgrade(&rig.path("").await, proxy, &[]);
    let (head, mut session) = open(None, proxy, &request).await;
    assert_eq!(head.status, 101);
    let mut refused = 0;
    for _ in 0..50 {
        let leaving = async {
            for _ in 0..3 {
                tokio::task::yield_now().await;
            }
            drop(session);
        };
        let ((head, next), ()) = tokio::join!(open(None, proxy, &request), leaving);
        session = if head.status == 101 {
            next
        } else {
            assert_eq!(head.status, 409);
            refused += 1;
            Box::pin(eventually(async || {
                let (head, next) = open(None, proxy, &request).await;
                (head.status == 101).then_some(next)
            }))
            .await
        };
    }
    // The proxy waits for 30 ms, which a busy machine may need for other things.
    assert!(refused < 25, "{refused}");
}

#[tokio::test]
async fn who_is_attached_saves_the_history_with_the_key_of_the_session_and_nobody_else() {
    let Rig { server, mut guest, port, .. } = Rig::start(&["--line-history_head", "4KiB"]).await;
    let token = server.token(&port.server(), "").await;
    let mut alice = Socket::v1(&server.proxy, &token, "").await;
    let key = alice.message("hello").await["resume"].as_str().unwrap().to_owned();
    let printed: Vec<u8> = (0..3_000_000u32).map(|n| u8::try_from(n % 251).unwrap()).collect();
    guest.print(&printed).await;
    let all = || async { server.line(&port.server(), 0).await["offset"] == printed.len() };
    eventually(async || all().await.then_some(())).await;
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let ask = async |key: &str, from: u64| {
        let url = format!("http://{}/any/history?from={from}", server.proxy);
        within(http.get(url).header("X-Console-Resume", key).send()).await.unwrap()
    };
    let (mut from, mut gaps) = (0u64, 0);
    while from < printed.len() as u64 {
        let answer = ask(&key, from).await;
        assert_eq!(answer.status(), 200);
        let number =
            |name: &str| -> u64 { answer.headers()[name].to_str().unwrap().parse().unwrap() };
        let (offset, next) = (number("x-console-offset"), number("x-console-next"));
        gaps += u32::from(offset > from);
        let range = usize::try_from(offset).unwrap()..usize::try_from(next).unwrap();
        assert!(within(answer.bytes()).await.unwrap() == printed[range]);
        from = next;
    }
    assert_eq!(gaps, 1, "between the beginning and the newest part");
    assert!(within(ask(&key, from).await.bytes()).await.unwrap().is_empty());
    assert_eq!(ask("x", 0).await.status(), 401);
    alice.leave().await;
    eventually(async || (ask(&key, 0).await.status() == 401).then_some(())).await;
}

#[tokio::test]
async fn every_change_of_the_pen_is_logged_with_who_from_where_and_why() {
    let rig = Rig::start(&[]).await;
    let mut alice = Socket::v1(&rig.server.proxy, &rig.token("").await, "").await;
    let mut bob = Socket::v1(&rig.server.proxy, &rig.token("").await, "&mode=watch").await;
    bob.say(r#"{"type":"pen","do":"request","reason":"my turn"}"#).await;
    alice.message("hello").await;
    while alice.message("pen").await["state"] != "requested" {}
    alice.say(r#"{"type":"pen","do":"deny","reason":"not yet"}"#).await;
    while bob.message("pen").await["reason"] != "denied: not yet" {}
    bob.say(r#"{"type":"pen","do":"force","reason":"urgent"}"#).await;
    while alice.message("pen").await["state"] != "lost" {}
    bob.say(r#"{"type":"pen","do":"release"}"#).await;
    while alice.message("pen").await["state"] != "free" {}
    for (what, why) in [
        ("pen asked for", "my turn"),
        ("pen denied", "not yet"),
        ("pen taken over", "urgent"),
        ("pen released", ""),
    ] {
        let logged = eventually(async || {
            let log = rig.server.log();
            log.lines().find(|line| line.contains(what)).map(str::to_owned)
        })
        .await;
        for part in ["user=\"admin\"", "address=\"127.0.0.1:", "session=", why] {
            assert!(logged.contains(part), "{logged} lacks {part}");
        }
    }
}

#[tokio::test]
async fn break_sysrq_and_power_are_for_who_may() {
    let rig = Rig::start(&[]).await;
    let mut writer = Socket::v1(&rig.server.proxy, &rig.token("").await, "").await;
    writer.say(r#"{"type":"break"}"#).await;
    let error = writer.message("error").await["message"].as_str().unwrap().to_owned();
    assert!(error.starts_with("Serial port 0 of switch has no break"), "{error}");
    writer.say(r#"{"type":"power","do":"nmi"}"#).await;
    assert!(writer.message("error").await["message"].is_string());

    writer.say(r#"{"type":"link"}"#).await;
    let link = writer.message("link").await["url"].as_str().unwrap().to_owned();
    let watches = link.split_once("token=").unwrap().1;
    let mut watcher = Socket::v1(&rig.server.proxy, watches, "").await;
    for (say, why) in [
        (r#"{"type":"break"}"#, "only the person who is typing"),
        (r#"{"type":"sysrq","key":"b"}"#, "only the person who is typing"),
        (r#"{"type":"power","do":"stop"}"#, "who may control the server"),
        (r#"{"type":"pen","do":"request"}"#, "only allows watching"),
        (r#"{"type":"pen","do":"force"}"#, "administrator"),
    ] {
        watcher.say(say).await;
        let error = watcher.message("error").await["message"].as_str().unwrap().to_owned();
        assert!(error.contains(why), "{say}: {error}");
    }
}

#[tokio::test]
async fn the_log_names_a_line_by_its_server_and_warns_of_what_failed() {
    let nobody = ["--static-line=closed tcp://127.0.0.1:1"];
    let rig = Rig::start(&nobody).await;
    let first = rig.raw().await;
    let token = rig.token("").await;
    Socket::refused(&rig.server.proxy, &format!("/?token={token}"), &[]).await;
    let unknown = rig.server.get("/v1/servers/nobody").await;
    assert_eq!(unknown.status, 404);
    let line = |name: &str| {
        format!("line=\"{name}:0\" server={}", serialproxy_proto::id::ServerId::of_static(name))
    };
    for (level, parts) in [
        ("INFO", ["session attached", &line("switch")]),
        ("INFO", ["state=Connected", &line("switch")]),
        ("WARN", ["state=Failed", &line("closed")]),
        ("WARN", ["attach refused", "reason=busy: admin"]),
        ("WARN", ["answered", "status=404"]),
    ] {
        let is_it = |line: &str| parts.iter().all(|part| line.contains(part));
        let found = eventually(async || {
            rig.server.log().lines().find(|line| is_it(line)).map(str::to_owned)
        });
        let found = found.await;
        assert!(found.contains(&format!(" {level} ")), "{found}");
    }
    first.leave().await;
}

#[tokio::test]
async fn the_log_is_in_its_file_which_only_its_owner_reads() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("serialproxy.log");
    let rig = Rig::start(&["--log-file", file.to_str().unwrap()]).await;
    let socket = Socket::raw(&rig.server.proxy, &rig.token("").await).await;
    socket.leave().await;
    let attached = || std::fs::read_to_string(&file).unwrap().contains("session attached");
    eventually(async || attached().then_some(())).await;
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(rig.server.log(), "");
}
