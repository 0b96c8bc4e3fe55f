//! Bodies of Nova's calls: their shape, content type and size.

use axum::body::Body;
use axum::extract::Request;

use crate::bench::ADMIN;
use crate::bench::Bench;
use crate::fake::running;
use crate::remote_consoles::LEGACY;
use crate::remote_consoles::create_as;
use crate::remote_consoles::legacy;
use crate::remote_consoles::post;

#[tokio::test]
async fn a_body_of_another_shape_is_told_what_is_wrong_in_novas_words() {
    let bench = Bench::new();
    for (body, message) in [
        ("", "None is not of type 'object'"),
        ("null", "None is not of type 'object'"),
        ("[]", "[] is not of type 'object'"),
        ("{", "Malformed request body"),
        ("{}", "'remote_console' is a required property"),
        (r#"{"remote_console": null}"#, "remote_console. Value: None. None is not of type"),
        (
            r#"{"remote_console": {"protocol": "serial"}}"#,
            "remote_console. Value: {'protocol': 'serial'}. 'type' is a required property",
        ),
        (
            r#"{"remote_console": {"protocol": "serial", "type": "serial", "a": 1}}"#,
            "Additional properties are not allowed ('a' was unexpected)",
        ),
        (
            r#"{"remote_console": {"protocol": "serial", "type": "serial"}, "a": 1}"#,
            "Additional properties are not allowed ('a' was unexpected)",
        ),
        (r#"{"remote_console": {"protocol": 1, "type": "serial"}}"#, "1 is not of type 'string'"),
    ] {
        let answer = create_as(&bench, running(), "2.6", body).await;
        answer.is_fault(400, "badRequest", message);
    }
    assert!(bench.fake.asked().is_empty());
}

#[tokio::test]
async fn below_v2_an_action_may_hold_more_than_it_needs() {
    let bench = Bench::new();
    let body = r#"{"os-getSerialConsole": {"type": "serial", "more": 1}}"#;
    let uri = |place: &str| format!("{place}/servers/{}/action", running());
    assert_eq!(post(&bench, &uri("/v2"), "2.1", body).await.status, 200);
    let answer = post(&bench, &uri("/v2.1"), "2.1", body).await;
    answer.is_fault(400, "badRequest", "('more' was unexpected)");
}

#[tokio::test]
async fn a_body_says_that_it_is_json() {
    let bench = Bench::new();
    let uri = format!("/v2.1/servers/{}/action", running());
    for (kind, taken) in [
        ("application/json", true),
        ("application/json; charset=UTF-8", true),
        ("Application/JSON", true),
        ("application/vnd.openstack.compute+json", true),
        ("text/plain", false),
        ("", false),
        ("application/xml", false),
        ("application/x-www-form-urlencoded", false),
        ("text/html", false),
        ("json", false),
    ] {
        // The SDK's actions say that they accept nothing.
        let request = Request::post(&uri)
            .header("x-auth-token", ADMIN)
            .header("accept", "")
            .header("content-type", kind);
        let answer = bench.send(request.body(Body::from(LEGACY)).unwrap()).await;
        if taken {
            assert_eq!(answer.status, 200, "{kind}");
        } else {
            answer.is_fault(415, "badMediaType", "Unsupported Content-Type");
        }
    }
}

#[tokio::test]
async fn a_body_over_novas_limit_is_413() {
    let bench = Bench::new();
    let body = |size: usize| " ".repeat(size - LEGACY.len()) + LEGACY;
    assert_eq!(legacy(&bench, running(), &body(114_688)).await.status, 200);
    let answer = legacy(&bench, running(), &body(114_689)).await;
    answer.is_fault(413, "overLimit", "114688 bytes");
}

#[tokio::test]
async fn a_body_without_a_type_is_refused_by_every_call_and_none_needs_no_type() {
    let bench = Bench::new();
    for path in ["get-serial-console", "disconnect-serial-console"] {
        let uri = format!("/v3/servers/{}/{path}", running());
        let post = || Request::post(&uri).header("x-auth-token", ADMIN);
        let answer = bench.send(post().body(Body::from("{}")).unwrap()).await;
        answer.is_fault(415, "badMediaType", "Unsupported Content-Type");
        assert_eq!(bench.send(post().body(Body::empty()).unwrap()).await.status, 202);
        let two = post().header("content-type", "application/json");
        let two = two.header("content-type", "text/plain").body(Body::from("{}"));
        assert_eq!(bench.send(two.unwrap()).await.status, 415);
    }
}
