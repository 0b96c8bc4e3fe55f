//! websockify, which forks a process for each session.

use std::fs::File;

use crate::load::Target;
use crate::machine::Machine;
use crate::machine::Process;
use crate::peers::Programs;
use crate::peers::free_address;
use crate::peers::wait_for_listener;

/// Starts it in front of a guest.
pub(crate) fn start(
    programs: &Programs,
    machine: &Machine,
    guest: Target,
) -> anyhow::Result<(Process, Target)> {
    let address = free_address()?;
    let log = File::create(programs.work.join("websockify.log"))?;
    let mut command = machine.command(machine.proxy, &programs.websockify);
    command.arg(address.to_string()).arg(guest.address.to_string());
    let mut process = Process::start(command.stdout(log.try_clone()?).stderr(log))?;
    let base = wait_for_listener(&mut process, address)?;
    let target = Target { address, process: Some(process.id()), base, ..guest };
    Ok((process, target))
}
