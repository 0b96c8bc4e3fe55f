//! HAProxy, which passes TCP on as it comes.

use std::fs;
use std::fs::File;

use crate::load::Target;
use crate::machine::Machine;
use crate::machine::Process;
use crate::peers::Programs;
use crate::peers::free_address;
use crate::peers::wait_for_listener;

/// Starts it before a guest.
pub(crate) fn start(
    programs: &Programs,
    machine: &Machine,
    guest: Target,
) -> anyhow::Result<(Process, Target)> {
    let address = free_address()?;
    let file = programs.work.join("haproxy.cfg");
    fs::write(&file, config(&address.to_string(), &guest.address.to_string()))?;
    let log = File::create(programs.work.join("haproxy.log"))?;
    let mut command = machine.command(machine.proxy, &programs.haproxy);
    command.arg("-db").arg("-f").arg(file).stdout(log.try_clone()?).stderr(log);
    let mut process = Process::start(&mut command)?;
    let base = wait_for_listener(&mut process, address)?;
    let target = Target { address, process: Some(process.id()), base, ..guest };
    Ok((process, target))
}

/// One thread and the default buffers; a session takes two files, of which 20,000 may be all.
fn config(address: &str, guest: &str) -> String {
    format!(
        "global\n    nbthread 1\n    maxconn 9900\n\
         defaults\n    mode tcp\n    timeout connect 10s\n    timeout client 1h\n    \
         timeout server 1h\n\
         listen console\n    bind {address}\n    server guest {guest}\n"
    )
}
