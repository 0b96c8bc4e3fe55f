//! The log: its two forms, its level while the program runs, and the request id of a call on every host.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "that is how a test fails"
)]

use std::fs;
use std::path::Path;

use reqwest::Method;
use rustix::process::Signal;
use serde_json::Value;
use serialproxy_e2e::cluster::Cluster;
use serialproxy_e2e::eventually;
use serialproxy_e2e::libvirtd::Libvirtd;
use serialproxy_e2e::server::Server;

const NOBODY: &str = "11111111-2222-4333-8444-555555555555";

/// Waits for a line of the log that has all these words.
async fn line(log: impl Fn() -> String, words: &[&str]) -> String {
    eventually(async || {
        let log = log();
        let found = log.lines().find(|line| words.iter().all(|word| line.contains(word)));
        found.map(str::to_owned)
    })
    .await
}

#[tokio::test]
async fn a_failed_call_is_one_line_of_json_that_names_its_request() {
    let server = Server::start(&["--log-format", "json"]).await;
    let refused = server.get(&format!("/v1/servers/{NOBODY}")).await;
    assert_eq!(refused.status, 404);
    let id = refused.headers["x-openstack-request-id"].to_str().unwrap();
    let found = line(|| server.log(), &[id]).await;
    let found: Value = serde_json::from_str(&found).unwrap();
    assert_eq!((&found["level"], &found["request_id"]), (&"WARN".into(), &id.into()));
    assert_eq!((&found["message"], &found["status"]), (&"answered".into(), &404.into()));
    assert!(found["timestamp"].as_str().unwrap().ends_with('Z'), "{found}");
    let log = server.log();
    assert_eq!(log.matches(id).count(), 1, "{log}");
    for line in log.lines() {
        let line: Value = serde_json::from_str(line).expect(line);
        assert!(
            ["timestamp", "level", "message"].iter().all(|key| line[key].is_string()),
            "{line}"
        );
    }
}

/// A program with this in its configuration file, whose path it returns.
async fn configured(directory: &Path, text: &str) -> (Server, std::path::PathBuf) {
    let file = directory.join("serialproxy.conf");
    fs::write(&file, text).unwrap();
    (Server::start(&["--config-file", file.to_str().unwrap()]).await, file)
}

#[tokio::test]
async fn sighup_applies_the_log_level_and_lists_what_needs_a_start() {
    let directory = tempfile::tempdir().unwrap();
    let (server, file) = configured(directory.path(), "[DEFAULT]\nlog_level = info\n").await;

    let changed = "[DEFAULT]\nlog_level = warn\n[consoleauth]\ntoken_ttl = 7\n";
    fs::write(&file, changed).unwrap();
    server.signal(Signal::HUP);
    let said = line(|| server.log(), &["WARN", "SIGHUP", "at the next start"]).await;
    assert!(said.contains("[consoleauth] token_ttl") && !said.contains("log_level"), "{said}");
    // A call that succeeds is logged at the level info.
    let call = server.get("/v1/servers").await;
    let unseen = call.headers["x-openstack-request-id"].to_str().unwrap().to_owned();
    let failed = server.get(&format!("/v1/servers/{NOBODY}")).await;
    let seen = failed.headers["x-openstack-request-id"].to_str().unwrap();
    line(|| server.log(), &[seen]).await;
    assert!(!server.log().contains(&unseen));
}

#[tokio::test]
async fn a_configuration_with_an_error_changes_nothing_at_sighup() {
    let directory = tempfile::tempdir().unwrap();
    let (server, file) = configured(directory.path(), "[DEFAULT]\nlog_level = info\n").await;

    fs::write(&file, "[DEFAULT]\nlog_level = error\n[consoleauth]\ntoken_ttl = soon\n").unwrap();
    server.signal(Signal::HUP);
    let said = line(|| server.log(), &["ERROR", "SIGHUP", "not changed"]).await;
    assert!(said.contains("token_ttl") && said.contains("soon"), "{said}");
    let call = server.get("/v1/servers").await;
    let id = call.headers["x-openstack-request-id"].to_str().unwrap();
    line(|| server.log(), &["INFO", id]).await;
}

#[tokio::test]
async fn sigusr1_turns_debug_messages_on_and_off() {
    let server = Server::start(&["--log-level", "info"]).await;
    server.signal(Signal::USR1);
    line(|| server.log(), &["SIGUSR1", "level=Debug"]).await;
    server.signal(Signal::USR1);
    line(|| server.log(), &["SIGUSR1", "level=Info"]).await;
}

#[tokio::test]
async fn an_error_of_libvirt_names_the_request_of_the_api_on_another_host() {
    let mut libvirt = Libvirtd::prepare();
    libvirt.start();
    let disk = "<disk type='file' device='disk'><source file='/nowhere/disk.img'/>\
                <target dev='vda' bus='virtio'/></disk>";
    libvirt.define("broken", NOBODY, disk);
    let cluster = Cluster::new(1).await;
    cluster.certify("ctl", &["api"]);
    cluster.certify("hv1", &["compute"]);
    let uri = libvirt.uri();
    let flags = ["--compute-drivers", "libvirt", "--libvirt-connection_uri", &uri];
    let compute = cluster.start("hv1", "compute", &flags).await;
    let api = cluster.start("ctl", "api", &[]).await;
    let path = format!("/v1/servers/{NOBODY}");
    eventually(async || (api.call(Method::GET, &path, "").await.status == 200).then_some(())).await;

    let refused = api.call(Method::POST, &format!("{path}/start"), "").await;
    assert!(refused.status >= 400, "{refused:?}");
    let id = refused.headers["x-openstack-request-id"].to_str().unwrap();
    let found = line(|| compute.log(), &["WARN", "could not start", NOBODY]).await;
    assert!(found.contains(&format!("request_id={id}")), "{found}");
    let found = line(|| api.log(), &["WARN", "power not changed", id]).await;
    assert!(found.contains(NOBODY), "{found}");
}
