//! Large amounts of data, on simulated ports. In a file of its own, since some other tests measure
//! time.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "that is how a test fails"
)]

use std::sync::Arc;

use futures_util::SinkExt;
use serialproxy_e2e::port::Guest;
use serialproxy_e2e::port::Port;
use serialproxy_e2e::server::Server;
use serialproxy_e2e::socket::Socket;
use serialproxy_e2e::within;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::sync::Semaphore;
use tokio_websockets::Message;

async fn rig() -> (Server, Guest, Socket) {
    let port = Port::new("switch").await;
    let [flag, line] = port.flag();
    let server = Server::start(&[&flag, &line]).await;
    let guest = port.accept().await;
    let token = server.token(&port.server(), "").await;
    let socket = Socket::raw(&server.proxy, &token).await;
    (server, guest, socket)
}

const GIB: usize = 1024 * 1024 * 1024;

/// Blocks that may be printed before they are read: everything that a line keeps, so that a reader
/// that the machine starves is not considered too slow.
const UNREAD: usize = 256 / 64;

/// A byte stream in which every 8 bytes differ from their neighbors.
fn pattern(block: usize) -> Vec<u8> {
    let start = block as u64 * 8192;
    (start..start + 8192)
        .flat_map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gib_from_the_port_arrives_byte_exact() {
    let (_server, mut guest, mut socket) = rig().await;
    let unread = Arc::new(Semaphore::new(UNREAD));
    let room = Arc::clone(&unread);
    let printing = tokio::spawn(async move {
        for block in 0..GIB / 65536 {
            room.acquire().await.unwrap().forget();
            guest.0.write_all(&pattern(block)).await.unwrap();
        }
        guest
    });
    let (mut block, mut expected, mut at) = (0, pattern(0), 0);
    while block < GIB / 65536 {
        let message = socket.next().await;
        let mut bytes: &[u8] = message.as_payload();
        while !bytes.is_empty() {
            let length = bytes.len().min(expected.len() - at);
            assert!(bytes[..length] == expected[at..at + length], "differs in block {block}");
            bytes = &bytes[length..];
            at += length;
            if at == expected.len() {
                (block, at) = (block + 1, 0);
                unread.add_permits(1);
                expected = pattern(block);
            }
        }
    }
    within(printing).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gib_to_the_port_arrives_byte_exact() {
    let (_server, mut guest, mut socket) = rig().await;
    let typing = tokio::spawn(async move {
        for block in 0..GIB / 65536 {
            socket.0.send(Message::binary(pattern(block))).await.unwrap();
        }
        socket
    });
    let mut typed = vec![0; 65536];
    for block in 0..GIB / 65536 {
        within(guest.0.read_exact(&mut typed)).await.unwrap();
        assert!(typed == pattern(block), "differs in block {block}");
    }
    within(typing).await.unwrap();
}
