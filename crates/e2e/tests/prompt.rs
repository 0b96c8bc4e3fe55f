//! Scripts at the prompts of a real guest: what is typed, awaited and run.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "that is how a test fails"
)]

use std::process::Stdio;

use rustix::process::Pid;
use rustix::process::Signal;
use rustix::process::kill_process;
use serde_json::Value;
use serde_json::json;
use serialproxy_e2e::address::free_port;
use serialproxy_e2e::eventually;
use serialproxy_e2e::guest::Guest;
use serialproxy_e2e::guest::Host;
use serialproxy_e2e::network::Network;
use serialproxy_e2e::socket::Socket;
use serialproxy_e2e::stderr;
use serialproxy_e2e::stdout;
use serialproxy_e2e::within;
use tokio::io::AsyncReadExt;
use tokio::process::Child;

/// A guest with nobody at its shell's prompt.
struct Prompt {
    host: Host,
    guest: Guest,
}

impl Prompt {
    async fn new() -> Self {
        Self::at(Host::fixed().await).await
    }

    /// With a network between the clients and the proxy.
    async fn over_network() -> (Self, Network) {
        let near = free_port();
        let url = format!("http://127.0.0.1:{near}/serial.html");
        let prompt = Self::at(Host::start(&["--serial_console-base_url", &url]).await).await;
        let (_, port) = prompt.host.server.proxy.rsplit_once(':').unwrap();
        let network = Network::new(near, port.parse().unwrap()).await;
        (prompt, network)
    }

    async fn at(host: Host) -> Self {
        let guest = host.boot(1).await;
        host.shell(&guest, 0).await.0.say(r#"{"type":"pen","do":"release"}"#).await;
        let prompt = Self { host, guest };
        prompt.is_free().await;
        prompt
    }

    async fn is_free(&self) {
        eventually(async || {
            let line = self.host.server.line(&self.guest.id, 0).await;
            line["writer"].is_null().then_some(())
        })
        .await;
    }

    /// Types; returns the answer.
    async fn send(&self, text: &str) -> Value {
        let path = format!("/v1/lines/{}/0/send", self.guest.id);
        let answer = self.host.server.post(&path, &json!({"text": text}).to_string()).await;
        assert_eq!(answer.status, 200, "{}", answer.json);
        answer.json
    }

    async fn wait(&self, body: Value) -> Value {
        let path = format!("/v1/lines/{}/0/wait", self.guest.id);
        let answer = self.host.server.post(&path, &body.to_string()).await;
        assert_eq!(answer.status, 200, "{}", answer.json);
        answer.json
    }

    /// Types, and waits for what matches in the echo and the answer.
    async fn answered(&self, text: &str, regex: &str) -> String {
        let sent = self.send(text).await;
        let body = json!({"regex": regex, "from": sent["offset"], "line": sent["line"]});
        let found = self.wait(body).await;
        assert_eq!(found["matched"], true, "{regex}: {found}");
        found["text"].as_str().unwrap().to_owned()
    }

    /// Runs a command of the client; returns exit code, stdout and stderr.
    async fn client(&self, arguments: &[&str]) -> (i32, String, String) {
        let output = self.host.server.client(arguments).await;
        (output.status.code().unwrap(), stdout(&output), stderr(&output))
    }

    /// Runs a command at the guest.
    async fn run(&self, command: &str) -> (i32, String, String) {
        self.client(&["run", &self.guest.name, command]).await
    }

    /// Begins to run a command at the guest, and waits until it has printed `begun`.
    async fn begin(&self, command: &str) -> Child {
        let from = self.host.server.line(&self.guest.id, 0).await["offset"].clone();
        let mut client = self.host.server.command(&["run", &self.guest.name, command]);
        let mut client = client.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let found = self.wait(json!({"regex": "^begun$", "from": from})).await;
        assert_eq!(found["matched"], true, "{found}");
        let mut printed = [0; 6];
        within(client.stdout.as_mut().unwrap().read_exact(&mut printed)).await.unwrap();
        assert_eq!(&printed, b"begun\n");
        client
    }
}

#[tokio::test]
async fn a_command_goes_on_over_a_broken_network_and_all_of_its_output_comes_once() {
    let (prompt, network) = Prompt::over_network().await;
    let count = "i=0; while [ $i -lt 300 ]; do i=$((i+1)); echo line $i; done";
    let from = prompt.host.server.line(&prompt.guest.id, 0).await["offset"].clone();
    let mut client = prompt.begin(&format!("echo begun; sleep 2; {count}; exit 7")).await;
    network.refuse();
    let all = json!({"regex": "^line 300$", "from": from});
    assert_eq!(prompt.wait(all).await["matched"], true);
    network.mend().await;
    let mut printed = String::new();
    within(client.stdout.as_mut().unwrap().read_to_string(&mut printed)).await.unwrap();
    let lines: Vec<String> = (1..=300).map(|line| format!("line {line}\n")).collect();
    assert_eq!(printed, lines.concat());
    let output = within(client.wait_with_output()).await.unwrap();
    assert_eq!(output.status.code(), Some(7), "{output:?}");
    assert_eq!(stderr(&output), "");
}

#[tokio::test]
async fn a_command_whose_connection_is_back_ends_where_somebody_took_over_or_the_guest_booted() {
    let (prompt, network) = Prompt::over_network().await;
    let client = prompt.begin("echo begun; sleep 600").await;
    network.refuse();
    let token = prompt.host.server.token(&prompt.guest.id, "").await;
    let mut other = Socket::v1(&prompt.host.server.proxy, &token, "&mode=watch").await;
    let own = other.message("hello").await["session"].clone();
    other.say(r#"{"type":"pen","do":"force"}"#).await;
    within(async { while other.message("pen").await["session"] != own {} }).await;
    network.mend().await;
    let output = within(client.wait_with_output()).await.unwrap();
    assert_eq!(output.status.code(), Some(4), "{output:?}");
    assert!(stderr(&output).contains("is typing now: the command may still run"), "{output:?}");

    other.send("\x03").await;
    other.say(r#"{"type":"pen","do":"release"}"#).await;
    prompt.is_free().await;
    let client = prompt.begin("echo begun; sleep 600").await;
    network.refuse();
    let reset = format!("/v1/servers/{}/reset", prompt.guest.id);
    assert_eq!(prompt.host.server.post(&reset, "").await.status, 202);
    eventually(async || {
        let line = prompt.host.server.line(&prompt.guest.id, 0).await;
        (line["epoch"] == 2 && line["state"] == "connected").then_some(())
    })
    .await;
    network.mend().await;
    let output = within(client.wait_with_output()).await.unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(stderr(&output).contains("booted: the command did not end"), "{output:?}");
}

#[tokio::test]
async fn a_script_logs_in_over_rest_and_is_answered_over_wraps_and_colors() {
    let prompt = Prompt::new().await;
    assert_eq!(prompt.answered("exec login\r", "^demo login: $").await, "demo login: ");
    eventually(async || {
        let line = prompt.host.server.line(&prompt.guest.id, 0).await;
        (line["last_line"] == "demo login:").then_some(())
    })
    .await;
    let before = prompt.host.server.line(&prompt.guest.id, 0).await["bytes_in"].clone();
    let (code, printed, said) = prompt.run("uname -r").await;
    assert_eq!((code, printed.as_str()), (1, ""), "{said}");
    let name = &prompt.guest.name;
    let words = format!("{name} is at a login prompt: log in first");
    assert!(said.contains(&words), "{said}");
    let after = prompt.host.server.line(&prompt.guest.id, 0).await["bytes_in"].clone();
    assert_eq!(before, after, "nothing was typed");

    // The echo of the kernel at the prompt, and then the shell's.
    prompt.answered("root\r", "^root(\n.*)*# $").await;
    let long = "abcdefghi ".repeat(20);
    let command = format!("echo {long}");
    let sent = prompt.send(&format!("{command}\r")).await;
    let text = json!({"text": command.trim(), "from": sent["offset"], "timeout": 20});
    assert_eq!(prompt.wait(text).await["matched"], true, "the echo is wrapped");
    assert_eq!(prompt.answered("printf 'gr\\033[32mee\\033[0mn\\n'\r", "^green$").await, "green");

    let (code, printed, said) =
        prompt.client(&["expect", name, "--regex", "gre+n", "--from", "start"]).await;
    assert_eq!((code, printed.as_str()), (0, "green\n"), "{said}");
    let (code, offset, said) = prompt.client(&["send", name, "echo th\"\"ere"]).await;
    assert_eq!(code, 0, "{said}");
    let expect = ["expect", name, "--text", "there", "--from", offset.trim(), "--timeout", "20"];
    assert_eq!(prompt.client(&expect).await.0, 0);
    let none = ["expect", name, "--text", "login incorrect", "--timeout", "0"];
    let (code, _, said) = prompt.client(&none).await;
    assert!(code == 1 && said.contains("no match within 0 s"), "{said}");
}

#[tokio::test]
async fn a_wait_goes_on_while_the_guest_reboots() {
    let prompt = Prompt::new().await;
    let reset = format!("/v1/servers/{}/reset", prompt.guest.id);
    let body = json!({"regex": "Linux version [0-9.]+", "timeout": 100});
    let reset = async {
        let answer = prompt.host.server.post(&reset, "").await;
        assert_eq!(answer.status, 202);
    };
    let (found, ()) = tokio::join!(prompt.wait(body), reset);
    assert_eq!(found["matched"], true, "{found}");
}

#[tokio::test]
async fn a_command_prints_what_it_prints_at_the_guest_and_exits_as_it_does() {
    let prompt = Prompt::new().await;
    let long = format!("echo {}", "wide ".repeat(100).trim());
    for (command, code, printed) in [
        ("uname -s", 0, "Linux\n"),
        ("echo out; echo err >&2; exit 7", 7, "out\nerr\n"),
        ("printf '\\033[31mred\\033[0m'; false", 1, "\x1b[31mred\x1b[0m"),
        ("for i in 1 2\ndo\n\techo \"it's $i!\"\ndone", 0, "it's 1!\nit's 2!\n"),
        ("x=1; cd /proc; read y; pwd", 0, "/proc\n"),
        ("echo ${x-unset}; pwd", 0, "unset\n/root\n"),
        ("syntax ( error", 2, ""),
        (&long, 0, &format!("{}\n", &long[5..])),
    ] {
        let (exited, out, said) = prompt.run(command).await;
        assert_eq!(exited, code, "{command}: {out} {said}");
        match printed {
            // What the shell says of it.
            "" => assert!(out.contains("syntax error"), "{out}"),
            printed => assert_eq!(out, printed, "{command}"),
        }
        assert_eq!(said, "");
    }
    let (code, out, said) = prompt.run("seq 1 180000").await;
    assert_eq!(code, 0, "{said}");
    let all: String = (1..=180_000).map(|number| format!("{number}\n")).collect();
    assert!(all.len() > 1 << 20 && out == all, "{} bytes of {}", out.len(), all.len());
    prompt.is_free().await;
}

#[tokio::test]
async fn a_command_that_does_not_end_is_interrupted_in_time_and_by_a_signal() {
    let prompt = Prompt::new().await;
    let name = prompt.guest.name.clone();
    let (code, out, said) =
        prompt.client(&["run", &name, "--timeout", "20", "echo begun; sleep 600"]).await;
    assert_eq!((code, out.as_str()), (1, "begun\n"));
    assert!(said.contains("did not end within 20 s"), "{said}");
    assert_eq!(prompt.run("echo again").await.1, "again\n");

    let client = prompt.begin("echo begun; sleep 600").await;
    let pid = Pid::from_raw(client.id().unwrap().try_into().unwrap()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    let output = within(client.wait_with_output()).await.unwrap();
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(1), ""));
    prompt.is_free().await;
    assert_eq!(prompt.run("ps | grep -c '[s]leep 600'").await.1, "0\n");
}

#[tokio::test]
async fn where_somebody_else_types_nothing_is_run_or_sent() {
    let prompt = Prompt::new().await;
    let name = prompt.guest.name.clone();
    let client = prompt.begin("echo begun; sleep 600").await;
    let (code, _, said) = prompt.client(&["send", &name, "x"]).await;
    assert!(code == 4 && said.contains("busy: admin since"), "{said}");
    // A request is refused, and a take-over ends the command's client.
    let token = prompt.host.server.token(&prompt.guest.id, "").await;
    let mut other = Socket::v1(&prompt.host.server.proxy, &token, "&mode=watch").await;
    other.say(r#"{"type":"pen","do":"request"}"#).await;
    within(async { while other.message("pen").await["cause"] != "denied" {} }).await;
    other.say(r#"{"type":"pen","do":"force"}"#).await;
    let output = within(client.wait_with_output()).await.unwrap();
    assert_eq!(output.status.code(), Some(4), "{}", stderr(&output));
    assert!(stderr(&output).contains("is typing now: the command may still run"));
    let (code, _, said) = prompt.run("echo hello").await;
    assert!(code == 4 && said.contains("busy: admin since"), "{said}");
}
