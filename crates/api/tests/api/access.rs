use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::extract::Request;
use serde_json::json;
use serialproxy_api::Api;
use serialproxy_api::Auth;
use serialproxy_proto::compute::ComputeError;
use serialproxy_proto::health::Health;

use crate::bench::ADMIN;
use crate::bench::Answer;
use crate::bench::Bench;
use crate::bench::config;
use crate::fake::Fake;
use crate::fake::SESSION;

async fn asked_with(bench: &Bench, uri: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::get(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    bench.send(request.body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn the_admin_token_lets_in_under_either_header() {
    let bench = Bench::new();
    let bearer = format!("Bearer {ADMIN}");
    let lower = format!("bearer {ADMIN}");
    for header in [("X-Auth-Token", ADMIN), ("Authorization", &bearer), ("authorization", &lower)] {
        assert_eq!(asked_with(&bench, "/v1/lines", &[header]).await.status, 200, "{header:?}");
    }
}

#[tokio::test]
async fn whoever_has_no_good_token_is_told_where_to_find_one() {
    let bench = Bench::new();
    let basic = format!("Basic {ADMIN}");
    let longer = format!("{ADMIN}x");
    for headers in [
        &[][..],
        &[("x-auth-token", "")],
        &[("x-auth-token", "wrong")],
        &[("x-auth-token", &longer)],
        &[("x-auth-token", &ADMIN[1..])],
        &[("authorization", ADMIN)],
        &[("authorization", &basic)],
        &[("authorization", "Bearer wrong")],
        &[("x-user", "admin")],
        // Only the first header counts: the second is no second attempt.
        &[("x-auth-token", "wrong"), ("authorization", &format!("Bearer {ADMIN}"))],
    ] {
        let answer = asked_with(&bench, "/v1/lines", headers).await;
        answer.is_fault(401, "unauthorized", "admin-token");
        assert!(answer.header("www-authenticate").starts_with("Bearer"));
    }
    assert!(bench.fake.asked().is_empty());
}

#[tokio::test]
async fn without_authentication_the_caller_names_themselves() {
    let bench = Bench::with(Fake::default(), &config(), Auth::Noauth);
    let longest = "x".repeat(64);
    for (headers, user) in [
        (&[][..], "anonymous"),
        (&[("X-User", "alice")], "alice"),
        (&[("X-User", "Alice (night shift)")], "Alice (night shift)"),
        (&[("X-User", longest.as_str())], longest.as_str()),
    ] {
        let mut request = Request::delete(format!("/v1/sessions/{SESSION}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        assert_eq!(bench.send(request.body(Body::empty()).unwrap()).await.status, 204);
        let asked = bench.fake.asked();
        assert!(asked.last().unwrap().contains(&format!("by: {user:?}")), "{asked:?}");
    }
}

#[tokio::test]
async fn a_name_that_is_none_is_refused() {
    let bench = Bench::with(Fake::default(), &config(), Auth::Noauth);
    let long = "x".repeat(65);
    for name in ["", "al\tice", "älice", &long] {
        let answer = asked_with(&bench, "/v1/lines", &[("x-user", name)]).await;
        answer.is_fault(400, "badRequest", "X-User");
    }
}

#[tokio::test]
async fn health_is_told_without_a_token_to_this_machine_only() {
    let bench = Bench::new();
    for (peer, status) in [
        ("127.0.0.1:1", 200),
        ("127.9.9.9:1", 200),
        ("[::1]:1", 200),
        ("[::ffff:127.0.0.1]:1", 200),
        ("192.0.2.1:1", 403),
        ("[::ffff:192.0.2.1]:1", 403),
        ("[2001:db8::1]:1", 403),
    ] {
        let mut request = Request::get("/healthz").body(Body::empty()).unwrap();
        let peer: SocketAddr = peer.parse().unwrap();
        request.extensions_mut().insert(ConnectInfo(peer));
        let answer = bench.send(request).await;
        assert_eq!(answer.status, status, "{peer}");
        if status == 403 {
            answer.is_fault(403, "forbidden", "same machine");
        }
    }
}

#[tokio::test]
async fn where_metrics_are_listened_for_health_is_told_to_everyone_and_nothing_else_is() {
    let bench = Bench::new();
    let (fake, grants) = (Arc::clone(&bench.fake), bench.grants.clone());
    let api = Api::new(fake.clone(), fake, grants, &config(), Auth::Noauth);
    let bench = Bench { router: serialproxy_api::health_router(&Arc::new(api)), ..bench };
    let mut request = Request::get("/healthz").body(Body::empty()).unwrap();
    request.extensions_mut().insert(ConnectInfo(SocketAddr::from(([192, 0, 2, 1], 1))));
    assert_eq!(bench.send(request).await.status, 200);
    for path in ["/v1/lines", "/v1/openapi.json", "/v2.1/servers"] {
        bench.get(path).await.is_fault(404, "itemNotFound", "could not be found");
    }
}

#[tokio::test]
async fn what_keeps_the_process_from_serving_is_said_until_it_is_over() {
    let (bench, health) = (Bench::new(), Health::default());
    let (fake, grants) = (Arc::clone(&bench.fake), bench.grants.clone());
    let api =
        Api::new(fake.clone(), fake, grants, &config(), Auth::Noauth).with_health(health.clone());
    let bench = Bench { router: serialproxy_api::router(&Arc::new(api)), ..bench };
    health.fails("thread", "it hangs");
    let answer = bench.get("/healthz").await;
    assert_eq!(answer.status, 503);
    let reasons = json!([{"name": "thread", "text": "it hangs"}]);
    assert_eq!(answer.json(), json!({"status": "failing", "reasons": reasons}));
    health.recovers("it hangs");
    let answer = bench.get("/healthz").await;
    assert_eq!((answer.status.as_u16(), answer.json()["status"].as_str()), (200, Some("ok")));
}

#[tokio::test]
async fn an_unknown_path_and_a_wrong_method_are_faults_too() {
    let bench = Bench::new();
    for path in ["/v1", "/v1/lines/", "/v3/foo", "/v2.1/demo", "/v2/demo", "/healthz/"] {
        bench.get(path).await.is_fault(404, "itemNotFound", "could not be found");
    }
    let answer = bench.call("PUT /v1/servers", "").await;
    answer.is_fault(405, "badMethod", "method");
    assert_eq!(answer.header("allow"), "GET,HEAD,POST");
    bench.call("BREW /healthz", "").await.is_fault(405, "badMethod", "method");
}

#[tokio::test]
async fn every_answer_has_its_own_request_id() {
    let bench = Bench::new();
    let mut seen = std::collections::HashSet::new();
    for path in ["/v1/lines", "/nope", "/healthz", "/", "/v1/lines/x/0"] {
        let answer = bench.get(path).await;
        let id = answer.header("x-openstack-request-id");
        let uuid = uuid::Uuid::parse_str(id.strip_prefix("req-").unwrap()).unwrap();
        assert_eq!(uuid.get_version_num(), 4);
        assert_eq!(id, answer.header("x-compute-request-id"));
        assert!(seen.insert(uuid));
    }
}

#[tokio::test]
async fn what_the_compute_role_says_becomes_the_fault_of_the_same_meaning() {
    let text = || "the reason".to_owned();
    for (error, status, name) in [
        (ComputeError::Invalid(text()), 400, "badRequest"),
        (ComputeError::NotFound(text()), 404, "itemNotFound"),
        (ComputeError::Conflict(text()), 409, "conflictingRequest"),
        (ComputeError::Unsupported(text()), 501, "notImplemented"),
        (ComputeError::Unavailable(text()), 503, "serviceUnavailable"),
        (ComputeError::Failed(text()), 500, "computeFault"),
    ] {
        let fake = Fake { error: Some(error), ..Fake::default() };
        let bench = Bench::with(fake, &config(), Auth::Noauth);
        bench.get("/v1/lines").await.is_fault(status, name, "the reason");
    }
}
