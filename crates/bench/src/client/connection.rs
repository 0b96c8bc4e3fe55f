//! The connection of a session, with TLS or without, which several tasks may read and write.

use std::future::poll_fn;
use std::io;
use std::io::ErrorKind;
use std::io::IoSlice;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use anyhow::Context;
use rustls::ClientConfig;
use rustls::ClientConnection;
use serialproxy_tls::Stream;
use tokio::net::TcpStream;

/// A connection.
#[derive(Debug)]
pub(crate) enum Connection {
    Plain(TcpStream),
    Tls(Mutex<Stream>),
}

impl Connection {
    /// Does the TLS handshake.
    pub(crate) async fn secure(
        stream: TcpStream,
        address: SocketAddr,
        tls: Arc<ClientConfig>,
    ) -> anyhow::Result<Self> {
        let tls = ClientConnection::new(tls, address.ip().into())?;
        let stream = Stream::shake_hands(stream, tls).await.context("the handshake of TLS")?;
        Ok(Self::Tls(Mutex::new(stream)))
    }

    /// Waits until there may be more to read than [`Self::try_read`] found.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        match self {
            Self::Plain(tcp) => tcp.readable().await,
            Self::Tls(stream) => {
                poll_fn(|context| lock(stream).tcp().poll_read_ready(context)).await
            }
        }
    }

    /// Reads available bytes, without waiting; 0 at the end of the connection.
    pub(crate) fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.try_read(buffer),
            Self::Tls(stream) => lock(stream).try_read(buffer),
        }
    }

    /// Waits for bytes and reads them; 0 at the end of the connection.
    pub(crate) async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.try_read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.readable().await?,
                read => return read,
            }
        }
    }

    /// Writes as much as the connection accepts, without waiting.
    pub(crate) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.try_write(bytes),
            Self::Tls(stream) => {
                let mut stream = lock(stream);
                let written = stream.try_write_vectored(&mut [IoSlice::new(bytes)])?;
                stream.try_flush()?;
                Ok(written)
            }
        }
    }

    /// Writes as much as the connection accepts, at least one byte; with TLS, the kernel has
    /// accepted all of it.
    pub(crate) async fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.try_write(bytes) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.writable().await?,
                Err(error) => return Err(error),
                Ok(written) => {
                    self.flush().await?;
                    return Ok(written);
                }
            }
        }
    }

    /// Ends the sending direction.
    pub(crate) fn end(&self) -> io::Result<()> {
        match self {
            Self::Plain(tcp) => Ok(rustix::net::shutdown(tcp, rustix::net::Shutdown::Write)?),
            Self::Tls(stream) => lock(stream).try_end().map(drop),
        }
    }

    async fn writable(&self) -> io::Result<()> {
        match self {
            Self::Plain(tcp) => tcp.writable().await,
            Self::Tls(stream) => {
                poll_fn(|context| lock(stream).tcp().poll_write_ready(context)).await
            }
        }
    }

    async fn flush(&self) -> io::Result<()> {
        let Self::Tls(stream) = self else { return Ok(()) };
        loop {
            {
                let mut stream = lock(stream);
                stream.try_flush()?;
                if stream.is_flushed() {
                    return Ok(());
                }
            }
            self.writable().await?;
        }
    }
}

fn lock(stream: &Mutex<Stream>) -> MutexGuard<'_, Stream> {
    stream.lock().unwrap_or_else(PoisonError::into_inner)
}
