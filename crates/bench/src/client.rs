//! The load generator's end of a console: plain TCP, or a WebSocket implemented here, which costs
//! far less than the measured programs.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use anyhow::bail;
use anyhow::ensure;
use rustls::ClientConfig;
use tokio::net::TcpSocket;

use crate::client::connection::Connection;
use crate::client::frame::Decoder;
use crate::client::frame::Masks;
use crate::client::frame::Opcode;
use crate::client::frame::Piece;
use crate::pattern;

mod connection;
pub(crate) mod frame;

/// The example in RFC 6455 section 1.3: its nonce, and the server's answer to it.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// The largest head of an answer.
const HEAD: usize = 4096;

thread_local! {
    /// The buffer for reads, which sessions share, so that a waiting session has none.
    static SCRATCH: std::cell::RefCell<Vec<u8>> = vec![0; pattern::PIECE].into();
}

/// An open console: an end that reads and one that writes.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) reader: Reader,
    pub(crate) writer: Writer,
}

/// The protocol of a connection.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Wire {
    /// The bytes of the console, and nothing else.
    Plain,
    /// A WebSocket.
    WebSocket {
        /// The path and query of the request.
        path: String,
        /// `Sec-WebSocket-Protocol`; none when it is empty.
        subprotocol: &'static str,
    },
}

/// The address of a session's server.
#[derive(Clone, Debug)]
pub(crate) struct Door {
    address: SocketAddr,
    /// TLS with the CA bundle, where the server speaks TLS.
    tls: Option<Arc<ClientConfig>>,
}

impl Door {
    /// A server at this address; with TLS where there is a certificate, which the server must have.
    pub(crate) fn new(address: SocketAddr, certificate: Option<&Path>) -> anyhow::Result<Self> {
        let tls = certificate.map(|file| serialproxy_tls::trusting(Some(file))).transpose()?;
        Ok(Self { address, tls: tls.map(Arc::new) })
    }
}

impl Session {
    /// Connects, and does the handshake of a WebSocket where the protocol is one.
    pub(crate) async fn open(door: &Door, wire: &Wire) -> anyhow::Result<Self> {
        Self::open_on(TcpSocket::new_v4()?, door, wire).await
    }

    /// The same on a prepared socket.
    pub(crate) async fn open_on(
        socket: TcpSocket,
        door: &Door,
        wire: &Wire,
    ) -> anyhow::Result<Self> {
        let stream = socket.connect(door.address).await.context("cannot connect")?;
        stream.set_nodelay(true)?;
        let stream = Arc::new(match &door.tls {
            None => Connection::Plain(stream),
            Some(tls) => Connection::secure(stream, door.address, Arc::clone(tls)).await?,
        });
        let (mut early, mut masks) = (Vec::new(), None);
        if let Wire::WebSocket { path, subprotocol } = wire {
            early = shake_hands(&stream, door.address, path, subprotocol).await?;
            masks = Some(Masks::new());
        }
        let writer = Writer { stream: Arc::clone(&stream), masks };
        let decoder = masks.is_some().then(Decoder::default);
        let reader = Reader { early, decoder, answers: writer.clone(), close: None, stream };
        Ok(Self { reader, writer })
    }

    /// Ends the session as a client does, and waits until the server has ended it, too.
    pub(crate) async fn leave(mut self) -> anyhow::Result<()> {
        self.writer.leave().await?;
        while self.reader.read(|_| ()).await?.is_some() {}
        Ok(())
    }
}

/// Sends the request and reads the answer; returns the bytes after it.
async fn shake_hands(
    stream: &Connection,
    address: SocketAddr,
    path: &str,
    subprotocol: &str,
) -> anyhow::Result<Vec<u8>> {
    let mut request = format!(
        "GET {path} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n",
        address
    );
    if !subprotocol.is_empty() {
        request.push_str(&format!("Sec-WebSocket-Protocol: {subprotocol}\r\n"));
    }
    request.push_str("\r\n");
    let sent = stream.write(request.as_bytes()).await?;
    ensure!(sent == request.len(), "the request of the handshake was sent in part");
    let mut answer = Vec::with_capacity(HEAD);
    loop {
        let mut part = [0; HEAD];
        let read = stream.read(&mut part).await?;
        ensure!(read > 0, "the handshake was not answered: the connection ended");
        answer.extend_from_slice(part.get(..read).unwrap_or_default());
        if let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") {
            let early = answer.split_off(end + 4);
            accepted(&String::from_utf8_lossy(&answer))?;
            return Ok(early);
        }
        ensure!(answer.len() < HEAD, "the answer to the handshake has no end");
    }
}

fn accepted(head: &str) -> anyhow::Result<()> {
    if head.starts_with("HTTP/1.1 101 ") && head.contains(ACCEPT) {
        return Ok(());
    }
    bail!("the handshake was refused: {}", head.trim_end().replace("\r\n", "; "))
}

/// The end that reads.
#[derive(Debug)]
pub(crate) struct Reader {
    stream: Arc<Connection>,
    decoder: Option<Decoder>,
    /// Bytes that arrived together with the answer to the handshake.
    early: Vec<u8>,
    answers: Writer,
    close: Option<u16>,
}

impl Reader {
    /// Waits for bytes and passes them to `take`; returns how many of the console's bytes there
    /// were, which may be 0. `None` at the end of the connection.
    pub(crate) async fn read(
        &mut self,
        mut take: impl FnMut(&[u8]),
    ) -> anyhow::Result<Option<usize>> {
        if !self.early.is_empty() {
            let early = std::mem::take(&mut self.early);
            return self.decode(&early, &mut take).map(Some);
        }
        loop {
            let read = SCRATCH.with_borrow_mut(|scratch| match self.stream.try_read(scratch) {
                Ok(0) => Ok(Some(None)),
                Ok(read) => {
                    let bytes = scratch.get(..read).unwrap_or_default();
                    self.decode(bytes, &mut take).map(|read| Some(Some(read)))
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
                Err(error) => Err(error.into()),
            })?;
            if let Some(read) = read {
                return Ok(read);
            }
            self.stream.readable().await?;
        }
    }

    /// Reads until exactly this many of the console's bytes have arrived.
    pub(crate) async fn read_exactly(
        &mut self,
        bytes: u64,
        mut take: impl FnMut(&[u8]),
    ) -> anyhow::Result<()> {
        let mut came = 0;
        while came < bytes {
            let Some(read) = self.read(&mut take).await? else {
                bail!("{} after {came} of {bytes} bytes", self.end());
            };
            came += read as u64;
        }
        ensure!(came == bytes, "{} bytes too many came", came - bytes);
        Ok(())
    }

    /// The code of the received Close frame.
    pub(crate) fn close(&self) -> Option<u16> {
        self.close
    }

    /// How the connection ended, in words.
    pub(crate) fn end(&self) -> String {
        match self.close {
            Some(code) => format!("the session was closed with {code}"),
            None => "the connection ended".to_owned(),
        }
    }

    fn decode(&mut self, mut bytes: &[u8], take: &mut impl FnMut(&[u8])) -> anyhow::Result<usize> {
        let Some(decoder) = &mut self.decoder else {
            take(bytes);
            return Ok(bytes.len());
        };
        let mut came = 0;
        while let Some(piece) = decoder.next(&mut bytes)? {
            match piece {
                Piece::Data(data) => {
                    take(data);
                    came += data.len();
                }
                Piece::Ping(payload) => self.answers.try_send(Opcode::Pong, &payload)?,
                Piece::Close(code) => self.close = Some(code),
            }
        }
        Ok(came)
    }
}

/// The end that writes.
#[derive(Clone, Debug)]
pub(crate) struct Writer {
    stream: Arc<Connection>,
    masks: Option<Masks>,
}

impl Writer {
    /// Sends input in one frame.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        match &mut self.masks {
            None => self.write(bytes).await,
            Some(masks) => {
                let frame = frame::encode(Opcode::Binary, bytes, masks.draw());
                self.write(&frame).await
            }
        }
    }

    /// Sends a whole frame now.
    ///
    /// # Errors
    ///
    /// Also when there is no room for it: a client that sends so little should not have to wait.
    pub(crate) fn try_send(&mut self, opcode: Opcode, bytes: &[u8]) -> anyhow::Result<()> {
        let written = match &mut self.masks {
            None => self.stream.try_write(bytes).map(|written| written == bytes.len()),
            Some(masks) => {
                let frame = frame::encode(opcode, bytes, masks.draw());
                self.stream.try_write(&frame).map(|written| written == frame.len())
            }
        };
        ensure!(written.context("a frame cannot be sent")?, "a frame was sent in part");
        Ok(())
    }

    /// The frames of `size` bytes for the first `bytes` bytes of the pattern.
    pub(crate) fn upload(&mut self, bytes: u64, size: u64) -> Vec<u8> {
        let mut upload = Vec::new();
        for offset in (0..bytes).step_by(usize::try_from(size).unwrap_or(1)) {
            let piece = pattern::piece(offset, size);
            match &mut self.masks {
                None => upload.extend_from_slice(piece),
                Some(masks) => upload.extend(frame::encode(Opcode::Binary, piece, masks.draw())),
            }
        }
        upload
    }

    /// Writes framed bytes.
    pub(crate) async fn write(&self, mut bytes: &[u8]) -> anyhow::Result<()> {
        while !bytes.is_empty() {
            let written = self.stream.write(bytes).await.context("cannot write")?;
            bytes = bytes.get(written..).unwrap_or_default();
        }
        Ok(())
    }

    async fn leave(&mut self) -> anyhow::Result<()> {
        match &mut self.masks {
            None => self.stream.end()?,
            Some(masks) => {
                let frame = frame::encode(Opcode::Close, &1000_u16.to_be_bytes(), masks.draw());
                self.write(&frame).await?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;
    use tokio::net::TcpStream;

    use super::*;

    /// A session on a server that answers the handshake with these bytes, and the server's end.
    async fn session(answer: &[u8]) -> (anyhow::Result<Session>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let wire = Wire::WebSocket { path: "/?token=t".into(), subprotocol: "binary" };
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                stream.read_buf(&mut request).await.unwrap();
            }
            stream.write_all(answer).await.unwrap();
            stream
        };
        let door = Door::new(listener.local_addr().unwrap(), None).unwrap();
        tokio::join!(Session::open(&door, &wire), server)
    }

    fn switching() -> Vec<u8> {
        format!("HTTP/1.1 101 Switching Protocols\r\nsec-websocket-accept: {ACCEPT}\r\n\r\n").into()
    }

    #[tokio::test]
    async fn what_comes_with_the_answer_is_read_and_a_ping_is_answered() {
        let frames = [0x82, 2, b'a', b'b', 0x89, 1, b'!', 0x82, 1, b'c', 0x88, 2, 0x0f, 0xab];
        let (session, mut server) = session(&[&switching(), frames.as_slice()].concat()).await;
        let (mut session, mut came) = (session.unwrap(), Vec::new());
        session.reader.read_exactly(3, |piece| came.extend_from_slice(piece)).await.unwrap();
        assert_eq!(came, b"abc");
        assert_eq!(session.reader.close(), Some(4011));
        let mut pong = [0; 7];
        server.read_exact(&mut pong).await.unwrap();
        assert_eq!([pong[0], pong[1], pong[6] ^ pong[2]], [0x8a, 0x81, b'!']);
    }

    #[tokio::test]
    async fn a_refusal_is_told_with_its_head() {
        let (session, _server) = session(b"HTTP/1.1 401 Unauthorized\r\nx-a: b\r\n\r\n").await;
        let error = session.unwrap_err().to_string();
        assert_eq!(error, "the handshake was refused: HTTP/1.1 401 Unauthorized; x-a: b");
    }

    #[tokio::test]
    async fn bytes_that_nobody_asked_for_are_an_error() {
        let bytes = [0x82, 2, b'a', b'b'];
        let (session, _server) = session(&[&switching(), bytes.as_slice()].concat()).await;
        assert!(session.unwrap().reader.read_exactly(1, |_| ()).await.is_err());
    }
}
