//! One look at libvirt, for those who check a host. It changes nothing, and connects to no guest.

use serialproxy_proto::endpoint::Endpoint;

use crate::domain::Facts;
use crate::domain::SerialPort;
use crate::hypervisor::Domain;
use crate::libvirt;

/// What libvirt has.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Found {
    /// The version of the hypervisor (major, minor, release), where libvirt knows it.
    pub hypervisor: Option<(u32, u32, u32)>,
    /// How many guests there are, running or not.
    pub guests: usize,
    /// Their serial ports that are on TCP, of those that run as QEMU has them.
    pub ports: Vec<GuestPort>,
}

/// A guest's serial port on which its QEMU listens, on TCP.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct GuestPort {
    /// Name of the guest.
    pub guest: String,
    /// Index of the port.
    pub index: u8,
    /// Name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Whether it speaks TLS.
    pub tls: bool,
    /// Whether the guest runs.
    pub runs: bool,
}

/// Asks the libvirt at a URI once. Takes 6 s at most until it is connected.
///
/// # Errors
///
/// In libvirt's words, when it cannot be reached or does not allow it.
pub async fn probe(uri: &str) -> Result<Found, String> {
    let (version, domains) = libvirt::look(uri).await?;
    // As `virConnectGetVersion` has it.
    let hypervisor = version.map(|n| (n / 1_000_000, n / 1000 % 1000, n % 1000));
    let ports = domains.iter().flat_map(ports).collect();
    Ok(Found { hypervisor, guests: domains.len(), ports })
}

fn ports(domain: &Domain) -> Vec<GuestPort> {
    let Facts { run, ports, .. } = &domain.facts;
    ports.iter().filter_map(|port| listening(domain, port, run.is_some())).collect()
}

fn listening(
    domain: &Domain,
    SerialPort { port: index, at, .. }: &SerialPort,
    runs: bool,
) -> Option<GuestPort> {
    let tls = matches!(at, Some(Endpoint::Tls { .. }));
    match at.clone()? {
        Endpoint::Tcp { host, port }
        | Endpoint::Tls { host, port }
        | Endpoint::Telnet { host, port } => {
            let guest = domain.name.clone();
            Some(GuestPort { guest, index: *index, host, port, tls, runs })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serialproxy_proto::api::Status;
    use serialproxy_proto::id::ServerId;

    use super::*;

    #[test]
    fn the_ports_of_a_guest_are_those_on_which_qemu_listens_on_tcp() {
        let xml = "<domain id='7'><devices>
            <serial type='tcp'><source mode='bind' host='127.0.0.1' service='10000'/>
              <protocol type='raw'/><target port='0'/></serial>
            <serial type='tcp'><source mode='bind' host='0.0.0.0' service='10001' tls='yes'/>
              <protocol type='raw'/><target port='1'/></serial>
            <serial type='pty'><source path='/dev/pts/9'/><target port='2'/></serial>
            </devices></domain>";
        let domain = Domain {
            id: ServerId::of_static("vm"),
            name: "vm".into(),
            status: Status::Active,
            halt: None,
            facts: Facts::read(xml).unwrap(),
            next: None,
        };
        let found: Vec<_> =
            ports(&domain).into_iter().map(|p| (p.index, p.host, p.port, p.tls, p.runs)).collect();
        let expected = [
            (0, "127.0.0.1".to_owned(), 10000, false, true),
            (1, "0.0.0.0".to_owned(), 10001, true, true),
        ];
        assert_eq!(found, expected);
    }
}
