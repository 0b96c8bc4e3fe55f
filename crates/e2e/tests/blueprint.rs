//! The blueprint's calls with their exact codes and bodies, and the commands around them, on
//! simulated ports.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "that is how a test fails"
)]

use rustix::process::Signal;
use serialproxy_e2e::port::Port;
use serialproxy_e2e::server::Server;
use serialproxy_e2e::server::program;
use serialproxy_e2e::within;

async fn rig(flags: &[&str]) -> (Server, Port) {
    let port = Port::new("switch").await;
    let [flag, line] = port.flag();
    let server = Server::start(&[&[flag.as_str(), line.as_str()], flags].concat()).await;
    port.accept().await;
    (server, port)
}

#[tokio::test]
async fn the_blueprint_s_example_gives_200_on_v2_and_202_on_v3_and_the_url() {
    let (server, port) = rig(&[]).await;
    let id = port.server();
    // It leads to the port on which the proxy listens, since base_url is not set.
    let base = format!("http://{}/serial.html?token=", server.proxy);
    for body in ["", "{}", r#"{"serial_console": null}"#, r#"{"serial_console": {}}"#] {
        for (path, status) in [
            (format!("/v2/any-tenant/servers/{id}/get-serial-console"), 200),
            (format!("/v3/servers/{id}/get-serial-console"), 202),
        ] {
            let answer = server.post(&path, body).await;
            assert_eq!(answer.status, status, "{path} {body}");
            let url = answer.json["serial_console"]["url"].as_str().unwrap();
            let token = url.strip_prefix(&base).unwrap();
            assert_eq!(uuid::Uuid::parse_str(token).unwrap().get_version_num(), 4);
            let keys = answer.json["serial_console"].as_object().unwrap().len();
            assert_eq!((keys, answer.json.as_object().unwrap().len()), (1, 1));
        }
    }
}

#[tokio::test]
async fn a_body_against_the_schema_is_400() {
    let (server, port) = rig(&[]).await;
    let id = port.server();
    for body in [
        "[]",
        "7",
        "{",
        r#"{"serial_console": 1}"#,
        r#"{"serial_console": []}"#,
        r#"{"serial_console": {"type": "serial"}}"#,
        r#"{"serial_console": {}, "more": 1}"#,
    ] {
        for path in [
            format!("/v2/t/servers/{id}/get-serial-console"),
            format!("/v3/servers/{id}/get-serial-console"),
        ] {
            let answer = server.post(&path, body).await;
            assert_eq!(answer.status, 400, "{body}");
            assert_eq!(answer.json["badRequest"]["code"], 400);
        }
    }
}

#[tokio::test]
async fn an_unknown_server_is_404_and_so_is_disconnecting_when_nobody_writes() {
    let (server, port) = rig(&[]).await;
    let unknown = uuid::Uuid::new_v4();
    let answer = server.post(&format!("/v3/servers/{unknown}/get-serial-console"), "").await;
    assert_eq!(answer.status, 404);
    assert!(answer.message().contains(&unknown.to_string()), "{}", answer.message());
    let path = format!("/v2/t/servers/{}/disconnect-serial-console", port.server());
    assert_eq!(server.post(&path, "").await.status, 404);
}

#[tokio::test]
async fn where_consoles_are_disabled_they_are_unavailable() {
    let port = Port::new("switch").await;
    let [flag, line] = port.flag();
    let server = Server::start(&["--serial_console-enabled=false", &flag, &line]).await;
    let path = format!("/v3/servers/{}/get-serial-console", port.server());
    let answer = server.post(&path, "").await;
    assert_eq!(answer.status, 400);
    assert_eq!(answer.message(), "Unavailable console type serial.");
}

#[tokio::test]
async fn without_a_token_the_api_answers_401_and_only_health_200() {
    let (server, _port) = rig(&[]).await;
    for path in ["/v1/lines", "/v1/sessions", "/v2.1/servers", "/v1/servers"] {
        let answer = reqwest::get(format!("{}{path}", server.api)).await.unwrap();
        assert_eq!(answer.status(), 401, "{path}");
    }
    let health = reqwest::get(format!("{}/healthz", server.api)).await.unwrap();
    assert_eq!(health.status(), 200);
}

#[tokio::test]
async fn under_noauth_the_header_names_the_user() {
    let (server, port) = rig(&["--api-auth_strategy", "noauth"]).await;
    let path = format!("{}/v3/servers/{}/get-serial-console", server.api, port.server());
    let answer = reqwest::Client::new().post(path).header("X-User", "alice").send().await.unwrap();
    assert_eq!(answer.status(), 202);
    let json: serde_json::Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
    let token = json["serial_console"]["url"].as_str().unwrap().split_once("token=").unwrap().1;
    // Its port hangs up, which would end a raw session.
    let _socket = serialproxy_e2e::socket::Socket::v1(&server.proxy, token, "").await;
    let path = format!("{}/v1/lines/{}/0", server.api, port.server());
    let line = reqwest::get(path).await.unwrap().bytes().await.unwrap();
    let line: serde_json::Value = serde_json::from_slice(&line).unwrap();
    assert_eq!(line["writer"]["user"], "alice");
}

#[tokio::test]
async fn the_client_prints_the_url_as_nova_does_and_refuses_other_types() {
    let (server, port) = rig(&[]).await;
    let table = server.client(&["get-serial-console", "switch", "serial"]).await;
    assert!(table.status.success());
    let text = String::from_utf8(table.stdout).unwrap();
    assert!(text.contains("| Type ") && text.contains("| serial |"), "{text}");

    let json = server.client(&["get-serial-console", &port.server(), "serial", "-f", "json"]).await;
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["type"], "serial");
    assert!(json["url"].as_str().unwrap().contains("?token="));

    let other = server.client(&["get-serial-console", "switch", "novnc"]).await;
    assert_eq!(other.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&other.stderr).contains("Unavailable console type novnc."));

    let missing = server.client(&["get-serial-console", "nobody", "serial"]).await;
    assert_eq!(missing.status.code(), Some(3));
}

#[tokio::test]
async fn the_terminal_page_is_protected() {
    let (server, _port) = rig(&["--console-frame_ancestors", "https://dashboard.example"]).await;
    for path in ["/", "/serial.html", "/any/path?token=x"] {
        let page = reqwest::get(format!("http://{}{path}", server.proxy)).await.unwrap();
        assert_eq!(page.status(), 200, "{path}");
        let header = |name: &str| page.headers()[name].to_str().unwrap().to_owned();
        let policy = header("content-security-policy");
        assert!(policy.contains("script-src 'self';"), "{policy}");
        assert!(policy.contains("frame-ancestors https://dashboard.example"), "{policy}");
        assert_eq!(header("referrer-policy"), "no-referrer");
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert_eq!(header("cache-control"), "no-store");
    }
    let outside = format!("http://{}/%2e%2e/etc/passwd", server.proxy);
    assert_eq!(reqwest::get(outside).await.unwrap().status(), 404);
}

#[tokio::test]
async fn a_second_program_on_the_same_state_is_refused() {
    let (server, _port) = rig(&[]).await;
    let second = tokio::process::Command::new(program())
        .args(["serve", "--compute-drivers", "static", "--api-listen", "127.0.0.1:0"])
        .arg("--state-dir")
        .arg(server.state())
        .kill_on_drop(true)
        .output();
    let second = within(second).await.unwrap();
    assert_eq!(second.status.code(), Some(1));
    let error = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(error.contains("another serialproxy uses"), "{error}");
}

#[tokio::test]
async fn tokens_outlive_a_restart() {
    let (mut server, port) = rig(&[]).await;
    let token = server.token(&port.server(), "").await;
    server.signal(Signal::KILL);
    let server = server.restart().await;
    port.accept().await;
    serialproxy_e2e::socket::Socket::raw(&server.proxy, &token).await;
}

#[tokio::test]
async fn a_bad_configuration_names_file_line_and_option_and_exits_with_2() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("bad.conf");
    std::fs::write(&file, "[serial_console]\nport_range = 30000:20000\nrecord = ture\n").unwrap();
    for command in [&["serve"][..], &["config", "check"]] {
        let run = tokio::process::Command::new(program())
            .args(command)
            .arg("--config-file")
            .arg(&file)
            .kill_on_drop(true)
            .output();
        let run = within(run).await.unwrap();
        assert_eq!(run.status.code(), Some(2));
        let error = String::from_utf8_lossy(&run.stderr).into_owned();
        assert!(error.contains("bad.conf:2") && error.contains("port_range"), "{error}");
        assert!(error.contains("bad.conf:3") && error.contains("record"), "{error}");
    }
}

#[tokio::test]
async fn a_role_that_does_not_run_apart_says_so() {
    for role in ["api", "compute", "proxy"] {
        let run = tokio::process::Command::new(program()).arg(role).kill_on_drop(true).output();
        let run = within(run).await.unwrap();
        assert_eq!(run.status.code(), Some(2));
        assert!(String::from_utf8_lossy(&run.stderr).contains("serialproxy serve"));
    }
}
