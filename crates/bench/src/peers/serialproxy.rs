//! This program, as its users run it: lines, tokens, and a log without debugging.

use std::fmt::Write;
use std::fs;
use std::fs::File;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use anyhow::Context;
use anyhow::ensure;
use reqwest::Method;
use serde::de::DeserializeOwned;
use serialproxy_proto::api::Line;
use serialproxy_proto::api::SerialConsoleAnswer;
use serialproxy_proto::console::LineState;
use serialproxy_proto::id::ServerId;

use crate::load::Load;
use crate::load::Target;
use crate::machine::Machine;
use crate::machine::Process;
use crate::peers::Programs;
use crate::usage;

/// How long all lines may take to connect to the guest.
const CONNECT: Duration = Duration::from_secs(60);

/// Starts it with as many lines to the guest as the load needs. Where memory is measured, what it
/// takes with one line alone is its base.
pub(crate) async fn start(
    programs: &Programs,
    machine: &Machine,
    guest: Target,
    load: Load,
    quick: bool,
) -> anyhow::Result<(Process, Target)> {
    let mut base = 0;
    if load == Load::Idle {
        let (process, _) = serve(programs, machine, guest.clone(), (1, 0)).await?;
        base = usage::memory(process.id())?;
    }
    let (process, target) = serve(programs, machine, guest, load.lines(quick)).await?;
    Ok((process, Target { base, ..target }))
}

/// Starts it with so many lines, and gets a token to write for each, and one to watch for the
/// first ones.
async fn serve(
    programs: &Programs,
    machine: &Machine,
    guest: Target,
    (lines, watched): (usize, usize),
) -> anyhow::Result<(Process, Target)> {
    let work = programs.work.join("serialproxy");
    if work.exists() {
        fs::remove_dir_all(&work).context("cannot clear its state")?;
    }
    fs::create_dir(&work)?;
    let config = work.join("serialproxy.conf");
    fs::write(&config, text(lines, &guest.address.to_string())?)?;
    let log = File::create(work.join("log"))?;
    let mut command = machine.command(machine.proxy, &programs.serialproxy);
    command
        .arg("serve")
        .arg("--config-file")
        .arg(config)
        .arg("--state-dir")
        .arg(work.join("state"));
    let mut process = Process::start(command.stdout(Stdio::piped()).stderr(log))?;
    let ready = process.first_line()?;
    let api = Api::new(word(&ready, "api=")?, &work.join("state"))?;
    let address = word(&ready, "proxy=http://")?.parse()?;
    api.wait_for_lines(lines).await?;
    let writers = api.consoles(lines, "").await?;
    let watchers = api.consoles(watched, "?mode=watch").await?;
    let target = Target { address, process: Some(process.id()), writers, watchers, ..guest };
    Ok((process, target))
}

fn text(lines: usize, guest: &str) -> anyhow::Result<String> {
    let mut text = String::from(
        "[api]\nlisten = 127.0.0.1:0\n\
         [compute]\ndrivers = static\n\
         [consoleauth]\ntoken_ttl = 86400\n\
         [serial_console]\nenabled = true\nserialproxy_host = 127.0.0.1\nserialproxy_port = 0\n\
         [limits]\nconnections_per_address = 0\nsessions_per_user = 0\n\
         sessions_per_address = 0\n\
         [static]\n",
    );
    for line in 0..lines {
        writeln!(text, "line = {} tcp://{guest}", name(line))?;
    }
    Ok(text)
}

fn name(line: usize) -> String {
    format!("line{line}")
}

/// What follows `prefix` in the line that says where it listens.
fn word<'a>(ready: &'a str, prefix: &str) -> anyhow::Result<&'a str> {
    let word = ready.split_whitespace().find_map(|word| word.strip_prefix(prefix));
    word.with_context(|| format!("it did not print {prefix}: {ready:?}"))
}

/// Its API, asked as administrator.
struct Api {
    url: String,
    token: String,
    http: reqwest::Client,
}

impl Api {
    fn new(url: &str, state: &Path) -> anyhow::Result<Self> {
        let token = fs::read_to_string(state.join("admin-token")).context("no admin token")?;
        let http = reqwest::Client::builder().no_proxy().build()?;
        Ok(Self { url: url.to_owned(), token: token.trim().to_owned(), http })
    }

    async fn call<T: DeserializeOwned>(&self, method: Method, path: &str) -> anyhow::Result<T> {
        let request = self.http.request(method, format!("{}{path}", self.url));
        let answer = request.header("X-Auth-Token", &self.token).send().await?;
        Ok(answer.error_for_status()?.json().await?)
    }

    async fn wait_for_lines(&self, lines: usize) -> anyhow::Result<()> {
        let start = Instant::now();
        for line in (0..lines).map(name) {
            let path = format!("/v1/lines/{}/0", ServerId::of_static(&line));
            while self.call::<Line>(Method::GET, &path).await?.state != LineState::Connected {
                ensure!(start.elapsed() < CONNECT, "{line} does not connect to the guest");
            }
        }
        Ok(())
    }

    /// Path and query of a fresh console URL, for each of the first lines.
    async fn consoles(&self, lines: usize, query: &str) -> anyhow::Result<Vec<String>> {
        let mut paths = Vec::with_capacity(lines);
        for server in (0..lines).map(|line| ServerId::of_static(&name(line))) {
            let path = format!("/v3/servers/{server}/get-serial-console{query}");
            let answer: SerialConsoleAnswer = self.call(Method::POST, &path).await?;
            let url = answer.serial_console.url.parse::<http::Uri>()?;
            paths.push(url.path_and_query().context("a console URL without a path")?.to_string());
        }
        Ok(paths)
    }
}
