//! The API of most tests of commands: it lists servers, and gives one answer to all other calls.

use serde_json::json;

use crate::support::Api;
use crate::support::Ended;
use crate::support::client;
use crate::support::run;

pub(crate) const ID: &str = "3f0c2a52-6d0a-4b9a-9d0e-0a54e1a7c0de";
pub(crate) const OTHER: &str = "b7a1e0de-0000-4000-8000-000000000001";

/// The answer with all servers.
fn servers() -> (u16, String) {
    let servers = json!([
        {"id": ID, "name": "demo", "status": "ACTIVE", "links": []},
        {"id": OTHER, "name": "twin", "status": "SHUTOFF"},
        {"id": ID, "name": "twin", "status": "BUILD"},
    ]);
    (200, json!({ "servers": servers }).to_string())
}

/// The answer that refuses a call.
pub(crate) fn fault(name: &str, code: u16, message: &str) -> (u16, String) {
    (code, json!({name: {"code": code, "message": message}}).to_string())
}

/// An API that lists servers, and answers everything else with `answer`.
pub(crate) fn api(answer: (u16, String)) -> Api {
    Api::start(move |line| match line {
        line if line.starts_with("GET /v2.1/servers/detail") => servers(),
        _ => answer.clone(),
    })
}

/// Runs the client with these arguments against the API.
pub(crate) fn ask(api: &Api, arguments: &[&str]) -> Ended {
    run(client(api.address, arguments), b"")
}

/// One whose answer is a console URL.
pub(crate) fn console() -> Api {
    let url = "http://127.0.0.1:6083/serial.html?token=5ecret";
    api((202, json!({"serial_console": {"url": url}}).to_string()))
}
