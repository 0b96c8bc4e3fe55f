//! HAProxy in TCP mode.

use std::fs;
use std::fs::File;
use std::net::SocketAddr;

use crate::load::Target;
use crate::load::Way;
use crate::machine::Machine;
use crate::machine::Process;
use crate::peers::Certificate;
use crate::peers::Programs;
use crate::peers::free_address;
use crate::peers::wait_for_listener;

/// Starts it in front of a guest; for two hosts twice, with TLS between.
pub(crate) fn start(
    programs: &Programs,
    machine: &Machine,
    guest: Target,
    way: Way,
) -> anyhow::Result<(Vec<Process>, Target)> {
    let start = |name, bind: &str, server: &str| launch(programs, machine, name, (bind, server));
    let to_guest = guest.address.to_string();
    match way {
        Way::Plain => {
            let (process, front) = start("haproxy", "", &to_guest)?;
            Ok((vec![process], front.before(guest)))
        }
        Way::Tls => {
            let tls = Certificate::make(programs)?;
            let bind = format!("ssl crt {}", tls.both.display());
            let (process, front) = start("haproxy", &bind, &to_guest)?;
            let target = Target { certificate: Some(tls.cert), ..front.before(guest) };
            Ok((vec![process], target))
        }
        Way::TwoHosts => {
            let tls = Certificate::make(programs)?;
            let bind = format!("ssl crt {}", tls.both.display());
            let (back, behind) = start("haproxy-back", &bind, &to_guest)?;
            let cert = tls.cert.display();
            let server = format!("{} ssl verify required ca-file {cert}", behind.address);
            let (process, front) = start("haproxy", "", &server)?;
            let target = Target { behind: Some(back.id()), ..front.before(guest) };
            Ok((vec![process, back], target))
        }
    }
}

/// A running HAProxy.
struct Front {
    address: SocketAddr,
    process: u32,
    base: u64,
}

impl Front {
    fn before(self, guest: Target) -> Target {
        let Self { address, process, base } = self;
        Target { address, process: Some(process), base, ..guest }
    }
}

/// Starts one with these options of its listener, and with this server and its options.
fn launch(
    programs: &Programs,
    machine: &Machine,
    name: &str,
    (bind, server): (&str, &str),
) -> anyhow::Result<(Process, Front)> {
    let address = free_address()?;
    let file = programs.work.join(format!("{name}.cfg"));
    fs::write(&file, config(&format!("{address} {bind}"), server))?;
    let log = File::create(programs.work.join(format!("{name}.log")))?;
    let mut command = machine.command(machine.proxy, &programs.haproxy);
    command.arg("-db").arg("-f").arg(file).stdout(log.try_clone()?).stderr(log);
    let mut process = Process::start(&mut command)?;
    let base = wait_for_listener(&mut process, address)?;
    let front = Front { address, process: process.id(), base };
    Ok((process, front))
}

/// One thread and the default buffers; a session takes two of at most 20,000 files.
fn config(bind: &str, server: &str) -> String {
    format!(
        "global\n    nbthread 1\n    maxconn 9900\n\
         defaults\n    mode tcp\n    timeout connect 10s\n    timeout client 1h\n    \
         timeout server 1h\n\
         listen console\n    bind {bind}\n    server guest {server}\n"
    )
}
