//! The lists of servers and sessions.

use serde_json::Value;
use serde_json::json;

use crate::fake_api::ID;
use crate::fake_api::OTHER;
use crate::fake_api::api;
use crate::fake_api::ask;
use crate::support::Api;

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
        "GET /v1/lines" => {
            let line = |port, state, reason| {
                json!({"server": {"id": ID, "name": "one"}, "port": port,
                "state": state, "reason": reason, "endpoint": null, "line": OTHER, "epoch": 1, "offset": 0,
                "first_offset": 0, "bytes_in": 0, "bytes_out": 0, "writer": null, "watchers": 0})
            };
            let lines =
                json!([line(0, "failed", "its port is closed"), line(2, "connected", "connected")]);
            (200, json!({ "lines": lines }).to_string())
        }
        line => {
            assert_eq!(line, format!("GET /v2.1/servers/detail?marker={ID}"));
            let server = json!([{"id": OTHER, "name": "two", "status": "SHUTOFF", "image": null}]);
            (200, json!({ "servers": server }).to_string())
        }
    });
    let ended = ask(&api, &["servers"]);
    assert!(ended.text().contains("| one    | 0    | failed  |"), "{ended:?}");
    assert!(ended.text().contains("| one    | 2    | running |"), "{ended:?}");
    assert!(ended.text().contains("| two    | -    | off     |"), "{ended:?}");
    let why = "one, port 1, has no console: its type is 'file'";
    assert!(ended.stderr.contains(why), "{ended:?}");
    assert!(
        ended.stderr.contains("one, port 0, is not connected: its port is closed"),
        "{ended:?}"
    );
    assert!(!ended.stderr.contains("port 2"), "{ended:?}");
    let ended = ask(&api, &["servers", "-f", "json"]);
    let answer: Value = serde_json::from_slice(&ended.stdout).unwrap();
    assert_eq!(answer["servers"].as_array().unwrap().len(), 2);
    assert!(answer["servers"][1].get("image").is_none(), "{answer}");
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
        "GET /v1/lines" => (200, json!({"lines": []}).to_string()),
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
    assert!(ended.text().contains("| one    | -    | host lost |"), "{ended:?}");
    assert!(ended.text().contains("| two    | -    | running   |"), "{ended:?}");
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
        ["demo", r"alice\u{1b}[2J", "typing", "2026-11-22T09:00:00Z", "192.0.2.7", "console.v1"]
    {
        assert!(ended.text().contains(text), "{text} in {ended:?}");
    }
    assert!(!ended.text().contains('\u{1b}'));
}
