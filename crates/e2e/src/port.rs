//! Simulated ports: they behave like QEMU's TCP character device, without a guest.

use std::net::SocketAddr;

use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpStream;

use crate::within;

/// A listening port.
#[derive(Debug)]
pub struct Port {
    listener: TcpListener,
    name: String,
}

impl Port {
    /// A port for a static server of this name.
    pub async fn new(name: &str) -> Self {
        Self::at(SocketAddr::from(([127, 0, 0, 1], 0)), name).await
    }

    /// The same at this address, for example that of one that was dropped.
    pub async fn at(address: SocketAddr, name: &str) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        Self { listener, name: name.to_owned() }
    }

    /// The flag that makes this port a line of a server.
    pub fn flag(&self) -> [String; 2] {
        let address = self.listener.local_addr().unwrap();
        ["--static-line".to_owned(), format!("{} tcp://{address}", self.name)]
    }

    /// The server's UUID.
    pub fn server(&self) -> String {
        serialproxy_proto::id::ServerId::of_static(&self.name).to_string()
    }

    /// The address on which it listens.
    pub fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    /// The guest's end of the next connection.
    pub async fn accept(&self) -> Guest {
        Guest(within(self.listener.accept()).await.unwrap().0)
    }

    /// Whether a connection arrives within this time.
    pub async fn is_dialed_within(&self, time: std::time::Duration) -> bool {
        tokio::time::timeout(time, self.listener.accept()).await.is_ok()
    }
}

/// The guest's end of a connected port.
#[derive(Debug)]
pub struct Guest(pub TcpStream);

impl Guest {
    /// Prints.
    pub async fn print(&mut self, bytes: &[u8]) {
        within(self.0.write_all(bytes)).await.unwrap();
    }

    /// The typed bytes: exactly this many.
    pub async fn typed(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        within(self.0.read_exact(&mut bytes)).await.unwrap();
        bytes
    }
}

/// Sends typed bytes back, as long as the guest's end is connected.
pub async fn echo(mut guest: TcpStream) {
    let (mut typed, mut printed) = guest.split();
    // This ends when either side closes the connection.
    let _ = tokio::io::copy(&mut typed, &mut printed).await;
}

/// The address of a port that sends typed bytes back on each connection, as long as the test runs.
pub async fn echoing() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((guest, _)) = listener.accept().await {
            tokio::spawn(echo(guest));
        }
    });
    address
}
