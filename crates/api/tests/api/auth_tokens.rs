//! The lookup of a token's console by other proxies.

use axum::body::Body;
use axum::extract::Request;
use serde_json::json;
use serialproxy_proto::endpoint::Endpoint;

use crate::bench::ADMIN;
use crate::bench::Answer;
use crate::bench::Bench;
use crate::bench::config;
use crate::fake::Fake;
use crate::fake::running;

async fn looked_up(bench: &Bench, place: &str, version: &str, token: &str) -> Answer {
    let request = Request::get(format!("{place}/os-console-auth-tokens/{token}"))
        .header("x-auth-token", ADMIN)
        .header("openstack-api-version", format!("compute {version}"));
    bench.send(request.body(Body::empty()).unwrap()).await
}

/// The token in a console URL, cut out as Nova's own test does it.
async fn token(bench: &Bench) -> String {
    let call = format!("POST /v2.1/servers/{}/action", running());
    let answer = bench.call(&call, r#"{"os-getSerialConsole": {"type": "serial"}}"#).await;
    let url = answer.json()["console"]["url"].as_str().unwrap().to_owned();
    url.split_once("?token=").unwrap().1.split('&').next().unwrap().to_owned()
}

#[tokio::test]
async fn a_lookup_says_where_the_console_is_as_often_as_it_is_asked() {
    let bench = Bench::new();
    let token = token(&bench).await;
    for place in ["/v2.1", "/v2.1/0fe7"] {
        let answer = looked_up(&bench, place, "2.31", &token).await;
        let expected = json!({"console": {
            "instance_uuid": running(),
            "host": "127.0.0.1",
            "port": 10000,
            "internal_access_path": null,
        }});
        assert_eq!((answer.status.as_u16(), answer.json()), (200, expected));
    }
}

#[tokio::test]
async fn below_2_31_there_is_no_lookup() {
    let bench = Bench::new();
    let token = token(&bench).await;
    let asked = bench.fake.asked();
    for (place, version) in [("/v2.1", "2.1"), ("/v2.1", "2.30"), ("/v2", "2.31")] {
        let answer = looked_up(&bench, place, version, &token).await;
        answer.is_fault(400, "badRequest", "could not comply with the request");
    }
    assert_eq!(bench.fake.asked(), asked);
}

#[tokio::test]
async fn a_token_that_nobody_has_is_404_and_is_not_repeated() {
    let bench = Bench::new();
    for token in ["11111111-2222-4333-8444-555555555555", "x", "%20", "x%2Fy"] {
        let answer = looked_up(&bench, "/v2.1", "latest", token).await;
        answer.is_fault(404, "itemNotFound", "Token not found");
        assert_eq!(answer.fault().1, "Token not found");
    }
}

#[tokio::test]
async fn an_expired_token_is_as_an_unknown_one() {
    let mut config = config();
    config.consoleauth.token_ttl = std::time::Duration::ZERO;
    let bench = Bench::with(Fake::default(), &config, serialproxy_api::Auth::Noauth);
    let token = token(&bench).await;
    let answer = looked_up(&bench, "/v2.1", "2.31", &token).await;
    answer.is_fault(404, "itemNotFound", "Token not found");
}

#[tokio::test]
async fn host_and_port_are_those_that_another_host_can_dial() {
    let tunnel = Endpoint::Tunnel { host: "192.0.2.1".into(), port: 10003, path: "secret".into() };
    for (endpoint, host, port) in [
        ("tcp://192.0.2.1:10000".parse().unwrap(), json!("192.0.2.1"), json!(10000)),
        ("tls://kvm1.example:10001".parse().unwrap(), json!("kvm1.example"), json!(10001)),
        ("tcp://[2001:db8::1]:10002".parse().unwrap(), json!("2001:db8::1"), json!(10002)),
        ("unix:///run/a.sock".parse().unwrap(), json!(null), json!(null)),
        (Endpoint::Pty("/dev/pts/1".into()), json!(null), json!(null)),
        (tunnel, json!(null), json!(null)),
    ] {
        let address = endpoint.address();
        let fake = Fake { endpoint: Some(endpoint), ..Fake::default() };
        let bench = Bench::with(fake, &config(), serialproxy_api::Auth::Noauth);
        let token = token(&bench).await;
        let console = looked_up(&bench, "/v2.1", "2.31", &token).await.json()["console"].clone();
        assert_eq!((&console["host"], &console["port"]), (&host, &port), "{address}");
    }
}
