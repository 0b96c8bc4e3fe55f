//! Operations that need QEMU's monitor: a break, and disconnecting the client of a port. libvirt
//! marks a domain whose monitor was used ("tainted"), so it is used only for these requests.

use serde_json::Value;
use serde_json::json;
use serialproxy_line::Halt;
use serialproxy_line::Line;
use serialproxy_proto::api;
use serialproxy_proto::compute::ComputeError;
use serialproxy_proto::console::LineState;
use serialproxy_proto::id::LineKey;
use serialproxy_proto::id::ServerId;

use super::Guests;
use super::power::conflict;
use super::table::why_not;
use crate::domain::Device;
use crate::domain::SerialPort;
use crate::hypervisor::Domain;
use crate::hypervisor::HypervisorError;
use crate::hypervisor::not_found;
use crate::hypervisor::without_paths;
use crate::no_console::no_such_port;

/// On a console without breaks, Linux takes ^O for the SysRq key.
const CTRL_O: u8 = 0x0f;

impl Guests {
    /// Holds the line of a running guest's UART low for a moment.
    pub(crate) async fn send_break(&self, line: LineKey) -> Result<(), ComputeError> {
        let port = self.hearing_port(line, "break").await?;
        if port.device == Device::Console {
            return Err(ComputeError::Conflict(format!(
                "Serial port {} of {} has no break: it is a virtio console, not a UART. For a \
                 SysRq use `sysrq`, which sends ^O to such consoles.",
                line.port,
                self.server_name(line.server)
            )));
        }
        self.break_uart(line.server, &port).await
    }

    /// Sends a magic SysRq to a running guest.
    pub(crate) async fn sysrq(&self, line: LineKey, key: u8) -> Result<(), ComputeError> {
        let port = self.hearing_port(line, "sysrq").await?;
        let console = self.lines.get(line);
        let console = console.ok_or_else(|| no_such_port(line.server, line.port, &[], None))?;
        // A break without its key would turn the next typed character into a command.
        if console.describe().state != LineState::Connected {
            return Err(not_connected(&console));
        }
        let pressed = match port.device {
            Device::Uart => {
                self.break_uart(line.server, &port).await?;
                console.press(&[key])
            }
            Device::Console => console.press(&[CTRL_O, key]),
        };
        if pressed { Ok(()) } else { Err(not_connected(&console)) }
    }

    /// A server's name; its UUID, if the name is not known.
    pub(super) fn server_name(&self, id: ServerId) -> String {
        self.table.get(id).map_or_else(|| id.to_string(), |guest| guest.name)
    }

    /// A line's name for people.
    pub(super) fn line_name(&self, line: LineKey) -> String {
        line.named(&self.server_name(line.server))
    }

    /// Makes QEMU disconnect the client of a port.
    pub(super) async fn hang_up(&self, line: LineKey) -> Result<(), String> {
        let in_words = |error: ComputeError| error.to_string();
        let (port, _) = self.running_port(line, "clear").await.map_err(in_words)?;
        let instance = json!({"type": "chardev", "id": chardev(&port).map_err(|e| e.to_string())?});
        let yank = json!({"execute": "yank", "arguments": {"instances": [instance]}});
        let yanked = self.ask_qemu(line.server, &yank).await;
        yanked.map_err(|error| without_paths(&error.to_string()))?;
        let (line, server) = (self.line_name(line), line.server);
        tracing::warn!(line, %server, "made QEMU disconnect another program from a guest's \
                 serial port");
        Ok(())
    }

    async fn break_uart(&self, id: ServerId, port: &SerialPort) -> Result<(), ComputeError> {
        let sent = async {
            let arguments = json!({"id": chardev(port)?});
            let command = json!({"execute": "chardev-send-break", "arguments": arguments});
            self.ask_qemu(id, &command).await
        };
        sent.await.map_err(|error| error.while_doing(id, "send a break to"))
    }

    async fn ask_qemu(&self, id: ServerId, command: &Value) -> Result<(), HypervisorError> {
        let answer = self.hypervisor.monitor(id, command.to_string()).await?;
        understood(&answer)
    }

    /// A serial port of a guest that responds now. A guest whose CPUs are stopped would respond
    /// when it resumes, which may be hours later.
    async fn hearing_port(&self, line: LineKey, what: &str) -> Result<SerialPort, ComputeError> {
        match self.running_port(line, what).await? {
            (port, None) => Ok(port),
            (_, Some(halt)) => {
                let (port, name, why) = (line.port, self.server_name(line.server), halt.why());
                let instead = match halt {
                    Halt::Paused(_) => {
                        ", and would hear it only once it goes on. Resume or reset it first."
                    }
                    Halt::Crashed => ". Reset it first.",
                };
                let text = format!("Cannot '{what}' port {port} of {name}: {why}{instead}");
                Err(ComputeError::Conflict(text))
            }
        }
    }

    /// A serial port of the running guest, and why its CPUs are stopped, if so.
    async fn running_port(
        &self,
        line: LineKey,
        what: &str,
    ) -> Result<(SerialPort, Option<Halt>), ComputeError> {
        let LineKey { server: id, port } = line;
        self.settle().await;
        let domain =
            self.hypervisor.domain(id).await.map_err(|error| error.while_doing(id, "inspect"))?;
        let domain = domain.ok_or_else(|| not_found(id))?;
        if domain.facts.run.is_none() {
            return Err(conflict(what, id, domain.status));
        }
        let Domain { name, halt, mut facts, .. } = domain;
        self.settings.exclusions.apply(id, &name, &mut facts);
        let ports = std::mem::take(&mut facts.ports);
        let known: Vec<u8> = ports.iter().map(|known| known.port).collect();
        let found = ports.into_iter().find(|known| known.port == port);
        let found = found.map(|found| (found, halt));
        found.ok_or_else(|| no_such_port(id, port, &known, why_not(&facts.unusable, port)))
    }
}

fn not_connected(line: &Line) -> ComputeError {
    let api::Line { server, port, reason, .. } = line.describe();
    ComputeError::Conflict(format!(
        "Serial port {port} of {} is not connected: {reason}",
        server.name
    ))
}

/// libvirt's name of the device's backend in QEMU.
fn chardev(port: &SerialPort) -> Result<String, HypervisorError> {
    let alias = port.alias.as_deref().ok_or_else(|| {
        HypervisorError::Unsupported("the hypervisor does not name its serial ports".into())
    })?;
    Ok(format!("char{alias}"))
}

/// Whether QEMU executed the command.
fn understood(answer: &str) -> Result<(), HypervisorError> {
    let answer: Value = serde_json::from_str(answer)
        .map_err(|_| HypervisorError::Failed("QEMU's monitor did not respond with JSON".into()))?;
    if answer.get("return").is_some() {
        return Ok(());
    }
    let why = answer.pointer("/error/desc").and_then(Value::as_str);
    Err(HypervisorError::Failed(format!(
        "QEMU: {}",
        why.unwrap_or("an error without a description")
    )))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_error_of_the_monitor_is_told_in_its_words() {
        let refused = r#"{"id":"libvirt-9","error":{"class":"E","desc":"Chardev 'x' not found"}}"#;
        let told = understood(refused).unwrap_err().to_string();
        assert_eq!(told, "QEMU: Chardev 'x' not found");
        assert!(understood(r#"{"return":{},"id":"libvirt-9"}"#).is_ok());
    }

    proptest! {
        #[test]
        fn whatever_is_answered_is_no_success_without_a_return(answer in ".*") {
            prop_assert!(understood(&answer).is_err() || answer.contains("return"));
        }
    }
}
