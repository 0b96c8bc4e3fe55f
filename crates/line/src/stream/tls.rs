//! TLS to a hypervisor's port.

use std::io;
use std::io::Read;
use std::io::Write;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use rustls::ClientConfig;
use rustls::ClientConnection;
use rustls::pki_types::ServerName;
use tokio::io::Interest;
use tokio::io::Ready;
use tokio::net::TcpStream;
use tokio::task::consume_budget;
use tokio::time::Instant;

use super::Input;
use crate::lock;
use crate::meter::UnderWay;

/// Most records, and most reads of the socket, in one read.
const READS: usize = 64;

/// The size of a read of the socket while there is more (rustls reads this much at a time).
const PIECE: usize = 4096;

/// The smallest record of one byte: header, byte, tag (TLS 1.2 with ChaCha20-Poly1305).
const RECORD: u64 = 5 + 1 + 16;

/// TLS over TCP.
#[derive(Debug)]
pub(crate) struct TlsStream {
    tcp: TcpStream,
    state: Mutex<TlsState>,
}

#[derive(Debug)]
struct TlsState {
    session: ClientConnection,
    /// Output that was decrypted and not read yet.
    decrypted: usize,
    /// Bytes of the last read of the socket.
    received: usize,
    /// The error that ended the connection, after the bytes that were read.
    broken: Option<io::Error>,
    input: Input,
}

impl TlsStream {
    pub(super) async fn shake_hands(
        tcp: TcpStream,
        host: &str,
        config: Arc<ClientConfig>,
        input: Mutex<Input>,
    ) -> io::Result<Self> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let session = ClientConnection::new(config, name).map_err(io::Error::other)?;
        let input = input.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut state = TlsState { session, decrypted: 0, received: 0, broken: None, input };
        while state.session.is_handshaking() {
            // A port that sends all the time must neither block the thread nor delay the deadline.
            consume_budget().await;
            state.flush(&tcp)?;
            if state.session.wants_write() {
                tcp.writable().await?;
                continue;
            }
            match state.receive(&tcp) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => tcp.readable().await?,
                Err(error) => return Err(error),
            }
        }
        state.flush(&tcp)?;
        Ok(Self { tcp, state: Mutex::new(state) })
    }

    pub(super) async fn ready(&self, interest: Interest) -> io::Result<Ready> {
        let (decrypted, writes) = {
            let state = lock(&self.state);
            (state.decrypted > 0 || state.broken.is_some(), state.session.wants_write())
        };
        if decrypted && interest.is_readable() {
            return Ok(Ready::READABLE | Ready::WRITABLE);
        }
        let interest = if writes { interest | Interest::WRITABLE } else { interest };
        let ready = self.tcp.ready(interest).await?;
        if writes && ready.is_writable() {
            lock(&self.state).flush(&self.tcp)?;
        }
        Ok(ready)
    }

    /// The underlying TCP connection.
    pub(super) fn tcp(&self) -> &TcpStream {
        &self.tcp
    }

    /// Reads available output. After a read that emptied the socket, it still counts as readable.
    pub(super) fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let state = &mut *lock(&self.state);
        if let Some(error) = state.broken.take() {
            return Err(error);
        }
        let mut length = 0;
        // Records may be empty, so the amount of decrypted output limits nothing.
        for _ in 0..READS {
            let room = buffer.get_mut(length..).unwrap_or_default();
            match state.session.reader().read(room) {
                // Either the other side has ended the stream, which the next read reports again, or
                // the buffer is full.
                Ok(0) => return Ok(length),
                Ok(some) => {
                    state.decrypted = state.decrypted.saturating_sub(some);
                    length += some;
                    continue;
                }
                // The other side closed the connection without a TLS alert, as QEMU does.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(length),
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                Err(_) => {}
            }
            if length > 0 && state.received < PIECE {
                break;
            }
            match state.receive(&self.tcp) {
                Ok(_) => {}
                Err(error) if length == 0 => return Err(error),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => {
                    state.broken = Some(error);
                    break;
                }
            }
        }
        if length > 0 { Ok(length) } else { Err(io::ErrorKind::WouldBlock.into()) }
    }

    pub(super) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = lock(&self.state);
        state.flush(&self.tcp)?;
        if state.session.wants_write() {
            state.input.meter.wait();
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let TlsState { session, input, .. } = &mut *state;
        if input.meter.is_to_look(bytes.len()) {
            input.meter.note(match input.under_way(&self.tcp)? {
                UnderWay::Unread(bytes) => UnderWay::Unread(bytes.div_ceil(RECORD)),
                other => other,
            });
        }
        // Each write becomes a record of its own. QEMU before 8.0 takes as much of a record as the
        // UART has room for, and leaves the rest in its TLS library until more arrives.
        let written = input.meter.write(bytes, |piece| {
            let mut written = 0;
            for byte in piece.chunks(1) {
                match session.writer().write(byte)? {
                    // rustls's buffer is full.
                    0 => break,
                    some => written += some,
                }
            }
            Ok(written)
        })?;
        state.flush(&self.tcp)?;
        Ok(written)
    }

    /// When a write that found no room may find some.
    pub(super) fn next_look(&self) -> Instant {
        lock(&self.state).input.meter.next_look()
    }
}

impl TlsState {
    /// Reads and decrypts records; returns how many bytes arrived. The other side is told of a
    /// violation of the protocol.
    fn receive(&mut self, tcp: &TcpStream) -> io::Result<usize> {
        let length = self.session.read_tls(&mut Socket { tcp, sent: &mut self.input.sent })?;
        self.received = length;
        match self.session.process_new_packets() {
            Ok(state) => {
                self.decrypted = state.plaintext_bytes_to_read();
                Ok(length)
            }
            Err(error) => {
                let _ = self.flush(tcp);
                Err(io::Error::other(error))
            }
        }
    }

    /// Writes as much to the socket as it accepts.
    fn flush(&mut self, tcp: &TcpStream) -> io::Result<()> {
        let Self { session, input, .. } = self;
        while session.wants_write() {
            match session.write_tls(&mut Socket { tcp, sent: &mut input.sent }) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// A socket for rustls, which counts the sent bytes.
struct Socket<'a> {
    tcp: &'a TcpStream,
    sent: &'a mut u64,
}

impl Read for Socket<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.tcp.try_read(buffer)
    }
}

impl Write for Socket<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.tcp.try_write(bytes)?;
        *self.sent += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
