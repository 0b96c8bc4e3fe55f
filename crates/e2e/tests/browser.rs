//! The terminal page in Chromium, against the real program: on a real guest, and on simulated
//! ports where a guest adds nothing. What people see and do is in `web/e2e`.

use rustix::process::Signal;
use serde_json::json;
use serialproxy_e2e::address;
use serialproxy_e2e::guest::Host;
use serialproxy_e2e::page::tell;
use serialproxy_e2e::relay::Relay;
use serialproxy_e2e::server::Server;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::sync::RwLock;

struct Rig {
    server: Server,
    relay: Relay,
}

/// Tests that measure time run alone.
static QUIET: RwLock<()> = RwLock::const_new(());

/// Where two people meet, `X-User` names the caller.
const NOAUTH: [&str; 2] = ["--api-auth_strategy", "noauth"];

async fn rig(more: &[&str]) -> Rig {
    let relay = Relay::new("switch").await;
    let own = [&address::fixed()[..], &relay.flag()].concat();
    let own: Vec<&str> = own.iter().map(String::as_str).collect();
    Rig { server: Server::start(&[&own, &NOAUTH[..], more].concat()).await, relay }
}

impl Rig {
    fn story(&self) -> serde_json::Value {
        json!({
            "api": self.server.api,
            "server": self.relay.server(),
            "guest": self.relay.guest(),
        })
    }
}

#[tokio::test]
async fn a_real_guest_s_console_works_in_the_page_through_stop_and_start() {
    let _beside_others = QUIET.read().await;
    let own = address::fixed();
    let own: Vec<&str> = own.iter().map(String::as_str).collect();
    let host = Host::start(&own).await;
    let guest = host.boot(1).await;
    let story = json!({
        "api": host.server.api,
        "token": host.server.admin_token(),
        "server": guest.id,
        "name": guest.name,
    });
    tell("guest.mjs", story).await;
}

#[tokio::test]
async fn two_people_share_a_port_and_each_reads_who_writes() {
    let _beside_others = QUIET.read().await;
    let rig = rig(&[]).await;
    tell("shared.mjs", rig.story()).await;
}

#[tokio::test]
async fn a_page_keeps_its_place_and_its_pen_over_a_broken_network_and_a_reload() {
    let _beside_others = QUIET.read().await;
    let rig = rig(&[]).await;
    tell("comeback.mjs", rig.story()).await;
}

#[tokio::test]
async fn replay_is_answered_by_nobody_and_a_live_query_by_who_writes_once() {
    let _beside_others = QUIET.read().await;
    let rig = rig(&[]).await;
    tell("quiet.mjs", rig.story()).await;
}

#[tokio::test]
async fn a_token_that_is_no_good_is_explained_in_words() {
    let _beside_others = QUIET.read().await;
    let rig = rig(&["--consoleauth-token_ttl", "1"]).await;
    tell("expired.mjs", rig.story()).await;
}

#[tokio::test]
async fn a_dashboard_s_page_has_a_console_as_horizon_s_has_where_its_host_is_allowed() {
    let _beside_others = QUIET.read().await;
    let relay = Relay::new("switch").await;
    let proxy = address::free_port().to_string();
    let url = format!("ws://127.0.0.1:{proxy}/");
    let own = ["--serial_console-serialproxy_port", &proxy, "--serial_console-base_url", &url];
    let [line, endpoint] = relay.flag();
    let allowed = [&line, &endpoint, "--console-allowed_origins", "localhost"];
    let server = Server::start(&[&own[..], &allowed, &NOAUTH].concat()).await;
    let rig = Rig { server, relay };
    tell("horizon.mjs", rig.story()).await;
}

#[tokio::test]
async fn the_page_is_protected_by_its_headers_and_needs_nothing_from_elsewhere() {
    let _beside_others = QUIET.read().await;
    let ancestors = "http://127.0.0.1:*";
    let rig = rig(&["--console-frame_ancestors", ancestors]).await;
    let mut story = rig.story();
    story["frameAncestors"] = ancestors.into();
    tell("protected.mjs", story).await;
}

#[tokio::test]
async fn the_servers_page_opens_consoles_and_ends_sessions_for_who_has_the_admin_token() {
    let _beside_others = QUIET.read().await;
    let relay = Relay::new("switch").await;
    let own = [&address::fixed()[..], &relay.flag()].concat();
    let own: Vec<&str> = own.iter().map(String::as_str).collect();
    // A test ends when its sessions have ended, and the session of a closed tab is kept for the
    // grace time.
    let grace = ["--session-ping_interval", "1", "--session-grace", "3"];
    let server = Server::start(&[&own[..], &grace].concat()).await;
    let story = json!({
        "api": server.api,
        "proxy": format!("http://{}/", server.proxy),
        "token": server.admin_token(),
        "server": relay.server(),
        "guest": relay.guest(),
    });
    tell("servers.mjs", story).await;
    let log = server.log();
    assert!(log.contains("/v1/"), "the calls were logged");
    assert!(!log.contains(&server.admin_token()), "{log}");
}

#[tokio::test]
async fn bytes_that_come_one_by_one_or_ten_million_in_a_second_are_shown() {
    let _beside_others = QUIET.read().await;
    let rig = rig(&[]).await;
    tell("bytes.mjs", rig.story()).await;
}

#[tokio::test]
async fn a_flood_leaves_the_page_small_and_ctrl_c_is_answered_on_its_screen_at_once() {
    let _alone = QUIET.write().await;
    let rig = rig(&[]).await;
    tell("flood.mjs", rig.story()).await;
}

#[tokio::test]
async fn a_console_s_prompt_is_on_the_screen_soon_after_its_url() {
    let _alone = QUIET.write().await;
    let rig = rig(&[]).await;
    tell("start.mjs", rig.story()).await;
}

#[tokio::test]
async fn a_page_comes_back_by_itself_when_the_program_was_stopped_or_killed() {
    let _beside_others = QUIET.read().await;
    let Rig { mut server, relay } = rig(&[]).await;
    let control = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let story = json!({
        "api": server.api,
        "server": relay.server(),
        "guest": relay.guest(),
        "control": control.local_addr().unwrap().port(),
    });
    let restarts = async {
        loop {
            let (mut asked, _) = control.accept().await.unwrap();
            let mut signal = [0; 4];
            asked.read_exact(&mut signal).await.unwrap();
            server.signal(if &signal == b"KILL" { Signal::KILL } else { Signal::TERM });
            server = server.restart().await;
            asked.write_all(b"ready").await.unwrap();
        }
    };
    tokio::select! {
        () = tell("restart.mjs", story) => {}
        () = restarts => {}
    }
}
