//! `docs/backup.md`: what is backed up can be restored, and a program that is too old for the state says so.

#![allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "that is how a test fails")]

use std::path::Path;
use std::process::Stdio;

use reqwest::Method;
use rustix::process::Signal;
use serialproxy_e2e::cluster::Cluster;
use serialproxy_e2e::rig::Rig;
use serialproxy_e2e::server::program;
use serialproxy_e2e::stderr;
use serialproxy_e2e::within;
use tokio::process::Command;

/// The commands of a section of the document, but those for services and for `/etc`.
fn commands(section: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/backup.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (_, section) = text.split_once(&format!("\n## {section}\n")).unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let lines = section.lines().filter_map(|line| line.strip_prefix("# ").map(str::to_owned));
    let others = ["systemctl", "-C /etc", "chown -R etcd"];
    lines.filter(|line| !others.iter().any(|other| line.contains(other))).collect()
}

/// Those of them that are for etcd, or the others.
fn of_etcd(section: &str, of_etcd: bool) -> Vec<String> {
    commands(section).into_iter().filter(|line| line.contains("etcdctl") == of_etcd).collect()
}

/// Runs them on another state directory and backup.
async fn run(commands: &[String], state: &Path, backup: &Path) {
    let script = ["set -e".to_owned()].iter().chain(commands).cloned().collect::<Vec<_>>();
    let script = script
        .join("\n")
        .replace("/var/backups/serialproxy", backup.to_str().unwrap())
        .replace("/var/lib/serialproxy", state.to_str().unwrap());
    let run = Command::new("bash").args(["-c", &script]).stdin(Stdio::null()).output();
    let output = within(run).await.unwrap();
    assert!(output.status.success(), "{script}\n{}", stderr(&output));
}

#[tokio::test]
async fn what_was_backed_up_while_the_program_ran_is_restored() {
    let mut rig = Rig::start(&[]).await;
    let admin = rig.server.admin_token();
    let user = r#"{"name": "alice", "password": "correct horse battery", "role": "member", "project": "a"}"#;
    assert_eq!(rig.server.post("/v1/users", user).await.status, 201);
    let backup = tempfile::tempdir().unwrap();
    let backup = backup.path().join("serialproxy");
    run(&of_etcd("Backup", false), rig.server.state(), &backup).await;
    let _later = rig.server.post("/v1/users", &user.replace("alice", "bob")).await;
    rig.server.signal(Signal::TERM);
    rig.server.ended().await;
    for entry in std::fs::read_dir(rig.server.state()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            std::fs::remove_dir_all(path).unwrap();
        } else {
            std::fs::remove_file(path).unwrap();
        }
    }
    run(&of_etcd("Restore", false), rig.server.state(), &backup).await;
    let restored = rig.server.restart().await;
    assert_eq!(restored.admin_token(), admin);
    let users = restored.get("/v1/users").await.json;
    let names = users["users"].as_array().unwrap().iter().map(|user| &user["name"]);
    assert_eq!(names.collect::<Vec<_>>(), ["alice"]);
}

/// Lets `tar` pause after each block of 10 KiB, as if the trail was large.
const SLOW_TAR: &str = r#"
cat >DIRECTORY/tar <<'END'
#!/bin/sh
PATH=${PATH#*:}
exec tar --checkpoint=1 --checkpoint-action='exec=sleep 0.05' "$@"
END
chmod 755 DIRECTORY/tar
PATH=DIRECTORY:$PATH"#;

#[tokio::test]
async fn a_trail_that_was_copied_while_it_grew_is_whole() {
    let rig = Rig::start(&["--audit-max_size=64K"]).await;
    let busy = async {
        loop {
            rig.token("").await;
        }
    };
    let directory = tempfile::tempdir().unwrap();
    let slow = SLOW_TAR.replace("DIRECTORY", directory.path().to_str().unwrap());
    let copy = [vec![slow], of_etcd("Backup", false)].concat();
    let copies = async {
        for round in 0..3 {
            let place = directory.path().join(round.to_string());
            let (backup, state) = (place.join("backup"), place.join("state"));
            run(&copy, rig.server.state(), &backup).await;
            run(&of_etcd("Restore", false), &state, &backup).await;
            let mut verify = Command::new(program());
            verify.args(["verify", "--audit", "--state-dir"]).arg(&state);
            let verified = within(verify.output()).await.unwrap();
            assert!(verified.status.success(), "{verified:?}");
            let copied = std::fs::read_dir(state.join("audit")).unwrap().count();
            assert!(copied > 2, "no trail was copied");
        }
    };
    tokio::select! {
        () = busy => {}
        () = copies => {}
    }
}

#[tokio::test]
async fn an_etcd_that_was_restored_has_what_it_had_at_the_snapshot() {
    let mut cluster = Cluster::new(1).await;
    cluster.certify("h1", &["api"]);
    let api = cluster.start("h1", "api", &[]).await;
    let admin = api.admin_token();
    let user = r#"{"name": "alice", "password": "correct horse battery", "role": "member", "project": "a"}"#;
    assert_eq!(api.call(Method::POST, "/v1/users", user).await.status, 201);
    let directory = tempfile::tempdir().unwrap();
    let backup = directory.path();
    let endpoint = format!("export ETCDCTL_ENDPOINTS={}", cluster.etcd.endpoints()[0]);
    let commands = [vec![endpoint], of_etcd("Backup", true)].concat();
    run(&commands, Path::new("/nonexistent"), backup).await;
    let later = user.replace("alice", "bob");
    assert_eq!(api.call(Method::POST, "/v1/users", &later).await.status, 201);

    api.stop().await;
    cluster.etcd.kill(0);
    let data = cluster.etcd.data(0);
    std::fs::remove_dir_all(&data).unwrap();
    let place = |line: String| {
        line.replace("/var/lib/etcd/restored", data.to_str().unwrap())
            .replace("http://127.0.0.1:2380", &cluster.etcd.peer_url(0))
    };
    let commands: Vec<_> = of_etcd("Restore", true).into_iter().map(place).collect();
    run(&commands, Path::new("/nonexistent"), backup).await;
    cluster.etcd.restart(0).await;
    let api = cluster.start("h1", "api", &[]).await;
    assert_eq!(api.admin_token(), admin);
    let users = api.call(Method::GET, "/v1/users", "").await.json;
    let names = users["users"].as_array().unwrap().iter().map(|user| &user["name"]);
    assert_eq!(names.collect::<Vec<_>>(), ["alice"]);
}

#[tokio::test]
async fn a_program_that_is_older_than_its_state_names_both_versions_and_changes_nothing() {
    let mut rig = Rig::start(&[]).await;
    rig.server.signal(Signal::TERM);
    rig.server.ended().await;
    let store = rig.server.state().join("serialproxy.sqlite");
    let sqlite = async |sql: &str| {
        let run = Command::new("sqlite3").arg(&store).arg(sql).output();
        let output = within(run).await.unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    sqlite("CREATE TABLE of_the_newer (a); PRAGMA user_version = 99").await;
    let run = Command::new(program())
        .args(["serve", "--api-listen=127.0.0.1:0", "--serial_console-serialproxy_port=0"])
        .arg("--compute-drivers=static")
        .arg("--state-dir")
        .arg(rig.server.state())
        .stdin(Stdio::null())
        .output();
    let output = within(run).await.unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    let words = ["schema version 99", "run the newer serialproxy, or restore the backup"];
    assert!(words.iter().all(|words| said.contains(words)), "{said}");
    assert_eq!(sqlite("SELECT count(*) FROM of_the_newer; PRAGMA user_version").await, "0\n99\n");
}
