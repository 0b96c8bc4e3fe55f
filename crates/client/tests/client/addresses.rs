//! A console whose name has several addresses: any proxy serves any session.

use futures_util::FutureExt;
use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpSocket;
use tokio::net::TcpStream;

use crate::console::Console;
use crate::console::LINE;
use crate::support::Terminal;

#[tokio::test(flavor = "multi_thread")]
async fn a_session_whose_proxy_dies_goes_on_at_the_next_address_and_its_input_is_sent_once() {
    let [first, second] = Console::pair().await;
    let mut terminal = Terminal::run(first.client_of_pair());
    let mut peer = first.accept().await;
    peer.hello_with(json!({"resume": "k1", "grace": 90})).await;
    terminal.wait_for("connected to demo");
    terminal.keys("abcdef");
    assert_eq!(peer.input(6).await, "abcdef");
    // Its machine still accepts connections, as one that loses its network does not say so either.
    drop(peer);

    let mut peer = second.accept().await;
    assert_eq!(peer.query(), format!("resume=k1&from=0&line={LINE}"));
    peer.hello_with(json!({"resume": "k2", "grace": 90, "input": 4})).await;
    terminal.wait_for("the session continues");
    assert_eq!(peer.control().await, json!({"type": "input", "offset": 4}));
    assert_eq!(peer.input(2).await, "ef");
    peer.close(4012, "draining").await;

    let mut peer = first.accept().await;
    assert_eq!(peer.query(), format!("resume=k2&from=0&line={LINE}"));
    peer.hello_with(json!({"resume": "k3", "grace": 90, "input": 6})).await;
    assert_eq!(peer.control().await, json!({"type": "input", "offset": 6}));
    terminal.wait_for("the session continues");
    terminal.keys("\r~.");
    assert_eq!(peer.rest().await, b"\r");
    assert_eq!(terminal.end().0, 0);
    assert_eq!(first.api.lines().len(), 1, "no other token was needed");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_attach_tries_the_next_address_where_a_proxy_cannot_serve() {
    let [first, second] = Console::pair().await;
    let mut terminal = Terminal::run(first.client_of_pair());
    let (mut socket, _) = first.listener.accept().await.unwrap();
    assert_ne!(socket.read(&mut [0; 1024]).await.unwrap(), 0);
    let refusal = "HTTP/1.1 503 x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    socket.write_all(refusal.as_bytes()).await.unwrap();
    drop(socket);
    let mut peer = second.accept().await;
    peer.hello_with(json!({"resume": "k1"})).await;
    terminal.wait_for("connected to demo");
    drop((peer, second));

    // The address that refused is tried again, since the other one is dead now.
    let mut peer = first.accept().await;
    peer.hello_with(json!({"resume": "k2"})).await;
    terminal.wait_for("the session continues");
    terminal.keys("\r~.");
    peer.rest().await;
    assert_eq!(terminal.end().0, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_attach_does_not_wait_for_a_machine_that_is_silent() {
    let [first, second] = Console::pair().await;
    let command = first.client_of_pair();
    let address = first.listener.local_addr().unwrap();
    drop(first.listener);
    // The kernel drops what comes once the accept backlog is full.
    let silent = TcpSocket::new_v4().unwrap();
    silent.set_reuseaddr(true).unwrap();
    silent.bind(address).unwrap();
    let silent = silent.listen(0).unwrap();
    let waiting = TcpStream::connect(address).await.unwrap();
    let mut terminal = Terminal::run(command);
    let mut peer = second.accept().await;
    peer.hello_with(json!({})).await;
    terminal.wait_for("connected to demo");
    terminal.keys("~.");
    peer.rest().await;
    assert_eq!(terminal.end().0, 0);
    drop((silent, waiting));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_is_not_asked_of_another_address() {
    let [first, second] = Console::pair().await;
    let terminal = Terminal::run(first.client_of_pair());
    first.accept().await.close(4002, "not allowed").await;
    assert_eq!(terminal.end().0, 1);
    assert!(second.listener.accept().now_or_never().is_none(), "the other proxy was asked");
}
