//! Ports that open no WebSocket.

use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;

use crate::console::Console;
use crate::console::beside;
use crate::support::run;

/// What the client says of a console whose port answers this.
async fn told(answer: &'static [u8]) -> String {
    let console = Console::start().await;
    let command = console.client(&[]);
    let ended = tokio::spawn(beside(|| run(command, b"")));
    let (mut socket, _) = console.listener.accept().await.unwrap();
    let mut request = [0; 4096];
    let mut length = 0;
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        length += socket.read(&mut request[length..]).await.unwrap();
    }
    socket.write_all(answer).await.unwrap();
    drop(socket);
    let ended = ended.await.unwrap();
    assert_eq!(ended.code, 1);
    ended.stderr
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reverse_proxy_that_passes_no_websocket_on_is_named_with_what_to_do() {
    let reason =
        b"HTTP/1.1 400 Bad Request\r\nX-Console-Reason: Upgrade: websocket is missing\r\n\r\n";
    let said = told(reason).await;
    assert!(said.contains("refused the console: Upgrade: websocket is missing"), "{said}");
    for answer in ["200 OK", "400 Bad Request", "426 Upgrade Required"] {
        let page = format!("HTTP/1.1 {answer}\r\nContent-Length: 6\r\n\r\n<html>").leak();
        let said = told(page.as_bytes()).await;
        assert!(said.contains("it must use HTTP/1.1 and forward the headers Upgrade"), "{said}");
    }
    let said = told(b"HTTP/1.1 404 Not Found\r\n\r\n").await;
    assert!(said.contains("refused the console with HTTP status 404"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_only_speaks_tls_is_named_as_such() {
    let said = told(b"\x15\x03\x01\x00\x02\x02\x46").await;
    assert!(said.contains("this port speaks only TLS; its [serial_console] base_url"), "{said}");
}
