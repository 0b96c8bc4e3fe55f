//! The REST calls that prepare a measurement.

use std::fs;
use std::path::Path;
use std::time::Duration;
use std::time::Instant;

use anyhow::Context;
use reqwest::Method;
use serde::de::DeserializeOwned;
use serialproxy_proto::api::Line;
use serialproxy_proto::api::SerialConsoleAnswer;
use serialproxy_proto::console::LineState;
use serialproxy_proto::id::ServerId;

/// How long all lines may take to connect to the guest.
const CONNECT: Duration = Duration::from_secs(60);

/// The pause after a failed call.
const PAUSE: Duration = Duration::from_millis(20);

/// The name of a line.
pub(crate) fn name(line: usize) -> String {
    format!("line{line}")
}

/// The API of a program, called as administrator.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    url: String,
    token: String,
    http: reqwest::Client,
}

impl Api {
    /// The API at this URL, with the admin token in this state directory.
    pub(crate) fn new(url: &str, state: &Path) -> anyhow::Result<Self> {
        let token = fs::read_to_string(state.join("admin-token")).context("no admin token")?;
        let http = reqwest::Client::builder().no_proxy().build()?;
        Ok(Self { url: url.to_owned(), token: token.trim().to_owned(), http })
    }

    /// Makes a call.
    pub(crate) async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
    ) -> anyhow::Result<T> {
        let request = self.http.request(method, format!("{}{path}", self.url));
        let answer = request.header("X-Auth-Token", &self.token).send().await?;
        Ok(answer.error_for_status()?.json().await?)
    }

    /// Waits until the first `lines` lines are connected. A cluster does not know them at once.
    pub(crate) async fn wait_for_lines(&self, lines: usize) -> anyhow::Result<()> {
        let start = Instant::now();
        for line in (0..lines).map(name) {
            let path = format!("/v1/lines/{}/0", ServerId::of_static(&line));
            loop {
                let seen = self.call::<Line>(Method::GET, &path).await;
                match seen.map(|line| line.state) {
                    Ok(LineState::Connected) => break,
                    Ok(_) if start.elapsed() < CONNECT => {}
                    Err(_) if start.elapsed() < CONNECT => tokio::time::sleep(PAUSE).await,
                    seen => {
                        let state = seen.with_context(|| format!("{line} is not there"))?;
                        anyhow::bail!("{line} does not connect to the guest: it is {state:?}");
                    }
                }
            }
        }
        Ok(())
    }

    /// Path and query of a new console URL for each of the first `lines` lines.
    pub(crate) async fn consoles(&self, lines: usize, query: &str) -> anyhow::Result<Vec<String>> {
        let mut paths = Vec::with_capacity(lines);
        for line in 0..lines {
            paths.push(self.console(line, query).await?);
        }
        Ok(paths)
    }

    /// Path and query of a new console URL of a line.
    pub(crate) async fn console(&self, line: usize, query: &str) -> anyhow::Result<String> {
        let server = ServerId::of_static(&name(line));
        let path = format!("/v3/servers/{server}/get-serial-console{query}");
        let answer: SerialConsoleAnswer = self.call(Method::POST, &path).await?;
        let url = answer.serial_console.url.parse::<http::Uri>()?;
        Ok(url.path_and_query().context("a console URL without a path")?.to_string())
    }
}
