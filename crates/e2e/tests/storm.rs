//! A storm of attaches: 9,000 sessions on 5,000 lines of one process.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "that is how a test fails"
)]

use std::time::Instant;

use rustix::process::Resource;
use rustix::process::Rlimit;
use rustix::process::getrlimit;
use rustix::process::setrlimit;
use serialproxy_e2e::port::echoing;
use serialproxy_e2e::server::Server;
use serialproxy_e2e::socket::Socket;
use tokio::task::JoinSet;

const LINES: usize = 5000;
const SESSIONS: usize = 9000;

/// The test has as many connections as the server.
fn raise_limit_of_files() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
    // Users may have half of the server's files.
    let needed = 2 * SESSIONS as u64;
    let enough = maximum.is_none_or(|maximum| maximum >= needed);
    assert!(enough, "this test needs {needed} open files, and may have {maximum:?} (ulimit -Hn)");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nine_thousand_sessions_that_come_at_once_to_five_thousand_lines_are_all_served() {
    raise_limit_of_files();
    // Nobody answers the pings of the sessions until all have come.
    let server = Server::with_lines(LINES, echoing().await, "[session]\ngrace = 600").await;
    let mut paths = Vec::new();
    for line in 0..LINES {
        let id = server.connected(line).await;
        paths.push(format!("/?token={}", server.token(&id, "").await));
    }
    let watching = paths[..SESSIONS - LINES].iter().map(|path| format!("{path}&mode=watch"));
    let paths: Vec<String> = paths.iter().cloned().chain(watching).collect();

    let began = Instant::now();
    let mut coming = JoinSet::new();
    for (place, path) in paths.into_iter().enumerate() {
        let proxy = server.proxy.clone();
        coming.spawn(async move { (place, Socket::open(&proxy, &path, &[]).await) });
    }
    let mut sessions: Vec<Option<Socket>> = (0..SESSIONS).map(|_| None).collect();
    while let Some(come) = coming.join_next().await {
        let (place, socket) = come.unwrap();
        sessions[place] = Some(socket);
    }
    println!("{SESSIONS} sessions were attached within {:?}", began.elapsed());

    let mut sessions: Vec<Socket> = sessions.into_iter().flatten().collect();
    assert_eq!(sessions.len(), SESSIONS);
    for writer in &mut sessions[..LINES] {
        writer.send(&b"k"[..]).await;
    }
    for session in &mut sessions {
        assert_eq!(session.output_with(b"k").await, b"k");
    }
    println!("{} MiB are resident", server.memory("VmRSS") / 1024 / 1024);
}
