//! A TLS connection whose reads and writes never wait.

use std::cell::RefCell;
use std::io;
use std::io::ErrorKind;
use std::io::IoSlice;
use std::io::Read;
use std::io::Write;
use std::task::Context;
use std::task::Poll;
use std::task::ready;

use rustls::Connection;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::task::consume_budget;

/// Most bytes of one read from the socket.
const READ: usize = 64 * 1024;

thread_local! {
    /// The buffer for bytes that are not decrypted yet.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ].into_boxed_slice());
}

/// A TLS connection.
#[derive(Debug)]
pub struct Secure {
    pub(crate) tcp: TcpStream,
    pub(crate) tls: Connection,
    /// The last read stopped before the socket was empty.
    pub(crate) more: bool,
}

impl Secure {
    /// Most encrypted bytes that the kernel has not accepted.
    const UNSENT: usize = 32 * 1024;

    /// How many bytes one read of the connection reads from the socket: a client may send thousands
    /// of key updates in them.
    const RECEIVED: usize = 80 * 1024;

    /// Bytes that rustls accepts at a time.
    const STEP: usize = 4 * 1024;

    /// Largest record in bytes (RFC 8446 section 5.2, RFC 5246 section 6.2.3). Its beginning may
    /// have arrived earlier.
    const RECORD: usize = 5 + 16 * 1024 + 2048;

    /// Does the handshake.
    pub(crate) async fn shake_hands(tcp: TcpStream, mut tls: Connection) -> io::Result<Self> {
        tls.set_buffer_limit(Some(Self::UNSENT));
        let mut secure = Self { tcp, tls, more: true };
        while secure.tls.is_handshaking() {
            // A peer that sends all the time must neither block the thread nor delay the deadline.
            consume_budget().await;
            secure.try_flush()?;
            if secure.tls.wants_write() {
                secure.tcp.writable().await?;
                continue;
            }
            match secure.tls.read_tls(&mut Raw(&secure.tcp)) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(_) => secure.process()?,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    secure.tcp.readable().await?;
                }
                Err(error) => return Err(error),
            }
        }
        secure.try_flush()?;
        Ok(secure)
    }

    pub(crate) fn try_read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (mut length, mut received) = (0, 0);
        self.more = true;
        // Records may be empty, so the amount of decrypted data limits nothing.
        while received < Self::RECEIVED {
            match self.tls.reader().read(buffer.get_mut(length..).unwrap_or_default()) {
                // Either the end, or the buffer is full.
                Ok(0) => return Ok(length),
                Ok(read) => {
                    length += read;
                    continue;
                }
                // This is also the end, only without a TLS alert.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(length),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            let (step, decrypted) = match self.receive(buffer.get_mut(length..).unwrap_or_default())
            {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.more = false;
                    return if length > 0 { Ok(length) } else { Err(error) };
                }
                received => received?,
            };
            length += decrypted;
            received += step.max(1);
        }
        if length > 0 { Ok(length) } else { Err(ErrorKind::WouldBlock.into()) }
    }

    /// Reads once from the socket. Decrypts into the buffer if the data is certain to fit;
    /// otherwise rustls keeps some. Returns how many bytes were received, and how many are in the
    /// buffer.
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<(usize, usize)> {
        let room = buffer.len().saturating_sub(Self::RECORD);
        if room < Self::STEP {
            let received = self.tls.read_tls(&mut Raw(&self.tcp))?;
            self.process()?;
            return Ok((received, 0));
        }
        // One large read instead of many small ones.
        SCRATCH.with_borrow_mut(|scratch| {
            let room = room.min(scratch.len());
            let received = read_now(&self.tcp, scratch.get_mut(..room).unwrap_or_default())?;
            let mut rest = scratch.get(..received).unwrap_or_default();
            let mut length = 0;
            // Nothing follows the peer's close alert. An end without one is passed on, too.
            while self.tls.read_tls(&mut rest)? > 0 {
                self.process()?;
                length += self.decrypted(buffer.get_mut(length..).unwrap_or_default())?;
                if rest.is_empty() {
                    break;
                }
            }
            Ok((received, length))
        })
    }

    /// Takes all decrypted data, for which there must be room.
    fn decrypted(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut length = 0;
        loop {
            match self.tls.reader().read(buffer.get_mut(length..).unwrap_or_default()) {
                Ok(0) => return Ok(length),
                Ok(read) => length += read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(length),
                Err(error) => return Err(error),
            }
        }
    }

    /// Decrypts received data. The peer is told of a violation of the protocol.
    fn process(&mut self) -> io::Result<()> {
        let Err(error) = self.tls.process_new_packets() else { return Ok(()) };
        let _ = self.try_flush();
        Err(io::Error::new(ErrorKind::InvalidData, error))
    }

    pub(crate) fn try_write_vectored(
        &mut self,
        mut slices: &mut [IoSlice<'_>],
    ) -> io::Result<usize> {
        let mut written = 0;
        loop {
            self.try_flush()?;
            if self.tls.wants_write() {
                let blocked = ErrorKind::WouldBlock.into();
                return if written > 0 { Ok(written) } else { Err(blocked) };
            }
            // Encrypts no more than the limit, which leaves room while nothing is unsent.
            let taken = self.tls.writer().write_vectored(slices)?;
            if taken == 0 {
                return Ok(written);
            }
            written += taken;
            IoSlice::advance_slices(&mut slices, taken);
        }
    }

    pub(crate) fn try_flush(&mut self) -> io::Result<()> {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut Raw(&self.tcp)) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    pub(crate) fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            self.try_flush()?;
            if !self.tls.wants_write() {
                return Poll::Ready(Ok(()));
            }
            ready!(self.tcp.poll_write_ready(context))?;
        }
    }
}

/// Reads once, without waiting, and without tokio's budget for a task: when that is used up,
/// tokio's own read reports nothing, however much there is. A read that brings less than there is
/// room for has emptied the socket (epoll(7)), which saves the next read.
pub(crate) fn read_now(tcp: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    let room = buffer.len();
    let mut length = 0;
    let read = tcp.try_io(Interest::READABLE, || {
        length = rustix::io::read(tcp, &mut *buffer)?;
        let emptied = 0 < length && length < room;
        if emptied { Err(ErrorKind::WouldBlock.into()) } else { Ok(()) }
    });
    match read {
        Err(error) if length == 0 => Err(error),
        _ => Ok(length),
    }
}

/// A socket for rustls.
struct Raw<'a>(&'a TcpStream);

impl Read for Raw<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        read_now(self.0, buffer)
    }
}

impl Write for Raw<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
