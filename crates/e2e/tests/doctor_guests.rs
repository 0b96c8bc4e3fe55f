//! `serialproxy doctor` on a host with guests: libvirt, KVM, and the guests' ports.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "that is how a test fails"
)]

use std::net::TcpListener;
use std::os::unix::net::UnixListener;

use serialproxy_e2e::address::free_port;
use serialproxy_e2e::address::free_ports;
use serialproxy_e2e::doctor::Patient;
use serialproxy_e2e::libvirtd::Libvirtd;
use serialproxy_e2e::pki::Pki;

const GUEST: &str = "2b0b6b7e-3f0c-5c8f-9b1a-6f5f2f3f4f50";

/// A host whose guests are those of this libvirt. Tests share the ports of this machine: each has a hundred from `first` on.
fn patient(uri: &str, first: u16) -> Patient {
    Patient::new()
        .with("compute-drivers", "libvirt,static")
        .with("libvirt-connection_uri", uri)
        .with("libvirt-virt_type", "qemu")
        .with("serial_console-port_range", &format!("{first}:{}", first + 100))
}

fn libvirt() -> Libvirtd {
    let mut libvirt = Libvirtd::prepare();
    libvirt.start();
    libvirt
}

/// A guest that runs, with a port at this address.
fn guest(libvirt: &Libvirtd, address: &str, port: u16) {
    libvirt.define(
        "vm",
        GUEST,
        &format!(
            "<serial type='tcp'><source mode='bind' host='{address}' service='{port}'/>
             <protocol type='raw'/><target port='0'/></serial>"
        ),
    );
    libvirt.virsh(&["start", "vm"]);
}

#[tokio::test]
async fn a_host_with_a_guest_on_loopback_is_healthy_and_one_that_others_reach_is_not() {
    let libvirt = libvirt();
    let first = free_ports(100);
    let port = first + 50;
    let patient = || patient(&libvirt.uri(), first);
    guest(&libvirt, "127.0.0.1", port);
    let said = patient().examine(&[]).await;
    said.is_healthy();
    said.has("ok", "libvirt", "1 guests");
    said.has("ok", "qemu", "yank");
    said.has("ok", "port-range", "99 of 100 ports");

    let pki = Pki::new();
    let ca = pki.file("ca-cert.pem").display().to_string();
    let strict = patient()
        .with("serial_console-tls_ca_certs", &ca)
        .with("serial_console-tls_required", "true");
    strict.has("problem", "guest-tls", "port 0 of vm").await;

    libvirt.virsh(&["destroy", "vm"]);
    guest(&libvirt, "0.0.0.0", port);
    patient().has("problem", "port-exposure", &format!("0.0.0.0:{port}")).await;
    libvirt.virsh(&["destroy", "vm"]);
    patient().has("warning", "port-exposure", "the ports of vm").await;
}

#[tokio::test]
async fn a_libvirt_that_is_not_there_or_hangs_or_is_not_allowed_is_found() {
    let uri = |socket: &str| format!("qemu+unix:///system?socket={socket}");
    let patient = |uri: &str| patient(uri, 21_100);
    patient(&uri("/nonexistent")).has("problem", "libvirt", "No such file").await;

    patient("nonsense:///").has("problem", "libvirt", "at nonsense:///").await;

    let holder = Patient::new();
    let silent = holder.file("silent");
    let listener = UnixListener::bind(&silent).unwrap();
    patient(&uri(silent.to_str().unwrap())).has("problem", "libvirt", "respond").await;
    drop(listener);

    let libvirt = libvirt();
    let nobody = patient(&libvirt.uri()).run_by_nobody();
    nobody.has("problem", "libvirt", "libvirt cannot be used").await;
}

#[tokio::test]
async fn ports_that_guests_cannot_have_are_found() {
    let libvirt = libvirt();
    let (host, patient) = (patient, || patient(&libvirt.uri(), 21_200));
    let taken = TcpListener::bind("127.0.0.1:21201").unwrap();
    patient().has("warning", "port-range", "127.0.0.1:21201 by ").await;
    // libvirt's own test driver lets everybody in.
    let nobody = host("test:///default", 21_200).run_by_nobody();
    nobody.has("warning", "port-range", "by a program that this user cannot see").await;
    let full = patient().with("serial_console-port_range", "21201:21202");
    full.has("problem", "port-range", "no port of").await;
    drop(taken);
    let own = patient().with("serial_console-serialproxy_port", "21202");
    own.has("problem", "port-range", "the service itself listens on port 21202").await;
    let given = patient().with("serial_console-port_range", "40000:40100");
    given.has("warning", "port-range", "outgoing connections").await;
    let elsewhere = patient().with("serial_console-proxyclient_address", "198.51.100.1");
    elsewhere.examine(&[]).await.has("problem", "port-range", "198.51.100.1");
    let open = patient().with("serial_console-proxyclient_address", "0.0.0.0");
    open.has("warning", "port-exposure", "0.0.0.0").await;
}

#[tokio::test]
async fn a_guest_that_speaks_tls_to_a_service_that_does_not_is_found() {
    let pki = Pki::new();
    let mut libvirt = Libvirtd::prepare_with(&pki.qemu_conf());
    libvirt.start();
    libvirt.define(
        "vm",
        GUEST,
        &format!(
            "<serial type='tcp'>
               <source mode='bind' host='127.0.0.1' service='{}' tls='yes'/>
             <protocol type='raw'/><target port='0'/></serial>",
            free_port()
        ),
    );
    libvirt.virsh(&["start", "vm"]);
    patient(&libvirt.uri(), 21_300).has("problem", "guest-tls", "port 0 of vm").await;
    let file = |name: &str| pki.file(name).display().to_string();
    let trusting = patient(&libvirt.uri(), 21_300)
        .with("serial_console-tls_ca_certs", &file("ca-cert.pem"))
        .with("serial_console-tls_client_cert", &file("client-cert.pem"))
        .with("serial_console-tls_client_key", &file("client-key.pem"));
    let said = trusting.examine(&[]).await;
    said.is_healthy();
    said.has("ok", "guest-tls", "1 ports");
}

#[tokio::test]
async fn kvm_that_guests_need_and_that_does_not_work_is_found() {
    let patient = patient("test:///default", 21_300).env("PATH", "/nonexistent");
    let said = patient.examine(&["--libvirt-virt_type", "kvm"]).await;
    said.has("problem", "kvm", "no QEMU was found");
    let said = patient.examine(&["--libvirt-virt_type", "auto"]).await;
    said.has("warning", "kvm", "no QEMU was found");
}
