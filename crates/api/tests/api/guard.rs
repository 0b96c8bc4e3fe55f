//! Pages of other origins: their browser reaches addresses that their server cannot reach.

use std::net::SocketAddr;

use axum::body::Body;
use axum::extract::Request;
use serialproxy_api::Auth;
use serialproxy_proto::relayed::RelayedUser;

use crate::bench::ADMIN;
use crate::bench::Answer;
use crate::bench::Bench;
use crate::bench::config;
use crate::fake::Fake;
use crate::fake::running;

fn noauth() -> Bench {
    Bench::with(Fake::default(), &config(), Auth::Noauth)
}

async fn ask(bench: &Bench, call: &str, headers: &[(&str, &str)]) -> Answer {
    let (method, uri) = call.split_once(' ').unwrap();
    let mut request = Request::builder().method(method).uri(uri).header("x-auth-token", ADMIN);
    if !headers.iter().any(|(name, _)| *name == "host") {
        request = request.header("host", "127.0.0.1:8774");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    bench.send(request.body(Body::empty()).unwrap()).await
}

fn mint() -> String {
    format!("POST /v3/servers/{}/get-serial-console", running())
}

#[tokio::test]
async fn a_page_of_another_origin_changes_nothing_whoever_its_browser_is() {
    for bench in [noauth(), Bench::new(), Bench::with_basic()] {
        for origin in [
            "http://evil.example",
            "http://127.0.0.1",
            "http://127.0.0.1:8774.evil.example",
            "http://127.0.0.1:87740",
            "ftp://127.0.0.1:8774",
            "null",
            "http://",
            "",
        ] {
            let answer = ask(&bench, &mint(), &[("origin", origin)]).await;
            answer.is_fault(403, "forbidden", "another origin");
        }
        let two = [("origin", "http://127.0.0.1:8774"), ("origin", "http://evil.example")];
        ask(&bench, &mint(), &two).await.is_fault(403, "forbidden", "another origin");
        assert!(bench.fake.asked().is_empty());
        for headers in [&[][..], &[("origin", "http://127.0.0.1:8774")]] {
            assert_eq!(ask(&bench, &mint(), headers).await.status, 202);
        }
    }
}

#[tokio::test]
async fn the_port_of_a_scheme_may_be_named_or_not() {
    let bench = Bench::new();
    for (host, origin) in [
        ("api.example", "http://API.example:80"),
        ("api.example:443", "https://api.example"),
        ("[::1]:8774", "http://[0::1]:8774"),
    ] {
        let answer = ask(&bench, &mint(), &[("host", host), ("origin", origin)]).await;
        assert_eq!(answer.status, 202, "{host} {origin}");
    }
}

#[tokio::test]
async fn a_request_has_one_host() {
    let two = [("host", "api.example"), ("host", "api.example")];
    for call in ["GET /v1/servers", &mint()] {
        let answer = ask(&Bench::new(), call, &two).await;
        answer.is_fault(400, "badRequest", "more than one Host");
    }
}

#[tokio::test]
async fn under_noauth_a_name_that_is_not_ours_reads_nothing_either() {
    let bench = noauth();
    for host in ["evil.example", "evil.example:8774", "localhost.evil.example", "", "a b"] {
        for call in ["GET /v1/servers", "GET /v2.1/servers", "GET /v1/openapi.json", &mint()] {
            ask(&bench, call, &[("host", host)]).await.is_fault(403, "forbidden", "allowed_hosts");
        }
    }
    let two = [("host", "localhost"), ("host", "localhost")];
    ask(&bench, "GET /v1/servers", &two).await.is_fault(403, "forbidden", "allowed_hosts");
    let absolute = ask(&bench, "GET http://evil.example/v1/servers", &[]).await;
    absolute.is_fault(403, "forbidden", "allowed_hosts");
    assert!(bench.fake.asked().is_empty());
    for host in ["127.0.0.1:8774", "[::1]:8774", "192.0.2.7", "LocalHost:1", "API.example"] {
        assert_eq!(ask(&bench, "GET /v1/servers", &[("host", host)]).await.status, 200, "{host}");
    }
}

#[tokio::test]
async fn who_has_a_token_may_reach_us_by_any_name() {
    let answer = ask(&Bench::new(), "GET /v1/servers", &[("host", "any.example")]).await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn under_noauth_a_relay_s_users_are_those_of_its_machine_who_ask_it_by_a_local_name() {
    let bench = noauth();
    for (address, host, status) in [
        ("127.0.0.1", "127.0.0.1:6083", 200),
        ("::1", "[::1]:6083", 200),
        ("::ffff:127.0.0.1", "localhost", 200),
        ("192.0.2.7", "127.0.0.1:6083", 403),
        ("127.0.0.1", "evil.example:6083", 403),
        ("127.0.0.1", "localhost.evil.example", 403),
        ("127.0.0.1", "192.0.2.7", 403),
        // One of the API's allowed hosts, which do not count for the relay.
        ("127.0.0.1", "api.example", 403),
    ] {
        // The header of another process, without this process's key, is not trusted.
        let address = SocketAddr::new(address.parse().unwrap(), 5);
        let ours = RelayedUser { address, secure: false, host, ours: true };
        let others = RelayedUser { ours: false, ..ours }.header();
        for told in [&ours.header(), &format!("{others} key"), &others] {
            let answer = ask(&bench, "GET /v1/servers", &[("serialproxy-client", told)]).await;
            assert_eq!(answer.status, status, "{told}");
        }
    }
    let senseless = ask(&bench, "GET /v1/servers", &[("serialproxy-client", "x")]).await;
    senseless.is_fault(403, "forbidden", "servers page");
}
