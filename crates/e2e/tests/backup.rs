//! `docs/backup.md`: what is backed up can be restored, and a program that is too old for the state says so.

#![allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "that is how a test fails")]

use std::path::Path;
use std::process::Stdio;

use rustix::process::Signal;
use serialproxy_e2e::rig::Rig;
use serialproxy_e2e::server::program;
use serialproxy_e2e::stderr;
use serialproxy_e2e::within;
use tokio::process::Command;

/// The commands of a section of the document, but those for the service and for `/etc`.
fn commands(section: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/backup.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (_, section) = text.split_once(&format!("\n## {section}\n")).unwrap();
    let (_, console) = section.split_once("```console\n").unwrap();
    let (console, _) = console.split_once("```").unwrap();
    let commands = console.lines().map(|line| line.strip_prefix("# ").unwrap().to_owned());
    commands.filter(|line| !line.contains("systemctl") && !line.contains("/etc")).collect()
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
    run(&commands("Backup"), rig.server.state(), &backup).await;
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
    run(&commands("Restore"), rig.server.state(), &backup).await;
    let restored = rig.server.restart().await;
    assert_eq!(restored.admin_token(), admin);
    let users = restored.get("/v1/users").await.json;
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
