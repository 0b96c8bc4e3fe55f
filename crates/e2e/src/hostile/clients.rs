//! Hostile clients. Each kind is a number of tasks that repeat the same attack, with a pause that
//! limits their rate: the program must be the bottleneck, not the tasks.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use serialproxy_proto::id::ServerId;
use tokio::io::AsyncWriteExt;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::Target;
use super::wire::Wire;
use super::wire::frame;

/// Starts a kind.
type Start = fn(&mut JoinSet<()>, &Arc<Target>);

/// How many outcomes of a task are printed, so that a kind that has no effect any more is noticed.
const TOLD: usize = 2;

/// All kinds.
pub(super) const KINDS: [(&str, Start); 11] = [
    ("refused", |tasks, target| each(tasks, target, (8, 100), keep_sending_when_refused)),
    ("half-open", |tasks, target| each(tasks, target, (200, 50), begin_and_say_no_more)),
    ("bombs", |tasks, target| each(tasks, target, (8, 50), have_a_bomb_painted)),
    ("flooded", |tasks, target| each(tasks, target, (4, 200), read_a_flood_slowly)),
    ("paste", |tasks, target| each(tasks, target, (2, 500), paste_without_end)),
    ("take-overs", |tasks, target| each(tasks, target, (2, 200), take_over_again_and_again)),
    ("tokens", |tasks, target| each(tasks, target, (4, 50), ask_for_tokens)),
    ("guesses", |tasks, target| each(tasks, target, (4, 50), guess_tokens)),
    ("logins", |tasks, target| each(tasks, target, (4, 100), guess_passwords)),
    ("pipelined", |tasks, target| each(tasks, target, (40, 200), ask_and_never_read)),
    ("oversized", |tasks, target| each(tasks, target, (2, 200), say_what_is_too_large)),
];

/// Starts `count` tasks that repeat `attack`, with `pause` milliseconds between.
fn each<F>(
    tasks: &mut JoinSet<()>,
    target: &Arc<Target>,
    (count, pause): (u8, u64),
    attack: fn(Arc<Target>, u8) -> F,
) where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    for client in 0..count {
        let target = Arc::clone(target);
        tasks.spawn(async move {
            for turn in 0.. {
                // The program is expected to refuse it or to end the connection.
                let outcome = attack(Arc::clone(&target), client).await;
                if client < 2 && turn < TOLD {
                    eprintln!("{}: {outcome:?}", std::any::type_name_of_val(&attack));
                }
                sleep(Duration::from_millis(pause)).await;
            }
        });
    }
}

impl Target {
    /// A connection to the proxy; odd-numbered clients use TLS.
    async fn proxy(&self, client: u8) -> io::Result<Wire> {
        let ca = (client % 2 == 1).then_some(self.ca.as_path());
        Wire::open(client, ca, &self.proxy).await
    }

    /// Calls the API, as an administrator.
    async fn call(&self, client: u8, call: &str) -> io::Result<String> {
        let mut wire = Wire::open(client, None, &self.api).await?;
        let token = &self.token;
        let request = format!(
            "{call} HTTP/1.1\r\nHost: localhost\r\nX-Auth-Token: {token}\r\nContent-Length: 0\r\n\r\n"
        );
        wire.ask(&request).await?;
        let mut body = vec![0; 4096];
        let length = tokio::io::AsyncReadExt::read(&mut wire.0, &mut body).await?;
        Ok(String::from_utf8_lossy(&body[..length]).into_owned())
    }

    /// A session on the line of a hostile guest.
    async fn session(&self, client: u8, guest: &str, query: &str) -> io::Result<Wire> {
        let server = ServerId::of_static(guest);
        let call = format!("POST /v3/servers/{server}/get-serial-console");
        let answer = self.call(client, &call).await?;
        let token = answer.split_once("token=").map(|(_, rest)| rest.chars().take(36));
        let token: String = token.ok_or_else(|| io::Error::other(answer.clone()))?.collect();
        let mut wire = self.proxy(client).await?;
        wire.upgrade(&format!("/?token={token}{query}")).await?;
        Ok(wire)
    }
}

async fn keep_sending_when_refused(target: Arc<Target>, client: u8) -> io::Result<()> {
    let mut wire = target.proxy(client).await?;
    wire.upgrade("/?token=bogus").await?;
    let keys = frame(0x2, b"x").repeat(512);
    loop {
        wire.0.write_all(&keys).await?;
        wire.0.flush().await?;
        sleep(Duration::from_millis(1)).await;
    }
}

async fn begin_and_say_no_more(target: Arc<Target>, client: u8) -> io::Result<()> {
    let address = if client % 4 < 3 { &target.proxy } else { &target.api };
    let mut wire = Wire::open(client, None, address).await?;
    let beginnings: [&[u8]; 4] = [
        b"",
        b"GET / HTTP/1.1\r\nHo",
        b"\x16\x03\x01\x02\x00\x01",
        b"POST /v1/servers HTTP/1.1\r\nHost: x\r\n",
    ];
    wire.0.write_all(beginnings[usize::from(client) % 4]).await?;
    wire.drain(Duration::from_secs(60)).await
}

async fn have_a_bomb_painted(target: Arc<Target>, client: u8) -> io::Result<()> {
    let bomb = ["bomb-repeat", "bomb-scroll", "bomb-align", "bomb-insert"][usize::from(client) % 4];
    let mut wire = target.session(client, bomb, "&mode=watch").await?;
    wire.say(r#"{"type":"size","rows":500,"cols":500}"#).await?;
    wire.drain(Duration::from_millis(300)).await
}

async fn read_a_flood_slowly(target: Arc<Target>, client: u8) -> io::Result<()> {
    let mut wire = target.session(client, "flood", "&mode=watch&from=start").await?;
    loop {
        wire.drain(Duration::from_millis(1)).await?;
        sleep(Duration::from_millis(200)).await;
    }
}

async fn paste_without_end(target: Arc<Target>, client: u8) -> io::Result<()> {
    let guest = ["paste", "paste-tls"][usize::from(client) % 2];
    let mut wire = target.session(client, guest, "").await?;
    let paste = frame(0x2, &[b'x'; 64 * 1024]);
    loop {
        let pasted = tokio::time::timeout(Duration::from_secs(1), wire.0.write_all(&paste)).await;
        wire.drain(Duration::from_millis(5)).await?;
        // After a part of a frame, the connection cannot be used any more.
        pasted??;
    }
}

async fn take_over_again_and_again(target: Arc<Target>, client: u8) -> io::Result<()> {
    let mut wire = target.session(client, "force", "&mode=watch").await?;
    // A watching session is refused, and so is one that holds the pen.
    for turn in 0..200 {
        wire.say(r#"{"type":"pen","do":"force","reason":"mine"}"#).await?;
        wire.0.write_all(&frame(0x2, &[b'x'; 2048])).await?;
        wire.drain(Duration::from_millis(20)).await?;
        if turn % 50 == 49 {
            wire.say(r#"{"type":"pen","do":"release"}"#).await?;
        }
    }
    Ok(())
}

async fn ask_for_tokens(target: Arc<Target>, client: u8) -> io::Result<()> {
    let server = ServerId::of_static("drop");
    target.call(client, &format!("POST /v3/servers/{server}/get-serial-console")).await?;
    // Also leaves a session without a Close frame.
    drop(target.session(client, "drop", "&mode=watch").await?);
    Ok(())
}

async fn guess_tokens(target: Arc<Target>, client: u8) -> io::Result<()> {
    let token = uuid::Uuid::new_v4();
    target.proxy(client).await?.upgrade(&format!("/?token={token}")).await
}

async fn guess_passwords(target: Arc<Target>, client: u8) -> io::Result<()> {
    let name = uuid::Uuid::new_v4();
    let user = format!(r#"{{"name":"{name}","domain":{{"id":"default"}},"password":"x"}}"#);
    let body = format!(
        r#"{{"auth":{{"identity":{{"methods":["password"],"password":{{"user":{user}}}}}}}}}"#
    );
    let length = body.len();
    let login = format!(
        "POST /v3/auth/tokens HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    );
    Wire::open(client, None, &target.api).await?.ask(&login).await?;
    // An unknown user name through the users' port: `x:x` in base64.
    let call = "GET /v1/servers HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic eDp4\r\n\r\n";
    target.proxy(client).await?.ask(call).await?;
    Ok(())
}

async fn ask_and_never_read(target: Arc<Target>, client: u8) -> io::Result<()> {
    let mut wire = match client % 4 {
        0 => target.proxy(client).await?,
        _ => Wire::open(client, None, &target.api).await?,
    };
    let token = &target.token;
    let calls =
        format!("GET /v1/lines HTTP/1.1\r\nHost: localhost\r\nX-Auth-Token: {token}\r\n\r\n");
    let calls = calls.repeat(50);
    loop {
        wire.0.write_all(calls.as_bytes()).await?;
        sleep(Duration::from_millis(200)).await;
    }
}

async fn say_what_is_too_large(target: Arc<Target>, client: u8) -> io::Result<()> {
    let mut wire = target.session(client, "force", "&mode=watch").await?;
    let reason = "x".repeat(1_000_000);
    wire.say(&format!(r#"{{"type":"pen","do":"request","reason":"{reason}"}}"#)).await?;
    wire.say(r#"{"type":"size","rows":65535,"cols":65535}"#).await?;
    wire.say(&"[".repeat(1_000_000)).await?;
    wire.say(r#"{"type":"ack","offset":18446744073709551615}"#).await?;
    wire.drain(Duration::from_millis(200)).await
}
