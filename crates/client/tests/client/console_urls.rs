//! `get-serial-console`: console URLs, and the names of servers.

use serde_json::Value;
use serde_json::json;

use crate::fake_api::ID;
use crate::fake_api::OTHER;
use crate::fake_api::ask;
use crate::fake_api::console;

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
