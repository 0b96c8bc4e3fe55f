//! Measures the memory of an idle tunnel in the proxy, in a separate process, with TLS on both sides.

use std::fmt::Write;
use std::future::pending;
use std::io::BufRead;
use std::io::BufReader;
use std::net::SocketAddr;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;

use serialproxy_config::Config;
use serialproxy_tls::Certificate;
use serialproxy_tls::Files;
use serialproxy_tls::Handshakes;
use serialproxy_tls::Policy;
use serialproxy_tls::Reception;
use serialproxy_tls::Stream;
use serialproxy_tls::Version;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;

use super::rig::Cluster;
use super::rig::Identity;
use super::rig::SWITCHING;
use super::rig::answer;
use super::rig::ask;
use crate::Tls;

/// Variable with the host's address and the proxy's certificate and key, for the process of the proxy.
const HOST: &str = "SERIALPROXY_TEST_HOST";

/// Tunnels that are opened before the measurement, so that fixed costs do not count, and tunnels that are
/// measured.
const FIRST: usize = 20;
const TUNNELS: usize = 300;

/// Maximum memory of a tunnel, in bytes.
const MOST: usize = 32 * 1024;

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn an_idle_tunnel_takes_little_memory_in_the_proxy() {
    let identity = Identity::new();
    let host = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = host.local_addr().unwrap();
    let accepts = identity.clone();
    tokio::spawn(async move {
        loop {
            let mut stream = accepts.accept(&host).await;
            tokio::spawn(async move {
                answer(&mut stream, SWITCHING).await;
                pending::<()>().await;
            });
        }
    });
    let (cert, key) = (hex(&identity.cert), hex(&identity.key));
    let proxy = Command::new(std::env::current_exe().unwrap())
        .args(["passing::memory::a_proxy_in_a_process_of_its_own", "--exact", "--nocapture"])
        .env(HOST, format!("{at} {cert} {key}"))
        .stdout(Stdio::piped())
        .spawn();
    let mut proxy = Killed(proxy.unwrap());
    let mut lines = BufReader::new(proxy.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    let says = move || {
        lines.find_map(|line| Some(line.split_once("the proxy is at ")?.1.to_owned())).unwrap()
    };
    let users: SocketAddr = spawn_blocking(says).await.unwrap().parse().unwrap();
    let mut tunnels = Vec::new();
    let mut before = 0;
    for number in 0..FIRST + TUNNELS {
        if number == FIRST {
            before = resident(proxy.0.id());
        }
        tunnels.push(open(&identity, users).await);
    }
    let each = (resident(proxy.0.id()) - before) / TUNNELS;
    println!("an idle tunnel takes {each} bytes of the proxy");
    assert!(each < MOST, "{each}");
}

async fn open(identity: &Identity, at: SocketAddr) -> Stream {
    let mut stream = identity.connect(at).await.unwrap();
    let request = "GET /?token=t HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\
         Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let head = ask(&mut stream, request).await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    stream
}

/// Anonymous memory of a process, in bytes.
fn resident(process: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    1024 * line.trim().trim_end_matches(" kB").parse::<usize>().unwrap()
}

/// The process of the proxy; does nothing unless the test above starts it.
#[tokio::test]
async fn a_proxy_in_a_process_of_its_own() {
    let Ok(host) = std::env::var(HOST) else { return };
    let mut parts = host.split(' ');
    let at = parts.next().unwrap().parse().unwrap();
    let [cert, key] = [parts.next(), parts.next()].map(|part| bytes(part.unwrap()));
    let identity = Identity::of(cert, key);
    let state = tempfile::tempdir().unwrap();
    let file = state.path().join("cert.pem");
    std::fs::write(&file, identity.pem()).unwrap();
    let certificate = Certificate::load(Files { cert: file, key: None }).unwrap();
    let policy = Policy { minimum: Version::Tls12, ciphers: None };
    let handshakes = Handshakes::new(vec![Handle::current()]);
    let users = Reception::new(Arc::new(certificate), &policy, true, handshakes).unwrap();
    let cluster = Cluster::new(at, &identity);
    let tls = Tls { users, api: None };
    let front = cluster.front_with_tls(Config::default(), tls).await;
    println!("the proxy is at {}", front.at);
    pending().await
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn bytes(hex: &str) -> Vec<u8> {
    let pairs = hex.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}
