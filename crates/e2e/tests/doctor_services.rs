//! `serialproxy doctor` and what the service needs of others: reverse proxies, Keystone and Nova.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "that is how a test fails"
)]

use std::net::SocketAddr;
use std::time::Duration;

use serialproxy_e2e::cloud::Cloud;
use serialproxy_e2e::cloud::Fault;
use serialproxy_e2e::doctor::Patient;
use serialproxy_e2e::drop_in::DropIn;
use serialproxy_e2e::eventually;
use serialproxy_e2e::pki::Pki;
use serialproxy_e2e::port::Port;
use serialproxy_e2e::server::Server;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::io::copy;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A reverse proxy: what it does with the head of a request, and after how much silence it cuts.
async fn front(change: fn(&str) -> String, to: &str, idle: Duration) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, to) = (listener.local_addr().unwrap(), to.to_owned());
    tokio::spawn(async move {
        while let Ok((user, _)) = listener.accept().await {
            let to = to.clone();
            tokio::spawn(async move { relay(user, change, &to, idle).await });
        }
    });
    address
}

/// Ends when either side does.
async fn relay(
    mut user: TcpStream,
    change: fn(&str) -> String,
    to: &str,
    idle: Duration,
) -> Option<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(user.read_u8().await.ok()?);
    }
    let head = change(&String::from_utf8(head).unwrap());
    let mut service = TcpStream::connect(to).await.ok()?;
    service.write_all(head.as_bytes()).await.ok()?;
    let ((mut from_user, mut to_user), (mut from_service, mut to_service)) =
        (user.split(), service.split());
    let down = async {
        let mut bytes = [0; 4096];
        while let Ok(Ok(count @ 1..)) = timeout(idle, from_service.read(&mut bytes)).await {
            to_user.write_all(&bytes[..count]).await.ok()?;
        }
        Some(())
    };
    tokio::select! {
        _ = copy(&mut from_user, &mut to_service) => {}
        _ = down => {}
    }
    Some(())
}

const PATIENT: Duration = Duration::from_secs(600);

fn unchanged(head: &str) -> String {
    head.to_owned()
}

/// As nginx does without `proxy_set_header`.
fn without_upgrade(head: &str) -> String {
    let kept = head
        .split_inclusive("\r\n")
        .filter(|line| !line.starts_with("Upgrade:") && !line.starts_with("Connection:"));
    kept.collect()
}

/// As nginx does without `proxy_set_header Host`.
fn with_another_host(head: &str) -> String {
    let lines = head.split_inclusive("\r\n");
    let lines = lines
        .map(|line| if line.starts_with("Host:") { "Host: backend.internal\r\n" } else { line });
    lines.collect()
}

/// Somebody who answers everything in the same way.
async fn answering(answer: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut user, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let _ = user.read(&mut request).await;
            let _ = user.write_all(answer.as_bytes()).await;
        }
    });
    address
}

/// A service that runs, whose console URLs lead to this address.
struct Service {
    patient: Patient,
    server: Server,
}

impl Service {
    async fn start(patient: Patient) -> Self {
        let server = Server::start(&patient.service()).await;
        Self { patient, server }
    }

    async fn has(&self, base_url: &str, level: &str, check: &str, text: &str) {
        let state = self.server.state().to_str().unwrap();
        let flags = ["--state-dir", state, "--serial_console-base_url", base_url];
        self.patient.examine(&flags).await.has(level, check, text);
    }
}

#[tokio::test]
async fn a_reverse_proxy_that_passes_everything_on_is_healthy_and_one_that_does_not_is_found() {
    let service = Service::start(Patient::new()).await;
    let front_url = async |change| {
        format!("http://{}/serial.html", front(change, &service.server.proxy, PATIENT).await)
    };
    let good = front_url(unchanged).await;
    service.has(&good, "ok", "public-url", "passes through").await;
    service.has(&good, "ok", "origin", "may open consoles").await;
    let hiding = front_url(with_another_host).await;
    service.has(&hiding, "problem", "origin", "may not open consoles").await;
    let stripping = front_url(without_upgrade).await;
    service.has(&stripping, "problem", "public-url", "Upgrade: websocket is missing").await;
    for (answer, text) in [
        ("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", "does not reach the proxy (502)"),
        ("HTTP/1.1 301 Moved\r\nLocation: https://a/\r\n\r\n", "redirect (301)"),
        ("HTTP/1.1 401 Unauthorized\r\n\r\n", "wants a login (401)"),
        ("HTTP/1.1 200 OK\r\n\r\n", "status 200"),
        ("HTTP/1.1 101 Switching Protocols\r\n\r\n", "is not serialproxy"),
        ("SSH-2.0-OpenSSH_9.2\r\n\r\n", "does not answer a WebSocket handshake"),
    ] {
        let url = format!("http://{}/serial.html", answering(answer).await);
        service.has(&url, "problem", "public-url", text).await;
    }
    service.has("http://127.0.0.1:9/", "problem", "public-url", "nobody can connect").await;
    service.has("http://no.such.name.invalid/", "problem", "base-url", "cannot be resolved").await;
    let own = format!("http://{}/serial.html", service.server.proxy);
    service.has(&own.replace("http:", "https:"), "problem", "public-url", "").await;
}

#[tokio::test]
async fn a_running_service_is_healthy_and_urls_that_lead_nowhere_for_others_are_found() {
    let service = Service::start(Patient::new()).await;
    let said = service.patient.examine_at(service.server.state()).await;
    said.is_healthy();
    said.has("ok", "public-url", "passes through");
    let state = service.server.state().to_str().unwrap();
    let said = service.patient.examine(&["--state-dir", state, "--api-listen", "0.0.0.0:0"]).await;
    said.has("warning", "base-url", "lead to 127.0.0.1");
}

#[tokio::test]
async fn a_certificate_that_users_do_not_accept_is_found() {
    let pki = Pki::new();
    let service = Service::start(Patient::new().with_certificate(&pki, "server")).await;
    let said = service.patient.examine_at(service.server.state()).await;
    said.is_healthy();
    said.has("ok", "public-url", "https://127.0.0.1");
    // As by another host's doctor, which neither trusts the CA nor has the certificate.
    let port = service.patient.value("serial_console-serialproxy_port");
    let stranger = Patient::new()
        .with("serial_console-serialproxy_port", port)
        .with("serial_console-base_url", &format!("https://127.0.0.1:{port}/serial.html"));
    let said = stranger.examine_at(service.server.state()).await;
    said.has("problem", "public-certificate", "is not accepted");
}

#[tokio::test]
async fn a_reverse_proxy_that_cuts_idle_consoles_is_found() {
    let port = Port::new("switch").await;
    let [flag, line] = port.flag();
    let service = Service::start(Patient::new().with(&flag[2..], &line)).await;
    let _guest = port.accept().await;
    service.server.get("/v1/lines").await;
    let id = port.server();
    eventually(async || (service.server.line(&id, 0).await["state"] == "connected").then_some(()))
        .await;
    let state = service.server.state().to_str().unwrap();
    let said = service.patient.examine(&["--state-dir", state, "--idle", "1"]).await;
    said.has("ok", "idle-timeout", "stayed open for 1 s");
    said.is_healthy();
    let hasty = front(unchanged, &service.server.proxy, Duration::from_millis(500)).await;
    let url = format!("http://{hasty}/serial.html");
    let flags = ["--state-dir", state, "--idle", "30", "--serial_console-base_url", &url];
    service.patient.examine(&flags).await.has("problem", "idle-timeout", "the connection was cut");
}

#[tokio::test]
async fn without_a_console_to_watch_the_idle_timeout_is_not_known() {
    let service = Service::start(Patient::new()).await;
    let state = service.server.state().to_str().unwrap();
    let said = service.patient.examine(&["--state-dir", state, "--idle", "1"]).await;
    said.has("warning", "idle-timeout", "no guest with a console runs");
}

/// A host with the proxy in front of this cloud's Nova.
fn drop_in(cloud: &Cloud) -> (Patient, String) {
    let nova_conf = format!(
        "[DEFAULT]\ntransport_url = rabbit://x\n{}region_name = RegionOne\n",
        cloud.login("nova")
    );
    let patient = Patient::bare().configured("nova.conf", &nova_conf);
    let claims = patient.file("claims").display().to_string();
    let port = serialproxy_e2e::address::free_port().to_string();
    let patient = patient
        .with("line-claims", &claims)
        .with("serial_console-serialproxy_host", "127.0.0.1")
        .with("serial_console-serialproxy_port", &port);
    (patient, nova_conf)
}

#[tokio::test]
async fn the_proxy_in_front_of_a_nova_is_told_by_its_file_and_healthy_where_nova_lets_it() {
    let cloud = Cloud::start().await;
    let (patient, _) = drop_in(&cloud);
    let said = patient.examine(&[]).await;
    said.is_healthy();
    said.has("ok", "nova", "look up console tokens");
    assert!(!said.mentions("state-directory"), "{said:?}");

    cloud.fail(Some(("/v2.1/os-console-auth-tokens", Fault::Status(403))));
    patient.has("problem", "nova", "role admin").await;
    cloud.fail(Some(("/v2.1", Fault::Silence)));
    patient.has("problem", "nova", "no answer within").await;
    cloud.fail(Some(("/v3", Fault::Status(401))));
    patient.has("problem", "nova", "rejects the service user").await;
    cloud.fail(None);
    patient.examine(&[]).await.is_healthy();
}

#[tokio::test]
async fn a_reverse_proxy_that_hides_the_host_from_nova_s_rule_is_found() {
    let cloud = Cloud::start().await;
    let (patient, nova_conf) = drop_in(&cloud);
    let running = DropIn::start(&nova_conf, &[]).await;
    let hiding = front(with_another_host, &running.proxy, PATIENT).await;
    let port = running.proxy.rsplit_once(':').unwrap().1.to_owned();
    let url = |address: &str| format!("http://{address}/serial.html");
    let patient = patient.with("serial_console-serialproxy_port", &port);
    let said = patient.examine(&["--serial_console-base_url", &url(&running.proxy)]).await;
    said.is_healthy();
    said.has("ok", "listeners", "serialproxy (pid");
    let said = patient.examine(&["--serial_console-base_url", &url(&hiding.to_string())]).await;
    said.has("problem", "origin", "may not open consoles");
}

#[tokio::test]
async fn a_keystone_that_does_not_let_the_service_user_in_is_found() {
    let cloud = Cloud::start().await;
    let patient = |password: &str| {
        let login = cloud.login("keystone_authtoken").replace("a $$ecret of the service", password);
        Patient::new().configured("a.conf", &format!("[api]\nauth_strategy = keystone\n{login}"))
    };
    let good = patient("a $$ecret of the service");
    let said = good.examine(&[]).await;
    said.is_healthy();
    said.has("ok", "keystone", "validate tokens");
    patient("wrong").has("problem", "keystone", "rejects the service user").await;
    cloud.fail(Some(("/v3", Fault::Silence)));
    good.has("problem", "keystone", "no answer within").await;
    let none = Patient::new().configured("a.conf", "[api]\nauth_strategy = keystone\n");
    none.has("problem", "keystone", "auth_url is not set").await;
}
