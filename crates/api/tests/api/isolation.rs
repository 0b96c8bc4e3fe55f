//! Checks for every call of the OpenAPI document which callers may see and do what.

use serde_json::Value;
use serde_json::json;
use serialproxy_proto::id::LineKey;
use serialproxy_proto::token::ConsoleToken;
use serialproxy_proto::token::Mode;

use crate::bench::Answer;
use crate::bench::Bench;
use crate::bench::config;
use crate::document::body_of;
use crate::document::filled;
use crate::fake::Fake;
use crate::fake::PROJECT;
use crate::fake::SESSION;
use crate::fake::halted;
use crate::fake::running;

const UNKNOWN: &str = "11111111-2222-4333-8444-555555555555";

/// Calls that only administrators may make.
const ADMIN: [&str; 6] = [
    "/adopt",
    "/v1/audit",
    "/v1/login-links",
    "/v1/tokens",
    "/v1/users",
    "/os-console-auth-tokens",
];

/// Places where Nova has this call in no microversion, not even for administrators.
const NOWHERE: [&str; 2] =
    ["/v2/os-console-auth-tokens/{token}", "/v2/{project}/os-console-auth-tokens/{token}"];

/// The queries of each call: none, and one that asks for a watcher's token.
const QUERIES: [&str; 2] = ["", "?mode=watch&wait=1"];

/// A call of the document, with its query and body.
struct Call {
    text: String,
    body: &'static str,
    path: String,
}

/// Every call that requires a caller, with each query.
async fn calls(bench: &Bench) -> Vec<Call> {
    let document = bench.get("/v1/openapi.json").await.json();
    let mut calls = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let is_open = operation["security"] == json!([]) || path == "/v1/openapi.json";
            // Only its maker and administrators know a link: see links.rs.
            let is_link = path.ends_with("/{link}");
            if is_open || is_link || path == "/v3/auth/tokens" || NOWHERE.contains(&path.as_str()) {
                continue;
            }
            calls.extend(QUERIES.map(|query| Call {
                text: format!("{} {}{query}", method.to_uppercase(), filled(path)),
                body: body_of(operation),
                path: path.clone(),
            }));
        }
    }
    assert!(calls.len() > 60, "{}", calls.len());
    calls
}

impl Call {
    fn names_something(&self) -> bool {
        ["{server}", "{session}"].iter().any(|name| self.path.contains(name))
    }

    fn is_for_administrators(&self) -> bool {
        ADMIN.iter().any(|part| self.path.contains(part))
    }

    /// Whether the call asks for a watcher's token, waits for output, or asks for a link for watching.
    fn is_to_watch(&self) -> bool {
        self.text.contains("/get-serial-console?mode=watch")
            || ["/wait", "/links"].iter().any(|end| self.path.ends_with(end))
    }

    fn of_unknown(&self) -> String {
        let text = self.text.replace(&running().to_string(), UNKNOWN);
        text.replace(&SESSION.to_string(), UNKNOWN)
    }
}

/// A new API token of a user in a project.
async fn token(bench: &Bench, project: &str, role: &str) -> String {
    let body = json!({"name": format!("{project}-{role}"), "project": project, "role": role});
    let made = bench.call("POST /v1/tokens", body.to_string()).await;
    assert_eq!(made.status, 201);
    made.json()["secret"].as_str().unwrap().to_owned()
}

/// The answer's text with every id of a server or session replaced by the same one.
fn anonymous(answer: &Answer) -> String {
    let text = String::from_utf8_lossy(&answer.body);
    text.replace(&running().to_string(), UNKNOWN).replace(&SESSION.to_string(), UNKNOWN)
}

/// The compute role's calls that are more than a look at lists.
fn done(bench: &Bench) -> Vec<String> {
    let lists = ["servers", "lines", "sessions"];
    bench.fake.asked().into_iter().filter(|asked| !lists.contains(&asked.as_str())).collect()
}

#[tokio::test]
async fn a_member_of_another_project_is_answered_as_if_nothing_were_there() {
    let bench = Bench::new();
    let stranger = token(&bench, "other", "member").await;
    for call in calls(&bench).await {
        let answer = bench.call_as(&stranger, &call.text, call.body).await;
        let of_unknown = bench.call_as(&stranger, &call.of_unknown(), call.body).await;
        if call.names_something() {
            assert_eq!(answer.status, 404, "{}", call.text);
            assert_eq!(anonymous(&answer), anonymous(&of_unknown), "{}", call.text);
        }
        if !call.text.starts_with("POST /v1/servers?") && call.text != "POST /v1/servers" {
            assert!(!anonymous(&answer).contains("running"), "{}", call.text);
        }
    }
    let asked = done(&bench);
    let is_harmless = |asked: &String| asked.starts_with("Boot") || asked.starts_with("console ");
    assert!(asked.iter().all(is_harmless), "{asked:?}");
}

#[tokio::test]
async fn the_host_of_another_project_s_server_is_asked_nothing_so_that_no_time_tells_of_it() {
    let bench = Bench::local(Fake { elsewhere: true, ..Fake::default() }, &config());
    let stranger = token(&bench, "other", "member").await;
    let looks = async |text: &str, body| {
        let before = bench.fake.looked_at.lock().unwrap().len();
        bench.call_as(&stranger, text, body).await;
        bench.fake.looked_at.lock().unwrap()[before..].to_vec()
    };
    for call in calls(&bench).await {
        let looked_at = looks(&call.text, call.body).await;
        assert!(!looked_at.contains(&running()), "{}", call.text);
        let of_unknown = looks(&call.of_unknown(), call.body).await;
        assert!(looked_at.len() <= of_unknown.len() + 1, "{}", call.text);
    }
}

#[tokio::test]
async fn a_member_may_all_that_is_not_for_administrators() {
    let bench = Bench::new();
    let member = token(&bench, PROJECT, "member").await;
    for call in calls(&bench).await {
        let answer = bench.call_as(&member, &call.text, call.body).await;
        if call.is_for_administrators() {
            answer.is_fault(403, "forbidden", "Policy doesn't allow ");
        } else {
            assert!(answer.status.is_success(), "{} {}", call.text, answer.status);
        }
    }
    assert!(done(&bench).len() > 30);
}

#[tokio::test]
async fn each_role_reads_what_it_may_do_with_a_server() {
    let bench = Bench::new();
    let all = ["watch", "write", "force", "power", "admin"];
    for (role, may) in [("reader", &all[..1]), ("member", &all[..4]), ("admin", &all[..])] {
        let token = token(&bench, PROJECT, role).await;
        for path in ["/v1/servers", &format!("/v1/servers/{}", running())] {
            let answer = bench.call_as(&token, &format!("GET {path}"), "").await.json();
            let server = answer.get("server").unwrap_or_else(|| &answer["servers"][0]);
            assert_eq!((&server["can"], &server["static"]), (&may.into(), &false.into()), "{role}");
        }
    }
}

#[tokio::test]
async fn a_reader_sees_and_watches_and_changes_nothing() {
    let bench = Bench::new();
    let reader = token(&bench, PROJECT, "reader").await;
    for call in calls(&bench).await {
        let answer = bench.call_as(&reader, &call.text, call.body).await;
        let looks = call.text.starts_with("GET ") || call.is_to_watch();
        if looks && !call.is_for_administrators() {
            assert!(answer.status.is_success(), "{} {}", call.text, answer.status);
        } else {
            answer.is_fault(403, "forbidden", "Policy doesn't allow ");
        }
    }
    let changes = |asked: &String| {
        let looks = ["boots ", "line ", "output ", "console ", "wait "];
        !looks.iter().any(|look| asked.starts_with(look))
    };
    assert!(!done(&bench).iter().any(changes), "{:?}", done(&bench));
}

#[tokio::test]
async fn novas_console_calls_name_the_policy_that_a_reader_lacks() {
    let bench = Bench::new();
    let reader = token(&bench, PROJECT, "reader").await;
    let id = running();
    for (call, body, policy) in [
        (format!("POST /v3/servers/{id}/get-serial-console"), "", "os-remote-consoles"),
        (
            format!("POST /v2.1/servers/{id}/action"),
            r#"{"os-getConsoleOutput": {}}"#,
            "os-console-output",
        ),
        (
            format!("POST /v2.1/servers/{id}/action"),
            r#"{"os-getSerialConsole": {"type": "serial"}}"#,
            "os-remote-consoles",
        ),
        (
            format!("POST /v2.1/servers/{id}/remote-consoles"),
            r#"{"remote_console": {"protocol": "serial", "type": "serial"}}"#,
            "os-remote-consoles",
        ),
        (
            format!("POST /v2.1/servers/{id}/action"),
            r#"{"reboot": {"type": "HARD"}}"#,
            "servers:reboot",
        ),
        (format!("POST /v2.1/servers/{id}/action"), r#"{"os-start": null}"#, "servers:start"),
        (format!("POST /v2.1/servers/{id}/action"), r#"{"os-stop": null}"#, "servers:stop"),
        ("GET /v2.1/os-console-auth-tokens/x".into(), "", "os-console-auth-tokens"),
        ("GET /v2.1/servers?all_tenants=1".into(), "", "servers:index:get_all_tenants"),
        ("GET /v2.1/servers/detail?all_tenants=1".into(), "", "servers:detail:get_all_tenants"),
        (format!("POST /v1/servers/{id}/start"), "", "servers:start"),
    ] {
        let answer = bench.call_as(&reader, &call, body).await;
        let message = format!("Policy doesn't allow os_compute_api:{policy} to be performed.");
        answer.is_fault(403, "forbidden", &message);
    }
}

#[tokio::test]
async fn the_older_call_says_what_a_reader_lacks_before_it_looks_for_the_server() {
    let bench = Bench::new();
    let reader = token(&bench, PROJECT, "reader").await;
    let call = |end: &str| format!("POST /v2.1/servers/{UNKNOWN}/{end}");
    let body = r#"{"os-getSerialConsole": {"type": "serial"}}"#;
    let answer = bench.call_as(&reader, &call("action"), body).await;
    answer.is_fault(403, "forbidden", "os_compute_api:os-remote-consoles");
    let body = r#"{"remote_console": {"protocol": "serial", "type": "serial"}}"#;
    let answer = bench.call_as(&reader, &call("remote-consoles"), body).await;
    answer.is_fault(404, "itemNotFound", "could not be found");
}

#[tokio::test]
async fn administrators_of_a_project_list_it_and_every_other_when_they_say_so() {
    let bench = Bench::local(Fake { crowd: 5, ..Fake::default() }, &config());
    let admin = token(&bench, PROJECT, "admin").await;
    for (query, count) in [
        ("", 2),
        ("?all_tenants=False", 2),
        ("?project_id=crowd", 2),
        ("?all_tenants=1", 7),
        ("?all_tenants=1&project_id=crowd", 5),
    ] {
        let answer = bench.call_as(&admin, &format!("GET /v2.1/servers{query}"), "").await;
        assert_eq!(answer.json()["servers"].as_array().unwrap().len(), count, "{query}");
    }
    assert_eq!(bench.get("/v2.1/servers").await.json()["servers"].as_array().unwrap().len(), 7);
}

#[tokio::test]
async fn a_grant_that_writes_allows_to_force_and_power_to_members_and_administrators_alone() {
    let bench = Bench::new();
    let url = format!("POST /v3/servers/{}/get-serial-console", running());
    for (role, query, mode, operator) in [
        ("admin", "", Mode::Write, true),
        ("member", "", Mode::Write, true),
        ("member", "?mode=watch", Mode::Watch, false),
        ("admin", "?mode=watch", Mode::Watch, false),
        ("reader", "?mode=watch", Mode::Watch, false),
    ] {
        let project = format!("{PROJECT}{}", if role == "admin" { "-other" } else { "" });
        let name = format!("{role}{}", query.len());
        let body = json!({"name": name, "project": project, "role": role}).to_string();
        let made = bench.call("POST /v1/tokens", body).await.json();
        let caller = made["secret"].as_str().unwrap();
        let answer = bench.call_as(caller, &format!("{url}{query}"), "").await.json();
        let url = answer["serial_console"]["url"].as_str().unwrap();
        let token = ConsoleToken::from_client(url.split_once("token=").unwrap().1);
        let grant =
            bench.grants.validate(token.digest(), jiff::Timestamp::now()).await.unwrap().unwrap();
        assert_eq!((grant.mode, grant.operator), (mode, operator), "{role} {query}");
        assert_eq!(grant.user, name);
        assert_eq!(grant.line, LineKey { server: running(), port: 0 });
        // The grant has the server's project, not the caller's.
        assert_eq!(grant.project, PROJECT);
    }
}

#[tokio::test]
async fn lists_hold_the_callers_servers_alone_and_pages_count_only_those() {
    let bench = Bench::local(Fake { crowd: 5, ..Fake::default() }, &config());
    let member = token(&bench, PROJECT, "member").await;
    let stranger = token(&bench, "other", "member").await;
    let crowd = token(&bench, "crowd", "reader").await;
    for (path, key, own) in [
        ("/v1/servers", "servers", 2),
        ("/v1/lines", "lines", 4),
        ("/v1/sessions", "sessions", 1),
        ("/v2.1/servers", "servers", 2),
        ("/v2.1/demo/servers/detail", "servers", 2),
        ("/v2.1/servers?limit=3", "servers", 2),
    ] {
        let count = |answer: &Value| answer[key].as_array().unwrap().len();
        let get = format!("GET {path}");
        assert_eq!(count(&bench.call_as(&member, &get, "").await.json()), own, "{path}");
        assert_eq!(count(&bench.call_as(&stranger, &get, "").await.json()), 0, "{path}");
    }
    let page = bench.call_as(&crowd, "GET /v2.1/servers?limit=3", "").await.json();
    assert_eq!(page["servers"].as_array().unwrap().len(), 3);
    let marker = format!("GET /v2.1/servers?marker={}", halted());
    bench.call_as(&crowd, &marker, "").await.is_fault(400, "badRequest", "not found");
}

#[tokio::test]
async fn a_foreign_server_is_as_unavailable_as_an_unknown_one() {
    let bench = Bench::local(Fake { away: true, ..Fake::default() }, &config());
    let stranger = token(&bench, "other", "member").await;
    for call in calls(&bench).await.iter().filter(|call| call.path.contains("{server}")) {
        let answer = bench.call_as(&stranger, &call.text, call.body).await;
        answer.is_fault(503, "serviceUnavailable", "libvirt is away");
        let of_unknown = bench.call_as(&stranger, &call.of_unknown(), call.body).await;
        assert_eq!(anonymous(&answer), anonymous(&of_unknown), "{}", call.text);
    }
}
