//! OpenStack's own clients, unchanged, against our API: `openstack`, `nova` and the SDK.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "that is how a test fails"
)]

use serde_json::Value;
use serde_json::json;
use serialproxy_e2e::address::free_port;
use serialproxy_e2e::guest::Host;
use serialproxy_e2e::openstack::clients::Clients;
use serialproxy_e2e::openstack::keystone::ALICE;
use serialproxy_e2e::openstack::keystone::Keystone;
use serialproxy_e2e::openstack::keystone::OSCAR;
use serialproxy_e2e::openstack::keystone::RITA;
use serialproxy_e2e::openstack::keystone::project_id;
use serialproxy_e2e::openstack::login::Login;
use serialproxy_e2e::port::Guest;
use serialproxy_e2e::port::Port;
use serialproxy_e2e::server::Server;
use serialproxy_e2e::socket::Socket;

/// The oldest, the newest, those on each side of a change, and the client's default.
const MICROVERSIONS: [Option<&str>; 5] =
    [Some("2.1"), Some("2.5"), Some("2.6"), Some("2.31"), None];

/// The output of the guest of [`rig`].
const PRINTED: &str = "login as root\nand be kind\n";

/// The password of local users.
const PASSWORD: &str = "correct horse battery";

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
    /// The administrator, by token.
    fn admin(&self) -> Login {
        Login::admin_token(&self.server.api, &self.server.admin_token())
    }

    /// A local user with this role in the server's project.
    async fn user(&self, name: &str, role: &str) -> Login {
        let user = json!({"name": name, "project": "admin", "role": role, "password": PASSWORD});
        let added = self.server.post("/v1/users", &user.to_string()).await;
        assert_eq!(added.status, 201, "{:?}", added.json);
        Login::password(&format!("{}/v3", self.server.api), name, PASSWORD, "admin")
    }

    /// Checks that a console's URL has a valid token.
    async fn attaches(&self, console: &Value) {
        let url = console["url"].as_str().unwrap_or_else(|| panic!("{console}"));
        let token = url.split_once("?token=").unwrap().1;
        Socket::raw(&self.server.proxy, token).await.leave().await;
    }
}

/// A Keystone, and our API in its catalog, whose server is of the project `demo`.
async fn with_keystone() -> (Keystone, Rig) {
    let listen = format!("127.0.0.1:{}", free_port());
    let keystone = Keystone::start(&format!("http://{listen}/v2.1")).await;
    let project = format!("switch {}", project_id("demo"));
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("serialproxy.conf");
    std::fs::write(&file, format!("[serial_console]\nenabled = true\n{}", keystone.config()))
        .unwrap();
    let rig = rig(&[
        "--config-file",
        file.to_str().unwrap(),
        "--api-auth_strategy",
        "keystone",
        "--api-listen",
        &listen,
        "--compute-project",
        &project,
    ])
    .await;
    (keystone, rig)
}

/// The URL in the table of `nova get-serial-console`.
fn url_of_table(table: &str) -> Value {
    let row = table.lines().find_map(|line| line.strip_prefix("| serial | "));
    let url = row.unwrap_or_else(|| panic!("{table}")).trim_end_matches('|').trim();
    json!({"url": url})
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

/// Everything that people do with a server, with one kind of credentials.
async fn every_command_works(rig: &Rig, clients: &mut Clients, login: &Login) {
    let id = rig.port.server();
    let list = clients.openstack(login, &["server", "list", "-f", "json"]).await.json();
    assert_eq!(list[0]["ID"], id);
    assert_eq!(list[0]["Name"], "switch");
    assert_eq!(list[0]["Status"], "ACTIVE");
    for server in ["switch", &id] {
        let show = ["server", "show", server, "-f", "json"];
        assert_eq!(clients.openstack(login, &show).await.json()["id"], id);
        let log = ["console", "log", "show", server];
        assert_eq!(clients.openstack(login, &log).await.text(), PRINTED.trim());
    }
    let console = ["console", "url", "show", "--serial", "switch", "-f", "json"];
    rig.attaches(&clients.openstack(login, &console).await.json()).await;
    let nobody = clients.openstack(login, &["console", "log", "show", "nobody"]).await;
    assert_eq!(nobody.status, 1, "{nobody:?}");
}

/// What people still do with `nova`.
async fn nova_works(rig: &Rig, clients: &mut Clients, login: &Login) {
    let table = clients.nova(login, &["get-serial-console", "switch"]).await;
    rig.attaches(&url_of_table(table.text())).await;
    let log = clients.nova(login, &["console-log", "switch"]).await;
    assert_eq!(log.text(), PRINTED.trim());
    let last = clients.nova(login, &["console-log", "--length", "2", "switch"]).await;
    assert_eq!(last.text(), "and be kind");
}

/// A reader sees the server, but gets neither its console nor its output.
async fn may_only_read(rig: &Rig, clients: &mut Clients, login: &Login) {
    let list = clients.openstack(login, &["server", "list", "-f", "json"]).await.json();
    assert_eq!(list[0]["ID"], rig.port.server());
    for (command, policy) in [
        (&["console", "url", "show", "--serial", "switch"][..], "os-remote-consoles"),
        (&["console", "log", "show", "switch"], "os-console-output"),
    ] {
        let refused = clients.openstack(login, command).await;
        let words = format!("Policy doesn't allow os_compute_api:{policy} to be performed.");
        assert!(refused.status == 1 && refused.stderr.contains(&words), "{refused:?}");
    }
}

#[tokio::test]
async fn every_command_works_with_a_token() {
    let (rig, mut clients) = (rig(&[]).await, Clients::start().await);
    every_command_works(&rig, &mut clients, &rig.admin()).await;
}

#[tokio::test]
async fn every_command_works_where_the_api_asks_nobody() {
    let rig = rig(&["--api-auth_strategy", "noauth"]).await;
    let mut clients = Clients::start().await;
    every_command_works(&rig, &mut clients, &Login::none(&rig.server.api)).await;
}

#[tokio::test]
async fn every_command_works_with_user_and_password_in_each_call() {
    let rig = rig(&["--api-auth_strategy", "http_basic"]).await;
    rig.user("alice", "member").await;
    let login = Login::http_basic(&rig.server.api, "alice", PASSWORD);
    let mut clients = Clients::start().await;
    every_command_works(&rig, &mut clients, &login).await;
}

#[tokio::test]
async fn every_client_logs_in_with_a_password_at_our_own_identity_service() {
    let (rig, mut clients) = (rig(&[]).await, Clients::start().await);
    let alice = rig.user("alice", "member").await;
    every_command_works(&rig, &mut clients, &alice).await;
    nova_works(&rig, &mut clients, &alice).await;
    let console = clients.sdk(&alice, &["create_console", "switch", "serial"]).await.json();
    rig.attaches(&console).await;
    let rita = rig.user("rita", "reader").await;
    may_only_read(&rig, &mut clients, &rita).await;
}

#[tokio::test]
async fn with_a_real_keystone_projects_and_roles_are_kept_to() {
    let (keystone, rig) = with_keystone().await;
    let mut clients = Clients::start().await;
    every_command_works(&rig, &mut clients, &keystone.login(ALICE)).await;
    nova_works(&rig, &mut clients, &keystone.login(ALICE)).await;
    let create = ["create_console", "switch", "serial"];
    rig.attaches(&clients.sdk(&keystone.login(ALICE), &create).await.json()).await;
    may_only_read(&rig, &mut clients, &keystone.login(RITA)).await;

    let oscar = keystone.login(OSCAR);
    let list = clients.openstack(&oscar, &["server", "list", "-f", "json"]).await.json();
    assert_eq!(list.as_array().map(Vec::len), Some(0));
    for server in ["switch", &rig.port.server()] {
        let show = clients.openstack(&oscar, &["console", "url", "show", "--serial", server]).await;
        assert!(show.status == 1 && show.stderr.contains("No Server found"), "{show:?}");
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
