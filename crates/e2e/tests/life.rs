//! The events in the life of a session: viewers that stop reading, networks that break or fall
//! silent, guests that boot again, and large pastes.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "that is how a test fails"
)]

use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use futures_util::StreamExt;
use serde_json::Value;
use serialproxy_e2e::PATIENCE;
use serialproxy_e2e::address;
use serialproxy_e2e::address::free_port;
use serialproxy_e2e::eventually;
use serialproxy_e2e::guest::Guest;
use serialproxy_e2e::guest::Host;
use serialproxy_e2e::guest::KNOCK;
use serialproxy_e2e::network::Network;
use serialproxy_e2e::port::Port;
use serialproxy_e2e::server::Server;
use serialproxy_e2e::socket::Socket;
use serialproxy_e2e::terminal::Terminal;
use serialproxy_e2e::within;
use sha2::Digest;
use sha2::Sha256;
use tokio::io::AsyncWriteExt;

const MIB: usize = 1024 * 1024;

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The position of `wanted`.
fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

/// A `console.v1` session that remembers its input, its output and its messages.
struct Console {
    socket: Socket,
    /// The last `hello`.
    hello: Value,
    /// All input of the session; some of it may not be sent yet.
    typed: Vec<u8>,
    /// Output from `first` on, without a gap.
    seen: Vec<u8>,
    first: u64,
    /// The position where [`Console::output_with`] continues.
    read: usize,
    /// Control messages.
    told: Vec<Value>,
    /// The longest time without output.
    longest_pause: Duration,
}

impl Console {
    async fn attach(proxy: &str, token: &str, query: &str) -> Self {
        let mut socket = Socket::v1(proxy, token, query).await;
        let hello = socket.message("hello").await;
        let first = hello["offset"].as_u64().unwrap();
        let (typed, seen, told) = (Vec::new(), Vec::new(), Vec::new());
        let longest_pause = Duration::ZERO;
        Self { socket, hello, typed, seen, first, read: 0, told, longest_pause }
    }

    async fn types(&mut self, bytes: &[u8]) {
        self.typed.extend_from_slice(bytes);
        self.socket.send(bytes.to_vec()).await;
    }

    async fn take(&mut self) {
        let began = Instant::now();
        let message = self.socket.next().await;
        if message.is_binary() {
            self.longest_pause = self.longest_pause.max(began.elapsed());
            self.seen.extend_from_slice(message.as_payload());
        } else {
            let told: Value = serde_json::from_str(message.as_text().unwrap()).unwrap();
            assert_ne!(told["type"], "gap", "{told}");
            self.told.push(told);
        }
    }

    /// The output since the last call, up to and including `wanted`.
    async fn output_with(&mut self, wanted: &[u8]) -> &[u8] {
        let start = self.read;
        let mut searched = start;
        loop {
            if let Some(at) = find(&self.seen[searched..], wanted) {
                self.read = searched + at + wanted.len();
                return &self.seen[start..self.read];
            }
            searched = searched.max((self.seen.len() + 1).saturating_sub(wanted.len()));
            self.take().await;
        }
    }

    /// Waits for a control message, unless it has arrived already.
    async fn is_told(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            if let Some(at) = self.told.iter().position(&wanted) {
                return self.told.remove(at);
            }
            self.take().await;
        }
    }

    /// Waits for a shell.
    async fn shell_prompt(&mut self) {
        let knock = async {
            loop {
                self.types(KNOCK.as_bytes()).await;
                let heard = self.output_with(b"knocks");
                if tokio::time::timeout(Duration::from_secs(2), heard).await.is_ok() {
                    return;
                }
            }
        };
        let knocked = tokio::time::timeout(PATIENCE, knock).await;
        let shown = &self.seen[self.seen.len().saturating_sub(2000)..];
        assert!(knocked.is_ok(), "no shell; the last it showed: {}", shown.escape_ascii());
    }

    /// Runs a command; returns the first line of its output.
    async fn run(&mut self, command: &str) -> String {
        self.types(format!("echo be\"\"gin; {command}\r").as_bytes()).await;
        self.output_with(b"begin\r\n").await;
        String::from_utf8_lossy(self.output_with(b"\r\n").await).trim().to_owned()
    }

    /// Reads until the connection is closed.
    async fn lose(&mut self) {
        while let Some(Ok(message)) = within(self.socket.0.next()).await {
            if message.is_binary() {
                self.seen.extend_from_slice(message.as_payload());
            }
        }
    }

    /// Resumes over a new connection, and sends the input that the server does not have.
    async fn come_back(&mut self, proxy: &str) {
        let (key, line) = (self.hello["resume"].clone(), self.hello["line"].clone());
        let from = self.first + self.seen.len() as u64;
        let path = format!(
            "/?resume={}&from={from}&line={}",
            key.as_str().unwrap(),
            line.as_str().unwrap()
        );
        self.socket = Socket::open(proxy, &path, &[("sec-websocket-protocol", "console.v1")]).await;
        let before = std::mem::take(&mut self.hello);
        self.hello = self.socket.message("hello").await;
        for same in ["session", "line"] {
            assert_eq!(self.hello[same], before[same]);
        }
        assert_eq!(self.hello["offset"], from);
        let input = self.hello["input"].as_u64().unwrap();
        self.socket.say(&format!(r#"{{"type":"input","offset":{input}}}"#)).await;
        let rest = self.typed[usize::try_from(input).unwrap()..].to_vec();
        self.socket.send(rest).await;
    }
}

/// How long viewers stop reading, in seconds.
const STALL: u32 = 60;

/// Longer than a busy machine delays a guest or a client, and much shorter than viewers stop reading.
const PAUSE: Duration = Duration::from_secs(10);

/// Prints rows for this many seconds, and then their number and the longest time of one row, in
/// hundredths of a second.
const PRINTING: &str = "\
    r=$(printf %1000s); now() { read up _ </proc/uptime; now=${up%.*}${up#*.}; }; \
    p() { n=0; m=0; now; s=$now; l=$s; while [ $((l-s)) -lt $1 ]; do n=$((n+1)); \
    echo \"$n$r\"; now; d=$((now-l)); [ $d -gt $m ] && m=$d; l=$now; done; \
    echo \"printed $n $m .\"; }; echo re\"\"ady\r";

/// Lets the guest print for this many seconds; returns the number of rows, and the longest time of
/// one.
async fn print_for(seconds: u32, viewer: &mut Console) -> (u64, Duration) {
    viewer.types(format!("p {}\r", seconds * 100).as_bytes()).await;
    viewer.output_with(b"\r\n").await;
    let printed = viewer.output_with(b" .\r\n").await;
    let printed = String::from_utf8_lossy(printed).into_owned();
    let (rows, counted) = printed.rsplit_once("printed ").unwrap();
    let numbers = rows.lines().map(|row| row.trim().parse::<u64>().unwrap());
    let counts: Vec<u64> = counted.split(' ').filter_map(|word| word.parse().ok()).collect();
    assert!(numbers.eq(1..=counts[0]), "the one who reads did not see every row");
    (counts[0], Duration::from_millis(10 * counts[1]))
}

#[tokio::test]
async fn a_viewer_who_stops_reading_delays_neither_the_guest_nor_another_viewer() {
    // A client that does not read does not answer pings either.
    let host = Host::start(&["--session-grace", "600"]).await;
    let guest = host.boot(2).await;
    let token = host.server.token(&guest.id, "?port=1").await;
    let mut viewer = Console::attach(&host.server.proxy, &token, "&from=live").await;
    viewer.shell_prompt().await;
    viewer.types(PRINTING.as_bytes()).await;
    viewer.output_with(b"ready").await;
    viewer.output_with(b"# ").await;
    let alone = print_for(STALL / 4, &mut viewer).await;
    let memory = host.server.memory("VmRSS");

    let token = host.server.token(&guest.id, "?port=1&mode=watch").await;
    let mut raw = Socket::raw(&host.server.proxy, &token).await;
    let mut v1 = Socket::v1(&host.server.proxy, &token, "&from=live").await;
    viewer.longest_pause = Duration::ZERO;
    let stalled = print_for(STALL, &mut viewer).await;
    assert!(stalled.1 < PAUSE, "the guest waited for {:?}", stalled.1);
    assert!(stalled.0 > alone.0, "{} rows, and {} in a quarter of the time", stalled.0, alone.0);
    assert!(viewer.longest_pause < PAUSE, "the one who reads waited {:?}", viewer.longest_pause);
    let most = host.server.memory("VmHWM");
    assert!(most < memory + 8 * MIB, "{memory} bytes of memory became {most}");

    // Both lagged: raw has no message for a gap, so the session ended there.
    v1.message("gap").await;
    let sessions = host.server.get("/v1/sessions").await.json;
    let sessions = sessions["sessions"].as_array().unwrap();
    assert!(sessions.len() == 2 && sessions.iter().all(|s| s["protocol"] == "console.v1"));
    within(async { while let Some(Ok(_)) = raw.0.next().await {} }).await;
    assert!(host.server.log().contains("4011"), "{}", host.server.log());
}

/// After three seconds without a sign of life, a session ends.
const HASTY: [&str; 4] = ["--session-ping_interval", "1", "--session-grace", "3"];

/// A network in front of a server's proxy.
async fn network(server: &Server) -> Network {
    let (_, proxy) = server.proxy.rsplit_once(':').unwrap();
    Network::new(free_port(), proxy.parse().unwrap()).await
}

#[tokio::test]
async fn a_writer_whose_network_falls_silent_loses_the_pen_when_the_grace_time_is_over() {
    let port = Port::new("switch").await;
    let [flag, line] = port.flag();
    let server = Server::start(&[&[flag.as_str(), line.as_str()], &HASTY[..]].concat()).await;
    let mut guest = port.accept().await;
    let network = network(&server).await;
    let token = server.token(&port.server(), "").await;
    let mut writer = Console::attach(&network.near, &token, "").await;
    assert_eq!((&writer.hello["mode"], &writer.hello["grace"]), (&"write".into(), &3.into()));
    // It answers pings for longer than the grace time.
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(5) {
        writer.types(b"x").await;
        writer.is_told(|told| told["type"] == "ack").await;
        let _ = tokio::time::timeout(Duration::from_secs(1), writer.take()).await;
    }
    let held = server.line(&port.server(), 0).await;
    assert_eq!(held["writer"]["session"], writer.hello["session"]);
    guest.typed(writer.typed.len()).await;

    network.fall_silent();
    let silent = Instant::now();
    eventually(async || server.line(&port.server(), 0).await["writer"].is_null().then_some(()))
        .await;
    let took = silent.elapsed();
    // The last sign of life was an answer to a ping, up to a second before.
    assert!(took > Duration::from_secs(1), "{took:?}");
    let mut next = Socket::raw(&server.proxy, &token).await;
    next.send("y").await;
    assert_eq!(guest.typed(1).await, b"y");
}

/// Bytes that are printed before the network is down, meanwhile, and after.
const STREAM: usize = 24 * MIB;

/// Bytes that are printed while the network is down at least.
const MISSED: usize = 2 * MIB;

/// How long the network is down.
const CUT: Duration = Duration::from_secs(10);

/// Rows that are typed meanwhile, each with its number.
fn rows(numbers: std::ops::Range<u32>) -> Vec<u8> {
    numbers.flat_map(|n| format!("{n:99}\n").into_bytes()).collect()
}

#[tokio::test]
async fn a_network_cut_of_10_s_costs_no_byte_no_key_and_not_the_pen() {
    let host = Host::start(&["--line-history_tail", "32MiB"]).await;
    let guest = host.boot(2).await;
    let network = network(&host.server).await;
    let token = host.server.token(&guest.id, "?port=1").await;
    let mut console = Console::attach(&network.near, &token, "&from=live").await;
    console.shell_prompt().await;
    let make = format!("head -c {STREAM} /dev/urandom >/big; sha256sum </big");
    let printed = console.run(&make).await;
    let command = "stty raw -echo; echo no\"\"w; (cat /big; echo e\"\"nd) & \
        head -c 4000 >/typed; wait; stty sane; echo; echo ty\"\"ped; sha256sum </typed\r";
    console.types(command.as_bytes()).await;
    console.output_with(b"now\n").await;
    let begin = console.read;

    console.types(&rows(0..10)).await;
    while console.seen.len() < begin + 2 * MIB {
        console.take().await;
    }
    console.types(&rows(10..20)).await;
    network.refuse();
    console.lose().await;
    let cut = Instant::now();
    // Input without a connection is kept until there is one.
    console.typed.extend(rows(20..30));
    let offset = async || host.server.line(&guest.id, 1).await["offset"].as_u64().unwrap();
    let until = offset().await + MISSED as u64;
    while cut.elapsed() < CUT || cut.elapsed() < PATIENCE && offset().await < until {
        assert!(tokio::net::TcpStream::connect(&network.near).await.is_err());
        let writer = host.server.line(&guest.id, 1).await["writer"].clone();
        assert_eq!(writer["session"], console.hello["session"], "the pen is kept");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let before = console.seen.len() - begin;
    network.mend().await;
    console.come_back(&network.near).await;
    assert_eq!(console.hello["mode"], "write");
    let received = usize::try_from(console.hello["input"].as_u64().unwrap()).unwrap();
    assert!(received + 1000 <= console.typed.len(), "what was not sent counts as received");
    console.types(&rows(30..40)).await;

    let all = console.output_with(b"\r\ntyped\r\n").await.to_vec();
    let replays = console.told.iter().filter(|told| told["type"] == "replay");
    let missed: u64 = replays.map(|replay| replay["bytes"].as_u64().unwrap()).sum();
    let missed = usize::try_from(missed).unwrap();
    assert!(missed > MIB && before + missed < STREAM, "missed {missed}: not in the middle");
    assert_eq!(sha256(&all[..STREAM]), printed.split(' ').next().unwrap());
    let typed = console.output_with(b"\n").await;
    assert_eq!(String::from_utf8_lossy(typed).split(' ').next().unwrap(), sha256(&rows(0..40)));
}

#[tokio::test]
async fn an_attached_session_sees_a_reboot_and_a_start_from_the_first_byte() {
    let host = Host::start(&[]).await;
    let guest = host.boot(1).await;
    let token = host.server.token(&guest.id, "").await;
    // The line is attached before the guest runs, so byte 0 is the first that it prints.
    let mut console = Console::attach(&host.server.proxy, &token, "&from=start").await;
    assert_eq!((console.first, &console.hello["epoch"]), (0, &1.into()));
    let first = console.output_with(b"\r\n").await.to_vec();
    assert!(first.starts_with(b"[    0.000000] Linux version"));
    console.shell_prompt().await;

    console.types(b"reboot -f\r").await;
    let epoch = console.is_told(|told| told["type"] == "epoch").await;
    assert_eq!(epoch["epoch"], 2);
    console.output_with(b"reboot: Restarting system\r\n").await;
    assert_eq!(console.output_with(&first).await, first);
    console.shell_prompt().await;
    // A shell may run before the guest handles its power button.
    let listens = "until ls -l /proc/$(pidof acpid)/fd 2>/dev/null | grep -q input/event; \
        do :; done; echo listens";
    assert_eq!(console.run(listens).await, "listens");

    let path = format!("/v1/servers/{}", guest.id);
    assert_eq!(host.server.post(&format!("{path}/stop"), "").await.status, 202);
    let waiting = console.is_told(|told| told["state"] == "waiting").await;
    assert_eq!(waiting["reason"], "the server is SHUTOFF");
    host.status(&guest, "SHUTOFF").await;
    assert_eq!(host.server.post(&format!("{path}/start"), "").await.status, 202);
    console.is_told(|told| told["state"] == "connected").await;
    let epoch = console.is_told(|told| told["type"] == "epoch").await;
    assert_eq!(epoch["epoch"], 3);
    console.output_with(&first).await;
    let began = console.read - first.len();
    assert_eq!(epoch["offset"], began, "not the first byte after the start");
    let late = Console::attach(&host.server.proxy, &token, "&mode=watch").await;
    assert_eq!(late.hello["epoch_offset"], began);
    console.shell_prompt().await;
}

/// A host whose console URLs lead to its own proxy, and a guest at its prompt.
async fn host_for_clients() -> (Host, Guest) {
    let own = address::fixed();
    let host = Host::start(&own.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let guest = host.boot(1).await;
    (host, guest)
}

/// Text in lines of less than 4096 bytes, the most that a terminal accepts in a line.
fn text(size: usize) -> Vec<u8> {
    let mut text: Vec<u8> = (0..)
        .flat_map(|n| format!("{n:>width$}\n", width = n * 37 % 3000).into_bytes())
        .take(size - 1)
        .collect();
    text.push(b'\n');
    text
}

/// Pipes `text` through the client into a file of the guest; returns the file's checksum.
async fn pipe(host: &Host, guest: &Guest, more: &[&str], text: &[u8]) -> String {
    let mut shell = host.shell(guest, 0).await;
    shell.0.send("stty -echo; echo re\"\"ady; cat >/pasted; stty echo\r").await;
    shell.0.output_with(b"ready").await;
    shell.0.leave().await;
    let mut command = host.server.command(&[&["connect", &guest.name], more].concat());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut client = command.spawn().unwrap();
    let mut stdin = client.stdin.take().unwrap();
    // The guest's cat ends with Ctrl-D.
    let all = [text, b"\x04"].concat();
    let writing = tokio::spawn(async move { stdin.write_all(&all).await });
    let output = within(client.wait_with_output()).await.unwrap();
    assert!(output.status.success(), "{output:?}");
    writing.await.unwrap().unwrap();
    let mut shell = host.shell(guest, 0).await;
    let sum = shell.run("sha256sum </pasted").await;
    shell.0.leave().await;
    sum.split(' ').next().unwrap().to_owned()
}

#[tokio::test]
async fn what_is_piped_through_the_client_is_a_file_in_the_guest_and_ctrl_c_stops_a_paste() {
    let (host, guest) = host_for_clients().await;
    // At a UART's pace 1 MiB would take 91 s.
    for (size, more) in [(128 * 1024, &[][..]), (MIB, &["--no-pace"][..])] {
        let text = text(size);
        assert_eq!(pipe(&host, &guest, more, &text).await, sha256(&text));
    }

    let mut terminal = Terminal::run(host.server.command(&["connect", &guest.name]));
    terminal.shows("connected to").await;
    // A word that is not on the screen painted at the attach.
    terminal.keys("stty -echo; echo cut\"\"ting; cat >/cut\r");
    terminal.shows("cutting").await;
    let before = host.server.line(&guest.id, 0).await["bytes_in"].as_u64().unwrap();
    terminal.keys(&String::from_utf8(text(128 * 1024)).unwrap().replace('\n', "\r"));
    eventually(async || {
        let now = host.server.line(&guest.id, 0).await["bytes_in"].as_u64().unwrap();
        (now - before > 64 * 1024).then_some(())
    })
    .await;
    terminal.keys("\x03");
    // The `cat` that is about to end may read input from before the shell is back.
    terminal.shows("# ").await;
    terminal.keys("echo st\"\"opped\r");
    terminal.shows("stopped\r\n").await;
    terminal.keys("\r~.");
    assert_eq!(terminal.ended().await.code(), Some(0));
    let kept = host.shell(&guest, 0).await.run("wc -c </cut").await;
    let kept: usize = kept.parse().unwrap();
    assert!((48 * 1024..120 * 1024).contains(&kept), "{kept} bytes of the paste");
}
