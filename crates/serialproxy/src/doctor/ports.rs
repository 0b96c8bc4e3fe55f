//! The TCP ports of guests: enough of them free, and none reachable from other hosts.
//!
//! Whether others reach a port follows from the address that its socket listens on. A connect would prove no
//! more, and QEMU might take it for the one client that it serves.

use std::collections::BTreeSet;
use std::collections::HashMap;
use std::net::IpAddr;

use serialproxy_compute::GuestPort;
use serialproxy_config::Config;
use serialproxy_config::values::PortRange;
use serialproxy_config::values::Transport;
use serialproxy_line::Program;
use tokio::net::lookup_host;

use super::Subject;
use super::finding::Check;
use super::finding::Finding;
use super::finding::first;
use super::listeners::try_bind;
use super::sockets;
use super::sockets::Listening;

/// How others are kept away from ports without TLS.
const CLOSE: &str = "set [serial_console] proxyclient_address = 127.0.0.1 and restart the guests, or admit only the \
                     hosts that need these ports (docs/firewall.md)";

/// What the sockets of this host are to the guests.
struct Ports<'a> {
    config: &'a Config,
    guests: &'a [GuestPort],
    /// Those in `port_range`, and those of guests elsewhere.
    sockets: Vec<Listening>,
    programs: HashMap<u64, Program>,
}

/// `port_range` and the ports of the guests that libvirt has.
pub(super) async fn check(subject: &Subject, guests: &[GuestPort]) -> Vec<Finding> {
    let config = subject.config();
    let range = config.serial_console.port_range;
    let mut sockets = tokio::task::spawn_blocking(sockets::listening).await.unwrap_or_default();
    sockets.retain(|socket| {
        let port = socket.address.port();
        is_in(range, port) || guests.iter().any(|guest| guest.runs && guest.port == port)
    });
    let programs = sockets::programs(&sockets).await;
    let ports = Ports { config, guests, sockets, programs };
    let mut findings = ports.exposure();
    if config.compute.transport == Transport::Tcp && config.serial_console.enabled {
        findings.extend(ports.range(subject));
        findings.extend(address(&config.serial_console.proxyclient_address).await);
    }
    findings
}

fn is_in(PortRange { start, end }: PortRange, port: u16) -> bool {
    port >= start && u32::from(port) < end
}

impl Ports<'_> {
    fn is_guest_s(&self, socket: &Listening) -> bool {
        let port = socket.address.port();
        let is_qemu = self
            .programs
            .get(&socket.inode)
            .is_some_and(|program| program.name.starts_with("qemu"));
        is_qemu || self.guests.iter().any(|guest| guest.runs && guest.port == port)
    }

    /// Guests that other hosts reach, now or from their next start.
    fn exposure(&self) -> Vec<Finding> {
        let open = self.sockets.iter().filter(|socket| {
            !socket.address.ip().to_canonical().is_loopback() && self.is_guest_s(socket)
        });
        let (tls, plain): (Vec<&Listening>, Vec<_>) = open.partition(|socket| self.has_tls(socket));
        let next = self.guests.iter().filter(|guest| !guest.runs && !is_local(&guest.host));
        let (next_tls, next): (Vec<&GuestPort>, Vec<_>) = next.partition(|guest| guest.tls);
        let mut findings = Vec::new();
        if !plain.is_empty() {
            let text = format!(
                "whoever reaches this host has the consoles of guests that listen on {}: QEMU \
                 authenticates nobody",
                addresses(&plain)
            );
            findings.push(Finding::problem(Check::PortExposure, text, CLOSE));
        }
        if !next.is_empty() {
            let text = format!(
                "the ports of {} will be reachable from other hosts when they start",
                names(&next)
            );
            findings.push(Finding::warning(Check::PortExposure, text, CLOSE));
        }
        if !tls.is_empty() || !next_tls.is_empty() {
            let which = if tls.is_empty() { names(&next_tls) } else { addresses(&tls) };
            let text = format!(
                "other hosts reach the TLS ports of guests ({which}): only QEMU's check of client \
                 certificates keeps them out"
            );
            let fix = "check that qemu.conf has chardev_tls_x509_verify = 1, the default (docs/deploy.md)";
            findings.push(Finding::warning(Check::PortExposure, text, fix));
        }
        if findings.is_empty() {
            findings.push(self.exposure_of_new_guests());
        }
        findings
    }

    /// Whether every guest that may have this socket speaks TLS there, and so can verify who connects.
    fn has_tls(&self, socket: &Listening) -> bool {
        let here = |guest: &&GuestPort| guest.runs && guest.port == socket.address.port();
        let mut here = self.guests.iter().filter(here).peekable();
        here.peek().is_some() && here.all(|guest| guest.tls)
    }

    fn exposure_of_new_guests(&self) -> Finding {
        let address = &self.config.serial_console.proxyclient_address;
        let uses_tcp =
            self.config.compute.transport == Transport::Tcp && self.config.serial_console.enabled;
        if uses_tcp && !is_local(address) {
            let text = format!(
                "guests that are booted from now on listen on {address}, [serial_console] \
                 proxyclient_address, where other hosts may reach them"
            );
            return Finding::warning(Check::PortExposure, text, CLOSE);
        }
        Finding::ok(Check::PortExposure, "no port of a guest is reachable from other hosts")
    }

    fn range(&self, subject: &Subject) -> Vec<Finding> {
        let range = self.config.serial_console.port_range;
        let shown = format!("[serial_console] port_range {}:{}", range.start, range.end);
        let all = range.end.saturating_sub(range.start.into());
        let taken: BTreeSet<u16> =
            self.sockets.iter().map(|socket| socket.address.port()).collect();
        let taken = taken.into_iter().filter(|port| is_in(range, *port)).count();
        let free = usize::try_from(all).unwrap_or(usize::MAX).saturating_sub(taken);
        let widen = "choose another port_range";
        let mut findings = vec![match free {
            0 => Finding::problem(
                Check::PortRange,
                format!("no port of {shown} is free"),
                "widen port_range, or delete guests that are not needed",
            ),
            _ => {
                Finding::ok(Check::PortRange, format!("{free} of {all} ports of {shown} are free"))
            }
        }];
        let foreign = self
            .sockets
            .iter()
            .filter(|socket| is_in(range, socket.address.port()) && !self.is_guest_s(socket));
        let foreign = foreign.map(|socket| {
            let program = self.programs.get(&socket.inode).map(Program::to_string);
            let program = program.unwrap_or_else(|| "a program that this user cannot see".into());
            format!("{} by {program}", socket.address)
        });
        let foreign: Vec<_> = foreign.collect();
        if !foreign.is_empty() {
            let text =
                format!("ports of {shown} are in use by other programs: {}", first(&foreign));
            findings.push(Finding::warning(Check::PortRange, text, widen));
        }
        if let Some(own) = own_ports(subject).into_iter().find(|port| is_in(range, *port)) {
            let text = format!("the service itself listens on port {own}, which is in {shown}");
            findings.push(Finding::problem(Check::PortRange, text, widen));
        }
        if is_given_to_clients(range) {
            findings.push(Finding::warning(
                Check::PortRange,
                format!("the kernel gives ports of {shown} to outgoing connections of any program"),
                format!(
                    "set net.ipv4.ip_local_reserved_ports = {}-{} (sysctl), or choose another port_range",
                    range.start,
                    range.end.saturating_sub(1)
                ),
            ));
        }
        findings
    }
}

/// Ports of the service's own listeners.
fn own_ports(subject: &Subject) -> Vec<u16> {
    let config = subject.config();
    let users = subject.has_users().then_some(config.serial_console.listen.port);
    let api = subject.has_api().then_some(config.api.listen.port);
    let cluster = subject.in_cluster().then_some(config.cluster.listen.port);
    users.into_iter().chain(api).chain(cluster).collect()
}

/// Whether QEMU can listen there.
async fn address(address: &str) -> Option<Finding> {
    let bound = async {
        let found = lookup_host((address, 0)).await?;
        for found in found {
            try_bind(found)?;
        }
        std::io::Result::Ok(())
    };
    let error = bound.await.err()?;
    Some(Finding::problem(
        Check::PortRange,
        format!("no guest can listen on {address}, [serial_console] proxyclient_address: {error}"),
        "set proxyclient_address to an address of this host, best 127.0.0.1",
    ))
}

/// Whether the kernel may give one of these ports to a client that asks for any.
fn is_given_to_clients(range: PortRange) -> bool {
    let read = |name: &str| std::fs::read_to_string(format!("/proc/sys/net/ipv4/{name}")).ok();
    let given = read("ip_local_port_range").unwrap_or_default();
    let reserved = read("ip_local_reserved_ports").unwrap_or_default();
    overlaps(range, &given, &reserved)
}

/// `given` is `FIRST LAST`, `reserved` is `FIRST-LAST,PORT,…`.
fn overlaps(PortRange { start, end }: PortRange, given: &str, reserved: &str) -> bool {
    let mut ends = given.split_whitespace().filter_map(|port| port.parse::<u32>().ok());
    let (Some(first), Some(last)) = (ends.next(), ends.next()) else { return false };
    let reserved: Vec<(u32, u32)> = reserved
        .trim()
        .split(',')
        .filter_map(|item| {
            let (first, last) = item.split_once('-').unwrap_or((item, item));
            Some((first.parse().ok()?, last.parse().ok()?))
        })
        .collect();
    let is_reserved =
        |port: u32| reserved.iter().any(|(first, last)| (*first..=*last).contains(&port));
    (u32::from(start).max(first)..end.min(last + 1)).any(|port| !is_reserved(port))
}

fn addresses(sockets: &[&Listening]) -> String {
    first(&sockets.iter().map(|socket| socket.address.to_string()).collect::<Vec<_>>())
}

fn names(guests: &[&GuestPort]) -> String {
    first(&guests.iter().map(|guest| guest.guest.clone()).collect::<Vec<_>>())
}

fn is_local(host: &str) -> bool {
    host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Level;

    const RANGE: PortRange = PortRange { start: 10_000, end: 20_000 };

    #[test]
    fn ports_that_the_kernel_gives_to_clients_overlap_unless_they_are_reserved() {
        assert!(!overlaps(RANGE, "32768\t60999\n", "\n"));
        assert!(overlaps(RANGE, "15000\t60999\n", "\n"));
        assert!(overlaps(RANGE, "1024\t65535\n", "10000-19998"));
        assert!(!overlaps(RANGE, "1024\t65535\n", "80,10000-19999\n"));
        assert!(!overlaps(RANGE, "", ""));
    }

    fn exposure(config: &Config, listens: &str, guests: &[GuestPort]) -> Level {
        let sockets = vec![Listening { address: listens.parse().unwrap(), inode: 7 }];
        let program = Program { pid: 4711, name: "qemu-system-x86".into() };
        let programs = HashMap::from([(7, program)]);
        // The worst one is the first.
        Ports { config, guests, sockets, programs }.exposure()[0].level
    }

    fn with_ports() -> Config {
        let mut config = Config::default();
        config.serial_console.enabled = true;
        config
    }

    fn guest(tls: bool, runs: bool) -> GuestPort {
        let (guest, host) = ("vm".into(), "0.0.0.0".into());
        GuestPort { guest, index: 0, host, port: 10_000, tls, runs }
    }

    #[test]
    fn a_guest_s_port_is_open_to_others_by_the_address_that_it_listens_on() {
        let mut config = with_ports();
        for (listens, level) in [
            ("127.0.0.1:10000", Level::Ok),
            ("[::1]:10000", Level::Ok),
            ("0.0.0.0:10000", Level::Problem),
            ("[::]:10000", Level::Problem),
            ("192.0.2.1:10000", Level::Problem),
        ] {
            assert_eq!(exposure(&config, listens, &[]), level, "{listens}");
        }
        assert_eq!(exposure(&config, "127.0.0.1:10000", &[guest(false, false)]), Level::Warning);
        config.serial_console.proxyclient_address = "0.0.0.0".into();
        assert_eq!(exposure(&config, "127.0.0.1:10000", &[]), Level::Warning);
    }

    #[test]
    fn a_guest_with_tls_that_others_reach_is_a_warning_because_it_can_verify_them() {
        let config = with_ports();
        for (guests, level) in [
            (vec![guest(true, true)], Level::Warning),
            (vec![guest(true, false)], Level::Problem),
            (vec![guest(true, true), guest(false, true)], Level::Problem),
        ] {
            let found = exposure(&config, "0.0.0.0:10000", &guests);
            assert_eq!(found, level, "{guests:?}");
        }
        assert_eq!(exposure(&config, "127.0.0.1:10000", &[guest(true, false)]), Level::Warning);
    }

    #[tokio::test]
    async fn an_address_of_another_host_is_a_problem() {
        assert_eq!(address("127.0.0.1").await, None);
        assert!(address("198.51.100.1").await.is_some());
        assert!(address("no.such.name.invalid").await.is_some());
    }
}
