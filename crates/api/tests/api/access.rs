use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::extract::Request;
use serde_json::json;
use serialproxy_api::Api;
use serialproxy_api::Auth;
use serialproxy_api::Monitor;
use serialproxy_proto::compute::ComputeError;
use serialproxy_proto::health::Health;
use serialproxy_proto::health::ReasonName;

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
async fn health_and_metrics_are_told_without_a_token_to_this_machine_only() {
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
        for path in ["/healthz", "/metrics"] {
            let answer = told(&bench, path, peer, None).await;
            assert_eq!(answer.status, status, "{peer} {path}");
            if status == 403 {
                answer.is_fault(403, "forbidden", "same machine");
            }
        }
    }
}

#[tokio::test]
async fn what_a_proxy_on_this_machine_forwards_is_not_of_this_machine() {
    let bench = Bench::new();
    for header in ["forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip"] {
        for path in ["/healthz", "/metrics"] {
            let answer = told(&bench, path, "127.0.0.1:1", Some(header)).await;
            answer.is_fault(403, "forbidden", "same machine");
        }
    }
}

/// What is told to a caller there, whose request has this header.
async fn told(bench: &Bench, path: &str, peer: &str, header: Option<&'static str>) -> Answer {
    let mut request = Request::get(path).body(Body::empty()).unwrap();
    request.extensions_mut().insert(ConnectInfo(peer.parse::<SocketAddr>().unwrap()));
    if let Some(header) = header {
        request.headers_mut().insert(header, "for=127.0.0.1".parse().unwrap());
    }
    bench.send(request).await
}

#[tokio::test]
async fn where_metrics_are_listened_for_they_and_health_are_told_to_everyone_and_nothing_else_is() {
    let bench = Bench::new();
    let router = serialproxy_api::monitor_router(Monitor::default());
    let bench = Bench { router, ..bench };
    for path in ["/healthz", "/metrics"] {
        assert_eq!(told(&bench, path, "192.0.2.1:1", None).await.status, 200, "{path}");
    }
    for path in ["/v1/lines", "/v1/openapi.json", "/v2.1/servers"] {
        bench.get(path).await.is_fault(404, "itemNotFound", "could not be found");
    }
}

#[tokio::test]
async fn what_keeps_the_process_from_serving_is_said_until_it_is_over() {
    let (bench, health) = (Bench::new(), Health::default());
    let (fake, grants) = (Arc::clone(&bench.fake), bench.grants.clone());
    let monitor = Monitor::new(health.clone(), || {});
    let api = Api::new(fake.clone(), fake, grants, &config(), Auth::Noauth).with_monitor(monitor);
    let bench = Bench { router: serialproxy_api::router(&Arc::new(api)), ..bench };
    let told = async || {
        let answer = bench.get("/healthz").await;
        (answer.status.as_u16(), answer.json())
    };
    health.fails(ReasonName::Thread, "it hangs");
    let reasons = json!([{"name": "thread", "text": "it hangs"}]);
    assert_eq!(told().await, (503, json!({"status": "failing", "reasons": reasons})));
    health.set(ReasonName::Thread, None);
    // So that no balancer drops a host over it.
    health.fails(ReasonName::Etcd, "etcd has not responded yet");
    let reasons = json!([{"name": "etcd", "text": "etcd has not responded yet"}]);
    assert_eq!(told().await, (200, json!({"status": "degraded", "reasons": reasons})));
    health.set(ReasonName::Etcd, None);
    assert_eq!(told().await, (200, json!({"status": "ok", "reasons": []})));
}

#[tokio::test]
async fn what_is_measured_is_measured_when_somebody_asks() {
    let (bench, asked) = (Bench::new(), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&asked);
    let sample = move || {
        counted.fetch_add(1, Ordering::Relaxed);
    };
    let monitor = Monitor::new(Health::default(), sample);
    let bench = Bench { router: serialproxy_api::monitor_router(monitor), ..bench };
    bench.get("/healthz").await;
    assert_eq!(asked.load(Ordering::Relaxed), 0);
    let answer = bench.get("/metrics").await;
    assert_eq!(answer.header("content-type"), "text/plain; version=0.0.4");
    assert!(String::from_utf8(answer.body).unwrap().contains("\nserialproxy_build_info{"));
    assert_eq!(asked.load(Ordering::Relaxed), 1);
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
