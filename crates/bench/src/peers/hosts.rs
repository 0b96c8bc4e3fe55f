//! This program on two hosts: a proxy, and a compute host with the lines. The api host and etcd
//! share a core with guest and clients.

use crate::load::Load;
use crate::load::Target;
use crate::machine::Machine;
use crate::machine::Process;
use crate::peers::Programs;
use crate::peers::api::Api;
use crate::peers::cluster::API;
use crate::peers::cluster::Cluster;
use crate::peers::serialproxy::static_lines;
use crate::peers::word;
use crate::usage;

const COMPUTE: (&str, &str) = ("compute-1", "compute");
const PROXY: (&str, &str) = ("proxy-1", "proxy");

/// Starts it with as many lines to the guest as the load needs.
pub(crate) async fn start(
    programs: &Programs,
    machine: &Machine,
    guest: Target,
    load: Load,
    quick: bool,
) -> anyhow::Result<(Vec<Process>, Target)> {
    let cluster = Cluster::start(programs, machine).await?;
    let (process, ready) = cluster.run((API, "api"), machine.load)?;
    let api = Api::new(word(&ready, "api=")?, &cluster.state(API))?;
    let (lines, _) = load.lines(quick);
    let (mut processes, target) = add(&cluster, machine, &ready, guest, lines)?;
    api.wait_for_lines(lines).await?;
    let writers = api.consoles(lines, "").await?;
    processes.extend([process, cluster.into_etcd()]);
    Ok((processes, Target { writers, ..target }))
}

/// Adds a proxy and a compute host with this many lines to a cluster, whose api host printed
/// `ready`; returns their processes, the proxy's first.
pub(crate) fn add(
    cluster: &Cluster,
    machine: &Machine,
    ready: &str,
    guest: Target,
    lines: usize,
) -> anyhow::Result<(Vec<Process>, Target)> {
    let at = word(ready, "cluster=")?;
    let mut options = "[compute]\ndrivers = static\n".to_owned();
    static_lines(&mut options, lines, &guest.address.to_string())?;
    cluster.join(at, COMPUTE, &options)?;
    let api_url = word(ready, "api=")?;
    cluster.join(at, PROXY, &format!("[proxy]\napi_url = {api_url}\n"))?;
    let (compute, _) = cluster.run(COMPUTE, machine.proxy)?;
    let (proxy, ready) = cluster.run(PROXY, machine.proxy)?;
    let address = word(&ready, "proxy=http://")?.parse()?;
    let (process, behind, base) =
        (Some(proxy.id()), Some(compute.id()), usage::memory(proxy.id())?);
    Ok((vec![proxy, compute], Target { address, process, behind, base, ..guest }))
}
