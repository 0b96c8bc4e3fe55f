//! The commands of the documents, run as they are written, on a host with the guests that they name.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "that is how a test fails"
)]

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;
use std::path::PathBuf;
use std::process::Stdio;

use serde_json::json;
use serialproxy_e2e::eventually;
use serialproxy_e2e::guest::Host;
use serialproxy_e2e::server::program;
use serialproxy_e2e::within;
use tempfile::TempDir;
use tokio::process::Command;

/// The documents whose commands are run. Those of the others are read.
const RUN: [&str; 4] = ["README.md", "docs/access.md", "docs/images.md", "docs/urls.md"];

/// What is run of them; other tests build, install and serve.
const OURS: [&str; 5] = ["serialproxy", "curl", "TOKEN=", "SERVER=", "export TOKEN"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// The commands in a document's consoles, in their order: lines behind a prompt, and those that go on from
/// there, which are indented.
fn commands(document: &str) -> Vec<String> {
    let text = std::fs::read_to_string(root().join(document)).unwrap();
    let mut commands: Vec<String> = Vec::new();
    let (mut console, mut goes_on) = (false, false);
    for line in text.lines() {
        if line.starts_with("```") {
            console = line == "```console";
        } else if console
            && let Some(command) = line.strip_prefix("# ").or_else(|| line.strip_prefix("$ "))
        {
            let (command, _) = command.split_once("  #").unwrap_or((command, ""));
            commands.push(command.trim_end().to_owned());
            goes_on = true;
        } else if console && goes_on && line.starts_with("    ") {
            let command = commands.last_mut().unwrap();
            *command = format!("{command}\n{line}");
        } else {
            goes_on = false;
        }
    }
    commands
}

/// A shell in which the client is that of a test's server.
struct Shell {
    directory: TempDir,
    host: Host,
}

impl Shell {
    async fn new() -> Self {
        let host = Host::start(&["--compute-default_project", "admin"]).await;
        let directory = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(program(), directory.path().join("serialproxy")).unwrap();
        std::fs::write(directory.path().join("script.sh"), "echo typed\n").unwrap();
        std::fs::write(directory.path().join("new-password"), "correct horse battery\n").unwrap();
        Self { directory, host }
    }

    /// Runs commands in the order of a document, and says which one failed.
    async fn run(&self, commands: &[String]) {
        let state = self.host.server.state().join("admin-token");
        let mut script =
            "set -eEo pipefail\ntrap 'echo \"failed: $BASH_COMMAND\" >&2' ERR\n".to_owned();
        for command in commands {
            let command = command
                .replace("/var/lib/serialproxy/admin-token", state.to_str().unwrap())
                .replace("http://127.0.0.1:8774", &self.host.server.api);
            writeln!(script, "{}", bounded(&command)).unwrap();
        }
        let path =
            format!("{}:{}", self.directory.path().display(), std::env::var("PATH").unwrap());
        let run = Command::new("bash")
            .args(["-c", &script])
            .current_dir(self.directory.path())
            .env("PATH", path)
            .env("SERIALPROXY_API_URL", &self.host.server.api)
            .env("SERIALPROXY_TOKEN", self.host.server.admin_token())
            .env("XDG_CONFIG_HOME", "/nonexistent")
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output =
            tokio::time::timeout(4 * serialproxy_e2e::PATIENCE, run).await.unwrap().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
    }

    /// A guest that others made, with a pseudo-terminal.
    async fn guest_of_others(&self, name: &str) {
        let host = &self.host;
        let guest = host.boot(1).await;
        let xml = host.virsh(&["dumpxml", "--inactive", &guest.id]);
        let path = format!("/v1/servers/{}", guest.id);
        assert_eq!(host.server.call(reqwest::Method::DELETE, &path, "").await.status, 204);
        let without = |xml: &str, from: &str, to: &str| {
            let (before, rest) = xml.split_once(from).unwrap();
            format!("{before}{}", rest.split_once(to).unwrap().1)
        };
        let xml = without(&xml, "<metadata>", "</metadata>");
        let xml = without(&xml, "<serial", "</serial>");
        let xml = without(&xml, "<console", "</console>");
        let xml =
            xml.replace(&guest.name, name).replace("</devices>", "<serial type='pty'/></devices>");
        let file = self.directory.path().join("domain.xml");
        std::fs::write(&file, xml).unwrap();
        host.virsh(&["define", file.to_str().unwrap()]);
        host.virsh(&["start", name]);
        host.status(&guest, "ACTIVE").await;
    }

    async fn boot(&self, name: &str) {
        let booted = self.host.try_boot(name, &json!({"serial_ports": "2"})).await;
        assert_eq!(booted.status, 201, "{:?}", booted.json);
    }

    async fn has_console(&self, name: &str) {
        eventually(async || {
            let lines = self.host.server.get("/v1/lines").await.json;
            let mut lines = lines["lines"].as_array().unwrap().iter();
            lines
                .any(|line| line["server"]["name"] == name && line["state"] == "connected")
                .then_some(())
        })
        .await;
    }
}

/// A command with what a person at the terminal adds to it.
fn bounded(command: &str) -> String {
    let watches = command.starts_with("serialproxy connect") && command.contains(" --watch");
    if watches || command.contains(" --follow") {
        // Who looks on leaves by Ctrl-C.
        return format!("timeout --signal INT 2 {command} || [ $? = 124 ]");
    }
    if let Some(rest) = command.strip_prefix("serialproxy boot ") {
        // Nobody does anything with a guest before it has booted.
        let name = rest.split_whitespace().next().unwrap();
        let prompt = format!("timeout 60 serialproxy log {name} | grep -q '/root #'");
        return format!("{command}\nuntil {prompt}; do sleep 0.5; done");
    }
    if command.contains(" --restart") {
        // It is shown as the other way to do the same.
        return format!("serialproxy adopt db1 --undo\ntimeout 100 {command}");
    }
    if command.starts_with("serialproxy user add") {
        return format!("echo 'correct horse battery' | {command}");
    }
    if command.starts_with("serialproxy disconnect") {
        // Nobody types here.
        return format!("{command} || [ $? = 3 ]");
    }
    if command.starts_with("serialproxy ") {
        return format!("timeout 60 {command}");
    }
    command.to_owned()
}

/// README.md and all below docs/.
fn documents() -> Vec<String> {
    let docs = std::fs::read_dir(root().join("docs")).unwrap();
    let names = docs.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let documents = names.filter(|name| name.ends_with(".md")).map(|name| format!("docs/{name}"));
    documents.chain(["README.md".to_owned()]).collect()
}

/// What the links of a document lead to.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let targets = text.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0));
    targets.filter(|target| !target.contains("://"))
}

/// What a link names a heading by.
fn anchor(heading: &str) -> String {
    let heading = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || "_- ".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn every_link_between_documents_leads_to_a_file_and_a_heading_that_exist() {
    let more = ["ARCHITECTURE.md", "CHANGELOG.md", "SECURITY.md"].map(str::to_owned);
    let mut broken = Vec::new();
    for document in documents().into_iter().chain(more) {
        let own = root().join(&document);
        for link in links(&std::fs::read_to_string(&own).unwrap()) {
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let path = if file.is_empty() { own.clone() } else { own.with_file_name(file) };
            let has_heading = || {
                let text = std::fs::read_to_string(&path).unwrap_or_default();
                text.lines()
                    .filter(|line| line.starts_with('#'))
                    .any(|line| anchor(line) == heading)
            };
            let found = if heading.is_empty() { path.exists() } else { has_heading() };
            if !found {
                broken.push(format!("{document}: {link}"));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[tokio::test]
async fn every_serialproxy_command_of_the_documents_has_the_words_and_flags_that_it_uses() {
    let mut script = format!(
        "serialproxy() {{ '{}' \"$@\" --help >/dev/null || wrong=1; }}\n",
        program().display()
    );
    let mut count = 0;
    for document in documents() {
        for command in commands(&document).iter().filter(|c| c.starts_with("serialproxy ")) {
            let (command, _) = command.split_once(['<', '>', '|']).unwrap_or((command, ""));
            writeln!(script, "{command}").unwrap();
            count += 1;
        }
    }
    assert!(count > 40, "only {count} commands were found");
    script += "exit $wrong";
    let run = Command::new("bash").args(["-c", &script]).output();
    let output = within(run).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
async fn the_certificate_and_key_in_tls_md_are_the_files_that_the_program_makes() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new(program());
    command.args(["tls", "self-signed", "--host", "console.example.org", "--out"]);
    command.arg(directory.path()).arg("--state-dir").arg(directory.path());
    let made = within(command.output()).await.unwrap();
    assert!(made.status.success(), "{made:?}");
    let text = std::fs::read_to_string(root().join("docs/tls.md")).unwrap();
    let ends = text.split("/etc/serialproxy/").skip(1).filter_map(|rest| rest.split_once(".pem"));
    let is_name = |name: &&str| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    let names: BTreeSet<&str> = ends.map(|(name, _)| name).filter(is_name).collect();
    assert!(names.len() > 1, "{names:?}");
    for name in names {
        assert!(directory.path().join(format!("{name}.pem")).exists(), "{name}.pem");
    }
}

#[tokio::test]
async fn the_commands_of_the_documents_do_what_they_say() {
    let shell = Shell::new().await;
    shell.boot("demo").await;
    shell.guest_of_others("db1").await;
    shell.has_console("demo").await;
    shell.has_console("db1").await;
    for document in RUN {
        let ours = |command: &String| OURS.iter().any(|ours| command.starts_with(ours));
        let commands: Vec<String> = commands(document).into_iter().filter(ours).collect();
        assert!(!commands.is_empty(), "{document}");
        shell.run(&commands).await;
    }
}
