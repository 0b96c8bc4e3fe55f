use std::sync::Arc;

use jiff::Timestamp;
use serialproxy_api::Auth;
use serialproxy_proto::compute::ComputeError;
use serialproxy_proto::id::LineKey;
use serialproxy_proto::id::ServerId;
use serialproxy_proto::token::Grant;
use serialproxy_proto::token::Mode;
use tokio::sync::Notify;

use crate::bench::Answer;
use crate::bench::Bench;
use crate::bench::config;
use crate::fake::Fake;
use crate::fake::PRINTED;
use crate::fake::SESSION;
use crate::fake::halted;
use crate::fake::running;

#[tokio::test]
async fn a_line_is_shown_with_its_writer_and_endpoint() {
    let bench = Bench::new();
    let answer = bench.get(&format!("/v1/lines/{}/0", running())).await;
    let expected = serde_json::json!({
        "server": {"id": running(), "name": "running"},
        "port": 0,
        "state": "connected",
        "reason": "as it should be",
        "endpoint": {"kind": "tcp", "address": "127.0.0.1:10000"},
        "line": "00000000-0000-0000-0000-000000000003",
        "epoch": 2,
        "offset": 16,
        "first_offset": 10,
        "bytes_in": 1,
        "bytes_out": 2,
        "writer": {"session": SESSION, "user": "alice", "since": "2026-11-22T09:00:00Z"},
        "watchers": 0,
        "last_line": "login:",
        "idle": 12,
    });
    assert_eq!(answer.json(), expected);
}

#[tokio::test]
async fn a_path_that_names_no_line_is_refused() {
    let bench = Bench::new();
    for (path, status, message) in [
        ("/v1/lines/running/0".to_owned(), 404, "Instance running could not be found."),
        (format!("/v1/lines/{}/256", running()), 400, "a number from 0 to 255"),
        (format!("/v1/lines/{}/tty", running()), 400, "port: 'tty'"),
        (format!("/v1/lines/{}/2", running()), 404, "2 ports"),
    ] {
        let answer = bench.get(&path).await;
        assert_eq!(answer.status, status);
        assert!(answer.fault().1.contains(message));
    }
}

#[tokio::test]
async fn pages_of_servers_hold_each_server_once() {
    let bench = Bench::with(Fake { crowd: 2100, ..Fake::default() }, &config(), Auth::Noauth);
    let mut seen = Vec::new();
    let mut marker = String::new();
    loop {
        let answer = bench.get(&format!("/v1/servers?limit=700{marker}")).await.json();
        let servers = answer["servers"].as_array().unwrap();
        assert!(servers.len() <= 700);
        let Some(last) = servers.last() else { break };
        marker = format!("&marker={}", last["id"].as_str().unwrap());
        seen.extend(servers.iter().map(|server| server["name"].as_str().unwrap().to_owned()));
    }
    assert_eq!(seen.len(), 2102);
    assert!(seen.is_sorted_by(|a, b| a < b));
    for (query, count) in [("", 1000), ("?limit=5000", 1000), ("?limit=0", 0), ("?limit=2", 2)] {
        let answer = bench.get(&format!("/v1/servers{query}")).await.json();
        assert_eq!(answer["servers"].as_array().unwrap().len(), count, "{query}");
    }
    for marker in ["x", "00000000-0000-0000-0000-000000000011", ""] {
        let answer = bench.get(&format!("/v1/servers?marker={marker}")).await;
        answer.is_fault(400, "badRequest", &format!("marker [{marker}] not found."));
    }
}

#[tokio::test]
async fn a_server_is_found_on_whatever_page_of_the_compute_role_it_is() {
    let bench = Bench::with(Fake { crowd: 2100, ..Fake::default() }, &config(), Auth::Noauth);
    let answer = bench.get("/v2.1/servers?name=web-2099").await.json();
    assert_eq!(answer["servers"].as_array().unwrap().len(), 1);
    assert_eq!(bench.fake.asked().len(), 3);
}

#[tokio::test]
async fn hosts_that_do_not_respond_are_named_beside_what_the_others_say() {
    let unreachable = vec!["host-7".to_owned()];
    let fake = Fake { unreachable, ..Fake::default() };
    let bench = Bench::with(fake, &config(), Auth::Noauth);
    for (path, list) in [("/v1/lines", "lines"), ("/v1/sessions", "sessions")] {
        let answer = bench.get(path).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.json()["unreachable"]),
            (200, &serde_json::json!(["host-7"]))
        );
        assert!(!answer.json()[list].as_array().unwrap().is_empty());
        assert!(Bench::new().get(path).await.json().get("unreachable").is_none());
    }
    let unknown = "DELETE /v1/sessions/11111111-2222-4333-8444-555555555555";
    bench.call(unknown, "").await.is_fault(503, "serviceUnavailable", "do not respond: host-7");
}

#[tokio::test]
async fn a_list_of_servers_that_may_be_old_says_how_old_it_is() {
    let as_of = Timestamp::from_second(Timestamp::now().as_second() - 90).ok();
    let bench = Bench::with(Fake { as_of, ..Fake::default() }, &config(), Auth::Noauth);
    let is_old =
        |answer: &Answer| (90..120).contains(&answer.header("age").parse::<u32>().unwrap());
    for path in ["/v2.1/servers", "/v2.1/servers/detail"] {
        assert!(is_old(&bench.get(path).await), "{path}");
    }
    let answer = bench.get("/v1/servers").await;
    assert!(is_old(&answer));
    assert_eq!(answer.json()["stale"], true);
    assert_eq!(answer.json()["as_of"].as_str().unwrap().parse().ok(), as_of);
    let fresh = Bench::new().get("/v1/servers").await;
    assert_eq!((fresh.header("age"), fresh.json().as_object().unwrap().len()), ("", 1));
}

#[tokio::test]
async fn lines_that_changed_are_asked_for_by_the_seconds_since() {
    let bench = Bench::new();
    assert_eq!(bench.get("/v1/lines?changed_within=5&limit=1").await.status, 200);
    assert_eq!(bench.fake.asked(), ["lines that changed within 5 s"]);
    let answer = bench.get("/v1/lines?changed_within=-1").await;
    let wrong = "changed_within: '-1' is not allowed; expected a number of seconds";
    answer.is_fault(400, "badRequest", wrong);
}

#[tokio::test]
async fn pages_of_lines_hold_each_line_once() {
    let fake = Fake { crowd: 5, ..Fake::default() };
    let bench = Bench::with(fake, &config(), Auth::Noauth);
    let mut seen = Vec::new();
    let mut marker = String::new();
    loop {
        let answer = bench.get(&format!("/v1/lines?limit=3{marker}")).await.json();
        let lines = answer["lines"].as_array().unwrap();
        assert!(lines.len() <= 3);
        let Some(last) = lines.last() else { break };
        let key = |line: &serde_json::Value| {
            format!("{}/{}", line["server"]["id"].as_str().unwrap(), line["port"])
        };
        marker = format!("&marker={}", key(last));
        seen.extend(lines.iter().map(key));
    }
    assert_eq!(seen.len(), 14);
    assert!(seen.is_sorted());
}

#[tokio::test]
async fn a_page_has_at_most_a_thousand_lines() {
    let fake = Fake { crowd: 600, ..Fake::default() };
    let bench = Bench::with(fake, &config(), Auth::Noauth);
    for (query, count) in [("", 1000), ("?limit=5000", 1000), ("?limit=0", 0), ("?limit=2", 2)] {
        let answer = bench.get(&format!("/v1/lines{query}")).await.json();
        assert_eq!(answer["lines"].as_array().unwrap().len(), count, "{query}");
    }
}

#[tokio::test]
async fn a_marker_need_not_exist_any_more_but_must_make_sense() {
    let bench = Bench::new();
    let after = |marker| format!("/v1/lines?marker={marker}");
    let gone = "00000000-0000-0000-0000-000000000011/7";
    let answer = bench.get(&after(gone)).await.json();
    assert_eq!(answer["lines"].as_array().unwrap().len(), 2);
    for marker in ["x", "00000000-0000-0000-0000-000000000011", "x/0", ""] {
        bench.get(&after(marker)).await.is_fault(400, "badRequest", "marker: ");
    }
    bench.get("/v1/lines?limit=-1").await.is_fault(400, "badRequest", "limit: '-1'");
}

#[tokio::test]
async fn output_comes_byte_by_byte_with_its_place_in_the_line() {
    let bench = Bench::new();
    let output = |query| format!("/v1/lines/{}/0/output{query}", running());
    for (query, bytes, offset) in [
        ("", PRINTED, 10),
        ("?from=12", &PRINTED[2..], 12),
        ("?from=12&max=3", &PRINTED[2..5], 12),
        ("?from=16", &[], 16),
        ("?from=9", PRINTED, 10),
        ("?max=0", &[], 10),
    ] {
        let answer = bench.get(&output(query)).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.body, bytes, "{query}");
        assert_eq!(answer.header("content-type"), "application/octet-stream");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("x-console-offset"), offset.to_string());
        assert_eq!(answer.header("x-console-next"), (offset + bytes.len()).to_string());
        assert_eq!(answer.header("x-console-end"), "16");
        assert_eq!(answer.header("x-console-epoch"), "2");
        assert_eq!(answer.header("x-console-line"), "00000000-0000-0000-0000-000000000003");
    }
    bench.get(&output("?from=x")).await.is_fault(400, "badRequest", "from: 'x'");
    bench.get(&output("?max=1.5")).await.is_fault(400, "badRequest", "max: '1.5'");
}

#[tokio::test]
async fn boots_are_listed_with_their_times_to_the_millisecond() {
    let bench = Bench::new();
    let answer = bench.get(&format!("/v1/lines/{}/0/boots", running())).await;
    assert_eq!(answer.status, 200);
    let boot = serde_json::json!({"epoch": 2, "offset": 12, "time": "2026-11-30T04:58:00.120Z",
        "reason": "rebooted", "kernel": "6.1.0-37-amd64"});
    assert_eq!(answer.json(), serde_json::json!({"boots": [boot]}));
}

#[tokio::test]
async fn no_answer_holds_more_than_a_mebibyte_of_output() {
    let bench = Bench::new();
    bench.get(&format!("/v1/lines/{}/0/output?from=10&max=99999999", running())).await;
    let asked = bench.fake.asked();
    assert_eq!(asked, [format!("output {}/0 10 1048576", running())]);
}

#[tokio::test]
async fn a_server_says_which_ports_have_no_console_and_why() {
    let bench = Bench::new();
    let server = &bench.get(&format!("/v1/servers/{}", running())).await.json()["server"];
    assert_eq!(server["unusable_ports"][0]["port"], 2);
    assert_eq!(server["unusable_ports"][0]["reason"], "its type is 'file'");
}

#[tokio::test]
async fn sessions_are_listed_and_ended() {
    let bench = Bench::new();
    let session = &bench.get("/v1/sessions").await.json()["sessions"][0];
    assert_eq!(session["protocol"], "console.v1");
    assert_eq!((&session["state"], &session["ends_in"]), (&"detached".into(), &40.into()));
    let answer = bench.call(&format!("DELETE /v1/sessions/{SESSION}?reason=bye"), "").await;
    assert_eq!(answer.status, 204);
    assert!(answer.body.is_empty());
    let asked = bench.fake.asked();
    assert!(asked.last().unwrap().contains(r#"reason: Some("bye")"#), "{asked:?}");
    for id in ["x", "11111111-2222-4333-8444-555555555555"] {
        let answer = bench.call(&format!("DELETE /v1/sessions/{id}"), "").await;
        answer.is_fault(404, "itemNotFound", &format!("Session {id} could not be found."));
    }
}

#[tokio::test]
async fn a_boot_passes_on_what_it_was_given() {
    let bench = Bench::new();
    let body = r#"{"name": "a", "image": "demo", "properties": {"serial_ports": "2"}}"#;
    let answer = bench.call("POST /v1/servers", body).await;
    assert_eq!(answer.status, 201);
    let can = ["watch", "write", "force", "power", "admin"];
    let server = serde_json::json!({"id": running(), "name": "a", "status": "ACTIVE",
        "project": "admin", "host": "host-1", "static": false, "can": can});
    assert_eq!(answer.json(), serde_json::json!({"server": server}));
    assert!(bench.fake.asked()[0].contains(r#"{"serial_ports": "2"}"#));
}

#[tokio::test]
async fn a_boot_that_lacks_or_exceeds_the_shape_is_told_so() {
    let bench = Bench::new();
    for (body, message) in [
        ("", "not JSON"),
        ("[]", "not of type 'object'"),
        ("{}", "missing field `name`"),
        (r#"{"name": "a", "image": "b", "flavour": {}}"#, "unknown field `flavour`"),
        (r#"{"name": "a", "image": "b", "properties": {"serial_ports": 2}}"#, "expected a string"),
    ] {
        bench.call("POST /v1/servers", body).await.is_fault(400, "badRequest", message);
    }
}

#[tokio::test]
async fn a_server_is_adopted_and_the_adoption_taken_back() {
    let bench = Bench::new();
    let path = format!("/v1/servers/{}/adopt", running());
    let server = serde_json::json!({"id": running(), "name": "running", "status": "ACTIVE",
        "project": "demo", "host": "host-1", "static": false, "can": ["watch", "write", "force", "power", "admin"],
        "unusable_ports": [{"port": 2, "reason": "its type is 'file'"}]});
    for (body, asked) in [
        ("", "Adopt { serial_ports: None, restart: false }"),
        (r#"{"serial_ports": 2}"#, "Adopt { serial_ports: Some(2), restart: false }"),
        (r#"{"restart": true}"#, "Adopt { serial_ports: None, restart: true }"),
    ] {
        let answer = bench.call(&format!("POST {path}"), body).await;
        assert_eq!(answer.status, 200);
        let ports = serde_json::json!([{"port": 0, "was": "pty", "now": "127.0.0.1:10000"}]);
        assert_eq!(answer.json(), serde_json::json!({"server": server, "ports": ports}));
        assert_eq!(bench.fake.asked().last().unwrap(), &format!("{asked} {}", running()));
    }
    for body in ["[]", r#"{"serial_ports": -1}"#, r#"{"ports": 1}"#, r#"{"serial_ports": 256}"#] {
        let answer = bench.call(&format!("POST {path}"), body).await;
        answer.is_fault(400, "badRequest", "");
    }
    let answer = bench.call(&format!("DELETE {path}"), "").await;
    assert_eq!((answer.status.as_u16(), &answer.json()["server"]), (200, &server));
    assert_eq!(bench.fake.asked().last().unwrap(), &format!("unadopt {}", running()));
}

#[tokio::test]
async fn a_break_and_a_sysrq_reach_the_line() {
    let bench = Bench::new();
    let line = format!("POST /v1/lines/{}/0", running());
    let answer = bench.call(&format!("{line}/break"), "").await;
    assert_eq!((answer.status.as_u16(), answer.body.len()), (204, 0));
    let answer = bench.call(&format!("{line}/sysrq"), r#"{"key": "b"}"#).await;
    assert_eq!((answer.status.as_u16(), answer.body.len()), (204, 0));
    let asked = [format!("break {}/0", running()), format!("sysrq {}/0 b", running())];
    assert_eq!(bench.fake.asked(), asked);
    for body in
        ["", "{}", r#"{"key": ""}"#, r#"{"key": "ab"}"#, r#"{"key": 1}"#, r#"{"keys": "b"}"#]
    {
        assert_eq!(bench.call(&format!("{line}/sysrq"), body).await.status, 400, "{body}");
    }
    assert_eq!(bench.fake.asked(), asked, "nothing of that went on");
    let refused = ComputeError::Conflict("it has no break".into());
    let bench =
        Bench::with(Fake { error: Some(refused), ..Fake::default() }, &config(), Auth::Noauth);
    bench.call(&format!("{line}/break"), "").await.is_fault(409, "conflictingRequest", "no break");
}

#[tokio::test]
async fn power_actions_answer_202_and_reach_the_server() {
    let bench = Bench::new();
    let id = running();
    for (action, body, asked) in [
        ("start", "", "Start"),
        ("reboot", "", "Reboot"),
        ("reset", "", "Reset"),
        ("nmi", "", "Nmi"),
        ("pause", "", "Pause"),
        ("resume", "", "Resume"),
        ("stop", "", "Stop(Stop { timeout: None, force: false })"),
        ("stop", "{}", "Stop(Stop { timeout: None, force: false })"),
        ("stop", r#"{"timeout": 5}"#, "Stop(Stop { timeout: Some(5), force: false })"),
        ("stop", r#"{"force": true}"#, "Stop(Stop { timeout: None, force: true })"),
    ] {
        let answer = bench.call(&format!("POST /v1/servers/{id}/{action}"), body).await;
        assert_eq!(answer.status, 202);
        assert_eq!(bench.fake.asked().last().unwrap(), &format!("{asked} {id}"));
    }
    let stop = format!("POST /v1/servers/{id}/stop");
    for body in [r#"{"timeout": 601}"#, r#"{"timeout": -1}"#, r#"{"now": true}"#, "[]"] {
        assert_eq!(bench.call(&stop, body).await.status, 400, "{body}");
    }
    let answer = bench.call("POST /v1/servers/11111111-2222-4333-8444-555555555555/nmi", "").await;
    assert_eq!(answer.status, 404);
}

/// A grant for a console of this server.
fn grant(server: ServerId, expires: Timestamp) -> Grant {
    Grant {
        line: LineKey { server, port: 0 },
        project: "p".into(),
        user: "a".into(),
        mode: Mode::Write,
        operator: true,
        wait: false,
        expires,
        host: None,
        link: None,
    }
}

#[tokio::test]
async fn deleting_a_server_ends_its_console_tokens_and_no_others() {
    let bench = Bench::new();
    let token = async |server| {
        let grant = grant(server, Timestamp::MAX);
        bench.grants.authorize(grant).await.unwrap().digest()
    };
    let (gone, kept) = (token(running()).await, token(halted()).await);
    let answer = bench.call(&format!("DELETE /v1/servers/{}", running()), "").await;
    assert_eq!(answer.status, 204);
    assert_eq!(bench.grants.validate(gone, Timestamp::now()).await.unwrap(), None);
    assert!(bench.grants.validate(kept, Timestamp::now()).await.unwrap().is_some());
}

#[tokio::test]
async fn a_server_that_may_not_be_deleted_keeps_its_console_tokens() {
    let error = ComputeError::Conflict("not ours".into());
    let fake = Fake { error: Some(error), ..Fake::default() };
    let bench = Bench::with(fake, &config(), Auth::Noauth);
    let grant = grant(running(), Timestamp::MAX);
    let token = bench.grants.authorize(grant).await.unwrap().digest();
    let answer = bench.call(&format!("DELETE /v1/servers/{}", running()), "").await;
    assert_eq!(answer.status, 409);
    assert!(bench.grants.validate(token, Timestamp::now()).await.unwrap().is_some());
}

#[tokio::test]
async fn a_boot_goes_on_when_its_caller_hangs_up() {
    let fake = Fake { gate: Some(Notify::new()), ..Fake::default() };
    let bench = Arc::new(Bench::with(fake, &config(), Auth::Noauth));
    let caller = tokio::spawn({
        let bench = Arc::clone(&bench);
        async move { bench.call("POST /v1/servers", r#"{"name": "a", "image": "b"}"#).await }
    });
    bench.fake.begun.notified().await;
    caller.abort();
    assert!(caller.await.unwrap_err().is_cancelled());
    bench.fake.gate.as_ref().unwrap().notify_one();
    bench.fake.booted.notified().await;
}

#[tokio::test(start_paused = true)]
async fn a_boot_that_hangs_is_answered_in_the_end() {
    let fake = Fake { gate: Some(Notify::new()), ..Fake::default() };
    let bench = Bench::with(fake, &config(), Auth::Noauth);
    let answer = bench.call("POST /v1/servers", r#"{"name": "a", "image": "b"}"#).await;
    answer.is_fault(503, "serviceUnavailable", "no result within 300 s");
}

#[tokio::test(start_paused = true)]
async fn expired_tokens_are_purged_until_the_end() {
    let bench = Bench::new();
    let grant = grant(running(), Timestamp::UNIX_EPOCH);
    let token = bench.grants.authorize(grant).await.unwrap().digest();
    let minute = tokio::time::sleep(std::time::Duration::from_secs(61));
    serialproxy_api::purge_tokens(bench.grants.clone(), minute).await;
    assert!(!bench.grants.revoke(token).await.unwrap());
}

#[tokio::test]
async fn a_server_whose_name_has_the_form_of_a_uuid_is_found_by_it_unless_one_has_that_uuid() {
    let uuid = "DEADBEEF-0000-4000-8000-000000000001";
    let called = |name: &str| Fake { named: Some(name.into()), ..Fake::default() };
    let id = |answer: &Answer| answer.json()["server"]["id"].as_str().unwrap().to_owned();
    for name in [uuid, &uuid.to_lowercase(), &uuid.replace('-', "")] {
        let bench = Bench::local(called(name), &config());
        for place in ["/v1", "/v2.1", "/v2"] {
            let answer = bench.get(&format!("{place}/servers/{uuid}")).await;
            assert_eq!(id(&answer), halted().to_string(), "{name} {place}");
        }
        let other = bench.get("/v1/servers/deadbeef-0000-4000-8000-000000000002").await;
        assert_eq!(other.status, 404);
        let line = bench.get(&format!("/v1/lines/{uuid}/0")).await;
        assert_eq!(line.json()["server"]["id"], halted().to_string());
        bench.call(&format!("POST /v1/servers/{uuid}/start"), "").await;
        assert!(bench.fake.asked().contains(&format!("Start {}", halted())), "{name}");
    }
    let bench = Bench::local(called(&running().to_string()), &config());
    let answer = bench.get(&format!("/v1/servers/{}", running())).await;
    assert_eq!(id(&answer), running().to_string(), "whose UUID it is counts first");
}
