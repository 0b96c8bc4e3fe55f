//! Recordings of sessions, checked strictly against the specification of asciicast v2.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "that is how a test fails"
)]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use futures_util::SinkExt;
use rustix::process::Signal;
use serde_json::Value;
use serialproxy_e2e::eventually;
use serialproxy_e2e::rig::Rig;
use serialproxy_e2e::socket::Socket;
use serialproxy_e2e::within;
use tokio_websockets::Message;

/// A program that records to this place.
async fn rig(place: &str) -> Rig {
    Rig::start(&["--serial_console-record", place]).await
}

/// The recordings below the state directory, once this many have ended.
async fn ended_of(rig: &Rig, count: usize) -> Vec<Cast> {
    ended(&rig.server.state().join("records"), count).await
}

/// A recording.
#[derive(Debug)]
struct Cast {
    name: String,
    header: Value,
    events: Vec<(char, String)>,
}

impl Cast {
    /// Reads a file; none when its last row is incomplete.
    fn read(file: &Path) -> Option<Self> {
        let text = std::fs::read_to_string(file).unwrap();
        let (header, events) = text.strip_suffix('\n')?.split_once('\n')?;
        let header: Value = serde_json::from_str(header).unwrap();
        assert_eq!(header["version"], 2);
        assert!(header["width"].is_u64() && header["height"].is_u64());
        let mut last = 0.0;
        let mut event = |row: &str| {
            let (code, data, time): (char, String, f64) = event(row);
            assert!(time >= last, "{row} is before {last}");
            last = time;
            (code, data)
        };
        let events = events.split('\n').map(&mut event).collect();
        let name = file.file_name().unwrap().to_str().unwrap().to_owned();
        Some(Self { name, header, events })
    }

    fn all(&self, wanted: char) -> String {
        let of_it = self.events.iter().filter(|(code, _)| *code == wanted);
        of_it.map(|(_, data)| data.as_str()).collect()
    }
}

/// Code, data and time of a row. The time must be a decimal number with six places.
fn event(row: &str) -> (char, String, f64) {
    let (time, _) = row.strip_prefix('[').unwrap().split_once(',').unwrap();
    let (seconds, micros) = time.split_once('.').unwrap();
    assert!(micros.len() == 6 && (seconds.to_owned() + micros).parse::<u64>().is_ok(), "{row}");
    let (_, code, data): (f64, char, String) = serde_json::from_str(row).unwrap();
    assert!("oirm".contains(code), "{row}");
    (code, data, time.parse().unwrap())
}

/// The recordings in a directory, by name, once this many have ended.
async fn ended(directory: &Path, count: usize) -> Vec<Cast> {
    eventually(async || {
        let files = directory.read_dir().unwrap().map(|file| file.unwrap().path());
        let mut casts: Vec<_> = files.filter_map(|file| Cast::read(&file)).collect();
        casts.sort_by(|a, b| a.name.cmp(&b.name));
        let ended = casts.iter().filter(|cast| cast.all('m').contains("ended: "));
        (ended.count() == count && casts.len() == count).then_some(casts)
    })
    .await
}

#[tokio::test]
async fn what_a_session_is_shown_and_types_is_in_a_file_that_only_its_owner_reads() {
    let mut rig = rig("true").await;
    let mut socket = rig.raw().await;
    rig.guest.print(b"login: \x1b[1m\"\xe2\x82").await;
    socket.output_with(b"\"").await;
    rig.guest.print(b"\xac\xff").await;
    socket.output_with(b"\xff").await;
    socket.send("root\r").await;
    assert_eq!(rig.guest.typed(5).await, b"root\r");
    rig.guest.print(b"root\r\n").await;
    socket.output_with(b"\n").await;
    socket.leave().await;
    let [cast] = &ended_of(&rig, 1).await[..] else { panic!("one is expected") };
    assert_eq!(cast.all('o'), "login: \u{1b}[1m\"€\u{fffd}root\r\n");
    assert_eq!(cast.all('i'), "root\r");
    assert_eq!(cast.all('m'), "ended: the client left");
    assert_eq!((&cast.header["width"], &cast.header["height"]), (&80.into(), &24.into()));
    assert_eq!(cast.header["title"], "switch port 0, admin");
    assert!(cast.name.contains(&rig.port.server()), "{}", cast.name);
    let records = rig.server.state().join("records");
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&records), mode(&records.join(&cast.name))), (0o700, 0o600));
}

/// Logs in as a user at a guest that echoes the name but not the password.
async fn log_in(rig: &mut Rig, mut socket: Socket) {
    for (prompt, typed, echo) in [
        ("login: ", "root\r", "root\r\n"),
        ("Password: ", "hunter2\r", "\r\n"),
        ("# ", "id\r", "id\r\n"),
    ] {
        rig.guest.print(prompt.as_bytes()).await;
        socket.output_with(prompt.as_bytes()).await;
        socket.send(typed).await;
        assert_eq!(rig.guest.typed(typed.len()).await, typed.as_bytes());
        rig.guest.print(echo.as_bytes()).await;
        socket.output_with(b"\n").await;
    }
    socket.leave().await;
}

#[tokio::test]
async fn a_password_is_not_in_a_recording_but_how_long_it_is() {
    for protocol in ["binary", "console.v1"] {
        let mut rig = rig("true").await;
        let path = format!("/?token={}", rig.token("").await);
        let headers = [("sec-websocket-protocol", protocol)];
        let socket = Socket::open(&rig.server.proxy, &path, &headers).await;
        log_in(&mut rig, socket).await;
        let [cast] = &ended_of(&rig, 1).await[..] else { panic!("one is expected") };
        assert_eq!(cast.all('i'), "root\r\rid\r");
        assert!(cast.all('m').contains("hidden: 7 bytes"), "{}", cast.all('m'));
        assert!(!cast.events.iter().any(|(_, data)| data.contains("hunter")), "{cast:?}");
        assert!(!rig.server.log().contains("record_input"), "{}", rig.server.log());
    }
}

#[tokio::test]
async fn who_records_all_input_is_warned_at_the_start() {
    let flags = ["--serial_console-record", "true", "--serial_console-record_input", "full"];
    let mut rig = Rig::start(&flags).await;
    let warning = "including passwords: [serial_console] record_input = full";
    eventually(async || rig.server.log().contains(warning).then_some(())).await;
    let raw = rig.raw().await;
    log_in(&mut rig, raw).await;
    let [cast] = &ended_of(&rig, 1).await[..] else { panic!("one is expected") };
    assert_eq!(cast.all('i'), "root\rhunter2\rid\r");
}

#[tokio::test]
async fn a_command_behind_a_flood_of_keys_is_in_the_recording() {
    let flags = ["--serial_console-record", "true", "--serial_console-record_input", "full"];
    let mut rig = Rig::start(&flags).await;
    let mut socket = rig.raw().await;
    let flood = "x".repeat(20_000);
    for _ in 0..flood.len() {
        socket.0.feed(Message::binary("x")).await.unwrap();
    }
    socket.send("rm -rf /\r").await;
    rig.guest.typed(flood.len() + "rm -rf /\r".len()).await;
    socket.leave().await;
    let [cast] = &ended_of(&rig, 1).await[..] else { panic!("one is expected") };
    assert_eq!(cast.all('i'), flood + "rm -rf /\r");
}

#[tokio::test]
async fn what_a_watcher_presses_is_not_in_its_recording() {
    let mut rig = rig("true").await;
    let token = rig.token("?mode=watch").await;
    let mut watcher = Socket::raw(&rig.server.proxy, &token).await;
    watcher.send("x").await;
    rig.guest.print(b"seen").await;
    watcher.output_with(b"seen").await;
    watcher.leave().await;
    let [cast] = &ended_of(&rig, 1).await[..] else { panic!("one is expected") };
    assert_eq!((cast.all('o'), cast.all('i')), ("seen".into(), String::new()));
}

#[tokio::test]
async fn the_grid_of_a_v1_session_is_recorded_and_each_of_its_connections_has_a_file() {
    let mut rig = rig("true").await;
    let mut socket = Socket::v1(&rig.server.proxy, &rig.token("").await, "").await;
    let hello = socket.message("hello").await;
    socket.say(r#"{"type":"size","rows":40,"cols":132}"#).await;
    socket.say(r#"{"type":"size","rows":41,"cols":133}"#).await;
    // Output during the painting of the screen comes with it, and does not count as an echo.
    rig.guest.print(b"ready").await;
    socket.output_with(b"ready").await;
    socket.send("a").await;
    assert_eq!(rig.guest.typed(1).await, b"a");
    rig.guest.print(b"a").await;
    socket.output_with(b"a").await;
    // The connection is lost, and the session resumes in the same second.
    drop(socket);
    let path = format!("/?resume={}", hello["resume"].as_str().unwrap());
    let headers = [("sec-websocket-protocol", "console.v1")];
    let again = Socket::open(&rig.server.proxy, &path, &headers).await;
    again.leave().await;
    let casts = ended_of(&rig, 2).await;
    let first = casts.iter().find(|cast| cast.all('i') == "a").unwrap();
    assert_eq!((&first.header["width"], &first.header["height"]), (&132.into(), &40.into()));
    assert_eq!(first.all('r'), "133x41");
    let session = hello["session"].as_str().unwrap();
    assert!(casts.iter().all(|cast| cast.name.ends_with(&format!("{session}.cast"))));
}

#[tokio::test]
async fn a_recording_is_whole_when_the_program_is_stopped() {
    let mut rig = rig("true").await;
    let mut socket = rig.raw().await;
    let row = "0123456789 größer €\r\n".repeat(10_000);
    rig.guest.print(row.as_bytes()).await;
    rig.guest.print(b"\x1bend").await;
    socket.output_with(b"\x1bend").await;
    rig.server.signal(Signal::TERM);
    assert_eq!(socket.closed().await.0, 4012);
    assert!(rig.server.ended().await.success());
    let [cast] = &ended_of(&rig, 1).await[..] else { panic!("one is expected") };
    assert_eq!(cast.all('o'), row + "\u{1b}end");
    assert!(cast.all('m').starts_with("ended: "), "{}", cast.all('m'));
}

#[tokio::test]
async fn all_rows_are_whole_when_the_program_is_killed() {
    let mut rig = rig("true").await;
    let mut socket = rig.raw().await;
    rig.guest.print(&b"x".repeat(1_000_000)).await;
    rig.guest.print(b"end").await;
    socket.output_with(b"end").await;
    let records = rig.server.state().join("records");
    let all = || {
        let file = records.read_dir().unwrap().next()?.unwrap().path();
        Cast::read(&file).filter(|cast| cast.all('o').ends_with("end"))
    };
    eventually(async || all()).await;
    rig.server.signal(Signal::KILL);
    rig.server.ended().await;
    assert!(all().is_some());
}

/// A small disk; needs root, as the program's own tests of networks do.
struct Disk(tempfile::TempDir);

impl Disk {
    fn new() -> Self {
        let disk = Self(tempfile::tempdir().unwrap());
        let mount = ["-t", "tmpfs", "-o", "size=256k", "tmpfs"];
        let done = Command::new("mount").args(mount).arg(disk.0.path()).status().unwrap();
        assert!(done.success(), "a disk cannot be mounted: run the tests as root");
        disk
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0.path()).status();
    }
}

#[tokio::test]
async fn a_full_disk_costs_a_part_of_the_recording_and_nothing_of_the_session() {
    let disk = Disk::new();
    let filling = disk.0.path().join("filling");
    std::fs::write(&filling, vec![0; 200 * 1024]).unwrap();
    let prefix = disk.0.path().join("console");
    let mut rig = rig(prefix.to_str().unwrap()).await;
    let mut socket = rig.raw().await;
    for _ in 0..4 {
        rig.guest.print(&b"x".repeat(50_000)).await;
        rig.guest.print(b"part").await;
        socket.output_with(b"part").await;
    }
    let full = async || rig.server.log().contains("the session cannot be recorded").then_some(());
    eventually(full).await;
    let mut watcher = Socket::v1(&rig.server.proxy, &rig.token("?mode=watch").await, "").await;
    let notice = watcher.message("notice").await;
    assert_eq!(
        notice["message"],
        "this session is not recorded: the server cannot write its recording"
    );
    std::fs::remove_file(&filling).unwrap();
    rig.guest.print(b"again").await;
    socket.output_with(b"again").await;
    assert_eq!(watcher.message("notice").await["message"], "this session is recorded again");
    watcher.leave().await;
    socket.leave().await;
    let [cast, _] = &ended(disk.0.path(), 2).await[..] else { panic!("two are expected") };
    assert!(cast.name.starts_with("console."), "{}", cast.name);
    assert!(cast.all('o').ends_with("again"));
    let missing = cast.all('m');
    assert!(missing.contains("bytes are missing here: the disk was full"), "{missing}");
}

#[tokio::test]
async fn a_flood_fills_a_recording_up_to_its_limit_and_the_session_gets_all_of_it() {
    let flags = ["--serial_console-record", "true", "--serial_console-record_limit", "100KiB"];
    let mut rig = Rig::start(&flags).await;
    let mut socket = rig.raw().await;
    rig.guest.print(&b"x".repeat(1_000_000)).await;
    rig.guest.print(b"end").await;
    assert_eq!(socket.output_with(b"end").await.len(), 1_000_003);
    socket.leave().await;
    let file = eventually(async || {
        let file = rig.server.state().join("records").read_dir().unwrap().next()?.unwrap().path();
        let cast = Cast::read(&file)?;
        (cast.all('m') == "the recording has reached record_limit").then_some(file)
    })
    .await;
    assert!(std::fs::metadata(file).unwrap().len() <= 100 * 1024);
}

#[tokio::test]
async fn all_recordings_together_are_bounded_and_the_oldest_go_first() {
    let flags = ["--serial_console-record", "true", "--serial_console-record_total", "300KiB"];
    let mut rig = Rig::start(&flags).await;
    let records = rig.server.state().join("records");
    let files =
        || -> Vec<_> { records.read_dir().unwrap().map(|file| file.unwrap().path()).collect() };
    let mut all = Vec::new();
    for _ in 0..4 {
        let mut socket = rig.raw().await;
        let new = eventually(async || files().into_iter().find(|file| !all.contains(file))).await;
        rig.guest.print(&b"x".repeat(100_000)).await;
        rig.guest.print(b"end").await;
        socket.output_with(b"end").await;
        socket.leave().await;
        eventually(async || Cast::read(&new)?.all('m').contains("ended: ").then_some(())).await;
        all.push(new);
    }
    let kept: Vec<bool> = all.iter().map(|file| file.exists()).collect();
    assert_eq!(kept, [false, false, true, true]);
}

#[tokio::test]
async fn a_place_where_nothing_can_be_written_is_said_at_the_start() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let place = format!("{}/records/", file.path().display());
    let state = tempfile::tempdir().unwrap();
    let run = tokio::process::Command::new(serialproxy_e2e::server::program())
        .args(["serve", "--compute-drivers", "static", "--api-listen", "127.0.0.1:0"])
        .args(["--serial_console-serialproxy_port", "0", "--serial_console-record", &place])
        .args(["--state-dir", state.path().to_str().unwrap()])
        .kill_on_drop(true)
        .output();
    let output = within(run).await.unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("[serial_console] record: cannot record sessions"), "{error}");
}
