//! Real guests: a program that serves libvirt, and shells on serial ports.
//!
//! The image is `demo` of `make guest-image`, under a libvirtd of the tests' own.

use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::Value;
use sha2::Digest;
use sha2::Sha256;
use tokio::sync::Mutex;
use tokio::sync::MutexGuard;

use crate::address;
use crate::eventually;
use crate::libvirtd::Libvirtd;
use crate::libvirtd::images;
use crate::server::Answer;
use crate::server::Server;
use crate::socket::Socket;
use crate::within;

/// Two libvirts for all tests of a process: a new one probes QEMU first, which takes seconds, and
/// more guests at a time than that are no faster on two cores.
static LIBVIRTS: [Mutex<Option<Libvirtd>>; 2] = [const { Mutex::const_new(None) }; 2];
static GUESTS: AtomicU32 = AtomicU32::new(0);

/// Makes a shell print `knocks`. A booting guest loses some of the typed characters. No beginning
/// of this text, followed by an end of it, is a command that reads more than the next line, as `ed`
/// or a single quote would.
pub const KNOCK: &str = "echo kno\\cks\r";

/// A program that serves libvirt's guests, alone unless another is started beside it. Its guests
/// end with it.
#[derive(Debug)]
pub struct Host {
    /// The program.
    pub server: Server,
    libvirt: MutexGuard<'static, Option<Libvirtd>>,
}

impl Host {
    /// Starts it with these flags.
    pub async fn start(flags: &[&str]) -> Self {
        Self::start_with("", flags).await
    }

    /// Starts it with console URLs that lead to its own proxy.
    pub async fn fixed() -> Self {
        let own = address::fixed();
        Self::start(&own.iter().map(String::as_str).collect::<Vec<_>>()).await
    }

    /// Starts it with a libvirt that has these lines in its `qemu.conf`.
    pub async fn start_with(qemu_conf: &str, flags: &[&str]) -> Self {
        let [one, other] = &LIBVIRTS;
        // A stopped guest's port is its own again once it starts, so nobody else may take it.
        let (mut libvirt, ports) = tokio::select! {
            biased;
            libvirt = one.lock() => (libvirt, "10000:15000"),
            libvirt = other.lock() => (libvirt, "15000:20000"),
        };
        if libvirt.as_ref().is_some_and(|libvirtd| libvirtd.qemu_conf() != qemu_conf) {
            *libvirt = None;
        }
        let uri = libvirt
            .get_or_insert_with(|| {
                let mut libvirtd = Libvirtd::prepare_with(qemu_conf);
                libvirtd.start();
                libvirtd
            })
            .uri();
        let images = images();
        let own = [
            "--compute-drivers",
            "libvirt,static",
            "--libvirt-connection_uri",
            &uri,
            "--compute-images_path",
            images.to_str().unwrap(),
        ];
        let range = "--serial_console-port_range";
        let ports: &[&str] = if flags.contains(&range) { &[] } else { &[range, ports] };
        Self { server: Server::start(&[&own[..], ports, flags].concat()).await, libvirt }
    }

    /// Starts another program beside it for the same guests, through a command that executes it.
    pub async fn beside(&self, by: &[&str], flags: &[&str]) -> Server {
        let uri = self.libvirt.as_ref().unwrap().uri();
        let own = ["--compute-drivers", "libvirt,static", "--libvirt-connection_uri", &uri];
        Server::start_by(by, &[&own[..], flags].concat()).await
    }

    /// Runs `virsh`; returns its output.
    pub fn virsh(&self, arguments: &[&str]) -> String {
        self.libvirt.as_ref().unwrap().virsh(arguments)
    }

    /// Kills the program with SIGKILL, and starts it again on its state.
    pub async fn kill_and_restart(mut self) -> Self {
        self.server.signal(rustix::process::Signal::KILL);
        self.server = self.server.restart().await;
        self
    }

    /// Requests a boot of a guest with these image properties.
    pub async fn try_boot(&self, name: &str, properties: &Value) -> Answer {
        let body = serde_json::json!({"name": name, "image": "demo", "properties": properties});
        self.server.post("/v1/servers", &body.to_string()).await
    }

    /// Boots a guest with this many serial ports.
    pub async fn boot(&self, ports: u8) -> Guest {
        let number = GUESTS.fetch_add(1, Ordering::Relaxed);
        let name = format!("t-{}-{number}", std::process::id());
        let answer =
            self.try_boot(&name, &serde_json::json!({"serial_ports": ports.to_string()})).await;
        assert_eq!(answer.status, 201, "{:?}", answer.json);
        let id = answer.json["server"]["id"].as_str().unwrap().to_owned();
        Guest { name, id }
    }

    /// A writer on a guest's port, at a shell's prompt.
    pub async fn shell(&self, guest: &Guest, port: u8) -> Shell {
        Self::shell_at(&self.server, guest, port).await
    }

    /// The same through another program.
    pub async fn shell_at(server: &Server, guest: &Guest, port: u8) -> Shell {
        let token = server.token(&guest.id, &format!("?port={port}")).await;
        let mut socket = Socket::v1(&server.proxy, &token, "&mode=watch").await;
        // With a request, which takes the pen from a session that the earlier program lost.
        let session = socket.message("hello").await["session"].clone();
        socket.say(r#"{"type":"pen","do":"request"}"#).await;
        within(async { while socket.message("pen").await["session"] != session {} }).await;
        let mut shell = Shell(socket);
        // Nothing responds before the shell runs, so it is tried again and again.
        let knock = async {
            loop {
                shell.0.send(KNOCK).await;
                let heard = shell.0.output_with(b"knocks");
                if tokio::time::timeout(Duration::from_secs(2), heard).await.is_ok() {
                    return;
                }
            }
        };
        within(knock).await;
        shell
    }

    /// Waits until a server has this status.
    pub async fn status(&self, guest: &Guest, status: &str) {
        let path = format!("/v2.1/servers/{}", guest.id);
        eventually(async || {
            let now = self.server.get(&path).await.json;
            (now["server"]["status"] == status).then_some(())
        })
        .await;
    }

    /// The TCP endpoint of a guest's port.
    pub async fn endpoint(&self, guest: &Guest, port: u8) -> String {
        let line = self.server.line(&guest.id, port).await;
        assert_eq!(line["endpoint"]["kind"], "tcp");
        line["endpoint"]["address"].as_str().unwrap().to_owned()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let Some(libvirtd) = &*self.libvirt else { return };
        for domain in libvirtd.virsh(&["list", "--all", "--uuid"]).split_whitespace() {
            let destroy = ["-q", "-c", &libvirtd.uri(), "destroy", domain];
            let _ = std::process::Command::new("virsh").args(destroy).output();
            libvirtd.virsh(&["undefine", domain]);
        }
    }
}

/// A guest of a test.
#[derive(Debug)]
pub struct Guest {
    /// Name of server and domain.
    pub name: String,
    /// UUID.
    pub id: String,
}

/// A session at a shell's prompt.
#[derive(Debug)]
pub struct Shell(pub Socket);

impl Shell {
    /// Runs a command; returns its output.
    pub async fn run(&mut self, command: &str) -> String {
        // The quotes distinguish the echo of the command from its output.
        self.0.send(format!("echo be\"\"gin; {command}; echo e\"\"nd\r")).await;
        let output = self.0.output_with(b"\nend").await;
        let output = String::from_utf8_lossy(&output).into_owned();
        let (_, output) = output.rsplit_once("begin").unwrap();
        let (output, _) = output.split_once("\nend").unwrap();
        output.trim().to_owned()
    }

    /// Sends every byte value to the guest and lets it print them: they must arrive unchanged in
    /// both directions.
    pub async fn carries_every_byte(&mut self) {
        let all: Vec<u8> = (0..=255).collect();
        let sum: String = Sha256::digest(&all).iter().map(|byte| format!("{byte:02x}")).collect();
        self.0.send("stty raw -echo; echo no\"\"w; head -c 256 >/all; cat /all; stty sane\r").await;
        let printed = self.0.output_with(b"now\n").await;
        assert!(printed.ends_with(b"now\n"));
        self.0.send(all.clone()).await;
        let mut printed = Vec::new();
        while printed.len() < all.len() {
            let message = self.0.next().await;
            if message.is_binary() {
                printed.extend_from_slice(message.as_payload());
            }
        }
        assert_eq!(printed[..all.len()], all);
        assert!(self.run("sha256sum </all").await.starts_with(&sum));
    }
}
