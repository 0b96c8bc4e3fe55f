//! The commands that change servers, lines and sessions.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::sync::mpsc::channel;

use serde_json::Value;
use serde_json::json;

use crate::fake_api::ID;
use crate::fake_api::OTHER;
use crate::fake_api::api;
use crate::fake_api::ask;
use crate::fake_api::fault;
use crate::support::Api;
use crate::support::Terminal;
use crate::support::client;

#[test]
fn boot_sends_the_properties_and_prints_the_server() {
    let server = json!({"server": {"id": ID, "name": "demo", "status": "ACTIVE"}});
    let api = api((201, server.to_string()));
    let line = "boot demo --image small --property serial_ports=2 --flavor-property hw:x=a=b";
    let ended = ask(&api, &line.split(' ').collect::<Vec<_>>());
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.text().contains("| demo | running |"), "{ended:?}");
    let request = &api.requests()[0];
    assert_eq!(request.line, "POST /v1/servers");
    assert_eq!(
        serde_json::from_str::<Value>(&request.body).unwrap(),
        json!({
            "name": "demo", "image": "small", "properties": {"serial_ports": "2"},
            "flavor_properties": {"hw:x": "a=b"},
        })
    );
}

#[test]
fn stop_says_what_it_waits_for_and_waits_until_the_server_is_off() {
    let polls = AtomicUsize::new(0);
    let (told, stopped) = channel();
    let api = Api::start(move |line| match line {
        line if line.starts_with("POST") => {
            stopped.recv().unwrap();
            (202, String::new())
        }
        _ => {
            let off = polls.fetch_add(1, Ordering::Relaxed) == 2;
            let status = if off { "SHUTOFF" } else { "ACTIVE" };
            let server = json!({"id": ID, "name": "demo", "status": status});
            (200, json!({ "server": server }).to_string())
        }
    });
    let mut terminal = Terminal::run(client(api.address, &["stop", ID, "--timeout", "7"]));
    terminal.wait_for("has 7 s to shut down");
    told.send(()).unwrap();
    let (code, said) = terminal.end();
    assert_eq!(code, 0);
    assert!(said.contains("is off"), "{said}");
    let requests = api.requests();
    assert_eq!(requests[0].line, format!("POST /v1/servers/{ID}/stop"));
    assert_eq!(requests[0].body, r#"{"force":false,"timeout":7}"#);
    assert_eq!(requests.len(), 4);
}

#[test]
fn a_stop_that_is_refused_promises_nothing() {
    let fault = json!({"conflictingRequest": {"code": 409, "message": "it is PAUSED"}}).to_string();
    let api = Api::start(move |_| (409, fault.clone()));
    let ended = ask(&api, &["stop", ID]);
    assert_eq!((ended.code, &*ended.stderr), (1, "serialproxy: it is paused\n"));
}

#[test]
fn the_other_changes_are_one_call_each() {
    for (line, call) in [
        ("start demo", format!("POST /v1/servers/{ID}/start")),
        ("reboot demo", format!("POST /v1/servers/{ID}/reboot")),
        ("delete demo", format!("DELETE /v1/servers/{ID}")),
        ("nmi demo", format!("POST /v1/servers/{ID}/nmi")),
        ("pause demo", format!("POST /v1/servers/{ID}/pause")),
        ("resume demo", format!("POST /v1/servers/{ID}/resume")),
        ("reset demo", format!("POST /v1/servers/{ID}/reset")),
        ("break demo", format!("POST /v1/lines/{ID}/0/break")),
        ("break demo --port 1", format!("POST /v1/lines/{ID}/1/break")),
        ("sysrq demo h --port 1", format!("POST /v1/lines/{ID}/1/sysrq")),
        ("disconnect --session b7a1e0de-0000-4000-8000-000000000001", {
            format!("DELETE /v1/sessions/{OTHER}")
        }),
        ("disconnect --session b7a1e0de-0000-4000-8000-000000000001 --reason a+b", {
            format!("DELETE /v1/sessions/{OTHER}?reason=a%2Bb")
        }),
    ] {
        let api = api((204, String::new()));
        let ended = ask(&api, &line.split(' ').collect::<Vec<_>>());
        assert_eq!(ended.code, 0, "{ended:?}");
        assert_eq!(api.lines().last(), Some(&call));
    }
}

#[test]
fn disconnect_says_who_wrote_and_that_nobody_did() {
    let writer = json!({"session": OTHER, "user": "alice", "since": "2026-11-22T09:00:00Z"});
    let gone = api((202, json!({ "disconnected": writer }).to_string()));
    let ended = ask(&gone, &["disconnect", "demo", "--port", "1", "--reason", "a b"]);
    assert_eq!(ended.text(), "disconnected alice, who was typing since 2026-11-22T09:00:00Z\n");
    let call = format!("POST /v3/servers/{ID}/disconnect-serial-console?reason=a+b&port=1");
    assert_eq!(gone.lines().last(), Some(&call));
    let nobody = api(fault("itemNotFound", 404, "nobody writes to port 1 of demo"));
    assert_eq!(ask(&nobody, &["disconnect", "demo", "--port", "1"]).code, 3);
}

#[test]
fn sysrq_sends_its_key_and_a_port_without_breaks_is_told() {
    let sent = api((204, String::new()));
    let ended = ask(&sent, &["sysrq", "demo", "b"]);
    assert!(ended.stderr.contains("sent SysRq b to demo, port 0"), "{ended:?}");
    assert_eq!(sent.requests()[1].body, r#"{"key":"b"}"#);
    let refused = api(fault("conflictingRequest", 409, "a pseudo-terminal has no break"));
    let ended = ask(&refused, &["break", "demo"]);
    assert_eq!(ended.code, 1);
    assert!(ended.stderr.contains("a pseudo-terminal has no break"), "{ended:?}");
}

#[test]
fn adopt_sends_what_is_wanted_prints_the_server_and_says_when_it_holds() {
    let server = |status| json!({"server": {"id": ID, "name": "demo", "status": status}});
    for (line, status, call, body, notice) in [
        (
            "adopt demo --serial-ports 2",
            "ACTIVE",
            "POST",
            r#"{"serial_ports":2,"restart":false}"#,
            "takes effect at its next start; --restart applies it now",
        ),
        ("adopt demo --restart", "ACTIVE", "POST", r#"{"restart":true}"#, ""),
        ("adopt demo", "SHUTOFF", "POST", r#"{"restart":false}"#, ""),
        (
            "adopt demo --undo",
            "ACTIVE",
            "DELETE",
            "",
            "demo is running: the change takes effect at its next start",
        ),
    ] {
        let api = api((200, server(status).to_string()));
        let ended = ask(&api, &line.split(' ').collect::<Vec<_>>());
        assert_eq!(ended.code, 0, "{ended:?}");
        let state = if status == "ACTIVE" { "running" } else { "off" };
        assert!(ended.text().contains(&format!("| demo | {state}")), "{ended:?}");
        assert!(ended.stderr.contains(notice) && ended.stderr.is_empty() == notice.is_empty());
        let request = &api.requests()[1];
        assert_eq!(request.line, format!("{call} /v1/servers/{ID}/adopt"));
        let sent = serde_json::from_str::<Value>(&request.body).unwrap_or_default();
        assert_eq!(sent, serde_json::from_str::<Value>(body).unwrap_or_default(), "{line}");
    }
    let mut adopted = server("SHUTOFF");
    adopted["ports"] = json!([
        {"port": 0, "was": "tcp with mode='connect' to h:7", "now": "127.0.0.1:10000"},
        {"port": 1, "now": "127.0.0.1:10001"},
    ]);
    let api = api((200, adopted.to_string()));
    let ended = ask(&api, &["adopt", ID, "-f", "json"]);
    assert_eq!(serde_json::from_slice::<Value>(&ended.stdout).unwrap(), adopted);
    for said in [
        "port 0 was tcp with mode='connect' to h:7, and is 127.0.0.1:10000\n",
        "port 1 is new, and is 127.0.0.1:10001\n",
    ] {
        assert!(ended.stderr.contains(said), "{}", ended.stderr);
    }
}
