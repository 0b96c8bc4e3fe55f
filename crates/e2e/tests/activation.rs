//! The program as a service: listeners that the service manager opens, and what that is told.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "that is how a test fails"
)]

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use futures_util::StreamExt;
use futures_util::future::join_all;
use rustix::process::Signal;
use serialproxy_e2e::address;
use serialproxy_e2e::connection::connect;
use serialproxy_e2e::eventually;
use serialproxy_e2e::manager::Manager;
use serialproxy_e2e::manager::listener;
use serialproxy_e2e::port::Port;
use serialproxy_e2e::server::Server;
use serialproxy_e2e::server::http;
use serialproxy_e2e::server::program;
use serialproxy_e2e::socket::Socket;
use serialproxy_e2e::stderr;
use serialproxy_e2e::within;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::process::Command;

/// Clients at once, and how many consoles each of them opens, one after the other.
const CLIENTS: usize = 18;
const EACH: usize = 10;
/// Clients that have connected when the program is told to stop, and ask for a console only then.
const ASKING: usize = 20;

const NO_LIMITS: [&str; 6] = [
    "--limits-connections_per_address",
    "0",
    "--limits-sessions_per_user",
    "0",
    "--limits-sessions_per_address",
    "0",
];

/// The program with one simulated port, as a service.
async fn serve(manager: &Manager, port: &Port) -> Server {
    let by = manager.by();
    let by: Vec<&str> = by.iter().map(String::as_str).collect();
    let line = port.flag();
    let line = line.iter().map(String::as_str);
    Server::start_by(&by, &line.chain(NO_LIMITS).collect::<Vec<_>>()).await
}

/// How a session ended that was accepted, unless it sees this output.
async fn sees(mut socket: Socket, wanted: &[u8]) -> Option<u16> {
    let mut all = Vec::new();
    while !all.windows(wanted.len()).any(|window| window == wanted) {
        let message = within(socket.0.next()).await.expect("the connection ended").unwrap();
        if let Some((code, _)) = message.as_close() {
            return Some(code.into());
        }
        all.extend_from_slice(message.as_payload());
    }
    None
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_200_clients_that_connect_during_a_restart_none_is_refused() {
    let ((users, at), (callers, api)) = (listener("127.0.0.1"), listener("127.0.0.1"));
    let manager = Manager::new(&[("proxy", &users), ("api", &callers)]);
    drop((users, callers));
    let port = Port::new("switch").await;
    let mut server = serve(&manager, &port).await;
    assert_eq!((server.proxy.clone(), server.api_address()), (at.to_string(), &*api.to_string()));
    let _guest = port.accept().await;
    let mut tokens = Vec::new();
    for _ in 0..CLIENTS * EACH + ASKING {
        tokens.push(server.token(&port.server(), "?mode=watch").await);
    }

    let mut connected = Vec::new();
    for token in tokens.split_off(CLIENTS * EACH) {
        connected.push((connect(None, &server.proxy).await.unwrap(), token));
    }
    let clients = tokens.chunks(EACH).map(|tokens| {
        let (tokens, proxy) = (tokens.to_vec(), server.proxy.clone());
        tokio::spawn(async move {
            let mut opened = Vec::new();
            for token in tokens {
                opened.push(Socket::raw(&proxy, &token).await);
            }
            opened
        })
    });
    let clients: Vec<_> = clients.collect();
    let (again, restarted) = (Arc::new(AtomicBool::new(true)), format!("{}/healthz", server.api));
    let asks = Arc::clone(&again);
    let calls = tokio::spawn(async move {
        let http = http().pool_max_idle_per_host(0).build().unwrap();
        let mut calls = 0;
        while asks.load(Ordering::Relaxed) {
            within(http.get(&restarted).send()).await.unwrap();
            calls += 1;
        }
        calls
    });
    server.signal(Signal::TERM);
    manager.told("STOPPING=1").await;
    let proxy = server.proxy.clone();
    let asking = tokio::spawn(join_all(connected.into_iter().map(move |(stream, token)| {
        let (proxy, path) = (proxy.clone(), format!("/?token={token}"));
        async move { Socket::on(stream, &proxy, &path, &[]).await }
    })));
    let server = server.restart().await;
    let mut guest = port.accept().await;
    let opened = within(join_all(clients)).await;
    let asked = asking.await.unwrap();
    again.store(false, Ordering::Relaxed);
    assert!(calls.await.unwrap() > 0);

    let opened = opened.into_iter().flat_map(Result::unwrap);
    let opened: Vec<Socket> = opened.chain(asked).collect();
    assert_eq!(opened.len(), CLIENTS * EACH + ASKING);
    let sessions = server.get("/v1/sessions").await.json;
    let here = sessions["sessions"].as_array().unwrap().len();
    assert!(here > 0, "every client came before the restart");
    guest.print(b"all aboard").await;
    let ended = join_all(opened.into_iter().map(|socket| sees(socket, b"all aboard"))).await;
    let served = ended.iter().filter(|ended| ended.is_none()).count();
    assert_eq!(served, here);
    // The old process had the others, and ended their sessions as a stop does.
    assert!(ended.iter().flatten().all(|code| *code == 4012), "{ended:?}");
}

#[tokio::test]
async fn listeners_of_the_configuration_are_kept_while_the_program_restarts() {
    let manager = Manager::new(&[]);
    let serve = async |flags: &[String]| {
        let by = manager.by();
        let by: Vec<&str> = by.iter().map(String::as_str).collect();
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let server = Server::start_by(&by, &flags).await;
        manager.told("STATUS=Serving").await;
        server
    };
    let flags = address::fixed();
    let mut server = serve(&flags).await;
    server.signal(Signal::TERM);
    server.ended().await;

    // Nobody accepts now, and the clients wait.
    let addresses = [server.api_address(), &server.proxy].map(str::to_owned);
    let ask = async |address: &String| {
        let mut waiting = TcpStream::connect(address).await.unwrap();
        let request =
            format!("GET /healthz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        waiting.write_all(request.as_bytes()).await.unwrap();
        waiting
    };
    let mut waiting = Vec::new();
    for address in &addresses {
        waiting.push(ask(address).await);
    }
    let mut server = serve(&flags).await;
    for mut waiting in waiting {
        let mut answer = String::new();
        within(waiting.read_to_string(&mut answer)).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }

    // With other addresses in its configuration, those are of no use any more.
    server.signal(Signal::TERM);
    server.ended().await;
    let other = serve(&address::fixed()).await;
    assert!(!addresses.contains(&other.proxy));
    for address in &addresses {
        // A process that another test is starting may hold the socket until it runs.
        eventually(async || TcpStream::connect(address).await.is_err().then_some(())).await;
    }
}

#[tokio::test]
async fn the_service_manager_is_told_what_the_program_does() {
    let manager = Manager::new(&[]);
    let port = Port::new("switch").await;
    let mut server = serve(&manager, &port).await;
    let ready = manager.told("READY=1").await;
    assert_eq!(
        ready,
        format!("READY=1\nSTATUS=Serving api={} proxy=http://{}", server.api, server.proxy)
    );
    manager.told("WATCHDOG=1").await;
    manager.told("WATCHDOG=1").await;
    server.signal(Signal::HUP);
    let reloading = manager.told("RELOADING=1").await;
    assert!(reloading.contains("\nMONOTONIC_USEC="), "{reloading}");
    manager.told("READY=1").await;
    server.signal(Signal::TERM);
    manager.told("STOPPING=1").await;
    assert!(server.ended().await.success());
}

/// What the program says that gets these listeners, and does not start.
async fn refusal(listeners: &[(&str, &TcpListener)], flags: &[&str]) -> String {
    let manager = Manager::new(listeners);
    let state = tempfile::tempdir().unwrap();
    let by = manager.by();
    let run = Command::new(&by[0])
        .args(&by[1..])
        .arg(program())
        .args(["serve", "--compute-drivers", "static", "--serial_console-serialproxy_port", "0"])
        .arg("--state-dir")
        .arg(state.path())
        .args(flags)
        .kill_on_drop(true)
        .output();
    let output = within(run).await.unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    stderr(&output)
}

#[tokio::test]
async fn a_listener_whose_purpose_is_not_known_is_refused() {
    let (one, _) = listener("127.0.0.1");
    let says = refusal(&[("serialproxy.socket", &one)], &[]).await;
    assert!(says.contains("named `serialproxy.socket`: set FileDescriptorName="), "{says}");
    let (other, _) = listener("127.0.0.1");
    let says = refusal(&[("proxy", &one), ("proxy", &other)], &[]).await;
    assert!(says.contains("two listeners named proxy"), "{says}");
}

#[tokio::test]
async fn without_authentication_the_api_takes_no_listener_that_others_reach() {
    let (open, address) = listener("0.0.0.0");
    let says = refusal(&[("api", &open)], &["--api-auth_strategy", "noauth"]).await;
    assert!(says.contains(&format!("everyone who reaches {address} an administrator")), "{says}");
}
