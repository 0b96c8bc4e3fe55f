//! Nova's console URLs, where serialproxy's compute role runs on the hosts of Nova's servers: docs/openstack.md,
//! step by step, with a real Nova, a guest as Nova defines it, and hosts with networks of their own.

#![allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "that is how a test fails")]

use std::time::Duration;

use serialproxy_e2e::cluster::Role;
use serialproxy_e2e::eventually;
use serialproxy_e2e::guest::KNOCK;
use serialproxy_e2e::guest::Shell;
use serialproxy_e2e::libvirtd::images;
use serialproxy_e2e::openstack::keystone::ALICE;
use serialproxy_e2e::openstack::keystone::project_id;
use serialproxy_e2e::openstack::nova::Nova;
use serialproxy_e2e::place::Place;
use serialproxy_e2e::socket::Socket;
use serialproxy_e2e::space::HOME;
use serialproxy_e2e::space::Space;
use serialproxy_e2e::stdout;
use serialproxy_e2e::within;
use tokio::net::TcpListener;
use tokio::net::TcpStream;

const V1: [(&str, &str); 1] = [("sec-websocket-protocol", "console.v1")];

/// A Nova that the hosts reach, and its server, which runs on one of them.
struct Cloud {
    place: Place,
    nova: Nova,
    server: String,
}

impl Cloud {
    async fn start() -> Self {
        let place = Place::start().await;
        let mut nova = Nova::start().await;
        for url in [&nova.url, &nova.keystone.url] {
            share(url).await;
        }
        let server = nova.server("web <1>", ALICE).await;
        let cloud = Self { place, nova, server };
        cloud.run(10000);
        cloud
    }

    /// Nova (re)starts the server, with its serial port at this TCP port of the host itself.
    fn run(&self, port: u16) {
        let (image, server, project) = (images(), &self.server, project_id(ALICE.project));
        let image = image.join("demo");
        self.place.libvirt.define_xml(&format!(
            "<domain type='qemu'><name>instance-00000001</name><uuid>{server}</uuid>
             <metadata><nova:instance xmlns:nova='http://openstack.org/xmlns/libvirt/nova/1.1'>
             <nova:name>web &lt;1&gt;</nova:name><nova:owner>
             <nova:user uuid='a11ce'>alice</nova:user><nova:project uuid='{project}'>demo</nova:project>
             </nova:owner></nova:instance></metadata>
             <memory unit='MiB'>128</memory>
             <os><type arch='x86_64'>hvm</type><kernel>{image}/kernel</kernel>
             <initrd>{image}/initrd</initrd><cmdline>console=ttyS0 no_timer_check</cmdline></os>
             <features><acpi/><apic/></features><cpu mode='maximum'/><devices>
             <serial type='tcp'><source mode='bind' host='127.0.0.1' service='{port}'/>
             <protocol type='raw'/><target port='0'/></serial></devices></domain>",
            image = image.display(),
        ));
        self.place.libvirt.virsh(&["start", server]);
    }

    /// The `nova.conf` of a controller.
    fn nova_conf(&self) -> String {
        format!("{}\n{}", self.nova.config().replace("127.0.0.1", HOME), self.endpoint())
    }

    /// What docs/openstack.md has the configuration of the compute role say.
    fn compute_conf(&self) -> String {
        format!(
            "[serial_console]\nenabled = true\n[service_user]\nauth_url = {}\nusername = nova\npassword = nova\n\
             project_name = service\n{}",
            self.nova.keystone.url.replace("127.0.0.1", HOME),
            self.endpoint()
        )
    }

    fn endpoint(&self) -> String {
        format!("[nova]\nendpoint_override = {}\n", self.nova.url.replace("127.0.0.1", HOME))
    }

    /// A token for the server's console, as Nova has it.
    async fn token(&mut self, port: u16, seconds: i64) -> String {
        self.nova.authorize(&self.server, ([127, 0, 0, 1], port).into(), seconds).await
    }

    /// How a handshake with a new token is answered.
    async fn answer(&mut self, proxy: &Role, port: u16) -> (u16, String) {
        let path = format!("/?token={}", self.token(port, 600).await);
        let refused = Socket::refused(&proxy.proxy(), &path, &[]).await;
        (refused.status, refused.reason)
    }
}

/// Has the hosts reach what listens at this URL for the test alone.
async fn share(url: &str) {
    let port: u16 = url.rsplit(':').next().unwrap().split('/').next().unwrap().parse().unwrap();
    let listener = TcpListener::bind((HOME, port)).await.unwrap();
    tokio::spawn(async move {
        while let Ok((mut host, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut service = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut host, &mut service).await;
            });
        }
    });
}

/// Waits until a guest's shell answers.
async fn knock(shell: &mut Shell) {
    within(async {
        loop {
            shell.0.send(KNOCK).await;
            let heard = shell.0.output_with(b"knocks");
            if tokio::time::timeout(Duration::from_secs(2), heard).await.is_ok() {
                return;
            }
        }
    })
    .await;
}

/// Waits until a session is told that its line is in this state.
async fn state(session: &mut Socket, state: &str) {
    while session.message("state").await["state"] != state {}
}

/// Addresses where a host listens.
async fn listening(host: &Space) -> Vec<String> {
    let sockets = within(host.command("ss").args(["-H", "-l", "-t", "-n"]).output()).await.unwrap();
    let address = |socket: &str| socket.split_whitespace().nth(3).unwrap().to_owned();
    stdout(&sockets).lines().map(address).collect()
}

#[tokio::test]
async fn the_consoles_of_nova_s_servers_need_no_serial_port_on_any_network() {
    let mut cloud = Cloud::start().await;
    let (project, id) = (project_id(ALICE.project), cloud.server.clone());
    let shown = |server: &serde_json::Value| {
        server["name"] == "web <1>"
            && server["project"] == *project
            && server["host"] == "hypervisor"
    };
    cloud.place.has(&id, shown).await;
    let listening = listening(&cloud.place.hypervisor).await;
    assert!(listening.iter().any(|at| at == "127.0.0.1:10000"), "{listening:?}");
    let is_open = |at: &&String| !at.starts_with("127.0.0.1:") && !at.ends_with(":6084");
    assert_eq!(listening.iter().find(is_open), None);

    let (first, second) = (cloud.place.switch.host(4), cloud.place.switch.host(5));
    let one = cloud.place.drop_in(&first, "one", &cloud.nova_conf()).await;
    let two = cloud.place.drop_in(&second, "two", &cloud.nova_conf()).await;
    // The compute role has no login at Nova yet.
    let (status, reason) = cloud.answer(&one, 10000).await;
    assert!(status == 503 && reason.contains("[nova] is not set"), "{status} {reason}");
    let conf = cloud.compute_conf();
    cloud.place.configure_compute(&conf).await;
    eventually(async || (cloud.answer(&one, 10000).await.0 == 101).then_some(())).await;

    let token = cloud.token(10000, 600).await;
    let mut socket = Socket::v1(&one.proxy(), &token, "").await;
    let hello = socket.message("hello").await;
    assert_eq!((&hello["server"]["name"], &hello["nova"]), (&"web <1>".into(), &true.into()));
    let mut alice = Shell(socket);
    knock(&mut alice).await;
    assert_eq!(alice.run("echo $((6 * 7))").await, "42");
    let (status, reason) = cloud.answer(&two, 10000).await;
    assert!(status == 409 && reason.starts_with("busy: token "), "{status} {reason}");
    let expired = format!("/?token={}", cloud.token(10000, -1).await);
    assert_eq!(Socket::refused(&two.proxy(), &expired, &[]).await.status, 401);

    // The compute role is started again, and the session goes on through the other proxy.
    drop(alice);
    cloud.place.restart_compute().await;
    eventually(async || {
        let path = format!("/?token={}&mode=watch", cloud.token(10000, 600).await);
        (Socket::refused(&two.proxy(), &path, &[]).await.status == 101).then_some(())
    })
    .await;
    let path = format!("/?resume={}&from=live", hello["resume"].as_str().unwrap());
    let mut alice = Socket::open(&two.proxy(), &path, &V1).await;
    let again = alice.message("hello").await;
    for fact in ["session", "nova", "mode"] {
        assert_eq!(again[fact], hello[fact], "{fact}");
    }

    // Nova starts the server anew, at another port: the session knows the guest by its UUID, and a token
    // names the port.
    cloud.place.libvirt.virsh(&["destroy", &id]);
    cloud.run(10001);
    state(&mut alice, "connected").await;
    assert_eq!(cloud.answer(&one, 10000).await.0, 401);
    assert_eq!(cloud.answer(&one, 10001).await.0, 409);
    let mut alice = Shell(alice);
    knock(&mut alice).await;
    assert_eq!(alice.run("echo $((6 * 8))").await, "48");
}
