//! The address of a guest's serial port. The hypervisor is asked for it before every connection.

use std::sync::Weak;

use serialproxy_line::Resolve;
use serialproxy_line::Unresolved;
use serialproxy_proto::compute::BoxFuture;
use serialproxy_proto::compute::ComputeError;
use serialproxy_proto::compute::OpenConsole;
use serialproxy_proto::compute::OpenedConsole;
use serialproxy_proto::endpoint::Endpoint;
use serialproxy_proto::id::LineKey;
use serialproxy_proto::id::ServerId;

use super::Guests;
use super::table::Guest;
use crate::domain::SerialPort;
use crate::hypervisor::without_paths;

/// Finds ports in the XML of the running domain.
#[derive(Debug)]
pub(super) struct LivePorts(pub(super) Weak<Guests>);

impl Resolve for LivePorts {
    fn resolve(&self, line: LineKey) -> BoxFuture<'_, Result<Endpoint, Unresolved>> {
        Box::pin(async move {
            let Some(guests) = self.0.upgrade() else {
                return Err(Unresolved::Gone("the compute role has stopped".into()));
            };
            guests.endpoint(line).await
        })
    }

    fn is_guest(&self, line: LineKey, pid: u32) -> BoxFuture<'_, bool> {
        Box::pin(async move {
            match self.0.upgrade() {
                Some(guests) => guests.is_process_of(line.server, pid).await,
                None => false,
            }
        })
    }

    fn clear(&self, line: LineKey) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async move {
            let guests = self.0.upgrade().ok_or("the compute role has stopped")?;
            guests.hang_up(line).await
        })
    }

    fn kept(&self, line: LineKey, most: usize) -> BoxFuture<'_, Option<Vec<u8>>> {
        Box::pin(async move { self.0.upgrade()?.kept(line, most).await })
    }
}

impl Guests {
    /// The console of the guest's serial port on which its hypervisor listens at this TCP port now.
    pub(crate) async fn console_at(
        &self,
        server: ServerId,
        tcp: u16,
    ) -> Result<Option<OpenedConsole>, ComputeError> {
        self.settle().await;
        let any = OpenConsole { line: LineKey { server, port: 0 }, project: None, wait: true };
        let Guest { name, project, ports, .. } = self.current(&any).await?;
        let there = |port: &&SerialPort| port.at.as_ref().and_then(Endpoint::tcp_port) == Some(tcp);
        Ok(ports.iter().find(there).map(|port| OpenedConsole {
            line: LineKey { server, port: port.port },
            name,
            project,
        }))
    }

    async fn endpoint(&self, line: LineKey) -> Result<Endpoint, Unresolved> {
        let domain = self
            .hypervisor
            .domain(line.server)
            .await
            .map_err(|error| Unresolved::Failed(without_paths(&error.to_string())))?
            .ok_or_else(|| Unresolved::Gone("the server was deleted".into()))?;
        if domain.facts.run.is_none() {
            return Err(Unresolved::Stopped(domain.status));
        }
        let LineKey { port, .. } = line;
        let known = domain.facts.ports.iter().find(|known| known.port == port);
        let known = known.ok_or_else(|| {
            Unresolved::Failed(format!("the running guest has no serial port {port}"))
        })?;
        match known.dialed() {
            Some(endpoint) if self.settings.tls_required && endpoint.is_plain_tcp() => {
                Err(Unresolved::Failed(
                    "the guest's port uses plain TCP, which [serial_console] tls_required refuses: \
                     set mode='bind' and tls='yes' in its <source>, and use <protocol type='raw'/>"
                        .into(),
                ))
            }
            Some(endpoint) => Ok(endpoint),
            None => Err(Unresolved::Failed(format!(
                "libvirt does not report the address of port \
                     {port}"
            ))),
        }
    }
}

#[cfg(test)]
#[cfg(feature = "libvirt")]
mod tests;
