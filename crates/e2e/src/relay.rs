//! A simulated port whose guest is another process of the test.

use std::net::SocketAddr;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A port, and an address whose connections become the guest's ends of the port's connections, in
/// the same order. Closed when it is dropped.
#[derive(Debug)]
pub struct Relay {
    name: String,
    port: SocketAddr,
    guest: SocketAddr,
    carrying: JoinHandle<()>,
}

impl Relay {
    /// A port for a static server of this name.
    pub async fn new(name: &str) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let guest = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self {
            name: name.to_owned(),
            port: port.local_addr().unwrap(),
            guest: guest.local_addr().unwrap(),
            carrying: tokio::spawn(carry(port, guest)),
        }
    }

    /// The flag that makes this port a line of a server.
    pub fn flag(&self) -> [String; 2] {
        ["--static-line".to_owned(), format!("{} tcp://{}", self.name, self.port)]
    }

    /// The server's UUID.
    pub fn server(&self) -> String {
        serialproxy_proto::id::ServerId::of_static(&self.name).to_string()
    }

    /// The TCP port on this machine that leads to the guest's end.
    pub fn guest(&self) -> u16 {
        self.guest.port()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.carrying.abort();
    }
}

async fn carry(port: TcpListener, guest: TcpListener) {
    loop {
        let (mut line, _) = port.accept().await.unwrap();
        let (mut guest, _) = guest.accept().await.unwrap();
        line.set_nodelay(true).unwrap();
        guest.set_nodelay(true).unwrap();
        tokio::spawn(async move {
            // This also ends when either side is killed.
            let _ = tokio::io::copy_bidirectional(&mut line, &mut guest).await;
        });
    }
}
