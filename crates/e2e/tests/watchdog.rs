//! Threads that hang: how they are reported, and what happens to the process. A log without a
//! reader makes no thread hang.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "that is how a test fails"
)]

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;
use std::time::Instant;

use futures_util::future::join_all;
use rustix::process::Signal;
use serialproxy_e2e::eventually;
use serialproxy_e2e::rig::Rig;
use serialproxy_e2e::server::Server;
use serialproxy_e2e::within;
use tokio::io::AsyncBufReadExt;
use tokio::io::BufReader;
use tokio::net::unix::pipe;
use tokio::process::Command;

/// Stops one thread of a process until the process dies, as a debugger does. The tracer must wait
/// for its death; otherwise the process stays a zombie.
const STOP_THREAD: &str = "
import ctypes, os, sys
SEIZE, INTERRUPT, ANY_THREAD = 0x4206, 0x4207, 0x40000000
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long] * 4
thread = int(sys.argv[1])
for request in (SEIZE, INTERRUPT):
    if libc.ptrace(request, thread, 0, 0):
        sys.exit(os.strerror(ctypes.get_errno()))
for _ in ('stopped', 'died'):
    os.waitpid(thread, ANY_THREAD)
";

/// The thread of that name.
fn thread(process: u32, name: &str) -> String {
    let mut tasks = std::fs::read_dir(format!("/proc/{process}/task")).unwrap().flatten();
    let comm = |task: &std::fs::DirEntry| std::fs::read_to_string(task.path().join("comm"));
    let task = tasks.find(|task| comm(task).is_ok_and(|comm| comm.trim_end() == name)).unwrap();
    task.file_name().into_string().unwrap()
}

#[tokio::test]
async fn a_thread_that_hangs_is_logged_and_shown_and_at_last_the_process_aborts() {
    let mut rig = Rig::start(&[]).await;
    assert_eq!(rig.server.get("/healthz").await.status, 200);
    let mut session = rig.raw().await;
    session.send("x").await;
    assert_eq!(rig.guest.typed(1).await, b"x");
    // The thread of the first line.
    let thread = thread(rig.server.pid(), "lines-0");
    let mut stop = Command::new("python3");
    let mut stopped = stop.args(["-c", STOP_THREAD, &thread]).kill_on_drop(true).spawn().unwrap();
    let health = eventually(async || {
        let health = rig.server.get("/healthz").await;
        (health.status == 503).then_some(health.json)
    })
    .await;
    let text = "the thread lines-0 has not responded for 5 s";
    let reasons = serde_json::json!([{"name": "thread", "text": text}]);
    assert_eq!(health, serde_json::json!({"status": "failing", "reasons": reasons}));
    eventually(async || rig.server.log().contains(text).then_some(())).await;
    assert!(rig.server.log().contains(": last worked on the "), "{}", rig.server.log());
    assert_eq!(rig.server.ended().await.signal(), Some(Signal::ABORT.as_raw()));
    assert!(
        rig.server.log().contains("the thread lines-0 has been hanging for 30 s"),
        "{}",
        rig.server.log()
    );
    assert!(stopped.wait().await.unwrap().success());
}

#[tokio::test]
async fn time_in_which_the_whole_process_stood_still_is_no_alarm() {
    let mut rig = Rig::start(&[]).await;
    let mut session = rig.raw().await;
    rig.server.signal(Signal::STOP);
    // Longer than a thread may take to respond.
    tokio::time::sleep(Duration::from_secs(7)).await;
    rig.server.signal(Signal::CONT);
    let back = Instant::now();
    while back.elapsed() < Duration::from_secs(2) {
        assert_eq!(rig.server.get("/healthz").await.status, 200);
        session.send("k").await;
        assert_eq!(rig.guest.typed(1).await, b"k");
    }
    assert!(!rig.server.log().contains("has not responded"), "{}", rig.server.log());
}

/// More lines than fit into a pipe and the program's own queue.
const CALLS: usize = 64 * 150;

#[tokio::test]
async fn a_log_that_nobody_reads_holds_up_no_call_and_says_later_what_is_missing() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("log");
    assert!(Command::new("mkfifo").arg(&log).status().await.unwrap().success());
    let unread = pipe::OpenOptions::new().read_write(true).open_receiver(&log).unwrap();
    let by = ["sh", "-c", "exec \"$@\" 2>\"$0\"", log.to_str().unwrap()];
    let server = Server::start_by(&by, &[]).await;
    for _ in 0..CALLS / 64 {
        let calls = (0..64).map(|_| server.get("/v1/lines"));
        assert!(join_all(calls).await.iter().all(|answer| answer.status == 200));
    }
    assert_eq!(server.get("/healthz").await.status, 200);
    let mut lines = BufReader::new(unread).lines();
    let mut logged = async || within(lines.next_line()).await.unwrap().unwrap();
    let missing = loop {
        let line = logged().await;
        if let Some((_, missing)) = line.split_once("could not be written missing=") {
            break missing.parse::<usize>().unwrap();
        }
    };
    assert!((1..CALLS).contains(&missing), "{missing}");
    assert_eq!(server.get("/v1/sessions").await.status, 200);
    while !logged().await.contains("/v1/sessions") {}
}
