//! The commands that ask the API.

use std::io::Read;
use std::io::Write;
use std::net::TcpListener;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::sync::mpsc::channel;

use serde_json::Value;
use serde_json::json;

use crate::support::Api;
use crate::support::Ended;
use crate::support::Terminal;
use crate::support::client;
use crate::support::run;

pub(crate) const ID: &str = "3f0c2a52-6d0a-4b9a-9d0e-0a54e1a7c0de";
const OTHER: &str = "b7a1e0de-0000-4000-8000-000000000001";

fn servers() -> (u16, String) {
    let servers = json!([
        {"id": ID, "name": "demo", "status": "ACTIVE", "links": []},
        {"id": OTHER, "name": "twin", "status": "SHUTOFF"},
        {"id": ID, "name": "twin", "status": "BUILD"},
    ]);
    (200, json!({ "servers": servers }).to_string())
}

pub(crate) fn fault(name: &str, code: u16, message: &str) -> (u16, String) {
    (code, json!({name: {"code": code, "message": message}}).to_string())
}

/// An API that lists servers, and answers everything else with `answer`.
fn api(answer: (u16, String)) -> Api {
    Api::start(move |line| match line {
        line if line.starts_with("GET /v2.1/servers/detail") => servers(),
        _ => answer.clone(),
    })
}

pub(crate) fn ask(api: &Api, arguments: &[&str]) -> Ended {
    run(client(api.address, arguments), b"")
}

fn console() -> Api {
    let url = "http://127.0.0.1:6083/serial.html?token=5ecret";
    api((202, json!({"serial_console": {"url": url}}).to_string()))
}

#[test]
fn a_console_url_is_printed_as_the_nova_client_prints_it() {
    let api = console();
    let ended = ask(&api, &["get-serial-console", "demo", "serial"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    let rule = format!("+--------+{}+\n", "-".repeat(48));
    let header = format!("| Type   | Url{} |\n", " ".repeat(43));
    let row = "| serial | http://127.0.0.1:6083/serial.html?token=5ecret |\n";
    assert_eq!(ended.text(), format!("{rule}{header}{rule}{row}{rule}"));
    assert_eq!(
        api.lines(),
        [
            "GET /v2.1/servers/detail?name=demo".to_owned(),
            format!("POST /v3/servers/{ID}/get-serial-console?port=0")
        ]
    );
    assert!(api.requests().iter().all(|request| request.token.as_deref() == Some("t0ken")));
}

#[test]
fn a_console_url_is_printed_as_json_and_all_choices_reach_the_api() {
    let api = console();
    let line =
        ["get-serial-console", ID, "serial", "--port", "1", "--watch", "--wait", "-f", "json"];
    let ended = ask(&api, &line);
    let answer: Value = serde_json::from_slice(&ended.stdout).unwrap();
    let url = "http://127.0.0.1:6083/serial.html?token=5ecret";
    assert_eq!(answer, json!({"type": "serial", "url": url}));
    let query = "port=1&mode=watch&wait=1";
    assert_eq!(api.lines(), [format!("POST /v3/servers/{ID}/get-serial-console?{query}")]);
}

#[test]
fn another_console_type_is_a_usage_error() {
    let api = console();
    let ended = ask(&api, &["get-serial-console", "demo", "novnc"]);
    assert_eq!(ended.code, 2);
    assert!(ended.stderr.contains("Unavailable console type novnc."), "{ended:?}");
    assert!(api.lines().is_empty());
}

#[test]
fn an_unknown_name_is_not_found_and_an_ambiguous_one_lists_the_ids() {
    let api = console();
    let ended = ask(&api, &["get-serial-console", "nobody", "serial"]);
    assert_eq!(ended.code, 3);
    assert!(ended.stderr.contains("no server is named nobody"), "{ended:?}");
    let ended = ask(&api, &["get-serial-console", "twin", "serial"]);
    assert_eq!(ended.code, 2);
    assert!(ended.stderr.contains(ID) && ended.stderr.contains(OTHER), "{ended:?}");
}

#[test]
fn the_list_of_servers_follows_all_pages() {
    let api = Api::start(|line| match line {
        "GET /v2.1/servers/detail" => {
            let link = json!([{"rel": "next", "href": "x"}]);
            let server = json!([{"id": ID, "name": "one", "status": "ACTIVE"}]);
            (200, json!({"servers": server, "servers_links": link}).to_string())
        }
        "GET /v1/servers" => {
            let ports = json!([{"port": 1, "reason": "its type is 'file'"}]);
            let server = json!([{"id": ID, "name": "one", "status": "ACTIVE", "project": "admin",
                "unusable_ports": ports}]);
            (200, json!({ "servers": server }).to_string())
        }
        line => {
            assert_eq!(line, format!("GET /v2.1/servers/detail?marker={ID}"));
            let server = json!([{"id": OTHER, "name": "two", "status": "SHUTOFF"}]);
            (200, json!({ "servers": server }).to_string())
        }
    });
    let ended = ask(&api, &["servers"]);
    assert!(ended.text().contains("| one  | ACTIVE  |"), "{ended:?}");
    assert!(ended.text().contains("| two  | SHUTOFF |"), "{ended:?}");
    let why = "one, port 1, has no console: its type is 'file'";
    assert!(ended.stderr.contains(why), "{ended:?}");
    let ended = ask(&api, &["servers", "-f", "json"]);
    let answer: Value = serde_json::from_slice(&ended.stdout).unwrap();
    assert_eq!(answer["servers"].as_array().unwrap().len(), 2);
}

#[test]
fn the_list_of_servers_says_which_hosts_do_not_respond_and_how_old_it_is() {
    let api = Api::start(|line| match line {
        "GET /v2.1/servers/detail" => {
            let servers = json!([
                {"id": ID, "name": "one", "status": "UNKNOWN"},
                {"id": OTHER, "name": "two", "status": "ACTIVE"},
            ]);
            (200, json!({ "servers": servers }).to_string())
        }
        line => {
            assert_eq!(line, "GET /v1/servers");
            let server = |id, name, status, host| json!({"id": id, "name": name, "status": status, "project": "p", "host": host});
            let one = server(ID, "one", "HOST_LOST", "host-7");
            let two = server(OTHER, "two", "ACTIVE", "host-1");
            let time = "2026-11-22T09:00:00.000Z";
            let answer = json!({"servers": [one, two], "as_of": time, "stale": true});
            (200, answer.to_string())
        }
    });
    let ended = ask(&api, &["servers"]);
    assert!(ended.text().contains("| one  | HOST_LOST |"), "{ended:?}");
    assert!(ended.text().contains("| two  | ACTIVE    |"), "{ended:?}");
    let lost = "host host-7 does not respond: the state of its 1 server is not known";
    assert!(ended.stderr.contains(lost), "{ended:?}");
    assert!(!ended.stderr.contains("host-1"), "{ended:?}");
    assert!(ended.stderr.contains("the list is as of 2026-11-22T09:00:00"), "{ended:?}");
}

#[test]
fn sessions_are_listed_with_who_and_since_when() {
    let session = json!({
        "id": OTHER, "server": {"id": ID, "name": "demo"}, "port": 1, "user": "alice\u{1b}[2J",
        "mode": "write", "since": "2026-11-22T09:00:00Z", "address": "192.0.2.7:40000",
        "protocol": "console.v1", "state": "live",
    });
    let answer = json!({"sessions": [session], "unreachable": ["host-7", "host-9\u{1b}[2J"]});
    let ended = ask(&api((200, answer.to_string())), &["sessions"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    let missing = r"no sessions of hosts that do not respond: host-7, host-9\u{1b}[2J";
    assert!(ended.stderr.contains(missing), "{ended:?}");
    for text in
        ["demo", r"alice\u{1b}[2J", "write", "2026-11-22T09:00:00Z", "192.0.2.7", "console.v1"]
    {
        assert!(ended.text().contains(text), "{text} in {ended:?}");
    }
    assert!(!ended.text().contains('\u{1b}'));
}

#[test]
fn faults_are_told_in_the_apis_words_with_the_exit_code_of_their_kind() {
    for (answer, code) in [
        (fault("itemNotFound", 404, "server demo has no port 7"), 3),
        (fault("conflictingRequest", 409, "busy: alice since 2026-11-22T09:00:00Z"), 4),
        (fault("conflictingRequest", 409, "server demo is SHUTOFF"), 1),
        (fault("badRequest", 400, "Unavailable console type serial."), 1),
        (fault("unauthorized", 401, "the token is unknown"), 1),
        (fault("computeFault", 500, "the store is full"), 1),
    ] {
        let fault: Value = serde_json::from_str(&answer.1).unwrap();
        let (_, fault) = fault.as_object().unwrap().iter().next().unwrap();
        let message = format!("serialproxy: {}", fault["message"].as_str().unwrap());
        let ended = ask(&api(answer), &["get-serial-console", "demo", "serial"]);
        assert_eq!(ended.code, code, "{ended:?}");
        assert!(ended.stderr.contains(&message), "{ended:?}");
        assert!(ended.stdout.is_empty());
    }
}

#[test]
fn something_that_is_not_the_api_is_recognized() {
    let api = Api::start(|_| (404, "<html>".into()));
    let ended = ask(&api, &["servers"]);
    assert_eq!(ended.code, 1);
    assert!(ended.stderr.contains("does not respond like serialproxy's API"), "{ended:?}");
}

#[test]
fn an_api_that_is_not_there_is_named_with_what_to_check() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let ended = run(client(address, &["servers"]), b"");
    assert_eq!(ended.code, 1);
    let reach = format!("cannot reach the API at http://{address}: Connection refused");
    assert!(ended.stderr.contains(&reach), "{ended:?}");
    assert!(ended.stderr.contains("--api-url"), "{ended:?}");
}

#[test]
fn a_file_without_certificates_to_trust_is_named() {
    let api = console();
    let asked = ["servers", "--api-url", "https://127.0.0.1:1", "--cacert", "/nope.pem"];
    let ended = ask(&api, &asked);
    assert_eq!(ended.code, 2);
    assert!(ended.stderr.contains("/nope.pem cannot be read"), "{ended:?}");
}

#[test]
fn the_token_comes_from_the_state_directory_where_the_environment_has_none() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("admin-token"), "fr0mfile\n").unwrap();
    let state = directory.path().to_str().unwrap();
    let api = console();
    let mut command = client(api.address, &["servers", "--state-dir", state]);
    command.env_remove("SERIALPROXY_TOKEN");
    assert_eq!(run(command, b"").code, 0);
    assert_eq!(api.requests()[0].token.as_deref(), Some("fr0mfile"));
    assert_eq!(ask(&api, &["servers", "--state-dir", state]).code, 0);
    assert_eq!(api.requests().last().unwrap().token.as_deref(), Some("t0ken"));
}

#[test]
fn without_a_token_the_refusal_says_where_one_was_looked_for() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().to_str().unwrap();
    let api = Api::start(|_| fault("unauthorized", 401, "who are you?"));
    let mut command = client(api.address, &["servers", "--state-dir", state]);
    command.env_remove("SERIALPROXY_TOKEN");
    let ended = run(command, b"");
    assert_eq!(ended.code, 1);
    assert!(ended.stderr.contains("who are you?"), "{ended:?}");
    assert!(ended.stderr.contains(&format!("{state}/admin-token cannot be read")), "{ended:?}");
    assert_eq!(api.requests()[0].token, None);
}

#[test]
fn no_proxy_of_the_environment_stands_before_this_machine() {
    let api = console();
    let mut command = client(api.address, &["servers"]);
    command.env("http_proxy", "http://127.0.0.1:1").env("HTTP_PROXY", "http://127.0.0.1:1");
    assert_eq!(run(command, b"").code, 0);
}

#[test]
fn boot_sends_the_properties_and_prints_the_server() {
    let server = json!({"server": {"id": ID, "name": "demo", "status": "ACTIVE"}});
    let api = api((201, server.to_string()));
    let line = "boot demo --image small --property serial_ports=2 --flavor-property hw:x=a=b";
    let ended = ask(&api, &line.split(' ').collect::<Vec<_>>());
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.text().contains("| demo | ACTIVE |"), "{ended:?}");
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
    assert_eq!((ended.code, &*ended.stderr), (1, "serialproxy: it is PAUSED\n"));
}

#[test]
fn an_api_that_only_speaks_tls_is_named_as_such() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let answering = std::thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        let _ = stream.read(&mut [0; 4096]).unwrap();
        stream.write_all(b"\x15\x03\x01\x00\x02\x02\x46").unwrap();
    });
    let ended = run(client(address, &["servers"]), b"");
    answering.join().unwrap();
    let text = format!("http://{address}: this port speaks only TLS; use https://{address}");
    assert!(ended.code == 1 && ended.stderr.contains(&text), "{ended:?}");
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
        assert!(ended.text().contains(&format!("| demo | {status}")), "{ended:?}");
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

#[test]
fn a_new_token_is_printed_alone_so_that_a_script_can_keep_it() {
    let created = "2026-11-22T09:00:00Z";
    let token = json!({
        "name": "ci", "project": "demo", "role": "member", "created": created, "expires": null,
    });
    let made = json!({"token": token, "secret": "5ecret"}).to_string();
    let listed = json!({"tokens": [token]}).to_string();
    let api = Api::start(move |line| match line {
        "GET /v1/tokens" => (200, listed.clone()),
        "DELETE /v1/tokens/ci" => (204, String::new()),
        _ => (201, made.clone()),
    });
    let add = ["token", "add", "ci", "--project", "demo", "--role", "member"];
    let ended = ask(&api, &add);
    assert_eq!((ended.code, ended.text()), (0, "5ecret\n"), "{ended:?}");
    let sent: Value = serde_json::from_str(&api.requests()[0].body).unwrap();
    assert_eq!(sent, json!({"name": "ci", "project": "demo", "role": "member"}));
    let ended = ask(&api, &["token", "list"]);
    assert!(ended.text().contains("| ci   | demo    | member | 2026-11-22T09:00:00Z | never   |"));
    let ended = ask(&api, &["token", "revoke", "ci"]);
    assert_eq!((ended.code, ended.text()), (0, ""));
    assert!(ended.stderr.contains("revoked token ci"), "{}", ended.stderr);
    assert_eq!(api.lines()[1..], ["GET /v1/tokens", "DELETE /v1/tokens/ci"]);
}

/// An API of which `alice` becomes a user.
fn api_with_alice() -> Api {
    let user = json!({
        "id": "0fe7", "name": "alice", "project": "demo", "role": "member",
        "created": "2026-11-22T09:00:00Z",
    });
    Api::start(move |line| match line {
        "POST /v1/users" => (201, json!({"user": user}).to_string()),
        "GET /v1/users" => (200, json!({"users": [user]}).to_string()),
        _ => (204, String::new()),
    })
}

const ADD_ALICE: [&str; 7] = ["user", "add", "alice", "--project", "demo", "--role", "member"];

#[test]
fn a_password_comes_from_stdin_and_is_never_shown() {
    let api = api_with_alice();
    let ended = run(client(api.address, &ADD_ALICE), b"correct horse\nmore\n");
    assert_eq!(ended.code, 0, "{ended:?}");
    let sent: Value = serde_json::from_str(&api.requests()[0].body).unwrap();
    let user = json!({
        "name": "alice", "project": "demo", "role": "member", "password": "correct horse",
    });
    assert_eq!(sent, user);
    assert!(ended.text().contains("| 0fe7 | alice | demo    | member |"), "{}", ended.text());
    let ended = run(client(api.address, &["user", "password", "alice"]), b"battery staple");
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(api.requests()[1].body.contains("battery staple"));
    assert!(!(ended.text().to_owned() + &ended.stderr).contains("staple"));
    let ended = run(client(api.address, &ADD_ALICE), b"short\n");
    assert_eq!(ended.code, 1);
    assert!(ended.stderr.contains("8 to 1024 characters"), "{}", ended.stderr);
    let lines = ["POST /v1/users", "PUT /v1/users/alice/password"];
    assert_eq!(api.lines(), lines, "what will not do is not sent");
}

#[test]
fn a_terminal_asks_twice_and_does_not_show_what_is_typed() {
    let api = api_with_alice();
    let mut terminal = Terminal::run(client(api.address, &ADD_ALICE));
    terminal.wait_for("Password for alice: ");
    terminal.keys("corret\x7f\x7fect horse\r");
    terminal.wait_for("Repeat the password: ");
    terminal.keys("correct horse\n");
    let (code, shown) = terminal.end();
    assert_eq!(code, 0, "{shown}");
    assert!(!shown.contains("horse"), "{shown}");
    assert!(api.requests()[0].body.contains("correct horse"));

    let mut terminal = Terminal::run(client(api.address, &ADD_ALICE));
    terminal.wait_for("Password for alice: ");
    terminal.keys("correct horse\n");
    terminal.wait_for("Repeat the password: ");
    terminal.keys("correct house\n");
    let (code, shown) = terminal.end();
    assert_eq!(code, 1);
    assert!(shown.contains("the passwords differ"), "{shown}");

    let mut terminal = Terminal::run(client(api.address, &ADD_ALICE));
    terminal.wait_for("Password for alice: ");
    terminal.keys("correct\x03");
    assert_eq!(terminal.end().0, 1);
    assert_eq!(api.requests().len(), 1);
}
