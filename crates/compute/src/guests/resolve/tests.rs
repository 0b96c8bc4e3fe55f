//! Tests with domains without an operating system, under a libvirtd of their own.

use std::sync::Arc;
use std::time::Duration;

use serialproxy_config::Config;
use serialproxy_e2e::address::free_port;
use serialproxy_e2e::libvirtd::Libvirtd;
use serialproxy_e2e::pki::Pki;
use serialproxy_e2e::within;
use serialproxy_ledger::Ledger;
use serialproxy_line::Lines;
use serialproxy_line::Settings;
use serialproxy_proto::id::ServerId;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::process::Child;

use super::*;

struct Bench {
    daemon: Libvirtd,
    guests: Arc<Guests>,
    _state: tempfile::TempDir,
}

impl Bench {
    /// A started domain with these devices, and its guests' table. Without consoles, no line
    /// connects to its ports.
    fn start(name: &str, devices: &str, change: impl FnOnce(&mut Config)) -> Self {
        let define = |daemon: &Libvirtd| daemon.define(name, &id(name).to_string(), devices);
        Self::start_with("", name, define, change)
    }

    fn start_with(
        qemu_conf: &str,
        name: &str,
        define: impl FnOnce(&Libvirtd),
        change: impl FnOnce(&mut Config),
    ) -> Self {
        let mut daemon = Libvirtd::prepare_with(qemu_conf);
        daemon.start();
        define(&daemon);
        daemon.virsh(&["start", name]);
        let state = tempfile::tempdir().unwrap();
        let ledger = Arc::new(Ledger::open(&state.path().join("store.sqlite")).unwrap());
        let mut config = Config { state_dir: state.path().into(), ..Config::default() };
        config.libvirt.connection_uri = daemon.uri();
        change(&mut config);
        let lines = Lines::new(Settings::default(), vec![tokio::runtime::Handle::current()]);
        Self { daemon, guests: Guests::start(&config, ledger, lines), _state: state }
    }

    async fn resolve(&self, line: LineKey) -> Result<Endpoint, Unresolved> {
        self.guests.settle().await;
        LivePorts(Arc::downgrade(&self.guests)).resolve(line).await
    }
}

fn id(name: &str) -> ServerId {
    ServerId::of_static(name)
}

fn line(name: &str, port: u8) -> LineKey {
    LineKey { server: id(name), port }
}

fn tcp_serial(port: u16) -> String {
    format!(
        "<serial type='tcp'><source mode='bind' host='127.0.0.1' service='{port}'/>
         <protocol type='raw'/></serial>"
    )
}

#[tokio::test]
async fn every_transport_is_found_in_the_running_domain() {
    let (port, name) = (free_port(), "t-transports");
    let devices = format!(
        "<serial type='pty'/>
         <serial type='unix'><source mode='bind' path='/run/t-transports'/></serial>
         {}<serial type='null'/><console type='pty'><target type='virtio'/></console>",
        tcp_serial(port)
    );
    let bench = Bench::start(name, &devices, |_| {});
    let tty = bench.daemon.virsh(&["ttyconsole", name]);
    assert_eq!(bench.resolve(line(name, 0)).await, Ok(Endpoint::Pty(tty.trim().into())));
    assert_eq!(bench.resolve(line(name, 1)).await, Ok(Endpoint::Unix("/run/t-transports".into())));
    let tcp = Endpoint::Tcp { host: "127.0.0.1".into(), port };
    assert_eq!(bench.resolve(line(name, 2)).await, Ok(tcp));
    assert!(matches!(bench.resolve(line(name, 3)).await, Err(Unresolved::Failed(_))), "no line");
    let console = bench.resolve(line(name, 4)).await;
    let Ok(Endpoint::Pty(path)) = &console else { panic!("{console:?}") };
    assert!(path.starts_with("/dev/pts") && path.to_str() != Some(tty.trim()), "{path:?}");
}

#[tokio::test]
async fn a_plain_tcp_port_is_refused_where_tls_is_required() {
    let name = "t-plain";
    let devices = format!("{}<serial type='pty'/>", tcp_serial(free_port()));
    let bench = Bench::start(name, &devices, |config| config.serial_console.tls_required = true);
    let refused = bench.resolve(line(name, 0)).await;
    let Err(Unresolved::Failed(why)) = refused else { panic!("{refused:?}") };
    assert!(why.contains("tls_required") && why.contains("tls='yes'"), "{why}");
    assert!(bench.resolve(line(name, 1)).await.is_ok(), "a pseudo-terminal leaves no host");
}

#[tokio::test]
async fn a_stranger_who_holds_a_port_is_hung_up_on() {
    let (port, name) = (free_port(), "t-stranger");
    let bench = Bench::start(name, &tcp_serial(port), |_| {});
    let mut stranger = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let mut byte = [0];
    let holding = tokio::time::timeout(Duration::from_millis(200), stranger.read(&mut byte)).await;
    assert!(holding.is_err(), "it holds the port");
    bench.guests.settle().await;
    let ports = LivePorts(Arc::downgrade(&bench.guests));
    ports.clear(line(name, 0)).await.unwrap();
    let hung_up = tokio::time::timeout(Duration::from_secs(10), stranger.read(&mut byte)).await;
    assert!(matches!(hung_up, Ok(Ok(0) | Err(_))), "{hung_up:?}");
    let why = ports.clear(line(name, 1)).await.unwrap_err();
    assert!(why.contains("no serial port 1"), "{why}");
    bench.daemon.virsh(&["destroy", name]);
    let why = ports.clear(line(name, 0)).await.unwrap_err();
    assert!(why.contains("SHUTOFF"), "{why}");
}

#[tokio::test]
async fn what_libvirt_keeps_of_a_running_guests_output_is_read() {
    let name = "t-kept";
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("guest.log");
    let image = serialproxy_e2e::libvirtd::images().join("demo");
    let xml = format!(
        "<domain type='qemu'><name>{name}</name><uuid>{id}</uuid><memory unit='MiB'>128</memory>
         <os><type arch='x86_64'>hvm</type><kernel>{image}/kernel</kernel>
         <initrd>{image}/initrd</initrd><cmdline>console=ttyS0</cmdline></os>
         <features><acpi/></features><cpu mode='maximum'/><devices>
         <serial type='pty'><log file='{log}' append='off'/></serial><serial type='pty'/>
         </devices></domain>",
        id = id(name),
        image = image.display(),
        log = log.display(),
    );
    let bench = Bench::start_with("", name, |daemon| daemon.define_xml(&xml), |_| {});
    bench.guests.settle().await;
    let ports = LivePorts(Arc::downgrade(&bench.guests));
    let printed = serialproxy_e2e::eventually(async || {
        let kept = ports.kept(line(name, 0), 1 << 20).await?;
        let kept = String::from_utf8_lossy(&kept).into_owned();
        kept.contains("Run /init").then_some(kept)
    });
    assert!(printed.await.contains("Linux version"));
    assert_eq!(ports.kept(line(name, 0), 9).await.map(|kept| kept.len()), Some(9));
    assert_eq!(ports.kept(line(name, 1), 9).await, None, "nobody keeps it");
    bench.daemon.virsh(&["destroy", name]);
    assert_eq!(ports.kept(line(name, 0), 9).await, None, "it does not run");
}

/// `openssl s_client` with these arguments. It stays connected when QEMU accepts it; QEMU disconnects
/// others after the handshake.
fn tls_client(pki: &Pki, port: u16, arguments: &[&str]) -> Child {
    let mut client = tokio::process::Command::new("openssl");
    client
        .args(["s_client", "-quiet", "-verify_return_error", "-verify_ip", "127.0.0.1"])
        .args(["-connect", &format!("127.0.0.1:{port}"), "-CAfile", "ca-cert.pem"])
        .args(arguments)
        .current_dir(pki.directory())
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .kill_on_drop(true);
    client.spawn().unwrap()
}

#[tokio::test]
async fn a_port_with_tls_is_found_and_demands_a_certificate_of_its_client() {
    let (port, name, pki) = (free_port(), "t-tls", Pki::new());
    let devices = tcp_serial(port).replace("'/>\n", "' tls='yes'/>\n");
    let bench = Bench::start_with(
        &pki.qemu_conf(),
        name,
        |daemon| daemon.define(name, &id(name).to_string(), &devices),
        |config| config.serial_console.tls_required = true,
    );
    let tls = Endpoint::Tls { host: "127.0.0.1".into(), port };
    assert_eq!(bench.resolve(line(name, 0)).await, Ok(tls));
    let own = ["-cert", "client-cert.pem", "-key", "client-key.pem"];
    let mut accepted = tls_client(&pki, port, &own);
    let stays = tokio::time::timeout(Duration::from_secs(2), accepted.wait()).await;
    assert!(stays.is_err(), "{stays:?}");
    accepted.kill().await.unwrap();
    within(tls_client(&pki, port, &[]).wait()).await.unwrap();
}
