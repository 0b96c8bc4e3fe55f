//! Local users, and how OpenStack's clients log in as one of them.

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::extract::Request;
use serde_json::Value;
use serde_json::json;
use serialproxy_api::Auth;

use crate::bench::ADMIN;
use crate::bench::Answer;
use crate::bench::Bench;
use crate::bench::config;
use crate::fake::Fake;
use crate::fake::PROJECT;

const PASSWORD: &str = "correct horse";
const LOGIN: &str = "POST /v3/auth/tokens";

/// The longest time of a login without a delay on a busy machine. It is shorter than the delay
/// after too many failures.
const PATIENCE: Duration = Duration::from_secs(25);

/// How long a test watches that a delayed login has not ended.
const SOON: Duration = Duration::from_secs(2);

async fn add(bench: &Bench, name: &str, role: &str) -> Value {
    let body = json!({"name": name, "project": PROJECT, "role": role, "password": PASSWORD});
    let answer = bench.call("POST /v1/users", body.to_string()).await;
    assert_eq!(answer.status, 201);
    answer.json()["user"].clone()
}

async fn bench_with_alice() -> Bench {
    let bench = Bench::new();
    add(&bench, "alice", "member").await;
    bench
}

/// The request body that keystoneauth sends.
fn by_password(user: &str, password: &str) -> Value {
    let domain = json!({"name": "Default"});
    json!({"auth": {
        "identity": {
            "methods": ["password"],
            "password": {"user": {"name": user, "domain": domain, "password": password}},
        },
        "scope": {"project": {"name": PROJECT, "domain": domain}},
    }})
}

/// A call without credentials.
async fn ask(bench: &Bench, call: &str, body: &Value) -> Answer {
    let (method, uri) = call.split_once(' ').unwrap();
    let request = Request::builder().method(method).uri(uri).header("host", "api.example:8774");
    let request = request.header("content-type", "application/json");
    bench.send(request.body(Body::from(body.to_string())).unwrap()).await
}

async fn log_in(bench: &Bench) -> String {
    let answer = ask(bench, LOGIN, &by_password("alice", PASSWORD)).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.header("x-subject-token").to_owned()
}

#[track_caller]
fn is_refused_as_keystone_does(answer: &Answer) {
    answer.is_refused_as_by("http://api.example:8774/v3");
}

#[tokio::test]
async fn a_password_gets_a_token_as_keystone_gives_it() {
    let bench = Bench::new();
    let alice = add(&bench, "alice", "member").await;
    let answer = ask(&bench, LOGIN, &by_password("alice", PASSWORD)).await;
    assert_eq!(answer.status, 201);
    let token = &answer.json()["token"];
    let domain = json!({"id": "default", "name": "Default"});
    assert_eq!(token["methods"], json!(["password"]));
    assert_eq!(token["user"]["id"], alice["id"]);
    assert_eq!(token["user"]["name"], "alice");
    assert_eq!(token["user"]["domain"], domain);
    assert_eq!(token["project"], json!({"id": PROJECT, "name": PROJECT, "domain": domain}));
    let roles: Vec<_> = token["roles"].as_array().unwrap().iter().map(|r| &r["name"]).collect();
    assert_eq!(roles, ["reader", "member"]);
    for (service, url) in [("compute", "/v2.1"), ("identity", "/v3")] {
        let catalog = token["catalog"].as_array().unwrap();
        let entry = catalog.iter().find(|entry| entry["type"] == service).unwrap();
        for (endpoint, interface) in
            entry["endpoints"].as_array().unwrap().iter().zip(["public", "internal", "admin"])
        {
            assert_eq!(endpoint["interface"], interface);
            assert_eq!(endpoint["url"], format!("http://api.example:8774{url}"));
        }
    }
    let time = |name: &str| token[name].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let life = time("expires_at").duration_since(time("issued_at"));
    assert_eq!(life.as_secs(), 3600);
    let secret = answer.header("x-subject-token");
    assert_eq!(bench.call_as(secret, "GET /v2.1/servers", "").await.status, 200);
    assert_eq!(bench.call_as(secret, "GET /v1/users", "").await.status, 403);
}

#[tokio::test]
async fn the_version_is_told_without_a_token() {
    let noauth = Bench::with(Fake::default(), &config(), Auth::Noauth);
    for bench in [Bench::new(), noauth] {
        for path in ["GET /v3", "GET /v3/"] {
            let answer = ask(&bench, path, &json!(null)).await;
            let version = &answer.json()["version"];
            assert_eq!(
                (version["id"].as_str(), version["status"].as_str()),
                (Some("v3.14"), Some("stable"))
            );
            assert_eq!(version["links"][0]["href"], "http://api.example:8774/v3/");
        }
    }
}

#[tokio::test]
async fn a_wrong_password_an_unknown_user_and_a_foreign_project_are_refused_alike() {
    let bench = bench_with_alice().await;
    let with = |change: fn(&mut Value)| {
        let mut body = by_password("alice", PASSWORD);
        change(&mut body["auth"]);
        body
    };
    for body in [
        by_password("alice", "wrong horse"),
        by_password("alice", ""),
        by_password("bob", PASSWORD),
        with(|auth| auth["scope"]["project"]["name"] = "other".into()),
        with(|auth| auth["scope"]["project"]["domain"] = json!({"id": "other"})),
        with(|auth| auth["scope"] = json!({"project": {"id": "other"}})),
        with(|auth| auth["scope"] = json!({"project": null})),
        with(|auth| auth["scope"] = json!({"system": {"all": true}})),
        with(|auth| auth["scope"] = json!({"domain": {"id": "default"}})),
        with(|auth| auth["identity"]["password"]["user"]["domain"] = json!({"id": "other"})),
    ] {
        is_refused_as_keystone_does(&ask(&bench, LOGIN, &body).await);
    }
}

#[tokio::test]
async fn a_user_may_be_named_by_id_and_need_not_name_the_project() {
    let bench = Bench::new();
    let id = add(&bench, "alice", "reader").await["id"].clone();
    for scope in [
        json!(null),
        json!("unscoped"),
        json!({"project": {"id": PROJECT}}),
        json!({"project": {"name": PROJECT, "domain": {"id": "default"}}}),
    ] {
        let user = json!({"id": id, "password": PASSWORD});
        let identity = json!({"methods": ["password"], "password": {"user": user}});
        let body = json!({"auth": {"identity": identity, "scope": scope}});
        let answer = ask(&bench, LOGIN, &body).await;
        assert_eq!(answer.status, 201, "{scope}");
        assert_eq!(answer.json()["token"]["project"]["id"], PROJECT);
    }
}

#[tokio::test]
async fn a_login_that_makes_no_sense_is_a_bad_request_that_repeats_no_secret() {
    let bench = Bench::new();
    let identity = |identity: Value| json!({"auth": {"identity": identity}});
    let secret = json!({"user": {"name": "alice", "password": 31415926}});
    for body in [
        json!(null),
        json!({}),
        json!({"auth": {}}),
        identity(json!({"methods": []})),
        identity(json!({"methods": ["totp"]})),
        identity(json!({"methods": ["password"]})),
        identity(json!({"methods": ["password"], "password": {"user": {"password": "x"}}})),
        identity(json!({"methods": ["password"], "password": secret})),
    ] {
        let answer = ask(&bench, LOGIN, &body).await;
        answer.is_fault(400, "badRequest", "");
        assert!(!answer.fault().1.contains("31415926"));
    }
}

/// The answer to a login attempt from an address.
async fn tried_from(bench: &Bench, address: [u8; 4], user: &str, password: &str) -> Answer {
    let tried = tried_within(PATIENCE, bench, address, user, password).await;
    tried.expect("it waits")
}

/// The same; none where the attempt takes longer than `time`.
async fn tried_within(
    time: Duration,
    bench: &Bench,
    address: [u8; 4],
    user: &str,
    password: &str,
) -> Option<Answer> {
    let mut request = Request::post("/v3/auth/tokens")
        .header("host", "api.example:8774")
        .header("content-type", "application/json")
        .body(Body::from(by_password(user, password).to_string()))
        .unwrap();
    request.extensions_mut().insert(ConnectInfo(SocketAddr::from((address, 1))));
    tokio::time::timeout(time, bench.send(request)).await.ok()
}

#[tokio::test]
async fn after_many_failures_a_name_has_to_wait_at_that_address_and_is_locked_nowhere() {
    let mut config = config();
    // A name has half of them: after one it waits for half a minute, however long a hash takes.
    config.limits.failures_per_minute = 2;
    let bench = Bench::local(Fake::default(), &config);
    add(&bench, "alice", "member").await;
    let (here, there) = ([192, 0, 2, 7], [192, 0, 2, 8]);
    is_refused_as_keystone_does(&tried_from(&bench, here, "alice", "wrong").await);
    let tried = tried_within(SOON, &bench, here, "alice", PASSWORD).await;
    assert!(tried.is_none(), "it has to wait");
    assert_eq!(tried_from(&bench, there, "alice", PASSWORD).await.status, 201);
}

#[tokio::test]
async fn right_passwords_at_once_all_log_in() {
    let mut config = config();
    config.limits.failures_per_minute = 20;
    let bench = Bench::local(Fake::default(), &config);
    add(&bench, "alice", "member").await;
    let tries = (0..24).map(|_| tried_from(&bench, [192, 0, 2, 7], "alice", PASSWORD));
    for answer in futures_util::future::join_all(tries).await {
        assert_eq!(answer.status, 201);
    }
}

#[tokio::test]
async fn a_name_has_so_many_log_ins_that_wait_at_an_address() {
    let mut config = config();
    config.limits.failures_per_minute = 20;
    let bench = Bench::local(Fake::default(), &config);
    let tries = (0..64).map(|_| tried_within(SOON, &bench, [192, 0, 2, 7], "alice", "wrong"));
    let answers = futures_util::future::join_all(tries).await;
    let count =
        |status: u16| answers.iter().flatten().filter(|answer| answer.status == status).count();
    assert_eq!(count(429), 64 - 10 - 16);
    assert!(count(401) <= 10, "the others wait");
}

#[tokio::test]
async fn those_who_guess_do_not_lock_out_whoever_logged_in_at_their_address() {
    let mut config = config();
    config.limits.failures_per_minute = 20;
    let bench = Bench::local(Fake::default(), &config);
    add(&bench, "alice", "member").await;
    let here = [192, 0, 2, 7];
    assert_eq!(tried_from(&bench, here, "alice", PASSWORD).await.status, 201);
    let names: Vec<_> = (0..32).map(|number| format!("invented{number}")).collect();
    let guesses = names.iter().map(|name| tried_within(SOON, &bench, here, name, "wrong"));
    let alice = tried_from(&bench, here, "alice", PASSWORD);
    let (_, alice) = tokio::join!(futures_util::future::join_all(guesses), alice);
    assert_eq!(alice.status, 201);
}

#[tokio::test]
async fn a_token_is_shown_and_ended_by_its_user_and_by_administrators_alone() {
    let bench = bench_with_alice().await;
    add(&bench, "mallory", "member").await;
    let alice = log_in(&bench).await;
    let mallory = ask(&bench, LOGIN, &by_password("mallory", PASSWORD)).await;
    let mallory = mallory.header("x-subject-token");
    let about = async |caller: &str, method: &str, subject: &str| {
        let request = Request::builder().method(method).uri("/v3/auth/tokens");
        let request = request.header("x-auth-token", caller).header("x-subject-token", subject);
        bench.send(request.body(Body::empty()).unwrap()).await
    };
    for caller in [ADMIN, &alice] {
        let answer = about(caller, "GET", &alice).await;
        assert_eq!(answer.json()["token"]["user"]["name"], "alice");
    }
    for method in ["GET", "DELETE"] {
        about(mallory, method, &alice).await.is_fault(404, "itemNotFound", "Token");
    }
    about(ADMIN, "DELETE", ADMIN).await.is_fault(409, "conflictingRequest", "admin token");
    assert_eq!(about(&alice, "DELETE", &alice).await.status, 204);
    assert_eq!(bench.call_as(&alice, "GET /v1/lines", "").await.status, 401);
    about(ADMIN, "GET", &alice).await.is_fault(404, "itemNotFound", "Token");
}

#[tokio::test]
async fn a_token_is_exchanged_for_itself_as_the_nova_command_wants_it() {
    let bench = bench_with_alice().await;
    let alice = log_in(&bench).await;
    let body =
        |token: &str| json!({"auth": {"identity": {"methods": ["token"], "token": {"id": token}}}});
    for (token, user) in [(alice.as_str(), "alice"), (ADMIN, "admin")] {
        let answer = ask(&bench, LOGIN, &body(token)).await;
        assert_eq!((answer.status.as_u16(), answer.header("x-subject-token")), (201, token));
        assert_eq!(answer.json()["token"]["user"]["name"], user);
    }
    is_refused_as_keystone_does(&ask(&bench, LOGIN, &body("wrong")).await);
}

#[tokio::test]
async fn another_password_and_the_end_of_a_user_end_their_logins() {
    let bench = bench_with_alice().await;
    let first = log_in(&bench).await;
    let new = json!({"password": "battery staple"}).to_string();
    let answer = bench.call("PUT /v1/users/alice/password", new).await;
    assert_eq!((answer.status.as_u16(), answer.body.len()), (204, 0));
    assert_eq!(bench.call_as(&first, "GET /v1/lines", "").await.status, 401);
    is_refused_as_keystone_does(&ask(&bench, LOGIN, &by_password("alice", PASSWORD)).await);
    let second = ask(&bench, LOGIN, &by_password("alice", "battery staple")).await;
    let second = second.header("x-subject-token");
    assert_eq!(bench.call("DELETE /v1/users/alice", "").await.status, 204);
    assert_eq!(bench.call_as(second, "GET /v1/lines", "").await.status, 401);
    for call in ["DELETE /v1/users/alice", "PUT /v1/users/alice/password"] {
        let answer = bench.call(call, r#"{"password": "battery staple"}"#).await;
        answer.is_fault(404, "itemNotFound", "User alice could not be found.");
    }
}

#[tokio::test]
async fn users_are_listed_without_their_passwords_and_each_name_is_one_persons() {
    let bench = Bench::new();
    let users = [add(&bench, "alice", "member").await, add(&bench, "bob", "admin").await];
    let listed = bench.get("/v1/users").await;
    assert_eq!(listed.json(), json!({"users": users}));
    let body = |password: &str| {
        json!({"name": "bob", "project": "p", "role": "reader", "password": password}).to_string()
    };
    let answer = bench.call("POST /v1/users", body(PASSWORD)).await;
    answer.is_fault(409, "conflictingRequest", "a user named bob exists already");
    for password in ["", "seven77", &"x".repeat(1025)] {
        let answer = bench.call("POST /v1/users", body(password)).await;
        answer.is_fault(400, "badRequest", "a password has 8 to 1024 characters");
    }
}

#[tokio::test]
async fn name_and_password_with_each_call_will_do_where_that_is_the_strategy() {
    let basic = |name: &str, password: &str| {
        use base64::Engine as _;
        let text = format!("{name}:{password}");
        format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(text))
    };
    let ask = async |bench: &Bench, authorization: &str| {
        let request = Request::get("/v1/sessions").header("authorization", authorization);
        bench.send(request.body(Body::empty()).unwrap()).await
    };
    let bench = Bench::with_basic();
    add(&bench, "alice", "member").await;
    for _ in 0..3 {
        assert_eq!(ask(&bench, &basic("alice", PASSWORD)).await.status, 200);
    }
    for wrong in [&basic("alice", "wrong"), &basic("bob", PASSWORD), "Basic !", "Basic YQ=="] {
        ask(&bench, wrong).await.is_fault(401, "unauthorized", "expired token");
    }
    let new = json!({"password": "battery staple"}).to_string();
    assert_eq!(bench.call("PUT /v1/users/alice/password", new).await.status, 204);
    assert_eq!(ask(&bench, &basic("alice", PASSWORD)).await.status, 401, "it was remembered");
    assert_eq!(ask(&bench, &basic("alice", "battery staple")).await.status, 200);
    let token = bench_with_alice().await;
    assert_eq!(ask(&token, &basic("alice", PASSWORD)).await.status, 401, "another strategy");
}

#[tokio::test]
async fn where_nobody_is_asked_who_they_are_nobody_logs_in() {
    let bench = Bench::with(Fake::default(), &config(), Auth::Noauth);
    let answer = ask(&bench, LOGIN, &by_password("alice", PASSWORD)).await;
    answer.is_fault(404, "itemNotFound", "could not be found");
    let answer = bench.get("/v1/users").await;
    answer.is_fault(409, "conflictingRequest", "auth_strategy is noauth");
}
