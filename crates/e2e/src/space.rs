//! Hosts on one machine: network namespaces on a switch, each with a cable that can be pulled.
//!
//! They need root. The machine's own network is not affected, and everything is removed with the
//! process that made it.

use std::fs::File;
use std::io::BufRead;
use std::io::BufReader;
use std::marker::PhantomData;
use std::process::Child;
use std::process::Command;
use std::process::Output;
use std::process::Stdio;

use rustix::thread::LinkNameSpaceType;
use rustix::thread::move_into_link_name_space;

/// The address of the test itself, for the processes and connections that it starts without a
/// `Space`.
pub const HOME: &str = "10.84.0.1";

/// Makes a switch in its namespace.
const SWITCH: &str = "ip link add switch type bridge forward_delay 0 && ip link set switch up";

/// Connects a namespace to the switch: number, namespace, and the switch's namespace.
const CABLE: &str = r#"
set -e
nsenter --net="$3" ip link add "port$1" type veth peer name cable netns "${2//[!0-9]/}"
nsenter --net="$3" ip link set "port$1" master switch up
nsenter --net="$2" ip link set lo up
nsenter --net="$2" ip address add "10.84.0.$1/24" dev cable
nsenter --net="$2" ip link set cable up
"#;

/// A switch with hosts, one of which is the test. Dropping it moves the test back to its namespace.
#[derive(Debug)]
pub struct Switch {
    holder: Holder,
    before: File,
    _home: Space,
    /// Only this thread has moved.
    _here: PhantomData<*const ()>,
}

/// A host: a network namespace of its own.
#[derive(Debug)]
pub struct Space {
    holder: Holder,
    /// Its IP address.
    pub address: String,
    port: String,
    switch: String,
}

/// A process that keeps a namespace.
#[derive(Debug)]
struct Holder(Child);

impl Switch {
    /// Makes a switch, and moves this thread to [`HOME`] on it.
    pub fn new() -> Self {
        let before = File::open("/proc/thread-self/ns/net").unwrap();
        let holder = Holder::new();
        run(&holder.namespace(), &["bash", "-c", SWITCH]);
        let home = Space::new(1, &holder);
        enter(&File::open(home.holder.namespace()).unwrap());
        Self { holder, before, _home: home, _here: PhantomData }
    }

    /// A host with the address `10.84.0.NUMBER`, from 2 on.
    pub fn host(&self, number: u8) -> Space {
        Space::new(number, &self.holder)
    }
}

impl Default for Switch {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        enter(&self.before);
    }
}

impl Space {
    fn new(number: u8, switch: &Holder) -> Self {
        let (holder, switch) = (Holder::new(), switch.namespace());
        let laid = Command::new("bash")
            .args(["-c", CABLE, "bash", &number.to_string(), &holder.namespace(), &switch])
            .output()
            .unwrap();
        assert!(laid.status.success(), "no network of the test's own: {laid:?}");
        let (address, port) = (format!("10.84.0.{number}"), format!("port{number}"));
        Self { holder, address, port, switch }
    }

    /// The words of a command that executes another one on this host.
    pub fn by(&self) -> [String; 2] {
        ["nsenter".to_owned(), format!("--net={}", self.holder.namespace())]
    }

    /// A command that runs on this host.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> tokio::process::Command {
        let [nsenter, here] = self.by();
        let mut command = tokio::process::Command::new(nsenter);
        command.arg(here).arg(program).stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    /// Accepts from another host only connections to these ports, and answers to its own.
    pub fn admit(&self, from: &Self, ports: &[u16]) {
        let rule = |words: &[&str]| {
            let rule = [&["iptables", "-A", "INPUT", "-s", &from.address], words].concat();
            run(&self.holder.namespace(), &rule);
        };
        rule(&["-p", "tcp", "!", "--syn", "-j", "ACCEPT"]);
        for port in ports {
            rule(&["-p", "tcp", "--dport", &port.to_string(), "-j", "ACCEPT"]);
        }
        rule(&["-j", "DROP"]);
    }

    /// Accepts nothing from another host.
    pub fn shut_out(&self, from: &Self) {
        let rule = ["iptables", "-I", "INPUT", "-s", &from.address, "-j", "DROP"];
        run(&self.holder.namespace(), &rule);
    }

    /// Accepts what it did before.
    pub fn let_in(&self, from: &Self) {
        let rule = ["iptables", "-D", "INPUT", "-s", &from.address, "-j", "DROP"];
        run(&self.holder.namespace(), &rule);
    }

    /// Pulls the cable of this host.
    pub fn pull(&self) {
        run(&self.switch, &["ip", "link", "set", &self.port, "down"]);
    }

    /// Plugs it in again.
    pub fn plug(&self) {
        run(&self.switch, &["ip", "link", "set", &self.port, "up"]);
    }
}

impl Holder {
    fn new() -> Self {
        let mut process = Command::new("unshare")
            .args(["--net", "bash", "-c", "echo there; exec cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("no unshare, of util-linux");
        let mut there = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut there).unwrap();
        assert_eq!(there, "there\n", "no network namespaces: they need root");
        Self(process)
    }

    fn namespace(&self) -> String {
        format!("/proc/{}/ns/net", self.0.id())
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // The process ends with its input.
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// Runs a command in a namespace; it must succeed.
fn run(namespace: &str, command: &[&str]) -> Output {
    let output =
        Command::new("nsenter").arg(format!("--net={namespace}")).args(command).output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
    output
}

/// Moves this thread to a namespace.
fn enter(namespace: &File) {
    use std::os::fd::AsFd;
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
}
