//! A connection of a user or between roles, plain or with TLS, for use by HTTP and by sessions.
//!
//! A session never waits for a read or a write, and owns no buffer. TLS holds at most
//! [`Secure::UNSENT`] encrypted bytes for it that the kernel has not accepted.

use std::io;
use std::io::ErrorKind;
use std::io::IoSlice;
use std::pin::Pin;
use std::task::Context;
use std::task::Poll;
use std::task::Waker;
use std::task::ready;

use rustix::net::Shutdown;
use rustls::CommonState;
use rustls::Connection;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::io::ReadBuf;
use tokio::net::TcpStream;
use tokio::task::coop::poll_proceed;

use crate::secure::Secure;
use crate::secure::read_now;

/// An accepted connection of a listener, or one that was opened to another role.
#[derive(Debug)]
pub enum Stream {
    /// Without TLS.
    Plain(TcpStream),
    /// With TLS, after the handshake.
    Tls(Box<Secure>),
}

impl Stream {
    /// Does the TLS handshake of either side, without a time limit. A runtime that serves users
    /// should leave handshakes to another.
    ///
    /// # Errors
    ///
    /// When the handshake fails.
    pub async fn shake_hands(tcp: TcpStream, tls: impl Into<Connection>) -> io::Result<Self> {
        Ok(Self::Tls(Box::new(Secure::shake_hands(tcp, tls.into()).await?)))
    }

    /// The state of TLS: the peer's certificates, its name, the protocol.
    pub fn agreed(&self) -> Option<&CommonState> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(secure) => Some(&secure.tls),
        }
    }

    /// The TCP connection, to wait until it can be read or written.
    pub fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(secure) => &secure.tcp,
        }
    }

    /// Whether there may be more to read than the TCP connection shows.
    pub fn has_more(&self) -> bool {
        matches!(self, Self::Tls(secure) if secure.more)
    }

    /// Reads available data, without waiting; 0 at the end of the connection.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when there is none, and any error of the connection.
    pub fn try_read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => read_now(tcp, buffer),
            Self::Tls(secure) => secure.try_read(buffer),
        }
    }

    /// Writes as much as the connection accepts, without waiting.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when it accepts nothing, and any error of the connection.
    pub fn try_write_vectored(&mut self, slices: &mut [IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.try_write_vectored(slices),
            Self::Tls(secure) => secure.try_write_vectored(slices),
        }
    }

    /// Whether the kernel has accepted all written data.
    pub fn is_flushed(&self) -> bool {
        match self {
            Self::Plain(_) => true,
            Self::Tls(secure) => !secure.tls.wants_write(),
        }
    }

    /// Passes as much of the written data to the kernel as it accepts, without waiting; see
    /// [`Self::is_flushed`].
    ///
    /// # Errors
    ///
    /// Any error of the connection.
    pub fn try_flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Tls(secure) => secure.try_flush(),
        }
    }

    /// Announces the end of the written data, where TLS is used.
    ///
    /// # Errors
    ///
    /// Any error of the connection.
    pub fn say_goodbye(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Tls(secure) => {
                secure.tls.send_close_notify();
                secure.try_flush()
            }
        }
    }

    /// Ends the sending direction, without waiting, once the kernel has accepted everything; false
    /// until then. The peer's data can still be read.
    ///
    /// # Errors
    ///
    /// Any error of the connection.
    pub fn try_end(&mut self) -> io::Result<bool> {
        self.say_goodbye()?;
        let flushed = self.is_flushed();
        if flushed {
            rustix::net::shutdown(self.tcp(), Shutdown::Write)?;
        }
        Ok(flushed)
    }

    /// Forgets the task that last waited to read; otherwise its memory stays allocated. Does
    /// nothing if data has arrived meanwhile.
    pub fn forget_reader(&self) {
        let _ = self.tcp().poll_read_ready(&mut Context::from_waker(Waker::noop()));
    }

    /// Moves the connection to the calling runtime.
    ///
    /// # Errors
    ///
    /// When the runtime cannot register it.
    pub fn moved(self) -> io::Result<Self> {
        let moved = |tcp: TcpStream| TcpStream::from_std(tcp.into_std()?);
        match self {
            Self::Plain(tcp) => moved(tcp).map(Self::Plain),
            Self::Tls(secure) => {
                let Secure { tcp, tls, more } = *secure;
                Ok(Self::Tls(Box::new(Secure { tcp: moved(tcp)?, tls, more })))
            }
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let secure = match self.get_mut() {
            Self::Plain(tcp) => return Pin::new(tcp).poll_read(context, buffer),
            Self::Tls(secure) => secure,
        };
        // A task that reads as long as data arrives must not block the thread.
        let turn = ready!(poll_proceed(context));
        loop {
            match secure.try_read(buffer.initialize_unfilled()) {
                Err(error) if error.kind() == ErrorKind::WouldBlock && secure.more => {
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    ready!(secure.tcp.poll_read_ready(context))?;
                }
                read => {
                    turn.made_progress();
                    return Poll::Ready(read.map(|length| buffer.advance(length)));
                }
            }
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let secure = match self.get_mut() {
            Self::Plain(tcp) => return Pin::new(tcp).poll_write_vectored(context, slices),
            Self::Tls(secure) => secure,
        };
        ready!(secure.poll_flush(context))?;
        Poll::Ready(secure.try_write_vectored(&mut slices.to_vec()))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(_) => Poll::Ready(Ok(())),
            Self::Tls(secure) => secure.poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let tcp = match self.get_mut() {
            Self::Plain(tcp) => tcp,
            Self::Tls(secure) => {
                secure.tls.send_close_notify();
                ready!(secure.poll_flush(context))?;
                &mut secure.tcp
            }
        };
        Pin::new(tcp).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests;
