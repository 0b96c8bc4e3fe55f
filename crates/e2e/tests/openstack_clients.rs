//! OpenStack's own clients, unchanged, against our API: `openstack`, `nova` and the SDK.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "that is how a test fails"
)]

use serde_json::Value;
use serialproxy_e2e::guest::Host;
use serialproxy_e2e::openstack::clients::Clients;
use serialproxy_e2e::openstack::login::Login;
use serialproxy_e2e::port::Guest;
use serialproxy_e2e::port::Port;
use serialproxy_e2e::server::Server;
use serialproxy_e2e::socket::Socket;

/// The least, the last and the first on each side of a change, and what the client takes by itself.
const MICROVERSIONS: [Option<&str>; 5] =
    [Some("2.1"), Some("2.5"), Some("2.6"), Some("2.31"), None];

/// What the guest of [`rig`] has printed.
const PRINTED: &str = "login as root\nand be kind\n";

/// A server `switch` with a connected port.
struct Rig {
    server: Server,
    port: Port,
    _guest: Guest,
}

async fn rig(flags: &[&str]) -> Rig {
    let port = Port::new("switch").await;
    let [flag, line] = port.flag();
    let server = Server::start(&[&[flag.as_str(), line.as_str()], flags].concat()).await;
    let mut guest = port.accept().await;
    guest.print(PRINTED.as_bytes()).await;
    Rig { server, port, _guest: guest }
}

impl Rig {
    /// As its administrator, by token.
    fn admin(&self) -> Login {
        Login::admin_token(&self.server.api, &self.server.admin_token())
    }

    /// A console's URL has a token that attaches.
    async fn attaches(&self, console: &Value) {
        let url = console["url"].as_str().unwrap_or_else(|| panic!("{console}"));
        let token = url.split_once("?token=").unwrap().1;
        Socket::raw(&self.server.proxy, token).await.leave().await;
    }
}

/// The URL in the table of `nova get-serial-console`.
fn url_of_table(table: &str) -> Value {
    let row = table.lines().find_map(|line| line.strip_prefix("| serial | "));
    let url = row.unwrap_or_else(|| panic!("{table}")).trim_end_matches('|').trim();
    serde_json::json!({"url": url})
}

#[tokio::test]
async fn every_client_gets_a_console_at_every_microversion() {
    let (rig, mut clients) = (rig(&[]).await, Clients::start().await);
    let id = rig.port.server();
    let nova = rig.admin().with("OS_AUTH_URL", "unused").with("OS_PROJECT_NAME", "unused");
    for version in MICROVERSIONS {
        let at = |login: Login| match version {
            Some(version) => login.at(version),
            None => login,
        };
        for server in ["switch", &id] {
            let show = ["console", "url", "show", "--serial", server, "-f", "json"];
            rig.attaches(&clients.openstack(&at(rig.admin()), &show).await.json()).await;
        }
        let table = clients.nova(&at(nova.clone()), &["get-serial-console", "switch"]).await;
        rig.attaches(&url_of_table(table.text())).await;
        let call = ["create_console", "switch", "serial"];
        rig.attaches(&clients.sdk(&at(rig.admin()), &call).await.json()).await;
    }
}

#[tokio::test]
async fn the_sdk_reads_the_log_and_looks_up_tokens_from_2_31_on() {
    let (rig, mut clients) = (rig(&[]).await, Clients::start().await);
    let output = clients.sdk(&rig.admin(), &["get_server_console_output", "switch"]).await.json();
    assert_eq!(output["output"], PRINTED);
    let token = rig.server.token(&rig.port.server(), "").await;
    let look_up = ["validate_console_auth_token", &token];
    for login in [rig.admin(), rig.admin().at("2.31")] {
        let console = clients.sdk(&login, &look_up).await.json();
        assert_eq!(console["instance_uuid"], rig.port.server());
        assert_eq!(
            rig.port.flag()[1],
            format!("switch tcp://{}:{}", console["host"].as_str().unwrap(), console["port"])
        );
    }
    let before = clients.sdk(&rig.admin().at("2.30"), &look_up).await;
    assert!(before.status == 1 && before.stderr.contains("BadRequestException"), "{before:?}");
    let unknown = clients.sdk(&rig.admin(), &["validate_console_auth_token", "unknown"]).await;
    assert!(unknown.stderr.contains("Token not found"), "{unknown:?}");
}

#[tokio::test]
async fn the_openstack_command_stops_starts_and_reboots_a_guest() {
    let host = Host::start(&[]).await;
    let (guest, mut clients) = (host.boot(1).await, Clients::start().await);
    let login = Login::admin_token(&host.server.api, &host.server.admin_token());
    let mut shell = host.shell(&guest, 0).await;
    clients.openstack(&login, &["server", "stop", &guest.name]).await.text();
    host.status(&guest, "SHUTOFF").await;
    let show = ["console", "url", "show", "--serial", &guest.name];
    let refused = clients.openstack(&login, &show).await;
    assert!(refused.status == 1 && refused.stderr.contains("409"), "{refused:?}");
    clients.openstack(&login, &["server", "start", &guest.name]).await.text();
    host.status(&guest, "ACTIVE").await;
    let booted = shell.0.message("epoch").await["epoch"].as_u64();
    let reboot = ["server", "reboot", "--hard", "--wait", &guest.name];
    assert!(clients.openstack(&login, &reboot).await.text().contains("Complete"));
    assert_eq!(shell.0.message("epoch").await["epoch"].as_u64(), booted.map(|boots| boots + 1));
}
