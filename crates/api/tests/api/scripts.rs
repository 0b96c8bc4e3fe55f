//! Typing and waiting for output over REST.

use serde_json::json;
use serialproxy_api::Auth;
use serialproxy_proto::cause::Cause;
use serialproxy_proto::compute::ComputeError;
use serialproxy_proto::script::PATTERN;
use serialproxy_proto::script::TYPED;
use serialproxy_proto::script::WAITS;
use tokio::sync::Notify;
use uuid::Uuid;

use crate::bench::Bench;
use crate::bench::config;
use crate::fake::FIRST;
use crate::fake::Fake;
use crate::fake::PRINTED;
use crate::fake::running;

fn call(what: &str) -> String {
    format!("POST /v1/lines/{}/0/{what}", running())
}

#[tokio::test]
async fn what_is_sent_is_typed_by_the_caller_and_answered_with_the_offset_of_its_echo() {
    let bench = Bench::new();
    let place =
        json!({"offset": FIRST + PRINTED.len() as u64, "epoch": 2, "line": Uuid::from_u128(3)});
    for (body, typed) in [
        (json!({"text": "ls\r"}), "ls\r"),
        (json!({"text": "é"}), "é"),
        (json!({"base64": "AGE="}), "\0a"),
        (json!({"text": "x", "base64": null}), "x"),
    ] {
        let answer = bench.call(&call("send"), body.to_string()).await;
        assert_eq!(answer.status, 200, "{body}");
        let mut wanted = place.clone();
        wanted["typed"] = typed.len().into();
        assert_eq!(answer.json(), wanted);
        let asked = format!("admin of demo at 127.0.0.1 types {typed:?} at {}/0", running());
        assert_eq!(bench.fake.asked().last().unwrap(), &asked);
    }
}

#[tokio::test]
async fn bodies_out_of_bounds_are_refused_before_anything_is_typed() {
    let bench = Bench::new();
    for body in [
        json!({}),
        json!({"text": ""}),
        json!({"text": "a", "base64": "YQ=="}),
        json!({"base64": "?"}),
        json!({"text": "a", "force": true}),
        json!({"text": "x".repeat(TYPED + 1)}),
    ] {
        bench.call(&call("send"), body.to_string()).await.is_fault(400, "badRequest", "");
    }
    for body in [
        json!({}),
        json!({"text": "a", "regex": "a"}),
        json!({"text": ""}),
        json!({"regex": "x".repeat(PATTERN + 1)}),
        json!({"text": "a", "from": -1}),
        json!({"text": "a", "timeout": 301}),
    ] {
        bench.call(&call("wait"), body.to_string()).await.is_fault(400, "badRequest", "");
    }
    assert!(bench.fake.asked().is_empty());
    let most = json!({"text": "x".repeat(TYPED)}).to_string();
    assert_eq!(bench.call(&call("send"), most).await.status, 200);
}

#[tokio::test]
async fn a_refusal_has_its_cause_and_says_how_much_was_typed() {
    let refused = |cause, typed| {
        let text = "busy: alice since 2026-11-22T09:00:00Z".into();
        let refused = Some(ComputeError::Refused { cause, text, typed });
        Bench::local(Fake { refused, ..Fake::default() }, &config())
    };
    let bench = refused(Cause::Busy, Some(2));
    let answer = bench.call(&call("send"), r#"{"text": "abc"}"#).await;
    answer.is_fault(409, "conflictingRequest", "busy: alice since");
    let fault = &answer.json()["conflictingRequest"];
    assert_eq!((&fault["cause"], &fault["typed"]), (&json!("busy"), &json!(2)));
    for (cause, status) in
        [(Cause::Stopped, 409), (Cause::Limit, 429), (Cause::Draining, 503), (Cause::Audit, 503)]
    {
        let answer = refused(cause, None).call(&call("send"), r#"{"text": "abc"}"#).await;
        assert_eq!(answer.status, status, "{cause:?}");
    }
}

#[tokio::test]
async fn a_wait_says_what_matched_where_and_what_could_not_be_searched() {
    let bench = Bench::new();
    let body = json!({"regex": "lo+gin:", "from": 4, "timeout": 5});
    let answer = bench.call(&call("wait"), body.to_string()).await;
    let wanted = json!({
        "matched": true, "text": "login:", "start": FIRST, "end": FIRST + 6, "epoch": 2,
        "line": Uuid::from_u128(3), "gap": {"from": 0, "to": FIRST},
    });
    assert_eq!((answer.status.as_u16(), answer.json()), (200, wanted));
    let asked = format!("wait at {}/0 of demo for Regex(\"lo+gin:\") from Some(4), 5 s", running());
    assert_eq!(bench.fake.asked(), [asked]);
}

#[tokio::test]
async fn a_user_has_so_many_waits_and_one_more_for_each_that_ends() {
    let fake = Fake { gate: Some(Notify::new()), ..Fake::default() };
    let bench = Bench::with(fake, &config(), Auth::Noauth);
    let body = r#"{"text": "login:"}"#;
    let path = call("wait");
    let wait = || Box::pin(bench.call(&path, body));
    let mut waits = Vec::new();
    for _ in 0..WAITS {
        let mut wait = wait();
        // It begins, and waits at the gate.
        assert!(futures_util::poll!(&mut wait).is_pending());
        waits.push(wait);
        bench.fake.begun.notified().await;
    }
    bench.call(&path, body).await.is_fault(429, "overLimit", "16 calls that wait");
    drop(waits.pop());
    let mut next = wait();
    assert!(futures_util::poll!(&mut next).is_pending(), "a place is free again");
}
