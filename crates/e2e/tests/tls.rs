//! TLS for users and the API's callers, with certificates of a CA and with various clients.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "that is how a test fails"
)]

use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::fs::chown;
use std::path::Path;
use std::path::PathBuf;
use std::process::Output;
use std::sync::Arc;

use rustix::process::Signal;
use serde_json::json;
use serialproxy_e2e::address;
use serialproxy_e2e::eventually;
use serialproxy_e2e::page::tell;
use serialproxy_e2e::pki::Pki;
use serialproxy_e2e::port::Guest;
use serialproxy_e2e::port::Port;
use serialproxy_e2e::relay::Relay;
use serialproxy_e2e::server::Server;
use serialproxy_e2e::server::program;
use serialproxy_e2e::socket::Socket;
use serialproxy_e2e::terminal::Terminal;
use serialproxy_e2e::within;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::sync::Semaphore;

const V1: [(&str, &str); 1] = [("sec-websocket-protocol", "console.v1")];
const PLAIN: [&str; 0] = [];
const SSL_ONLY: [&str; 1] = ["--serial_console-ssl_only"];

/// A proxy with a certificate and its key in one file.
struct Rig {
    pki: Pki,
    server: Server,
    port: Port,
    guest: Guest,
}

async fn rig(flags: &[&str]) -> Rig {
    let (pki, port) = (Pki::new(), Port::new("switch").await);
    show(&pki, "server");
    let [flag, line] = port.flag();
    let cert = pki.file("self.pem").display().to_string();
    let cert = ["--serial_console-cert", &cert, &flag, &line];
    let server = Server::start(&[&cert, flags].concat()).await;
    let guest = port.accept().await;
    Rig { pki, server, port, guest }
}

/// Replaces the proxy's certificate and key by these.
fn show(pki: &Pki, name: &str) {
    let part = |kind| std::fs::read_to_string(pki.file(&format!("{name}-{kind}.pem"))).unwrap();
    let new = pki.file("new.pem");
    std::fs::write(&new, part("cert") + &part("key")).unwrap();
    std::fs::rename(new, pki.file("self.pem")).unwrap();
}

impl Rig {
    fn ca(&self) -> PathBuf {
        self.pki.file("ca-cert.pem")
    }

    async fn path(&self, query: &str) -> String {
        let token = self.server.token(&self.port.server(), "").await;
        format!("/?token={token}{query}")
    }

    async fn raw(&self) -> Socket {
        Socket::over(Some(&self.ca()), &self.server.proxy, &self.path("").await, &[]).await
    }

    async fn v1(&self, query: &str) -> Socket {
        Socket::over(Some(&self.ca()), &self.server.proxy, &self.path(query).await, &V1).await
    }

    /// OpenSSL's output about a connection.
    async fn s_client(&self, flags: &[&str]) -> Output {
        let mut command = Command::new("openssl");
        // Also offers ciphers that OpenSSL considers too weak by default.
        command.args(["s_client", "-connect", &self.server.proxy, "-cipher", "ALL:@SECLEVEL=0"]);
        within(command.args(flags).stdin(std::process::Stdio::null()).output()).await.unwrap()
    }

    async fn speaks(&self, version: &str) -> bool {
        let said = self.s_client(&[version]).await;
        let refused = String::from_utf8_lossy(&said.stderr).contains("alert");
        assert_ne!(said.status.success(), refused, "{said:?}");
        !refused
    }

    /// The present certificate.
    async fn certificate(&self) -> String {
        let said = self.s_client(&[]).await.stdout;
        let said = String::from_utf8_lossy(&said).into_owned();
        let (_, rest) = said.split_once("-----BEGIN CERTIFICATE-----").unwrap();
        rest.split_once("-----END").unwrap().0.split_whitespace().collect()
    }

    /// Whether the certificate of that name is in use.
    async fn shows(&self, name: &str) -> bool {
        let pem = std::fs::read_to_string(self.pki.file(&format!("{name}-cert.pem"))).unwrap();
        pem.split_whitespace().collect::<String>().contains(&self.certificate().await)
    }
}

async fn curl(arguments: &[&str]) -> String {
    let mut curl = Command::new("curl");
    let output = within(curl.args(["-s", "-i"]).args(arguments).output()).await.unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test]
async fn plain_and_tls_are_spoken_on_one_port() {
    let mut rig = rig(&PLAIN).await;
    let mut secure = rig.raw().await;
    let path = rig.path("&mode=watch").await;
    let mut plain = Socket::open(&rig.server.proxy, &path, &[]).await;
    rig.guest.print(b"to both").await;
    assert_eq!(secure.output_with(b"both").await, b"to both");
    assert_eq!(plain.output_with(b"both").await, b"to both");
    secure.send("typed over TLS").await;
    assert_eq!(rig.guest.typed(14).await, b"typed over TLS");

    let (https, http) =
        (format!("https://{}/", rig.server.proxy), format!("http://{}/", rig.server.proxy));
    let ca = rig.ca().display().to_string();
    for arguments in [["-k", &https].as_slice(), &["--cacert", &ca, &https], &[&http]] {
        let page = curl(arguments).await;
        assert!(page.starts_with("HTTP/1.1 200") && page.contains("<html"), "{page}");
    }
    let said = rig.s_client(&["-alpn", "h2,http/1.1"]).await;
    assert!(String::from_utf8_lossy(&said.stdout).contains("ALPN protocol: http/1.1"), "{said:?}");
}

#[tokio::test]
async fn with_ssl_only_who_comes_without_is_told_so_and_gets_nothing() {
    let plain_urls = "--serial_console-base_url=http://127.0.0.1/";
    let rig = rig(&[&SSL_ONLY[..], &[plain_urls]].concat()).await;
    let proxy = &rig.server.proxy;
    let page = curl(&[&format!("http://{proxy}/serial.html?token=secret")]).await;
    assert!(page.starts_with("HTTP/1.1 400"), "{page}");
    assert!(page.contains(&format!("use https://{proxy}/")) && !page.contains("secret"), "{page}");
    let refused = Socket::refused(proxy, &rig.path("").await, &[]).await;
    assert_eq!((refused.status, refused.body), (400, 0));
    assert_eq!(refused.reason, format!("this port speaks only TLS: use wss://{proxy}/"));
    rig.raw().await.leave().await;
    assert!(rig.server.log().contains("base_url has a scheme without TLS"));
}

/// Like Nova's `unit/cmd/test_baseproxy.py`.
#[tokio::test]
async fn ssl_only_without_cert_exits() {
    let mut serve = Command::new(program());
    let flags = ["serve", "--serial_console-ssl_only", "--serial_console-cert=/nowhere/self.pem"];
    let ended = within(serve.args(flags).output()).await.unwrap();
    assert_eq!(ended.status.code(), Some(2));
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(said.contains("SSL only and /nowhere/self.pem not found"), "{said}");
}

/// Runs `serve` in this directory, as a user without rights, until it gives up.
async fn gives_up(directory: &Path, flags: &[&str]) -> String {
    let mut serve = Command::new("setpriv");
    serve.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(program());
    serve.args(["serve", "--compute-drivers=static", "--api-listen=127.0.0.1:0"]);
    serve.arg("--serial_console-serialproxy_port=0");
    serve.arg("--state-dir").arg(directory.join("state")).arg("--line-claims");
    serve.arg(directory.join("claims")).args(flags).current_dir(directory).kill_on_drop(true);
    let ended = within(serve.output()).await.unwrap();
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    String::from_utf8_lossy(&ended.stderr).into_owned()
}

#[tokio::test]
async fn a_certificate_that_cannot_be_read_stops_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path();
    chown(place, Some(65534), None).unwrap();
    let said = gives_up(place, &["--serial_console-cert=/nowhere/cert.pem"]).await;
    assert!(said.contains("[serial_console] cert: /nowhere/cert.pem cannot be read: "), "{said}");
    assert!(said.contains("or set `cert =` to let users connect without TLS"), "{said}");

    // One that is there, where the user must not look.
    let pki = Pki::new();
    std::fs::set_permissions(pki.directory(), PermissionsExt::from_mode(0o700)).unwrap();
    let [cert, key, ..] = pki.flags();
    let said = gives_up(place, &[&cert, &key]).await;
    assert!(said.contains("server-cert.pem cannot be read: "), "{said}");

    // The one in the default place may be missing, and nothing else.
    std::os::unix::fs::symlink("self.pem", place.join("self.pem")).unwrap();
    let said = gives_up(place, &[]).await;
    assert!(said.contains("self.pem cannot be read: "), "{said}");
}

#[tokio::test]
async fn without_a_certificate_users_connect_without_tls_and_the_log_says_so() {
    let server = Server::start(&[]).await;
    // There is nothing to read again.
    server.signal(Signal::HUP);
    let page = curl(&[&format!("http://{}/", server.proxy)]).await;
    assert!(page.starts_with("HTTP/1.1 200"), "{page}");
    assert!(server.log().contains("users connect without TLS"), "{}", server.log());
}

#[tokio::test]
async fn test_ssl_min_version_is_not_set() {
    let rig = rig(&["--console-ssl_minimum_version", "default"]).await;
    assert!(rig.speaks("-tls1_2").await && rig.speaks("-tls1_3").await);
    assert!(!rig.speaks("-tls1").await && !rig.speaks("-tls1_1").await);
}

#[tokio::test]
async fn test_ssl_min_version_not_set_by_default() {
    let rig = rig(&PLAIN).await;
    assert!(rig.speaks("-tls1_2").await && !rig.speaks("-tls1_1").await);
}

#[tokio::test]
async fn test_non_default_ssl_min_version_is_set() {
    let rig = rig(&["--console-ssl_minimum_version", "tlsv1_3"]).await;
    assert!(rig.speaks("-tls1_3").await && !rig.speaks("-tls1_2").await);
}

#[tokio::test]
async fn of_tls_1_2_only_the_ciphers_that_are_listed_are_spoken() {
    let rig = rig(&["--console-ssl_ciphers", "ECDHE+AES128:!aRSA"]).await;
    let said = rig.s_client(&["-tls1_2"]).await;
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.contains("Cipher is ECDHE-ECDSA-AES128-GCM-SHA256"), "{said}");
    assert!(!rig.s_client(&["-tls1_2", "-cipher", "AES256"]).await.status.success());
    assert!(rig.speaks("-tls1_3").await);
}

#[tokio::test]
async fn who_says_nothing_or_speaks_ssl_2_is_let_go() {
    let rig = rig(&PLAIN).await;
    let mut old = TcpStream::connect(&rig.server.proxy).await.unwrap();
    let mut silent = TcpStream::connect(&rig.server.proxy).await.unwrap();
    old.write_all(&[0x80, 0x2e, 1, 0, 2]).await.unwrap();
    let mut nothing = Vec::new();
    // Unread bytes turn the close into a reset.
    let _ = within(old.read_to_end(&mut nothing)).await;
    assert_eq!(within(silent.read_to_end(&mut nothing)).await.unwrap(), 0);
    assert_eq!(nothing, b"");
}

#[tokio::test]
async fn a_certificate_is_renewed_under_a_session_that_loses_no_byte() {
    let mut rig = rig(&PLAIN).await;
    let mut session = rig.raw().await;
    rig.guest.print(b"before, ").await;
    assert!(rig.shows("server").await);

    std::fs::write(rig.pki.file("self.pem"), "no certificate").unwrap();
    rig.server.signal(Signal::HUP);
    eventually(async || rig.server.log().contains("keeping the previous one").then_some(())).await;
    assert!(rig.shows("server").await);

    show(&rig.pki, "next");
    rig.server.signal(Signal::HUP);
    eventually(async || rig.shows("next").await.then_some(())).await;
    rig.guest.print(b"after").await;
    assert_eq!(session.output_with(b"after").await, b"before, after");
    session.send("still here").await;
    assert_eq!(rig.guest.typed(10).await, b"still here");

    // No signal is needed.
    show(&rig.pki, "server");
    eventually(async || rig.shows("server").await.then_some(())).await;
}

/// Bytes in which every 8 differ from their neighbors.
fn pattern(length: usize) -> Vec<u8> {
    (0..length as u64 / 8)
        .flat_map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes())
        .collect()
}

const MIB: usize = 1024 * 1024;

/// Bytes that are printed at once, and such blocks that may be printed before they are read: what a line keeps, so
/// that a reader that the machine starves is not considered too slow.
const BLOCK: usize = 64 * 1024;
const UNREAD: usize = 256 / 64;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_byte_arrives_over_tls_both_ways() {
    let rig = rig(&PLAIN).await;
    let mut session = rig.raw().await;
    let (mut guest, all) = (rig.guest, pattern(24 * MIB));
    let (printed, unread) = (all.clone(), Arc::new(Semaphore::new(UNREAD)));
    let room = Arc::clone(&unread);
    let printing = tokio::spawn(async move {
        for block in printed.chunks(BLOCK) {
            room.acquire().await.unwrap().forget();
            guest.print(block).await;
        }
        guest
    });
    let mut at = 0;
    while at < all.len() {
        let message = session.next().await;
        let bytes: &[u8] = message.as_payload();
        assert!(
            bytes == &all[at..at + bytes.len()],
            "differs within {} bytes from {at}",
            bytes.len()
        );
        unread.add_permits((at + bytes.len()) / BLOCK - at / BLOCK);
        at += bytes.len();
    }
    let mut guest = within(printing).await.unwrap();
    let typed = pattern(MIB);
    let typing = typed.clone();
    let sending = tokio::spawn(async move {
        session.send(typing).await;
        session
    });
    assert!(guest.typed(typed.len()).await == typed);
    within(sending).await.unwrap();
}

/// Reads output until it ends with `end`, without keeping it.
async fn read_to(session: &mut Socket, end: &[u8]) {
    let mut last = Vec::new();
    while !last.ends_with(end) {
        let message = session.next().await;
        if message.is_binary() {
            last.extend_from_slice(message.as_payload());
            last.drain(..last.len().saturating_sub(end.len()));
        }
    }
}

/// Sessions that are measured together.
const MANY: usize = 50;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_over_tls_takes_little_when_idle_and_when_its_reader_stalls() {
    let mut rig = rig(&PLAIN).await;
    let mut writer = rig.v1("&from=live").await;
    let plain = rig.server.memory("VmRSS");
    let mut readers = Vec::new();
    for _ in 0..MANY {
        let path = rig.path("&mode=watch&from=live").await;
        readers.push(Socket::open(&rig.server.proxy, &path, &V1).await);
    }
    let secure = rig.server.memory("VmRSS");
    for _ in 0..MANY {
        readers.push(rig.v1("&mode=watch&from=live").await);
    }
    let idle = rig.server.memory("VmRSS");
    let (plain, secure) = (secure.saturating_sub(plain) / MANY, idle.saturating_sub(secure) / MANY);
    println!("an idle session takes {secure} bytes over TLS, and {plain} without");
    let reading = tokio::spawn(async move { read_to(&mut writer, b"the end").await });
    rig.guest.print(&vec![b'.'; 24 * MIB]).await;
    rig.guest.print(b"the end").await;
    within(reading).await.unwrap();
    let stalled = rig.server.memory("VmRSS").saturating_sub(idle) / MANY;
    println!(
        "two whose readers stall, one of them over TLS, take {stalled} bytes more, and the history in it"
    );
    assert!(secure <= 64 * 1024, "{secure} bytes when idle");
    assert!(stalled <= 256 * 1024, "{stalled} bytes when readers stall");
}

#[tokio::test]
async fn a_session_is_resumed_over_tls() {
    let mut rig = rig(&SSL_ONLY).await;
    let mut session = rig.v1("&from=live").await;
    let hello = session.message("hello").await;
    rig.guest.print(b"seen").await;
    session.output_with(b"seen").await;
    drop(session);
    rig.guest.print(b"missed").await;
    let (key, line) = (hello["resume"].as_str().unwrap(), hello["line"].as_str().unwrap());
    let from = hello["offset"].as_u64().unwrap() + 4;
    let path = format!("/?resume={key}&from={from}&line={line}");
    let mut session = Socket::over(Some(&rig.ca()), &rig.server.proxy, &path, &V1).await;
    assert_eq!(session.message("hello").await["session"], hello["session"]);
    assert_eq!(session.output_with(b"missed").await, b"missed");
}

/// An API and a proxy that use only TLS, with one certificate.
async fn all_over_tls(port: &Port, cert: &Path, key: &Path) -> Server {
    let flags = address::fixed().into_iter().map(|flag| flag.replace("http:", "https:"));
    let (cert, key) = (cert.display().to_string(), key.display().to_string());
    let both = ["api", "serial_console"].map(|group| {
        [
            format!("--{group}-cert={cert}"),
            format!("--{group}-key={key}"),
            format!("--{group}-ssl_only"),
        ]
    });
    let flags: Vec<_> = flags.chain(both.into_iter().flatten()).chain(port.flag()).collect();
    Server::start(&flags.iter().map(String::as_str).collect::<Vec<_>>()).await
}

#[tokio::test]
async fn a_terminal_is_connected_where_all_is_over_tls() {
    let (pki, port) = (Pki::new(), Port::new("switch").await);
    let server =
        all_over_tls(&port, &pki.file("server-cert.pem"), &pki.file("server-key.pem")).await;
    let mut guest = port.accept().await;
    let ca = pki.file("ca-cert.pem").display().to_string();
    let mut terminal = Terminal::run(server.command(&["connect", "switch", "--cacert", &ca]));
    terminal.shows("connected to switch, port 0, as admin").await;
    terminal.keys("typed");
    assert_eq!(guest.typed(5).await, b"typed");
    guest.print(b"printed").await;
    terminal.shows("printed").await;
    terminal.keys("\r~.");
    assert_eq!(terminal.ended().await.code(), Some(0));

    let stranger = server.client(&["servers"]).await;
    let said = String::from_utf8_lossy(&stranger.stderr);
    assert!(said.contains("UnknownIssuer") && said.contains("--cacert"), "{said}");
    let plain = server.api.replace("https:", "http:");
    let told = curl(&[&plain]).await;
    assert!(told.starts_with("HTTP/1.1 400") && told.contains("badRequest"), "{told}");
    let asked = server.client(&["servers", "--api-url", &plain]).await;
    let said = String::from_utf8_lossy(&asked.stderr);
    assert!(said.contains("This port speaks only TLS: use https://"), "{said}");
    let versions = server.get("/v2.1/").await.json.to_string();
    assert!(versions.contains(&format!("\"{}/v2.1", server.api)), "{versions}");
}

#[tokio::test]
async fn who_speaks_tls_to_a_port_without_is_told_to_use_http() {
    let (pki, port) = (Pki::new(), Port::new("switch").await);
    let mut own = address::fixed();
    own[5] = own[5].replace("http:", "https:");
    own.extend(port.flag());
    let server = Server::start(&own.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let ca = pki.file("ca-cert.pem").display().to_string();
    let address = server.api.trim_start_matches("http://");
    let url = format!("https://{address}");
    let asked = server.client(&["servers", "--cacert", &ca, "--api-url", &url]).await;
    let said = String::from_utf8(asked.stderr).unwrap();
    let told = format!("{url}: this port does not speak TLS; use {}\n", server.api);
    assert!(said.ends_with(&told), "{said}");
    let asked = server.client(&["connect", "switch", "--cacert", &ca]).await;
    let said = String::from_utf8(asked.stderr).unwrap();
    assert!(said.contains("this port does not speak TLS; its [serial_console] base_url"), "{said}");
}

#[tokio::test]
async fn the_page_works_over_https() {
    let (pki, relay) = (Pki::new(), Relay::new("switch").await);
    let own = address::fixed().into_iter().map(|flag| flag.replace("http:", "https:"));
    let cert = format!("--serial_console-cert={}", pki.file("server-cert.pem").display());
    let key = format!("--serial_console-key={}", pki.file("server-key.pem").display());
    let noauth = "--api-auth_strategy=noauth".to_owned();
    let flags: Vec<_> = own.chain([cert, key, noauth]).chain(relay.flag()).collect();
    let flags: Vec<_> = SSL_ONLY.into_iter().chain(flags.iter().map(String::as_str)).collect();
    let server = Server::start(&flags).await;
    let story = json!({ "api": server.api, "server": relay.server(), "guest": relay.guest() });
    tell("secure.mjs", story).await;
}

/// The relay accepts the API's own certificate, whatever its CA and its name.
#[tokio::test]
async fn the_servers_page_reaches_an_api_that_speaks_nothing_but_tls() {
    let (pki, port) = (Pki::new(), Port::new("switch").await);
    let (cert, key) = (pki.file("client-cert.pem"), pki.file("client-key.pem"));
    let server = all_over_tls(&port, &cert, &key).await;
    let url = format!("https://{}/v1/lines", server.proxy);
    let token = format!("X-Auth-Token: {}", server.admin_token());
    let lines = curl(&["-k", "-H", &token, &url]).await;
    assert!(lines.starts_with("HTTP/1.1 200") && lines.contains(&port.server()), "{lines}");
}

#[tokio::test]
async fn a_certificate_of_our_own_making_is_enough_for_a_start() {
    let directory = tempfile::tempdir().unwrap();
    let make = async |more: &[&str]| {
        let mut command = Command::new(program());
        command.args(["tls", "self-signed", "--host", "consoles.example", "--out"]);
        command.arg(directory.path()).arg("--state-dir").arg(directory.path());
        within(command.args(more).output()).await.unwrap()
    };
    let made = make(&[]).await;
    let said = String::from_utf8_lossy(&made.stdout).into_owned();
    assert!(made.status.success() && said.contains("https://consoles.example:6083/"), "{made:?}");
    let [cert, key] =
        ["", "-key"].map(|name| directory.path().join(format!("serialproxy{name}.pem")));
    assert_eq!(key.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let again = make(&[]).await;
    assert!(!again.status.success() && String::from_utf8_lossy(&again.stderr).contains("--force"));

    let port = Port::new("switch").await;
    let server = all_over_tls(&port, &cert, &key).await;
    let cert = cert.display().to_string();
    let listed = server.client(&["servers", "--cacert", &cert]).await;
    assert!(String::from_utf8_lossy(&listed.stdout).contains("switch"), "{listed:?}");
    let page = curl(&["--cacert", &cert, &format!("https://{}/", server.proxy)]).await;
    assert!(page.starts_with("HTTP/1.1 200"), "{page}");
    assert!(make(&["--force"]).await.status.success());
}

/// As the administrator runs it on a host with the package.
#[tokio::test]
async fn a_key_that_root_makes_can_be_read_by_the_service_and_by_nobody_else() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    std::fs::create_dir(&state).unwrap();
    if chown(&state, Some(4711), Some(4712)).is_err() {
        // Only root can give a directory away.
        return;
    }
    let mut command = Command::new(program());
    command.args(["tls", "self-signed", "--out"]).arg(directory.path());
    let made = within(command.arg("--state-dir").arg(&state).output()).await.unwrap();
    assert!(made.status.success(), "{made:?}");
    let key = directory.path().join("serialproxy-key.pem").metadata().unwrap();
    assert_eq!((key.uid(), key.gid(), key.mode() & 0o777), (0, 4712, 0o640));
}
