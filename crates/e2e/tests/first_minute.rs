//! What `serve` tells a person at its terminal, and `status` later.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "that is how a test fails"
)]

use std::path::Path;

use reqwest::Method;
use serde_json::Value;
use serde_json::json;
use serialproxy_e2e::port::Port;
use serialproxy_e2e::server::Server;
use serialproxy_e2e::server::http;
use serialproxy_e2e::server::program;
use serialproxy_e2e::stdout;
use serialproxy_e2e::terminal::Terminal;
use serialproxy_e2e::within;
use tokio::process::Command;

/// `serve` on free ports, ready to be started.
fn serve(state: &Path) -> Command {
    let mut serve = Command::new(program());
    serve
        .arg("serve")
        .arg("--state-dir")
        .arg(state)
        .args(["--compute-drivers", "static", "--api-listen", "127.0.0.1:0"])
        .args(["--serial_console-serialproxy_host", "127.0.0.1"])
        .args(["--serial_console-serialproxy_port", "0"]);
    serve
}

/// The address of the page, and the code of its login link.
fn link(text: &str) -> (String, String) {
    let url = text.split_whitespace().find(|word| word.contains("/#login=")).expect(text);
    let (page, code) = url.split_once("#login=").unwrap();
    (page.to_owned(), code.to_owned())
}

/// Exchanges a code through the proxy, as the page does.
async fn log_in(page: &str, code: &str) -> (u16, Value) {
    let login = http().build().unwrap().post(format!("{page}v1/login"));
    let login = login.header("Content-Type", "application/json");
    let answer = within(login.body(json!({"code": code}).to_string()).send()).await.unwrap();
    (answer.status().as_u16(), within(answer.json()).await.unwrap())
}

#[tokio::test]
async fn on_a_terminal_serve_names_the_servers_a_login_link_and_the_next_command() {
    let port = Port::new("switch").await;
    let state = tempfile::tempdir().unwrap();
    let mut serve = serve(state.path());
    serve.args(port.flag());
    let mut terminal = Terminal::run(serve);
    for text in ["serialproxy ready", "switch", "/#login=", "logs in once"] {
        terminal.shows(text).await;
    }
    terminal.shows("serialproxy connect switch --api-url").await;
    terminal.shows("serialproxy status").await;
    let (page, code) = link(&terminal.shown());
    let (status, login) = log_in(&page, &code).await;
    assert_eq!((status, &login["user"]), (201, &"admin".into()));
    let (status, again) = log_in(&page, &code).await;
    assert_eq!(status, 401);
    assert!(again.to_string().contains("was used before"), "{again}");
    let servers = http().build().unwrap().get(format!("{page}v1/servers"));
    let servers = servers.header("X-Auth-Token", login["token"].as_str().unwrap());
    assert_eq!(within(servers.send()).await.unwrap().status(), 200);
}

#[tokio::test]
async fn status_prints_the_same_later_and_a_new_link() {
    let server = Server::start(&[]).await;
    let status = async |options: &[&str]| {
        let run = Command::new(program())
            .args(["status", "--api-url", &server.api])
            .arg("--state-dir")
            .arg(server.state())
            .args(options)
            .output();
        stdout(&within(run).await.unwrap())
    };
    let text = status(&[]).await;
    assert!(text.contains("none yet"), "{text}");
    let (page, code) = link(&text);
    assert_eq!(log_in(&page, &code).await.0, 201);
    let json: Value = serde_json::from_str(&status(&["-f", "json"]).await).unwrap();
    assert_eq!(json["servers"], 0);
    assert_ne!(link(json["url"].as_str().unwrap()).1, code);
    let links = server.call(Method::POST, "/v1/login-links", "").await;
    assert_eq!(links.status, 201);
    assert!(!server.log().contains(&code));
}

#[tokio::test]
async fn as_a_service_serve_prints_its_ready_line_alone() {
    let state = tempfile::tempdir().unwrap();
    let mut serve = serve(state.path());
    serve
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .kill_on_drop(true);
    let mut process = serve.spawn().unwrap();
    let mut output = tokio::io::BufReader::new(process.stdout.take().unwrap());
    let mut ready = String::new();
    within(tokio::io::AsyncBufReadExt::read_line(&mut output, &mut ready)).await.unwrap();
    assert!(ready.starts_with("serialproxy ready "), "{ready}");
    let pid = i32::try_from(process.id().unwrap()).unwrap();
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let mut rest = String::new();
    within(tokio::io::AsyncReadExt::read_to_string(&mut output, &mut rest)).await.unwrap();
    assert_eq!(rest, "");
}
