//! Reverse proxies with the configurations of `docs/proxies.md`.

use std::net::SocketAddr;
use std::path::Path;
use std::path::PathBuf;
use std::process::Stdio;

use rustix::process::Pid;
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::net::TcpSocket;
use tokio::net::TcpStream;
use tokio::net::UdpSocket;
use tokio::process::Child;
use tokio::process::Command;

use crate::address::free_port;
use crate::connection::connect_on;
use crate::eventually;
use crate::pki::Pki;
use crate::server::http;
use crate::socket::Socket;
use crate::within;

/// Where users are; the reverse proxies are at 127.0.0.1.
pub const USER: &str = "127.0.0.9";

/// The document.
pub fn document() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/proxies.md");
    std::fs::read_to_string(path).unwrap()
}

/// Replaces what has to be there.
pub fn replaced(config: &str, from: &str, to: &str) -> String {
    assert!(config.contains(from), "no {from:?} in:\n{config}");
    config.replace(from, to)
}

/// A reverse proxy between users and a program.
#[derive(Debug)]
pub struct Front {
    /// `127.0.0.1:P`, where users come to.
    pub address: String,
    process: Child,
    directory: TempDir,
    /// Where it sends what others write to a file.
    syslog: UdpSocket,
    received: String,
}

impl Front {
    /// Starts the program of this name with a configuration of the document, before a program at
    /// `host:port`. Users see the server's certificate.
    pub async fn start(name: &str, config: &str, upstream: &str, pki: &Pki) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let syslog = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = format!("127.0.0.1:{}", free_port());
        let place = Place { pki, directory: directory.path(), address: &address };
        let config = config.replace("192.0.2.20:6083", upstream);
        let command = match name {
            "haproxy" => place.haproxy(&config, &syslog.local_addr().unwrap().to_string()),
            "nginx" => place.nginx(&config),
            "caddy" => place.caddy(&config),
            _ => place.apache(&config),
        };
        let mut process = started(command, directory.path());
        eventually(async || {
            let ended = process.try_wait().unwrap();
            let log = || std::fs::read_to_string(directory.path().join("output.log")).unwrap();
            assert!(ended.is_none(), "{name}: {}", log());
            TcpStream::connect(&address).await.ok()
        })
        .await;
        Self { address, process, directory, syslog, received: String::new() }
    }

    /// A WebSocket from where the user is, through the TLS of the reverse proxy.
    pub async fn socket(&self, pki: &Pki, path: &str, headers: &[(&str, &str)]) -> Socket {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(USER.parse().unwrap(), 0)).unwrap();
        let stream = within(socket.connect(self.address.parse().unwrap())).await.unwrap();
        let ca = pki.file("ca-cert.pem");
        let stream = within(connect_on(stream, Some(&ca), &self.address)).await.unwrap();
        Socket::on(stream, &self.address, path, headers).await
    }

    /// Status and body of a page that the user loads.
    pub async fn page(&self, path: &str) -> (u16, String) {
        let from = Some(USER.parse().unwrap());
        let client = http().local_address(from).build().unwrap();
        let request = client.get(format!("https://{}{path}", self.address));
        let request = request.header("referer", format!("https://{}{path}", self.address));
        let response = within(request.send()).await.unwrap();
        (response.status().as_u16(), within(response.text()).await.unwrap())
    }

    /// Ends it; everything that it logged.
    pub async fn stop(mut self) -> String {
        let pid = Pid::from_raw(i32::try_from(self.process.id().unwrap()).unwrap()).unwrap();
        rustix::process::kill_process(pid, Signal::TERM).unwrap();
        within(self.process.wait()).await.unwrap();
        self.logged()
    }

    /// Everything that it logged so far, wherever.
    fn logged(&mut self) -> String {
        let mut datagram = [0; 8192];
        while let Ok(length) = self.syslog.try_recv(&mut datagram) {
            self.received += &String::from_utf8_lossy(&datagram[..length]);
        }
        let files = std::fs::read_dir(self.directory.path()).unwrap().map(|file| file.unwrap());
        let logs = files.filter(|file| file.path().extension().is_some_and(|end| end == "log"));
        let logs = logs.map(|file| std::fs::read_to_string(file.path()).unwrap());
        self.received.clone() + &logs.collect::<String>()
    }

    /// Waits until it logged all these words.
    pub async fn logs(&mut self, words: &[&str]) {
        eventually(async || {
            let log = self.logged();
            words.iter().all(|word| log.contains(word)).then_some(())
        })
        .await;
    }
}

/// Runs it with its output in a log.
fn started(mut command: Command, directory: &Path) -> Child {
    let log = std::fs::File::create(directory.join("output.log")).unwrap();
    command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    command.kill_on_drop(true).spawn().unwrap()
}

/// Where the parts of a configuration are in a test. Each program runs in one process, which ends with
/// the test.
struct Place<'a> {
    pki: &'a Pki,
    directory: &'a Path,
    address: &'a str,
}

impl Place<'_> {
    fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.directory.join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    fn port(&self) -> &str {
        self.address.rsplit_once(':').unwrap().1
    }

    /// With the certificate and its key in place of those in a directory of the program.
    fn certified(&self, config: &str, directory: &str) -> String {
        let [cert, key] = ["server-cert.pem", "server-key.pem"]
            .map(|name| self.pki.file(name).to_str().unwrap().to_owned());
        let config = replaced(config, &format!("{directory}/console.pem"), &cert);
        replaced(&config, &format!("{directory}/console-key.pem"), &key)
    }

    fn haproxy(&self, config: &str, syslog: &str) -> Command {
        let [cert, key] = ["server-cert.pem", "server-key.pem"]
            .map(|name| std::fs::read_to_string(self.pki.file(name)).unwrap());
        let both = self.file("console.pem", &(cert + &key));
        let config = replaced(config, "/dev/log", syslog);
        let config = replaced(&config, "bind :443", &format!("bind {}", self.address));
        let config = config.replace("/etc/haproxy/console.pem", both.to_str().unwrap());
        let mut command = Command::new("haproxy");
        command.arg("-db").arg("-f").arg(self.file("haproxy.cfg", &config));
        command
    }

    fn nginx(&self, config: &str) -> Command {
        let directory = self.directory.display();
        let config = replaced(config, "listen 443", &format!("listen {}", self.address));
        let config = replaced(&config, "/var/log/nginx", &directory.to_string());
        let site = self.file("console", &self.certified(&config, "/etc/nginx"));
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("{name}_temp_path {directory}/{name};\n"));
        let main = format!(
            "daemon off;\nmaster_process off;\npid {directory}/nginx.pid;\nevents {{}}\n\
             http {{\n{}include {};\n}}\n",
            temporary.concat(),
            site.display()
        );
        let mut command = Command::new("nginx");
        // Its first errors come before it has read which log they belong in.
        command.arg("-e").arg(self.directory.join("first.log"));
        command.arg("-c").arg(self.file("nginx.conf", &main));
        command
    }

    fn caddy(&self, config: &str) -> Command {
        let site = format!("https://{}", self.address);
        let config = replaced(config, "https://console.example.org", &site);
        let config = replaced(&config, "/var/log/caddy", self.directory.to_str().unwrap());
        let config = self.certified(&config, "/etc/caddy");
        let own = format!("{{\n    admin off\n    http_port {}\n", free_port());
        let config = config.replacen("{\n", &own, 1);
        let mut command = Command::new("caddy");
        command.args(["run", "--adapter", "caddyfile", "--config"]);
        command.arg(self.file("Caddyfile", &config));
        for home in ["HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"] {
            command.env(home, self.directory);
        }
        command
    }

    fn apache(&self, config: &str) -> Command {
        let config = replaced(config, "*:443", self.address);
        let site = self.file("console.conf", &self.certified(&config, "/etc/apache2"));
        // What Debian enables, and what the document says.
        let modules = ["mpm_event", "authz_core", "reqtimeout", "socache_shmcb"];
        let modules = modules.into_iter().map(str::to_owned).chain(enabled());
        let modules = modules.map(|name| {
            format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n")
        });
        let directory = self.directory.display();
        let main = format!(
            "{}ServerRoot {directory}\nDefaultRuntimeDir {directory}\nPidFile {directory}/pid\n\
             ServerName console.example.org\nListen {}\nErrorLog {directory}/error.log\n\
             RequestReadTimeout header=20-40,minrate=500 body=10,minrate=500\nTimeout 300\n\
             User www-data\nGroup www-data\nInclude {}\n",
            modules.collect::<String>(),
            self.port(),
            site.display()
        );
        let mut command = Command::new("apache2");
        command.arg("-X").arg("-f").arg(self.file("apache2.conf", &main));
        command.env("APACHE_LOG_DIR", self.directory);
        command
    }
}

/// The modules of Apache's that the document enables.
fn enabled() -> Vec<String> {
    let text = document();
    let command = text.lines().find_map(|line| line.strip_prefix("# a2enmod ")).unwrap();
    command.split(' ').map(str::to_owned).collect()
}
