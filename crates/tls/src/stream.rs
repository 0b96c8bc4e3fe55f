//! A connection of a user or between roles, plain or with TLS, as HTTP reads it and as a session does.
//!
//! A session never waits for a read or a write, and owns no buffer: what TLS holds for it are at
//! most [`Secure::UNSENT`] bytes that are encrypted and that the kernel has not taken.

use std::io;
use std::io::ErrorKind;
use std::io::IoSlice;
use std::io::Read;
use std::io::Write;
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
use tokio::io::Interest;
use tokio::io::ReadBuf;
use tokio::net::TcpStream;
use tokio::task::consume_budget;
use tokio::task::coop::poll_proceed;

/// A connection that a listener has accepted, or that was opened to another role.
#[derive(Debug)]
pub enum Stream {
    /// Without TLS.
    Plain(TcpStream),
    /// With TLS, whose handshake is done.
    Tls(Box<Secure>),
}

/// A connection with TLS.
#[derive(Debug)]
pub struct Secure {
    tcp: TcpStream,
    tls: Connection,
    /// The last read stopped before the socket was empty.
    more: bool,
}

impl Stream {
    /// Does the handshake of either side of TLS, for as long as it takes. Where the runtime serves
    /// people, a handshake belongs on another.
    ///
    /// # Errors
    ///
    /// When it does not succeed.
    pub async fn shake_hands(tcp: TcpStream, tls: impl Into<Connection>) -> io::Result<Self> {
        Ok(Self::Tls(Box::new(Secure::shake_hands(tcp, tls.into()).await?)))
    }

    /// What TLS has agreed on: the other side's certificates, its name, the protocol above.
    pub fn agreed(&self) -> Option<&CommonState> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(secure) => Some(&secure.tls),
        }
    }

    /// The connection below, to wait until it can be read or written.
    pub fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(secure) => &secure.tcp,
        }
    }

    /// Whether there may be more to read that TCP does not know of.
    pub fn has_more(&self) -> bool {
        matches!(self, Self::Tls(secure) if secure.more)
    }

    /// Reads what is there, without waiting; 0 at the end of the connection.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when there is nothing, and whatever breaks the connection.
    pub fn try_read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => read_now(tcp, buffer),
            Self::Tls(secure) => secure.try_read(buffer),
        }
    }

    /// Writes as much as the connection takes, without waiting.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when it takes nothing, and whatever breaks the connection.
    pub fn try_write_vectored(&mut self, slices: &mut [IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.try_write_vectored(slices),
            Self::Tls(secure) => secure.try_write_vectored(slices),
        }
    }

    /// Whether the kernel has all that was written.
    pub fn is_flushed(&self) -> bool {
        match self {
            Self::Plain(_) => true,
            Self::Tls(secure) => !secure.tls.wants_write(),
        }
    }

    /// Gives the kernel what it takes of what was written, without waiting; see
    /// [`Self::is_flushed`].
    ///
    /// # Errors
    ///
    /// Whatever breaks the connection.
    pub fn try_flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Tls(secure) => secure.try_flush(),
        }
    }

    /// Says that nothing more will be written, where TLS has a word for that.
    ///
    /// # Errors
    ///
    /// Whatever breaks the connection.
    pub fn say_goodbye(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Tls(secure) => {
                secure.tls.send_close_notify();
                secure.try_flush()
            }
        }
    }

    /// Ends what is sent, without waiting, once the kernel has all of it; false until then. What the
    /// other side sends can still be read.
    ///
    /// # Errors
    ///
    /// Whatever breaks the connection.
    pub fn try_end(&mut self) -> io::Result<bool> {
        self.say_goodbye()?;
        let flushed = self.is_flushed();
        if flushed {
            rustix::net::shutdown(self.tcp(), Shutdown::Write)?;
        }
        Ok(flushed)
    }

    /// Lets go of the task that waited to read it last, whose memory stays with it otherwise. It does not
    /// where something came meanwhile.
    pub fn forget_reader(&self) {
        let _ = self.tcp().poll_read_ready(&mut Context::from_waker(Waker::noop()));
    }

    /// The same connection on the runtime that asks for it.
    ///
    /// # Errors
    ///
    /// When the runtime has no room for it.
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

impl Secure {
    /// Bytes that are encrypted and that the kernel has not taken, at most.
    const UNSENT: usize = 32 * 1024;

    /// Reads from the socket in one read of the connection, at most: each brings some 4 KiB,
    /// of which a client may make thousands of changes of its key.
    const READS: usize = 20;

    /// Does the handshake.
    pub(crate) async fn shake_hands(tcp: TcpStream, mut tls: Connection) -> io::Result<Self> {
        tls.set_buffer_limit(Some(Self::UNSENT));
        let mut secure = Self { tcp, tls, more: true };
        while secure.tls.is_handshaking() {
            // Another side that sends all the time must not keep the thread, nor hide the deadline.
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

    fn try_read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut length = 0;
        self.more = true;
        // Records may be empty, so what is decrypted bounds nothing.
        for _ in 0..Self::READS {
            match self.tls.reader().read(buffer.get_mut(length..).unwrap_or_default()) {
                // The end, or the buffer is full.
                Ok(0) => return Ok(length),
                Ok(read) => {
                    length += read;
                    continue;
                }
                // The end as well, only without a word.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(length),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            match self.tls.read_tls(&mut Raw(&self.tcp)) {
                Ok(_) => self.process()?,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.more = false;
                    return if length > 0 { Ok(length) } else { Err(error) };
                }
                Err(error) => return Err(error),
            }
        }
        if length > 0 { Ok(length) } else { Err(ErrorKind::WouldBlock.into()) }
    }

    /// Decrypts what was read. What breaks the protocol is said to the other side, if it listens.
    fn process(&mut self) -> io::Result<()> {
        let Err(error) = self.tls.process_new_packets() else { return Ok(()) };
        let _ = self.try_flush();
        Err(io::Error::new(ErrorKind::InvalidData, error))
    }

    fn try_write_vectored(&mut self, mut slices: &mut [IoSlice<'_>]) -> io::Result<usize> {
        let mut written = 0;
        loop {
            self.try_flush()?;
            if self.tls.wants_write() {
                let blocked = ErrorKind::WouldBlock.into();
                return if written > 0 { Ok(written) } else { Err(blocked) };
            }
            // Encrypts no more than the limit, which leaves room as long as nothing is unsent.
            let taken = self.tls.writer().write_vectored(slices)?;
            if taken == 0 {
                return Ok(written);
            }
            written += taken;
            IoSlice::advance_slices(&mut slices, taken);
        }
    }

    fn try_flush(&mut self) -> io::Result<()> {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut Raw(&self.tcp)) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            self.try_flush()?;
            if !self.tls.wants_write() {
                return Poll::Ready(Ok(()));
            }
            ready!(self.tcp.poll_write_ready(context))?;
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
        // Whoever reads as long as something comes must not keep the thread.
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

/// Reads once, without waiting, and without the budget that tokio gives a task: where that is used up,
/// its own read says that there is nothing, however much there is. A read that brings less than there
/// is room for has emptied the socket (epoll(7)): that saves the next, which would find nothing.
fn read_now(tcp: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
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

/// A socket as rustls reads and writes it.
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::task::Wake;

    use tokio::net::TcpListener;

    use super::*;

    struct Task;

    impl Wake for Task {
        fn wake(self: Arc<Self>) {}
    }

    #[tokio::test]
    async fn who_waited_to_read_a_connection_is_let_go_of() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut stream = Stream::Plain(listener.accept().await.unwrap().0);
        let task = Arc::new(Task);
        let waker = Waker::from(Arc::clone(&task));
        let mut buffer = [0; 1];
        let read = Pin::new(&mut stream)
            .poll_read(&mut Context::from_waker(&waker), &mut ReadBuf::new(&mut buffer));
        assert!(read.is_pending());
        drop(waker);
        assert_eq!(Arc::strong_count(&task), 2, "the connection keeps it");
        stream.forget_reader();
        assert_eq!(Arc::strong_count(&task), 1);
    }

    #[test]
    fn without_tls_a_connection_takes_no_more_room_than_tcp() {
        assert_eq!(size_of::<Stream>(), size_of::<TcpStream>());
    }
}
