//! Checks what the API logs, and what it must never log.
//!
//! A program of its own: `tracing` decides once per process whether a log statement is of interest,
//! so tests without a log must not run beside these.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    dead_code,
    reason = "tests, which share their bench with others"
)]

#[path = "../api/bench.rs"]
mod bench;
#[path = "../api/fake.rs"]
mod fake;

use std::io;
use std::sync::Arc;
use std::sync::Mutex;

use axum::body::Body;
use axum::extract::Request;
use serde_json::json;
use serialproxy_api::Auth;
use serialproxy_proto::compute::ComputeError;
use tokio::sync::Notify;
use tracing_subscriber::fmt::MakeWriter;

use crate::bench::ADMIN;
use crate::bench::Bench;
use crate::bench::config;
use crate::fake::Fake;
use crate::fake::running;

/// Everything that is logged, at every level.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().map_err(|_| io::ErrorKind::Other)?.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

fn captured() -> (Log, tracing::subscriber::DefaultGuard) {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(log.clone())
        .finish();
    (log, tracing::subscriber::set_default(subscriber))
}

#[tokio::test]
async fn no_token_is_ever_logged() {
    let bench = Bench::new();
    let (log, _guard) = captured();
    let id = running();
    let uri = format!("/v2/secret-project/servers/{id}/get-serial-console?x=secret-query");
    let answer = bench.call(&format!("POST {uri}"), "").await;
    let json = answer.json();
    let url = json["serial_console"]["url"].as_str().unwrap();
    let token = url.split_once("token=").unwrap().1;
    bench.get(&format!("/nope/{token}?token={token}")).await;
    bench.get(&format!("/v1/lines/{token}/0")).await;
    bench.call(&format!("POST /v3/servers/{id}/get-serial-console?mode={token}"), "").await;
    let wrong = Request::get("/v1/lines").header("x-auth-token", "secret-try");
    bench.send(wrong.body(Body::empty()).unwrap()).await;
    let text = log.text();
    assert_eq!(text.lines().count(), 6, "{text}");
    for secret in [token, ADMIN, "secret"] {
        assert!(!text.contains(secret), "{text}");
    }
}

#[tokio::test]
async fn a_call_is_logged_once_with_what_is_needed_to_find_it_again() {
    let bench = Bench::new();
    let (log, _guard) = captured();
    let answer = bench.get(&format!("/v1/lines/{}/0", running())).await;
    let text = log.text();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.contains(" INFO "), "{text}");
    for part in [
        "method=GET",
        "route=\"/v1/lines/{server}/{port}\"",
        "status=200",
        "user=\"admin\"",
        "seconds=",
        answer.header("x-openstack-request-id"),
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[tokio::test]
async fn the_id_that_another_service_gave_a_request_is_logged_beside_ours() {
    let bench = Bench::new();
    let global = "req-0b0a6c5e-6a5a-4d3c-9d0f-6a3b1f3f0c11";
    for (sent, logged) in [(global, true), ("req-x", false), (&global[4..], false)] {
        let (log, _guard) = captured();
        let request = Request::get("/v2.1").header("x-openstack-request-id", sent);
        let answer = bench.send(request.body(Body::empty()).unwrap()).await;
        assert_ne!(answer.header("x-openstack-request-id"), sent);
        let text = log.text();
        assert_eq!(text.contains(&format!("global_request_id=\"{global}\"")), logged, "{text}");
    }
}

#[tokio::test]
async fn what_is_done_to_a_guest_is_logged_with_who_did_it() {
    let bench = Bench::new();
    let id = running();
    let name = bench.get(&format!("/v1/servers/{id}")).await.json()["server"]["name"].clone();
    let name = name.as_str().unwrap();
    for (call, body, parts) in [
        (
            format!("/v1/lines/{id}/0/break"),
            "",
            ["break sent", &format!("line=\"{name}:0\" server={id}")],
        ),
        (format!("/v1/lines/{id}/0/sysrq"), r#"{"key": "b"}"#, ["SysRq sent", "key=b"]),
        (
            format!("/v3/servers/{id}/get-serial-console"),
            "",
            ["console URL created", &format!("line=\"{name}:0\" server={id} mode=\"write\"")],
        ),
        (format!("/v1/servers/{id}/reset"), "", ["power changed", "power=Reset"]),
        (format!("/v1/servers/{id}/nmi"), "", ["power changed", "power=Nmi"]),
    ] {
        let (log, _guard) = captured();
        bench.call(&format!("POST {call}"), body).await;
        let text = log.text();
        let event = text.lines().find(|line| line.contains(parts[0]));
        let event = event.unwrap_or_else(|| panic!("{call}: {text}"));
        assert!(event.contains(parts[1]) && event.contains("user=\"admin\""), "{event}");
    }
}

#[tokio::test]
async fn a_change_of_power_that_fails_is_logged_even_when_nobody_waits_for_it() {
    let powerless = Some(ComputeError::Failed("no power".into()));
    let fake = Fake { powerless, ..Fake::default() };
    let bench = Bench::with(fake, &config(), Auth::Noauth);
    let (log, _guard) = captured();
    let call = format!("POST /v2.1/servers/{}/action", running());
    bench.call(&call, r#"{"reboot": {"type": "HARD"}}"#).await;
    let text = log.text();
    let event = text.lines().find(|line| line.contains("power not changed")).unwrap();
    for part in [" WARN ", "user=\"anonymous\"", "name=\"", "power=Reset", "error=no power"] {
        assert!(event.contains(part), "{event}");
    }
}

#[tokio::test]
async fn a_failure_of_ours_is_logged_with_its_reason() {
    let bench = Bench::new();
    let path = bench.directory.path().join("store.sqlite");
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("DROP TABLE console_tokens").unwrap();
    let (log, _guard) = captured();
    bench.call(&format!("POST /v3/servers/{}/get-serial-console", running()), "").await;
    let answered =
        log.text().lines().any(|line| line.contains(" WARN ") && line.contains("status=503"));
    assert!(answered, "{}", log.text());
    assert!(log.text().contains("tokens cannot be created"), "{}", log.text());
}

#[tokio::test]
async fn a_caller_that_hangs_up_is_logged_too() {
    let fake = Fake { gate: Some(Notify::new()), ..Fake::default() };
    let bench = Bench::with(fake, &config(), Auth::Noauth);
    let (log, _guard) = captured();
    tokio::select! {
        _ = bench.call("POST /v1/servers", r#"{"name": "a", "image": "b"}"#) => unreachable!(),
        () = bench.fake.begun.notified() => {}
    }
    assert!(log.text().contains("caller hung up"), "{}", log.text());
    assert!(!log.text().contains("status="), "{}", log.text());
}

#[tokio::test]
async fn whoever_is_nobody_writes_few_lines_and_short_ones() {
    let bench = Bench::new();
    let (log, _guard) = captured();
    for _ in 0..1000 {
        let request = Request::builder()
            .method("X".repeat(60_000).as_str())
            .uri(format!("/{}", "x".repeat(10_000)))
            .header("x-auth-token", "x".repeat(10_000))
            .header("x-openstack-request-id", "x".repeat(10_000));
        bench.send(request.body(Body::empty()).unwrap()).await;
    }
    bench.get("/v1/lines").await;
    let text = log.text();
    let lines: Vec<_> = text.lines().collect();
    // Sixty lines, and one more for each second that the test takes.
    assert!(lines.len() < 200, "{}", lines.len());
    assert!(lines.iter().all(|line| line.len() <= 512), "{text}");
    let unlogged = lines.iter().filter_map(|line| line.split_once("unlogged="));
    let unlogged = unlogged.map(|(_, count)| count.split(' ').next().unwrap().parse::<usize>());
    assert_eq!(unlogged.map(Result::unwrap).sum::<usize>() + lines.len(), 1000 + 1);
}

#[tokio::test]
async fn log_ins_that_are_refused_write_few_lines() {
    let bench = Bench::local(Fake::default(), &config());
    let (log, _guard) = captured();
    let user = json!({"name": "nobody", "password": "wrong", "domain": {"id": "default"}});
    let body = json!({"auth": {"identity": {"methods": ["password"], "password": {"user": user}}}});
    for _ in 0..120 {
        let request = Request::post("/v3/auth/tokens")
            .header("host", "api.example:8774")
            .header("content-type", "application/json");
        bench.send(request.body(Body::from(body.to_string())).unwrap()).await;
    }
    let text = log.text();
    let lines: Vec<_> = text.lines().filter(|line| line.contains("a login was refused")).collect();
    // Sixty lines, and one more for each second that the test takes.
    assert!((60..120).contains(&lines.len()), "{text}");
    assert!(lines.iter().all(|line| line.contains(r#"user="nobody" address=127.0.0.1"#)), "{text}");
}
