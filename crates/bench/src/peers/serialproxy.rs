//! This program as its users run it: with lines, tokens, and a log without debug messages.

use std::fmt::Write;
use std::fs;
use std::fs::File;
use std::process::Stdio;

use crate::load::Load;
use crate::load::Target;
use crate::load::Way;
use crate::machine::Machine;
use crate::machine::Process;
use crate::peers::Certificate;
use crate::peers::Programs;
use crate::peers::api::Api;
use crate::peers::api::name;
use crate::peers::word;
use crate::usage;

/// Starts it with as many lines to the guest as the load needs. Where memory is measured, its
/// memory with one line is the base.
pub(crate) async fn start(
    programs: &Programs,
    machine: &Machine,
    guest: Target,
    load: Load,
    quick: bool,
) -> anyhow::Result<(Process, Target)> {
    let mut base = 0;
    if load == Load::Idle {
        let (process, _) = serve(programs, machine, guest.clone(), (1, 0), None).await?;
        base = usage::memory(process.id())?;
    }
    let tls = (load.way() == Way::Tls).then(|| Certificate::make(programs)).transpose()?;
    let (process, target) = serve(programs, machine, guest, load.lines(quick), tls).await?;
    Ok((process, Target { base, ..target }))
}

/// Starts it with this many lines, and gets a token to write for each, and one to watch for the
/// first ones.
async fn serve(
    programs: &Programs,
    machine: &Machine,
    guest: Target,
    (lines, watched): (usize, usize),
    tls: Option<Certificate>,
) -> anyhow::Result<(Process, Target)> {
    let work = programs.fresh("serialproxy")?;
    let config = work.join("serialproxy.conf");
    fs::write(&config, text(lines, &guest.address.to_string(), tls.as_ref())?)?;
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
    let scheme = if tls.is_some() { "proxy=https://" } else { "proxy=http://" };
    let address = word(&ready, scheme)?.parse()?;
    api.wait_for_lines(lines).await?;
    let writers = api.consoles(lines, "").await?;
    let watchers = api.consoles(watched, "?mode=watch").await?;
    let (process_id, certificate) = (Some(process.id()), tls.map(|tls| tls.cert));
    let target = Target { address, certificate, process: process_id, writers, watchers, ..guest };
    Ok((process, target))
}

fn text(lines: usize, guest: &str, tls: Option<&Certificate>) -> anyhow::Result<String> {
    let mut text = String::from(
        "[api]\nlisten = 127.0.0.1:0\n\
         [compute]\ndrivers = static\n\
         [consoleauth]\ntoken_ttl = 86400\n\
         [limits]\nconnections_per_address = 0\nsessions_per_user = 0\n\
         sessions_per_address = 0\n\
         [serial_console]\nenabled = true\nserialproxy_host = 127.0.0.1\nserialproxy_port = 0\n",
    );
    if let Some(Certificate { cert, key, .. }) = tls {
        writeln!(text, "cert = {}\nkey = {}", cert.display(), key.display())?;
    }
    static_lines(&mut text, lines, guest)?;
    Ok(text)
}

/// The group of the lines to a guest.
pub(super) fn static_lines(text: &mut String, lines: usize, guest: &str) -> anyhow::Result<()> {
    writeln!(text, "[static]")?;
    for line in 0..lines {
        writeln!(text, "line = {} tcp://{guest}", name(line))?;
    }
    Ok(())
}
