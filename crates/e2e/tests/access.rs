//! Who may come in, with the whole program: tokens and users that are made while it runs, and
//! projects that do not see each other.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "that is how a test fails")]

use std::process::Output;
use std::process::Stdio;

use serde_json::Value;
use serde_json::json;
use serialproxy_e2e::cloud::Cloud;
use serialproxy_e2e::cloud::Fault;
use serialproxy_e2e::guest::Host;
use serialproxy_e2e::port::Guest;
use serialproxy_e2e::port::Port;
use serialproxy_e2e::server::Server;
use serialproxy_e2e::socket::Socket;
use serialproxy_e2e::within;
use tokio::io::AsyncWriteExt;

/// A server `switch` of the project `team-a`, with a connected port.
struct Rig {
    server: Server,
    port: Port,
    guest: Guest,
}

async fn rig(flags: &[&str]) -> Rig {
    let port = Port::new("switch").await;
    let [flag, line] = port.flag();
    let own = [flag.as_str(), line.as_str(), "--compute-project", "switch team-a"];
    let server = Server::start(&[&own[..], flags].concat()).await;
    let guest = port.accept().await;
    Rig { server, port, guest }
}

impl Rig {
    /// A new API token.
    async fn token(&self, name: &str, project: &str, role: &str) -> String {
        let add = ["token", "add", name, "--project", project, "--role", role];
        let made = self.server.client(&add).await;
        assert!(made.status.success(), "{made:?}");
        String::from_utf8(made.stdout).unwrap().trim().to_owned()
    }

    /// Runs the client with that API token.
    async fn client_as(&self, token: &str, arguments: &[&str]) -> Output {
        let mut command = self.server.command(arguments);
        let command = command.env("SERIALPROXY_TOKEN", token).stdin(Stdio::null());
        within(command.output()).await.unwrap()
    }

    /// A console token that this caller gets.
    async fn console(&self, token: &str, query: &str) -> (u16, String) {
        let server = self.port.server();
        let url = format!("{}/v3/servers/{server}/get-serial-console{query}", self.server.api);
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let answer = within(http.post(url).header("x-auth-token", token).send()).await.unwrap();
        let status = answer.status().as_u16();
        let json: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        let url = json["serial_console"]["url"].as_str().unwrap_or_default();
        (status, url.split_once("token=").map_or_else(String::new, |(_, token)| token.to_owned()))
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[tokio::test]
async fn tokens_are_made_while_the_program_runs_and_each_sees_its_project() {
    let rig = rig(&[]).await;
    let reader = rig.token("rita", "team-a", "reader").await;
    let member = rig.token("mia", "team-a", "member").await;
    let stranger = rig.token("otto", "team-b", "member").await;
    let url = ["get-serial-console", "switch", "serial"];
    for (token, sees, code) in [(&reader, true, 1), (&member, true, 0), (&stranger, false, 3)] {
        let servers = rig.client_as(token, &["servers"]).await;
        assert_eq!(said(&servers).contains("switch"), sees, "{servers:?}");
        let console = rig.client_as(token, &url).await;
        assert_eq!(console.status.code(), Some(code), "{console:?}");
    }
    let refused = rig.client_as(&reader, &url).await;
    let told = "You are a reader in project team-a; typing needs a member. --watch works.";
    assert!(said(&refused).contains(told), "{refused:?}");
    let watching = rig.client_as(&reader, &[&url[..], &["--watch"]].concat()).await;
    assert!(said(&watching).contains("?token="), "{watching:?}");

    let revoked = rig.server.client(&["token", "revoke", "mia"]).await;
    assert!(revoked.status.success(), "{revoked:?}");
    let refused = rig.client_as(&member, &["servers"]).await;
    assert_eq!(refused.status.code(), Some(1));
    assert!(said(&refused).contains("SERIALPROXY_TOKEN"), "{refused:?}");
    assert!(!rig.server.log().contains(&reader), "a token is in the log");
}

#[tokio::test]
async fn a_reader_watches_what_a_member_types() {
    let mut rig = rig(&[]).await;
    let (reader, member) =
        (rig.token("rita", "team-a", "reader").await, rig.token("mia", "team-a", "member").await);
    let (status, watch) = rig.console(&reader, "?mode=watch").await;
    assert_eq!(status, 202);
    let mut watcher = Socket::v1(&rig.server.proxy, &watch, "").await;
    let hello = watcher.message("hello").await;
    assert_eq!((&hello["mode"], &hello["can"]), (&json!("watch"), &json!([])));
    let (_, write) = rig.console(&member, "").await;
    let mut writer = Socket::v1(&rig.server.proxy, &write, "").await;
    assert_eq!(writer.message("hello").await["user"], "mia");
    writer.send("hello").await;
    assert_eq!(rig.guest.typed(5).await, b"hello");
    rig.guest.print(b"who is there").await;
    watcher.output_with(b"who is there").await;
}

#[tokio::test]
async fn a_user_is_added_with_a_password_from_stdin_and_logs_in_with_it() {
    let rig = rig(&["--api-auth_strategy", "http_basic"]).await;
    let add = ["user", "add", "alice", "--project", "team-a", "--role", "member"];
    let mut command = rig.server.command(&add);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"correct horse\n").await.unwrap();
    let added = within(child.wait_with_output()).await.unwrap();
    assert!(said(&added).contains("alice"), "{added:?}");

    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let user = json!({"name": "alice", "domain": {"id": "default"}, "password": "correct horse"});
    let identity = json!({"methods": ["password"], "password": {"user": user}});
    let login = http.post(format!("{}/v3/auth/tokens", rig.server.api));
    let login = login
        .header("Content-Type", "application/json")
        .body(json!({"auth": {"identity": identity}}).to_string());
    let answer = within(login.send()).await.unwrap();
    assert_eq!(answer.status(), 201);
    let token = answer.headers()["x-subject-token"].to_str().unwrap().to_owned();
    assert_eq!(rig.console(&token, "").await.0, 202);
    let call = http.get(format!("{}/v2.1/servers", rig.server.api));
    let call = call.basic_auth("alice", Some("correct horse"));
    let servers = within(call.send()).await.unwrap().bytes().await.unwrap();
    assert!(String::from_utf8_lossy(&servers).contains("switch"));
    for secret in ["correct horse", &token] {
        assert!(!rig.server.log().contains(secret), "a secret is in the log");
    }
}

#[tokio::test]
async fn a_keystone_that_goes_away_ends_no_session_and_lets_nobody_else_in() {
    let cloud = Cloud::start().await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("serialproxy.conf");
    let config = "[serial_console]\nenabled = true\n[api]\nauth_strategy = keystone\n";
    std::fs::write(&file, config.to_owned() + &cloud.login("keystone_authtoken")).unwrap();
    let mut rig = rig(&["--config-file", file.to_str().unwrap()]).await;
    let member = cloud.user_token("alice", "team-a", &["member", "reader"]);
    let stranger = cloud.user_token("otto", "team-b", &["member"]);
    let other = cloud.user_token("mia", "team-a", &["member"]);
    assert_eq!(rig.console(&stranger, "").await.0, 404);
    let (_, write) = rig.console(&member, "").await;
    let mut writer = Socket::v1(&rig.server.proxy, &write, "").await;
    assert_eq!(writer.message("hello").await["user"], "alice");

    cloud.fail(Some(("/v3", Fault::Status(500))));
    assert_eq!(rig.console(&other, "").await.0, 503);
    writer.send("still here").await;
    assert_eq!(rig.guest.typed(10).await, b"still here");
    rig.guest.print(b"so am I").await;
    writer.output_with(b"so am I").await;
}

#[tokio::test]
async fn a_guest_that_comes_to_another_project_leaves_its_old_people_behind() {
    let host = Host::start(&[]).await;
    let guest = host.boot(1).await;
    let shown = host.server.get(&format!("/v1/servers/{}", guest.id)).await;
    assert_eq!(shown.json["server"]["project"], "admin", "of whom booted it");
    let token = host.server.token(&guest.id, "?mode=watch").await;
    let watcher = Socket::v1(&host.server.proxy, &token, "").await;
    let mark = "<guest image='demo' project='team-b'/>";
    let namespace = ["--uri", "urn:serialproxy:guest:1", "--key", "serialproxy", "--set", mark];
    host.virsh(&[&["metadata", &guest.id][..], &namespace, &["--live", "--config"]].concat());
    let (code, reason) = watcher.closed().await;
    assert!(code == 4006 && reason.contains("belongs to another project now"), "{code} {reason}");
    let shown = host.server.get(&format!("/v1/servers/{}", guest.id)).await;
    assert_eq!(shown.json["server"]["project"], "team-b");
    let path = format!("/?token={token}");
    let refused = Socket::refused(&host.server.proxy, &path, &[]).await;
    assert_eq!(refused.status, 401, "the old token has ended");
}
