//! A small cluster on one machine: an etcd, a host with api and proxy, and a hypervisor with real
//! guests, in their own network namespaces. The hosts join with the commands that people use;
//! between the hosts, only the cluster's port is open.

use std::path::Path;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use reqwest::Method;
use serde_json::Value;
use serde_json::json;
use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::process::Child;
use tokio::process::Command;

use crate::cluster::Role;
use crate::etcd::Etcd;
use crate::eventually;
use crate::guest::KNOCK;
use crate::libvirtd::Libvirtd;
use crate::libvirtd::images;
use crate::server::program;
use crate::space::HOME;
use crate::space::Space;
use crate::space::Switch;
use crate::stdout;
use crate::terminal::Terminal;
use crate::within;

const BASE_URL: &str = "--serial_console-base_url=http://10.84.0.2:6083/serial.html";

/// The address of the hypervisor for the other hosts.
pub const HYPERVISOR: &str = "10.84.0.3:6084";

/// A controller and a hypervisor. The fields are dropped in this order.
#[derive(Debug)]
pub struct Place {
    _proxy: Role,
    /// The api role.
    pub api: Role,
    compute: Option<Role>,
    /// The hypervisor's libvirt.
    pub libvirt: Libvirtd,
    etcd: Etcd,
    dir: TempDir,
    /// The host of the api and proxy roles.
    pub controller: Space,
    /// The host of the compute role and its guests.
    pub hypervisor: Space,
    /// The switch that connects them.
    pub switch: Switch,
}

impl Place {
    /// Starts it, without a guest.
    pub async fn start() -> Self {
        let switch = Switch::new();
        let [controller, hypervisor] = [2, 3].map(|number| switch.host(number));
        controller.admit(&hypervisor, &[6084]);
        hypervisor.admit(&controller, &[6084]);
        let dir = tempfile::Builder::new().prefix("hosts-").tempdir().unwrap();
        let etcd = Etcd::start_at(HOME, 1).await;
        let state = dir.path().join("controller");
        init(&controller, &state).await;
        let flags = controller_flags(&etcd);
        let api = Role::start_by(&controller.by(), "api", &state, &flags).await;
        let proxy = Role::start_by(&controller.by(), "proxy", &state, &flags).await;

        let mut libvirt = Libvirtd::prepare_by(&hypervisor.by(), "");
        libvirt.start();
        let line = enroll(&controller, &dir, &etcd, "compute").await;
        join(&hypervisor, &dir, &line, "hypervisor").await;
        let compute = compute(&hypervisor, &dir, &libvirt).await;
        Self {
            _proxy: proxy,
            api,
            compute: Some(compute),
            libvirt,
            etcd,
            dir,
            controller,
            hypervisor,
            switch,
        }
    }

    /// Kills the compute role, and starts it again.
    pub async fn restart_compute(&mut self) {
        self.compute.take().unwrap().kill().await;
        self.compute = Some(compute(&self.hypervisor, &self.dir, &self.libvirt).await);
    }

    /// Boots a guest on the hypervisor; its UUID.
    pub async fn boot(&self) -> String {
        let body = json!({"name": "guest", "image": "demo", "properties": {"serial_ports": "1"}});
        let body = body.to_string();
        let id = eventually(async || {
            let booted = self.api.call(Method::POST, "/v1/servers", &body).await;
            // 503 until the hypervisor is up.
            assert!([201, 503].contains(&booted.status), "{:?}", booted.json);
            (booted.status == 201).then(|| booted.json["server"]["id"].as_str().unwrap().to_owned())
        })
        .await;
        self.has(&id, |server| server["status"] == "ACTIVE" && server["host"] == "hypervisor")
            .await;
        id
    }

    /// Waits until the list contains the server in the wanted form.
    pub async fn has(&self, id: &str, wanted: impl Fn(&Value) -> bool) {
        eventually(async || {
            let servers = self.api.call(Method::GET, "/v1/servers", "").await.json;
            let mut servers = servers["servers"].as_array()?.iter();
            servers.any(|server| server["id"] == id && wanted(server)).then_some(())
        })
        .await;
    }

    /// `HOST:PORT` of the proxy.
    pub fn proxy(&self) -> String {
        format!("{}:6083", self.controller.address)
    }

    /// `connect`, ready to run.
    fn client(&self) -> Command {
        let mut connect = Command::new(program());
        connect.args(["connect", "guest"]).env("SERIALPROXY_API_URL", self.api.api());
        connect.env("SERIALPROXY_TOKEN", self.api.admin_token());
        connect.env("XDG_CONFIG_HOME", "/nonexistent");
        connect
    }

    /// The same in a terminal, at a shell's prompt.
    pub async fn connect(&self) -> Terminal {
        let mut terminal = Terminal::run(self.client());
        terminal.shows("connected to guest").await;
        within(async {
            loop {
                terminal.keys(KNOCK);
                if terminal.shows_soon("knocks").await {
                    return;
                }
            }
        })
        .await;
        terminal
    }

    /// Lets a host join as a proxy of this name; returns its state directory.
    pub async fn join_proxy(&self, host: &Space, name: &str) -> PathBuf {
        let line = enroll(&self.controller, &self.dir, &self.etcd, "proxy").await;
        join(host, &self.dir, &line, name).await;
        self.dir.path().join(name)
    }

    /// Has a host join as a proxy, and starts one there in nova-serialproxy's place.
    pub async fn drop_in(&self, host: &Space, name: &str, nova_conf: &str) -> Role {
        host.admit(&self.hypervisor, &[]);
        self.hypervisor.admit(host, &[6084]);
        let state = self.join_proxy(host, name).await;
        let conf = self.dir.path().join("conf").join(name);
        let nova = state.join("nova.conf");
        std::fs::write(&nova, nova_conf).unwrap();
        let flags = [
            format!("--config-file={}", nova.display()),
            format!("--config-file={}", conf.join("cluster.conf").display()),
            format!("--cluster-advertise={}:6084", host.address),
            format!("--host={}", host.address),
        ];
        Role::start_by(&host.by(), "proxy", &state, &flags).await
    }

    /// Starts the compute role again, with this configuration as well.
    pub async fn configure_compute(&mut self, text: &str) {
        let file = self.dir.path().join("conf/hypervisor/more.conf");
        std::fs::write(file, text).unwrap();
        self.restart_compute().await;
    }

    /// Makes a host the controller of another cluster with the same names; returns its state
    /// directory.
    pub async fn impostor(&self, host: &Space) -> PathBuf {
        let state = self.dir.path().join("impostor");
        init(host, &state).await;
        state
    }

    /// The parameters of the page's tests.
    pub fn story(&self, server: &str) -> Value {
        let (api, token) = (self.api.api(), self.api.admin_token());
        let proxy = format!("http://{}/", self.proxy());
        json!({"api": api, "proxy": proxy, "token": token, "server": server, "name": "guest"})
    }

    /// The only session.
    pub async fn session(&self) -> Value {
        let sessions = self.api.call(Method::GET, "/v1/sessions", "").await.json;
        assert_eq!(sessions["sessions"].as_array().map(Vec::len), Some(1), "{sessions}");
        sessions["sessions"][0]["id"].clone()
    }
}

/// The flags of the controller.
fn controller_flags(etcd: &Etcd) -> Vec<String> {
    let etcd = format!("--cluster-etcd_endpoints={}", etcd.endpoints().join(","));
    let more = [
        "--cluster-name=controller",
        "--cluster-advertise=10.84.0.2:6084",
        "--api-listen=10.84.0.2:8774",
        "--proxy-api_url=http://10.84.0.2:8774",
        BASE_URL,
    ];
    more.into_iter().map(str::to_owned).chain([etcd]).collect()
}

/// Starts the compute role, with the configuration that `join` wrote.
async fn compute(hypervisor: &Space, dir: &TempDir, libvirt: &Libvirtd) -> Role {
    let flags = [
        format!("--config-dir={}", dir.path().join("conf/hypervisor").display()),
        format!("--cluster-advertise={HYPERVISOR}"),
        "--compute-drivers=libvirt".to_owned(),
        format!("--libvirt-connection_uri={}", libvirt.uri()),
        format!("--compute-images_path={}", images().display()),
        BASE_URL.to_owned(),
    ];
    let state = dir.path().join("hypervisor");
    Role::start_by(&hypervisor.by(), "compute", &state, &flags).await
}

/// Makes a host the controller of a new cluster.
async fn init(host: &Space, state: &Path) {
    let at = format!("--state-dir={}", state.display());
    run(host, &["cluster", "init", "--role=proxy", "--cluster-name=controller", &at]).await;
}

/// The command that `enroll` prints on the controller.
async fn enroll(controller: &Space, dir: &TempDir, etcd: &Etcd, role: &str) -> String {
    let state = format!("--state-dir={}", dir.path().join("controller").display());
    let (role, flags) = (format!("--role={role}"), controller_flags(etcd));
    let flags = flags.iter().filter(|flag| flag.starts_with("--cluster-"));
    let words = ["enroll", &role, &state].into_iter().chain(flags.map(String::as_str));
    run(controller, &words.collect::<Vec<_>>()).await
}

/// Runs that command on a host, with this name.
async fn join(host: &Space, dir: &TempDir, line: &str, name: &str) {
    let name_flag = format!("--name={name}");
    let state = format!("--state-dir={}", dir.path().join(name).display());
    let conf = format!("--config-dir={}", dir.path().join("conf").join(name).display());
    let words = line.split_whitespace().skip(1).chain([name_flag.as_str(), &state, &conf]);
    run(host, &words.collect::<Vec<_>>()).await;
}

/// The output of a command, which must succeed.
async fn run(host: &Space, arguments: &[&str]) -> String {
    let output = within(host.command(program()).args(arguments).output()).await.unwrap();
    assert!(output.status.success(), "{output:?}");
    stdout(&output)
}

/// `connect` without a terminal: it prints the guest's output.
#[derive(Debug)]
pub struct Piped {
    client: Child,
    shown: Vec<u8>,
}

impl Piped {
    /// Starts it, and waits for a shell's prompt.
    pub async fn start(place: &Place) -> Self {
        let mut connect = place.client();
        let client = connect.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut piped = Self { client: client.spawn().unwrap(), shown: Vec::new() };
        within(async {
            loop {
                piped.keys(KNOCK).await;
                let heard = tokio::time::timeout(Duration::from_secs(2), piped.shows("knocks"));
                if heard.await.is_ok() {
                    return;
                }
            }
        })
        .await;
        piped
    }

    /// Types.
    pub async fn keys(&mut self, keys: &str) {
        self.client.stdin.as_mut().unwrap().write_all(keys.as_bytes()).await.unwrap();
    }

    /// Everything that it has printed.
    pub fn shown(&self) -> String {
        String::from_utf8_lossy(&self.shown).into_owned()
    }

    /// Waits until it has printed this.
    pub async fn shows(&mut self, text: &str) {
        let stdout = self.client.stdout.as_mut().unwrap();
        within(async {
            while !String::from_utf8_lossy(&self.shown).contains(text) {
                assert!(stdout.read_buf(&mut self.shown).await.unwrap() > 0, "it ended");
            }
        })
        .await;
    }

    /// The numbers of the rows that it has printed.
    pub fn rows(&self) -> Vec<usize> {
        let shown = self.shown();
        let rows = shown.split("row ").skip(1);
        rows.filter_map(|row| row.split_once(" end")?.0.parse().ok()).collect()
    }
}
