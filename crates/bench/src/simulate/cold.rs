//! An api role that starts after the rest of the cluster.

use std::time::Duration;
use std::time::Instant;

use anyhow::Context;
use anyhow::ensure;
use reqwest::Method;
use serialproxy_proto::api::Servers;
use serialproxy_proto::api::Status;
use serialproxy_proto::compute::PAGE;

use crate::machine::Machine;
use crate::machine::Process;
use crate::peers::api::Api;
use crate::peers::cluster::API;
use crate::peers::cluster::Cluster;
use crate::peers::word;
use crate::rows::Bound::AtMost;
use crate::simulate::Found;
use crate::simulate::MIB;
use crate::usage;

/// How long it may take to list the first page.
const LIST: Duration = Duration::from_secs(60);

/// How long after the last call the memory is measured.
const SETTLE: Duration = Duration::from_secs(3);

/// The role's times and memory.
#[derive(Debug)]
pub(crate) struct Cold {
    /// Its ready line.
    pub(crate) ready: String,
    /// The times from its start until it listened, and until it returned the first page.
    listens: Duration,
    lists: Duration,
    /// The longest time of a further page.
    page: Duration,
    /// Its memory in bytes after all pages, and its largest memory.
    memory: u64,
    peak: u64,
}

impl Cold {
    /// Starts one, and lists all servers.
    pub(crate) async fn start(
        cluster: &Cluster,
        machine: &Machine,
        total: usize,
    ) -> anyhow::Result<(Self, Process)> {
        let start = Instant::now();
        let (process, ready) = cluster.run((API, "api"), machine.proxy)?;
        let listens = start.elapsed();
        let api = Api::new(word(&ready, "api=")?, &cluster.state(API))?;
        let first = loop {
            match list(&api, None).await {
                Ok(page) => break page,
                Err(error) => ensure!(start.elapsed() < LIST, error),
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        };
        let lists = start.elapsed();
        let page = all(&api, first, total).await?;
        tokio::time::sleep(SETTLE).await;
        let (memory, peak) = (usage::memory(process.id())?, usage::peak(process.id())?);
        Ok((Self { ready, listens, lists, page, memory, peak }, process))
    }

    /// Adds the rows of the table, in comparison with a role without servers.
    pub(crate) fn report(&self, empty: &Self, total: usize, found: &mut Found) {
        let millis = |time: Duration| time.as_secs_f64() * 1e3;
        let each = |bytes: u64| bytes.saturating_sub(empty.memory) as f64 / total as f64;
        found.add("api role: start until it listens", "ms", millis(self.listens), None);
        let goal = Some(AtMost(500.0));
        found.add("api role: start until it lists page 1", "ms", millis(self.lists), goal);
        found.add("api role: a further page, longest", "ms", millis(self.page), None);
        found.add("api role: memory without servers", "MiB", empty.memory as f64 / MIB, None);
        found.add("api role: memory", "MiB", self.memory as f64 / MIB, None);
        let goal = Some(AtMost(2048.0));
        found.add("api role: memory of a server", "bytes", each(self.memory), goal);
        found.add("api role: the same at the peak", "bytes", each(self.peak), None);
    }
}

/// Lists the pages after the first; returns the longest time of a page.
async fn all(api: &Api, first: Servers, total: usize) -> anyhow::Result<Duration> {
    let (mut page, mut listed, mut longest) = (first, 0, Duration::ZERO);
    loop {
        let is_up = page.servers.iter().all(|server| server.status == Status::Active);
        ensure!(is_up && !page.stale, "a server is listed as lost");
        listed += page.servers.len();
        if page.servers.len() < PAGE {
            ensure!(listed == total, "{listed} of {total} servers are listed");
            return Ok(longest);
        }
        let last = page.servers.last().context("an empty page")?.id.to_string();
        let start = Instant::now();
        page = list(api, Some(&last)).await?;
        longest = longest.max(start.elapsed());
    }
}

async fn list(api: &Api, marker: Option<&str>) -> anyhow::Result<Servers> {
    let after = marker.map(|marker| format!("&marker={marker}")).unwrap_or_default();
    api.call(Method::GET, &format!("/v1/servers?limit={PAGE}{after}")).await
}
