//! libvirt, KVM, QEMU, and what QEMU's version and the guests' ports mean for consoles.

use serialproxy_compute::Found;
use serialproxy_compute::GuestPort;
use serialproxy_config::values::SerialConsole;
use serialproxy_config::values::VirtType;

use super::Subject;
use super::finding::Check;
use super::finding::Finding;
use super::finding::first;
use super::ports;

/// The first QEMU in which a client of a port can be disconnected (`yank`).
const YANK: u32 = 6;

/// libvirt, and what it tells of QEMU and the guests.
pub(super) async fn check(subject: &Subject) -> Vec<Finding> {
    let (config, uri) = (subject.config(), &subject.config().libvirt.connection_uri);
    let found = match serialproxy_compute::probe(uri).await {
        Ok(found) => found,
        Err(why) => {
            let text = format!("libvirt cannot be used at {uri}: {why}");
            return vec![Finding::problem(Check::Libvirt, text, remedy(&why))];
        }
    };
    let text = format!("libvirt responds at {uri}, and has {} guests", found.guests);
    let mut findings = vec![Finding::ok(Check::Libvirt, text)];
    if uri.starts_with("qemu") {
        findings.push(qemu(&found));
    }
    findings.extend(guest_tls(&config.serial_console, &found.ports));
    findings.extend(ports::check(subject, &found.ports).await);
    findings
}

fn remedy(why: &str) -> &'static str {
    let says = |words: &[&str]| words.iter().any(|word| why.contains(word));
    if says(&["Permission denied", "authenticat", "access denied", "polkit", "system bus"]) {
        return "add the service's user to the group libvirt, and restart the service";
    }
    if says(&["No such file", "Connection refused", "respond"]) {
        return "start libvirt (`systemctl start libvirtd`, or virtqemud.socket where it is modular)";
    }
    "correct [libvirt] connection_uri, or set [compute] drivers = static if there is no libvirt"
}

fn qemu(found: &Found) -> Finding {
    match found.hypervisor {
        None => Finding::problem(
            Check::Qemu,
            "libvirt finds no QEMU",
            "install QEMU (Debian: qemu-system-x86), and restart libvirt",
        ),
        Some((major, minor, release)) if major < YANK => Finding::warning(
            Check::Qemu,
            format!(
                "QEMU {major}.{minor}.{release} cannot disconnect a program that holds a guest's port \
                 (yank): that guest has no console until the program leaves"
            ),
            "upgrade QEMU to version 6.0 or later",
        ),
        Some((major, minor, release)) => Finding::ok(
            Check::Qemu,
            format!("QEMU {major}.{minor}.{release} has TLS for serial ports, and yank"),
        ),
    }
}

/// TLS between lines and guests: no finding where nobody wants it.
fn guest_tls(console: &SerialConsole, ports: &[GuestPort]) -> Vec<Finding> {
    let ports = || ports.iter().filter(|port| port.runs);
    let plain: Vec<_> = ports().filter(|port| !port.tls).map(named).collect();
    let secure: Vec<_> = ports().filter(|port| port.tls).map(named).collect();
    if console.tls_required && !plain.is_empty() {
        return vec![Finding::problem(
            Check::GuestTls,
            format!("[serial_console] tls_required refuses {}, which have no TLS", first(&plain)),
            "set tls='yes' at these ports with `virsh edit`, and stop and start the guests; QEMU's \
             certificates: docs/deploy.md",
        )];
    }
    if console.tls_ca_certs.is_none() && !secure.is_empty() {
        return vec![Finding::problem(
            Check::GuestTls,
            format!("{} speak TLS, and [serial_console] tls_ca_certs is not set", first(&secure)),
            "set tls_ca_certs, and tls_client_cert and tls_client_key if QEMU requires a certificate",
        )];
    }
    let is_used = console.tls_ca_certs.is_some();
    let text = format!("{} ports of running guests speak TLS", secure.len());
    is_used.then(|| Finding::ok(Check::GuestTls, text)).into_iter().collect()
}

fn named(port: &GuestPort) -> String {
    format!("port {} of {}", port.index, port.guest)
}

/// Whether booted guests get KVM.
pub(super) async fn kvm(subject: &Subject) -> Vec<Finding> {
    let virt_type = subject.config().libvirt.virt_type;
    if virt_type == VirtType::Qemu {
        let text = "[libvirt] virt_type = qemu: booted guests are emulated";
        return vec![Finding::ok(Check::Kvm, text)];
    }
    let Err(why) = serialproxy_compute::kvm_works().await else {
        return vec![Finding::ok(Check::Kvm, "KVM works")];
    };
    let fix = kvm_remedy(&why);
    vec![match virt_type {
        VirtType::Kvm => {
            let text = format!("KVM does not work, so that no guest can be booted: {why}");
            Finding::problem(Check::Kvm, text, fix)
        }
        _ => {
            let text = format!(
                "KVM does not work, so that booted guests are emulated, which is slow: {why}"
            );
            Finding::warning(Check::Kvm, text, fix)
        }
    }]
}

fn kvm_remedy(why: &str) -> &'static str {
    if why.contains("Permission denied") {
        return "add the service's user to the group of /dev/kvm (kvm), and restart the service; in a \
                container, let it use /dev/kvm";
    }
    "enable virtualization in the firmware, or nested virtualization on the host of this machine, and \
     load kvm_intel or kvm_amd; [libvirt] virt_type = qemu accepts emulation"
}

#[cfg(test)]
mod tests {
    use serialproxy_config::Config;

    use super::*;
    use crate::doctor::finding::Level;

    fn port(index: u8, tls: bool) -> GuestPort {
        let (guest, host) = ("vm".into(), "127.0.0.1".into());
        GuestPort { guest, index, host, port: 10_000, tls, runs: true }
    }

    #[test]
    fn what_libvirt_says_decides_what_to_do() {
        for (why, fix) in [
            (
                "Failed to connect socket to '/run/libvirt/libvirt-sock': No such file or directory",
                "start",
            ),
            ("it does not respond", "start"),
            ("authentication unavailable: no polkit agent available", "group libvirt"),
            ("Failed to connect socket to '/x': Permission denied", "group libvirt"),
            ("Unable to get system bus connection: No such file or directory", "group libvirt"),
            ("no connection driver available for nonsense:///", "connection_uri"),
        ] {
            assert!(remedy(why).contains(fix), "{why}");
        }
    }

    #[test]
    fn a_device_that_may_not_be_opened_has_nothing_to_do_with_the_firmware() {
        let denied = "Could not access KVM kernel module: Permission denied";
        assert!(kvm_remedy(denied).contains("group of /dev/kvm"));
        let missing = "Could not access KVM kernel module: No such file or directory";
        assert!(kvm_remedy(missing).contains("firmware"));
    }

    #[test]
    fn a_qemu_without_yank_is_a_warning_and_none_is_a_problem() {
        for (hypervisor, level) in [
            (Some((7, 2, 22)), Level::Ok),
            (Some((6, 0, 0)), Level::Ok),
            (Some((5, 2, 0)), Level::Warning),
            (None, Level::Problem),
        ] {
            assert_eq!(qemu(&Found { hypervisor, ..Found::default() }).level, level);
        }
    }

    #[test]
    fn guests_whose_ports_do_not_speak_as_the_lines_do_are_found() {
        let mut console = Config::default().serial_console;
        assert_eq!(guest_tls(&console, &[port(0, false)]), []);
        assert_eq!(guest_tls(&console, &[port(0, true)])[0].level, Level::Problem);
        console.tls_ca_certs = Some("ca.pem".into());
        assert_eq!(guest_tls(&console, &[port(0, true), port(1, false)])[0].level, Level::Ok);
        console.tls_required = true;
        assert_eq!(guest_tls(&console, &[port(0, true), port(1, false)])[0].level, Level::Problem);
        let stopped = GuestPort { runs: false, ..port(1, false) };
        assert_eq!(guest_tls(&console, &[port(0, true), stopped])[0].level, Level::Ok);
    }
}
