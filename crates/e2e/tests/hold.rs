//! All attacks at once, beside ordinary sessions on other lines: these are not affected, and
//! afterwards the program is in the same state as before.
//!
//! `SERIALPROXY_TEST_HOLD_SECONDS` is the duration (60), `SERIALPROXY_TEST_HOLD_KINDS` the kinds of
//! `serialproxy_e2e::hostile` (separated by commas; default: all).

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "that is how a test fails"
)]

use std::fmt::Write;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use rustix::process::Signal;
use serialproxy_e2e::PATIENCE;
use serialproxy_e2e::hostile;
use serialproxy_e2e::hostile::Target;
use serialproxy_e2e::pki::Pki;
use serialproxy_e2e::port::echoing;
use serialproxy_e2e::server::Server;
use serialproxy_e2e::socket::Socket;
use serialproxy_e2e::within;
use serialproxy_proto::id::ServerId;
use tokio::io::AsyncBufReadExt;
use tokio::io::AsyncWriteExt;
use tokio::io::BufReader;
use tokio::process::Child;
use tokio::process::Command;
use tokio::task::JoinSet;

/// Ordinary sessions beside the attacks, each on its own line.
const ORDINARY: usize = 20;

/// The 99th percentile of their echoes must be at most this, and as much as ten of theirs alone.
const ECHO: Duration = Duration::from_millis(200);

/// How often each of them types.
const TYPES_EVERY: Duration = Duration::from_millis(100);

/// Largest resident set of the program at any time.
const MEMORY: usize = 300 * 1024 * 1024;

/// How much larger the resident set may be afterwards: the threads that hash passwords keep 38 MiB
/// after their first use, and the allocator keeps some.
const MEMORY_LEFT: usize = 96 * 1024 * 1024;

/// How many more threads and open files there may be afterwards: libraries keep some.
const SLACK: usize = 8;

/// How long the program may take to end: three seconds for its sessions, and one each for what is written.
const END: Duration = Duration::from_secs(10);

const KINDS: &str = "SERIALPROXY_TEST_HOLD_KINDS";
const SECONDS: &str = "SERIALPROXY_TEST_HOLD_SECONDS";

/// Runs in the process of the hostile clients and guests.
#[tokio::test]
#[ignore = "a process of its own, which the test below starts"]
async fn those_who_mean_harm() {
    let kinds = std::env::var(KINDS).unwrap_or_default();
    let kinds: Vec<String> =
        kinds.split(',').filter(|kind| !kind.is_empty()).map(Into::into).collect();
    hostile::attack(&kinds).await;
}

/// That process, which is killed when this is dropped, and the addresses of its guests.
struct Hostile {
    process: Child,
    guests: Vec<String>,
}

impl Hostile {
    async fn start() -> Self {
        // With a lower priority: they should load the program, not starve it.
        let mut process = Command::new("nice")
            .arg("-n10")
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "those_who_mean_harm", "--ignored", "--nocapture"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let guests = loop {
            let line = within(lines.next_line()).await.unwrap().expect("they did not start");
            if let Some(guests) = line.strip_prefix("guests ") {
                break guests.split(' ').map(|guest| guest.replace('=', " tcp://")).collect();
            }
        };
        // The process still writes after a minute, and would end without a reader.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self { process, guests }
    }

    async fn attack(&mut self, target: &Target) {
        let mut stdin = self.process.stdin.take().unwrap();
        within(stdin.write_all(target.to_line().as_bytes())).await.unwrap();
    }
}

/// The program, with lines of ordinary and of hostile guests.
async fn start(pki: &Pki, guests: &[String]) -> Server {
    let address = echoing().await;
    let mut config = "[serial_console]\nenabled = true\nrecord = true\n[static]\n".to_owned();
    for line in 0..ORDINARY {
        writeln!(config, "line = line{line} tcp://{address}").unwrap();
    }
    for guest in guests {
        writeln!(config, "line = {guest}").unwrap();
    }
    let file = pki.file("serialproxy.conf");
    std::fs::write(&file, config).unwrap();
    let part = |kind| std::fs::read_to_string(pki.file(&format!("server-{kind}.pem"))).unwrap();
    std::fs::write(pki.file("self.pem"), part("cert") + &part("key")).unwrap();
    let [file, cert] = [file, pki.file("self.pem")].map(|path| path.to_str().unwrap().to_owned());
    Server::start(&[
        "--config-file",
        &file,
        "--serial_console-cert",
        &cert,
        "--api-auth_strategy",
        "http_basic",
        "--serial_console-record_total",
        "64MiB",
        "--session-ping_interval",
        "5",
        "--session-grace",
        "20",
    ])
    .await
}

/// An ordinary session: raw and `console.v1`, plain and TLS in turn.
async fn ordinary(server: &Server, pki: &Pki, line: usize) -> Socket {
    let id = server.connected(line).await;
    let path = format!("/?token={}", server.token(&id, "").await);
    let headers: &[_] =
        if line % 4 < 2 { &[("sec-websocket-protocol", "console.v1")] } else { &[] };
    let ca = (line % 2 == 1).then(|| pki.file("ca-cert.pem"));
    Socket::over(ca.as_deref(), &server.proxy, &path, headers).await
}

/// Types until this time; returns the time of each echo.
async fn type_on(mut socket: Socket, until: Instant) -> (Socket, Vec<Duration>) {
    let mut times = Vec::new();
    let mut ticks = tokio::time::interval(TYPES_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while Instant::now() < until {
        ticks.tick().await;
        let start = Instant::now();
        socket.send(&b"x"[..]).await;
        socket.output_with(b"x").await;
        times.push(start.elapsed());
    }
    (socket, times)
}

/// The times of all sessions' echoes until then, in order.
async fn echoes(sessions: Vec<Socket>, until: Instant) -> (Vec<Socket>, Vec<Duration>) {
    let mut typing = JoinSet::new();
    for session in sessions {
        typing.spawn(type_on(session, until));
    }
    let (mut sessions, mut times) = (Vec::new(), Vec::new());
    while let Some(typed) = typing.join_next().await {
        let (session, of_it) = typed.expect("an ordinary session ended");
        sessions.push(session);
        times.extend(of_it);
    }
    times.sort();
    (sessions, times)
}

/// The resources of the program.
#[derive(Clone, Copy, Debug)]
struct Holds {
    threads: usize,
    files: usize,
    memory: usize,
}

impl Holds {
    fn of(server: &Server) -> Self {
        let count =
            |what| std::fs::read_dir(format!("/proc/{}/{what}", server.pid())).unwrap().count();
        Self { threads: count("task"), files: count("fd"), memory: server.memory("VmRSS") }
    }

    fn is_as(&self, before: &Self) -> bool {
        self.threads <= before.threads + SLACK
            && self.files <= before.files + SLACK
            && self.memory <= before.memory + MEMORY_LEFT
    }
}

/// The program's largest memory until then, measured continuously.
async fn most_memory(server: &Server, until: Instant) -> usize {
    let mut most = 0;
    while Instant::now() < until {
        most = most.max(server.memory("VmRSS"));
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    most
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_who_mean_harm_at_once_cost_ordinary_sessions_nothing_and_leave_nothing_behind() {
    let seconds = std::env::var(SECONDS).ok().map_or(60, |seconds| seconds.parse().unwrap());
    let pki = Pki::new();
    let mut hostile = Hostile::start().await;
    let mut server = start(&pki, &hostile.guests).await;
    let mut sessions = Vec::new();
    for line in 0..ORDINARY {
        sessions.push(ordinary(&server, &pki, line).await);
    }
    for guest in &hostile.guests {
        let name = guest.split(' ').next().unwrap();
        server.token(&ServerId::of_static(name).to_string(), "").await;
    }
    let (sessions, alone) = echoes(sessions, Instant::now() + Duration::from_secs(3)).await;
    let before = Holds::of(&server);

    let api = server.api_address().to_owned();
    let (proxy, ca, token) = (server.proxy.clone(), pki.file("ca-cert.pem"), server.admin_token());
    hostile.attack(&Target { proxy, api, ca, token }).await;
    let until = Instant::now() + Duration::from_secs(seconds);
    let ((sessions, beside), most) =
        tokio::join!(echoes(sessions, until), most_memory(&server, until));
    let p99 = |times: &[Duration]| times[times.len() * 99 / 100];
    println!(
        "an echo takes {:?} in 99 of 100 times alone, {:?} beside them",
        p99(&alone),
        p99(&beside)
    );
    println!("{} MiB were resident at most", most / 1024 / 1024);
    assert!(beside.len() >= ORDINARY * usize::try_from(seconds).unwrap());

    assert_eq!(hostile.process.try_wait().unwrap(), None, "those who mean harm ended before");
    hostile.process.kill().await.unwrap();
    let deadline = Instant::now() + PATIENCE;
    let (mut sessions, mut after) = (sessions, Holds::of(&server));
    while !after.is_as(&before) && Instant::now() < deadline {
        // The hostile clients run all the time.
        (sessions, _) = echoes(sessions, Instant::now() + Duration::from_secs(1)).await;
        after = Holds::of(&server);
    }
    println!("{before:?} before, {after:?} after");
    // Their outcomes, so that a kind without any effect is noticed.
    let log = server.log();
    for done in
        ["pen taken over", "attach refused", "session attached", "connection of a session lost"]
    {
        println!("{} times: {done}", log.matches(done).count());
    }
    let asked = Instant::now();
    server.signal(Signal::TERM);
    let status = server.ended().await;
    println!("it ended within {:?}", asked.elapsed());

    assert!(status.success(), "{status}: {}", server.log());
    assert!(asked.elapsed() <= END);
    assert!(p99(&beside) < ECHO + 10 * p99(&alone), "{:?}", p99(&beside));
    assert!(most < MEMORY, "{most} bytes were resident");
    assert!(after.is_as(&before), "{before:?} before, {after:?} after");
    drop(sessions);
}
