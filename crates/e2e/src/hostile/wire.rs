//! Connections of hostile clients: from many addresses, with a time limit for everything.

use std::io;
use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpSocket;
use tokio::net::TcpStream;
use tokio_websockets::MaybeTlsStream;

use crate::connection::connect_on;
use crate::exchange::Head;
use crate::exchange::upgrade;

/// How long a connection may take to be made or answered.
const PATIENCE: Duration = Duration::from_secs(5);

/// A connection.
pub(super) struct Wire(pub(super) MaybeTlsStream<TcpStream>);

impl Wire {
    /// Connects to `address` from one of many local addresses; over TLS where a CA is given.
    pub(super) async fn open(source: u8, ca: Option<&Path>, address: &str) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.bind((Ipv4Addr::new(127, 66, 0, source.max(1)), 0).into())?;
        let place: SocketAddr = address.parse().map_err(io::Error::other)?;
        let connecting = async { connect_on(socket.connect(place).await?, ca, address).await };
        in_time(connecting).await.map(Self)
    }

    /// Sends a request, and reads the head of its answer.
    pub(super) async fn ask(&mut self, request: &str) -> io::Result<Head> {
        in_time(async {
            self.0.write_all(request.as_bytes()).await?;
            Head::read(&mut self.0).await
        })
        .await
    }

    /// Opens a WebSocket with `console.v1`.
    pub(super) async fn upgrade(&mut self, path: &str) -> io::Result<()> {
        let v1 = [("sec-websocket-protocol", "console.v1")];
        match self.ask(&upgrade(path, "localhost", &v1)).await? {
            Head { status: 101, .. } => Ok(()),
            refused => Err(io::Error::other(format!("{refused:?}"))),
        }
    }

    /// Sends a text message.
    pub(super) async fn say(&mut self, text: &str) -> io::Result<()> {
        in_time(self.0.write_all(&frame(0x1, text.as_bytes()))).await
    }

    /// Reads and drops everything that arrives in this time.
    pub(super) async fn drain(&mut self, time: Duration) -> io::Result<()> {
        let reading = async {
            let mut buffer = vec![0; 64 * 1024];
            while self.0.read(&mut buffer).await? > 0 {}
            Err(ErrorKind::UnexpectedEof.into())
        };
        tokio::time::timeout(time, reading).await.unwrap_or(Ok(()))
    }
}

/// A client's frame, masked with zeros.
pub(super) fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode];
    match payload.len() {
        length @ ..126 => frame.push(0x80 | u8::try_from(length).unwrap()),
        length @ ..65536 => {
            frame.push(0x80 | 126);
            frame.extend(u16::try_from(length).unwrap().to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend_from_slice(payload);
    frame
}

async fn in_time<T>(future: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(outcome) => outcome,
        Err(_) => Err(ErrorKind::TimedOut.into()),
    }
}
