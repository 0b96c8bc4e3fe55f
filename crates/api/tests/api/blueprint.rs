use jiff::Timestamp;
use jiff::ToSpan;
use proptest::prelude::*;
use serialproxy_api::Auth;
use serialproxy_proto::id::LineKey;
use serialproxy_proto::token::ConsoleToken;
use serialproxy_proto::token::Grant;
use serialproxy_proto::token::Mode;

use crate::bench::Answer;
use crate::bench::BASE;
use crate::bench::Bench;
use crate::bench::config;
use crate::fake::Fake;
use crate::fake::halted;
use crate::fake::running;

fn get(query: &str) -> String {
    format!("POST /v2/demo/servers/{}/get-serial-console{query}", running())
}

fn token(answer: &Answer) -> ConsoleToken {
    let json = answer.json();
    let url = json["serial_console"]["url"].as_str().unwrap();
    let token = url.strip_prefix(BASE).unwrap().strip_prefix("?token=").unwrap();
    assert_eq!(uuid::Uuid::parse_str(token).unwrap().get_version_num(), 4);
    assert_eq!(token.len(), 36);
    ConsoleToken::from_client(token)
}

async fn grant(bench: &Bench, answer: &Answer) -> Grant {
    let digest = token(answer).digest();
    bench.grants.validate(digest, Timestamp::now()).await.unwrap().unwrap()
}

#[tokio::test]
async fn v2_answers_200_and_v3_answers_202_with_nothing_but_the_url() {
    let bench = Bench::new();
    let id = running();
    for (call, status) in [
        (format!("POST /v2/0fe7/servers/{id}/get-serial-console"), 200),
        (format!("POST /v3/servers/{id}/get-serial-console"), 202),
    ] {
        let answer = bench.call(&call, r#"{"serial_console": {}}"#).await;
        assert_eq!(answer.status, status, "{call}");
        assert_eq!(answer.header("content-type"), "application/json");
        assert_eq!(answer.header("cache-control"), "no-store");
        assert_eq!(answer.json().as_object().unwrap().len(), 1);
        assert_eq!(answer.json()["serial_console"].as_object().unwrap().len(), 1);
        token(&answer);
    }
}

#[tokio::test]
async fn four_bodies_are_right() {
    let bench = Bench::new();
    for body in ["", "{}", r#"{"serial_console": null}"#, r#"{"serial_console": {}}"#, " {\n} "] {
        assert_eq!(bench.call(&get(""), body).await.status, 200, "{body}");
    }
}

#[tokio::test]
async fn every_other_body_is_told_what_is_wrong_with_it() {
    let bench = Bench::new();
    let deep = "[".repeat(10_000);
    for (body, message) in [
        ("null", "None is not of type 'object'"),
        ("[]", "[] is not of type 'object'"),
        ("[{}]", "is not of type 'object'"),
        ("1", "1 is not of type 'object'"),
        (r#""x""#, "is not of type 'object'"),
        ("{", "the body is not JSON"),
        ("{} {}", "the body is not JSON"),
        (" ", "the body is not JSON"),
        ("type=serial", "the body is not JSON"),
        (deep.as_str(), "the body is not JSON"),
        (r#"{"a": 1}"#, "Additional properties are not allowed ('a' was unexpected)"),
        (r#"{"serial_console": {}, "b": {}}"#, "('b' was unexpected)"),
        (r#"{"serial_console": {"type": "serial"}}"#, "('type' was unexpected)"),
        (r#"{"serial_console": []}"#, "[] is not of type 'object'"),
        (r#"{"serial_console": "serial"}"#, "is not of type 'object'"),
        (r#"{"serial_console": 0}"#, "0 is not of type 'object'"),
        (r#"{"serial_console": false}"#, "False is not of type 'object'"),
    ] {
        bench.call(&get(""), body.to_owned()).await.is_fault(400, "badRequest", message);
    }
    assert!(bench.fake.asked().is_empty());
}

#[tokio::test]
async fn a_body_over_the_limit_is_413_and_one_at_the_limit_is_read() {
    let bench = Bench::new();
    let body = |size: usize| " ".repeat(size - 2) + "{}";
    assert_eq!(bench.call(&get(""), body(114_688)).await.status, 200);
    let answer = bench.call(&get(""), body(114_689)).await;
    answer.is_fault(413, "overLimit", "114688 bytes");
}

#[tokio::test]
async fn the_token_stands_for_the_caller_the_line_and_the_ttl() {
    let bench = Bench::new();
    let before = Timestamp::now();
    let answer = bench.call(&get("?port=1"), "").await;
    let found = grant(&bench, &answer).await;
    assert_eq!(found.line, LineKey { server: running(), port: 1 });
    assert_eq!((found.user.as_str(), found.mode), ("admin", Mode::Write));
    assert!(found.operator && !found.wait);
    let range = before + 599.seconds()..=Timestamp::now() + 600.seconds();
    assert!(range.contains(&found.expires));
}

#[tokio::test]
async fn mode_and_wait_end_up_in_the_grant() {
    let bench = Bench::new();
    let answer = bench.call(&get("?mode=watch&wait=1"), "").await;
    let found = grant(&bench, &answer).await;
    assert_eq!(found.mode, Mode::Watch);
    assert!(found.wait);
    let asked = bench.fake.asked();
    assert_eq!(asked, [format!("console {}/0 wait=true", running())]);
}

#[tokio::test]
async fn each_call_gives_another_token() {
    let bench = Bench::new();
    let (one, other) = (bench.call(&get(""), "").await, bench.call(&get(""), "").await);
    assert_ne!(token(&one).expose(), token(&other).expose());
}

#[tokio::test]
async fn a_parameter_that_makes_no_sense_is_named_and_an_unknown_one_ignored() {
    let bench = Bench::new();
    for (query, message) in [
        ("?port=-1", "port: '-1' is not allowed; expected a number from 0 to 255"),
        ("?port=256", "port: '256'"),
        ("?port=", "port: ''"),
        ("?port=0x1", "port: '0x1'"),
        ("?mode=force", "mode: 'force' is not allowed; expected watch or write"),
        ("?wait=yes", "wait: 'yes' is not allowed; expected 0 or 1"),
        ("?port=%1b%5b0m", "port: '\\u{1b}[0m'"),
    ] {
        bench.call(&get(query), "").await.is_fault(400, "badRequest", message);
    }
    assert_eq!(bench.call(&get("?color=red&wait=0"), "").await.status, 200);
}

#[tokio::test]
async fn an_unknown_server_is_404_in_novas_words() {
    let bench = Bench::new();
    for name in ["11111111-2222-4333-8444-555555555555", "my-server", "%ff"] {
        let answer =
            bench.call(&format!("POST /v2/demo/servers/{name}/get-serial-console"), "").await;
        if name == "%ff" {
            answer.is_fault(400, "badRequest", "UTF-8");
        } else {
            let message = format!("Instance {name} could not be found.");
            answer.is_fault(404, "itemNotFound", &message);
        }
    }
}

#[tokio::test]
async fn a_stopped_server_is_409_unless_the_caller_waits() {
    let bench = Bench::new();
    let call = format!("POST /v3/servers/{}/get-serial-console", halted());
    bench.call(&call, "").await.is_fault(409, "conflictingRequest", "SHUTOFF");
    assert_eq!(bench.call(&format!("{call}?wait=1"), "").await.status, 202);
}

#[tokio::test]
async fn a_port_that_the_server_lacks_is_404() {
    let bench = Bench::new();
    bench.call(&get("?port=2"), "").await.is_fault(404, "itemNotFound", "2 ports");
}

#[tokio::test]
async fn consoles_that_are_switched_off_are_unavailable() {
    let bench = Bench::local(Fake { disabled: true, ..Fake::default() }, &config());
    let answer = bench.call(&get(""), "").await;
    answer.is_fault(400, "badRequest", "Unavailable console type serial.");
}

#[tokio::test]
async fn a_store_that_fails_is_503_and_hides_where_it_is() {
    let bench = Bench::new();
    let path = bench.directory.path().join("store.sqlite");
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("DROP TABLE console_tokens").unwrap();
    let answer = bench.call(&get(""), "").await;
    answer.is_fault(503, "serviceUnavailable", "tokens cannot be created");
    assert!(!answer.fault().1.contains('/'));
}

#[tokio::test]
async fn a_ttl_beyond_all_time_gives_a_token_that_lives_for_years() {
    let mut config = config();
    config.consoleauth.token_ttl = std::time::Duration::MAX;
    let bench = Bench::with(Fake::default(), &config, Auth::Noauth);
    let answer = bench.call(&get(""), "").await;
    assert!(grant(&bench, &answer).await.expires > Timestamp::now() + (9 * 365 * 24).hours());
}

#[tokio::test]
async fn disconnecting_says_who_was_disconnected() {
    let bench = Bench::new();
    let id = running();
    let session = crate::fake::SESSION;
    for (call, status) in [
        (format!("POST /v2/demo/servers/{id}/disconnect-serial-console"), 200),
        (format!("POST /v3/servers/{id}/disconnect-serial-console?reason=lunch%20time"), 202),
    ] {
        let answer = bench.call(&call, "").await;
        assert_eq!(answer.status, status);
        let expected = serde_json::json!({"disconnected": {
            "session": session, "user": "alice", "since": "2026-11-22T09:00:00Z",
        }});
        assert_eq!(answer.json(), expected);
    }
    let by = |reason| format!("Disconnect {{ by: \"admin\", reason: {reason} }}");
    let asked = bench.fake.asked();
    assert_eq!(asked[0], format!("disconnect writer of {id}/0 {}", by("None")));
    assert_eq!(asked[1], format!("disconnect writer of {id}/0 {}", by("Some(\"lunch time\")")));
}

#[tokio::test]
async fn disconnecting_where_nobody_writes_is_404() {
    let bench = Bench::new();
    let call = format!("POST /v3/servers/{}/disconnect-serial-console?port=1", running());
    bench.call(&call, "{}").await.is_fault(404, "itemNotFound", "nobody writes");
}

#[tokio::test]
async fn a_reason_that_would_upset_a_terminal_is_refused() {
    let bench = Bench::new();
    let long = "x".repeat(201);
    for reason in ["%1b%5b2J", "a%0ab", "%c2%9b", long.as_str()] {
        let call = format!("POST /v3/servers/{}/disconnect-serial-console", running());
        let answer = bench.call(&format!("{call}?reason={reason}"), "").await;
        answer.is_fault(400, "badRequest", "reason: ");
    }
    assert!(bench.fake.asked().is_empty());
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    let words = proptest::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        "\"serial_console\"",
        "null",
        "0",
        " ",
        "\"\\ud800\"",
    ]);
    prop_oneof![
        any::<Vec<u8>>(),
        proptest::collection::vec(words, 0..8).prop_map(|words| words.concat().into_bytes()),
    ]
}

proptest! {
    #[test]
    fn any_body_gets_a_console_or_is_a_bad_request(
        body in body(),
        disconnect in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let bench = Bench::new();
        let call = if disconnect { "disconnect" } else { "get" };
        let call = format!("POST /v3/servers/{}/{call}-serial-console", running());
        let answer = runtime.block_on(bench.call(&call, body.clone()));
        let right = body.is_empty() || serde_json::from_slice(&body).is_ok_and(
            |value: serde_json::Value| value == serde_json::json!({})
                || value == serde_json::json!({"serial_console": null})
                || value == serde_json::json!({"serial_console": {}}));
        prop_assert_eq!(answer.status.as_u16(), if right { 202 } else { 400 });
    }

    #[test]
    fn any_body_of_a_boot_makes_a_guest_or_is_a_bad_request(body in any::<Vec<u8>>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let bench = Bench::new();
        let answer = runtime.block_on(bench.call("POST /v1/servers", body));
        prop_assert!([201, 400].contains(&answer.status.as_u16()));
    }
}
