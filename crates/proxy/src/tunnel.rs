//! The way of a session whose line is on another host: bytes are copied between the user's connection and
//! the host's, both ways, as they are.
//!
//! It owns no buffer while all is well: what is read at one end goes into one of the thread, and from there
//! to the other end. Only what that does not take is kept, at most one read of it, and nothing more is read
//! until it is gone. A host that is lost, and a proxy that is killed, end the user's connection without a
//! word, so that the client resumes elsewhere. A proxy that shuts down or is drained says 4012 between two of
//! the host's frames, which is why it counts them.

use std::cell::RefCell;
use std::io;
use std::io::ErrorKind;
use std::io::IoSlice;
use std::time::Duration;

use serialproxy_line::Lines;
use serialproxy_proto::refusal::Refusal;
use serialproxy_proto::work;
use serialproxy_proto::work::Work;
use serialproxy_tls::Stream;
use tokio::io::Interest;
use tokio::task::consume_budget;
use tokio::task::yield_now;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::Proxy;
use crate::drain::Drain;
use crate::frames::Frames;
use crate::passing::Host;

/// Bytes of one read, at most.
const READ: usize = 64 * 1024;

/// How long one end has to take what is left, and to end as well, once the other has ended.
const LINGER: Duration = Duration::from_secs(30);

/// At a shutdown: how long the host has to finish a frame, and the user to take it, then to take the Close
/// frame, and then to leave. All together is less than a proxy waits.
const FRAME: Duration = Duration::from_secs(1);
const FAREWELL: Duration = Duration::from_secs(1);
const LEAVE: Duration = Duration::from_millis(500);

/// Bytes that are read of a user who goes on sending when the proxy shuts down.
const LAST_WORDS: usize = READ;

thread_local! {
    /// What a read goes into.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ].into_boxed_slice());
}

/// Two connections, and what is on its way between them.
#[derive(Debug)]
pub(crate) struct Tunnel {
    user: End,
    host: End,
    /// How far the host's frames were read.
    frames: Frames,
    lost: CancellationToken,
    leaving: Leaving,
}

/// When a tunnel has to end: at a shutdown, or when it is its turn in a drain.
#[derive(Clone, Debug)]
pub(crate) struct Leaving {
    lines: Lines,
    drain: Drain,
}

impl Leaving {
    pub(crate) fn of(proxy: &Proxy) -> Self {
        Self { lines: proxy.lines.clone(), drain: proxy.drain.clone() }
    }
}

#[derive(Debug)]
struct End {
    stream: Stream,
    /// What came from the other end, and this one has yet to take.
    rest: Vec<u8>,
    /// Whether nothing more comes from this end.
    ended: bool,
    /// Whether this end was told that nothing more comes from the other.
    told: bool,
}

/// Why the copying stopped.
enum Stop {
    Draining,
    Lost,
    Over,
}

impl Tunnel {
    /// Between a user's connection and a host's, with what came over the first right behind the request.
    pub(crate) fn new(user: Stream, early: &[u8], host: Host, leaving: Leaving) -> Box<Self> {
        let mut frames = Frames::default();
        frames.pass(&host.early);
        Box::new(Self {
            user: End::new(user, &host.early),
            host: End::new(host.stream, early),
            frames,
            lost: host.lost,
            leaving,
        })
    }

    /// Copies until both ends have ended, one is gone, or the proxy shuts down.
    // Boxed, since a future has room for each place that what it owns is moved to.
    pub(crate) async fn run(mut self: Box<Self>) {
        let (lost, Leaving { lines, drain }) = (self.lost.clone(), self.leaving.clone());
        let stop = tokio::select! {
            () = lines.draining() => Stop::Draining,
            () = drain.turn() => Stop::Draining,
            () = lost.cancelled() => Stop::Lost,
            _ = self.copy() => Stop::Over,
        };
        if matches!(stop, Stop::Draining) {
            // Boxed, so that a tunnel has no room for its end while it goes on.
            Box::pin(self.leave()).await;
        }
    }

    async fn copy(&mut self) -> io::Result<()> {
        while !self.user.ended && !self.host.ended {
            self.turn().await?;
        }
        // Boxed as above.
        let finished = Box::pin(timeout(LINGER, self.finish()));
        finished.await.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()))
    }

    async fn finish(&mut self) -> io::Result<()> {
        while !(self.user.told && self.host.told) {
            self.turn().await?;
        }
        Ok(())
    }

    /// Waits until something can be read or written, and does it. Each end is read only while the other
    /// has taken all.
    async fn turn(&mut self) -> io::Result<()> {
        consume_budget().await;
        let reads_user = !self.user.ended && self.host.is_flushed();
        let reads_host = !self.host.ended && self.user.is_flushed();
        let more = tokio::select! {
            ready = self.user.ready(reads_user) => {
                work::begin(Work::Tunnel);
                let (readable, writable) = ready?;
                if writable {
                    self.user.flush()?;
                }
                readable && self.hear_user()
            }
            ready = self.host.ready(reads_host) => {
                work::begin(Work::Tunnel);
                let (readable, writable) = ready.unwrap_or((true, false));
                if writable && self.host.flush().is_err() {
                    self.give_host_up();
                }
                readable && self.hear_host()?
            }
        };
        self.pass_ends_on()?;
        if more {
            // Others come first.
            yield_now().await;
        }
        Ok(())
    }

    /// From the user to the host; returns whether there may be more.
    fn hear_user(&mut self) -> bool {
        let Self { user, host, .. } = self;
        let taken = user.read(|bytes| host.write(bytes).map(|()| bytes.len() == READ));
        taken.unwrap_or_else(|_| {
            self.give_host_up();
            false
        })
    }

    /// From the host to the user; returns whether there may be more.
    fn hear_host(&mut self) -> io::Result<bool> {
        let Self { user, host, frames, .. } = self;
        host.read(|bytes| {
            frames.pass(bytes);
            user.write(bytes).map(|()| bytes.len() == READ)
        })
    }

    /// The host takes nothing any more. What it has sent may still come.
    fn give_host_up(&mut self) {
        self.host.rest = Vec::new();
        self.host.told = true;
        self.user.ended = true;
    }

    fn pass_ends_on(&mut self) -> io::Result<()> {
        if self.user.ended && self.host.tell().is_err() {
            self.give_host_up();
        }
        if self.host.ended {
            self.user.tell()?;
        }
        Ok(())
    }

    /// Sends the user away with the word of a proxy that shuts down: a `console.v1` client resumes
    /// elsewhere, and loses nothing; a raw one attaches again. The host hears only that the connection has
    /// ended, as if it had broken, so that the session waits for its client.
    async fn leave(mut self: Box<Self>) {
        if self.frames.is_closed() || self.host.ended {
            let _ = timeout(FRAME, self.finish()).await;
            return;
        }
        if !matches!(timeout(FRAME, self.finish_frame()).await, Ok(Ok(()))) {
            return;
        }
        // Its own place is free before its client comes back.
        let _ = self.host.flush().and_then(|()| self.host.stream.try_end());
        self.user.rest.extend(serialproxy_console::close_frame(&Refusal::Draining.close()));
        let said = async {
            self.user.flush()?;
            while !self.user.tell()? {
                self.user.ready(false).await?;
                self.user.flush()?;
            }
            io::Result::Ok(())
        };
        if let Ok(Ok(())) = timeout(FAREWELL, said).await {
            let _ = timeout(LEAVE, self.user.left()).await;
        }
    }

    /// Copies what is left of the host's frame, so that another can follow.
    async fn finish_frame(&mut self) -> io::Result<()> {
        while !self.frames.at_border() {
            consume_budget().await;
            let reads = self.user.is_flushed();
            tokio::select! {
                ready = self.user.ready(false) => {
                    ready?;
                    self.user.flush()?;
                }
                ready = self.host.ready(reads), if reads => {
                    ready?;
                    let Self { user, host, frames, .. } = self;
                    host.read(|bytes| {
                        let passed = frames.pass_to_border(bytes);
                        user.write(bytes.get(..passed).unwrap_or_default()).map(|()| false)
                    })?;
                    if self.host.ended {
                        return Err(ErrorKind::UnexpectedEof.into());
                    }
                }
            }
        }
        Ok(())
    }
}

impl End {
    fn new(stream: Stream, rest: &[u8]) -> Self {
        stream.forget_reader();
        Self { stream, rest: rest.to_vec(), ended: false, told: false }
    }

    fn is_flushed(&self) -> bool {
        self.rest.is_empty() && self.stream.is_flushed()
    }

    /// Waits until it can be read, if `read`, or go on to be written; returns which.
    async fn ready(&self, read: bool) -> io::Result<(bool, bool)> {
        if read && self.stream.has_more() {
            // Whether it can be written as well is found out by writing.
            return Ok((true, !self.is_flushed()));
        }
        let interest = match (read, self.is_flushed()) {
            (true, true) => Interest::READABLE,
            (true, false) => Interest::READABLE | Interest::WRITABLE,
            (false, false) => Interest::WRITABLE,
            (false, true) => std::future::pending().await,
        };
        let ready = self.stream.tcp().ready(interest).await?;
        Ok((read && ready.is_readable(), ready.is_writable()))
    }

    /// Hands over what one read brings, and false where that is nothing.
    fn read(&mut self, take: impl FnOnce(&[u8]) -> io::Result<bool>) -> io::Result<bool> {
        SCRATCH.with_borrow_mut(|scratch| match self.stream.try_read(scratch) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Ok(0) | Err(_) => {
                self.ended = true;
                Ok(false)
            }
            Ok(length) => take(scratch.get(..length).unwrap_or_default()),
        })
    }

    /// Writes what it takes, and keeps the rest; all before it must be flushed.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let written = match self.stream.try_write_vectored(&mut [IoSlice::new(bytes)]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            written => written?,
        };
        self.rest.extend_from_slice(bytes.get(written..).unwrap_or_default());
        Ok(())
    }

    /// Goes on with what is kept.
    fn flush(&mut self) -> io::Result<()> {
        self.stream.try_flush()?;
        if self.rest.is_empty() || !self.stream.is_flushed() {
            return Ok(());
        }
        let rest = std::mem::take(&mut self.rest);
        self.write(&rest)
    }

    /// Tells it that nothing more comes, once it has taken all; returns whether it was told.
    fn tell(&mut self) -> io::Result<bool> {
        if !self.told && self.rest.is_empty() {
            self.told = self.stream.try_end()?;
        }
        Ok(self.told)
    }

    /// Waits until the user has left, or has sent so much that they do not mean to: a connection that is
    /// shut with bytes unread would be reset, and the reset could overtake the reason.
    async fn left(&mut self) {
        let mut length = 0;
        while !self.ended && length < LAST_WORDS && self.ready(true).await.is_ok() {
            work::begin(Work::Goodbye);
            let read = self.read(|bytes| {
                length += bytes.len();
                Ok(true)
            });
            if read.is_err() {
                return;
            }
            // Others come first, and the deadline is looked at.
            yield_now().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Context;
    use std::task::Poll;
    use std::task::Waker;

    use bytes::Bytes;
    use serialproxy_line::Settings;
    use tokio::net::TcpListener;
    use tokio::net::TcpStream;
    use tokio::runtime::Handle;

    use super::*;

    /// Both ends of a connection.
    async fn pair() -> (TcpStream, Stream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let far = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (far, Stream::Plain(listener.accept().await.unwrap().0))
    }

    /// Copies as long as anything moves, while `far` sends what it can.
    async fn flood(tunnel: &mut Tunnel, far: &TcpStream) -> usize {
        let (mut sent, mut idle) = (0, 0);
        while idle < 1000 {
            idle += 1;
            if let Ok(length) = far.try_write(&[7; READ]) {
                (sent, idle) = (sent + length, 0);
            }
            let mut turn = Box::pin(tunnel.turn());
            if let Poll::Ready(done) = turn.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                done.unwrap();
                idle = 0;
            }
            drop(turn);
            yield_now().await;
        }
        sent
    }

    #[tokio::test]
    async fn of_what_an_end_does_not_take_no_more_than_one_read_waits() {
        let ((user, near), (host, stream)) = (pair().await, pair().await);
        let lines = Lines::new(Settings::default(), vec![Handle::current()]);
        let leaving = Leaving { lines, drain: Drain::default() };
        let host_end = Host { stream, early: Bytes::new(), lost: CancellationToken::new() };
        let mut tunnel = Tunnel::new(near, b"", host_end, leaving);
        // Neither reads: both directions fill up.
        let down = flood(&mut tunnel, &host).await;
        let up = flood(&mut tunnel, &user).await;
        assert!(down > READ && up > READ, "{down} {up}");
        for end in [&tunnel.user, &tunnel.host] {
            assert!((1..=READ).contains(&end.rest.capacity()), "{}", end.rest.capacity());
        }
        // What waits is not lost, and then no buffer is left.
        let mut taken = [0, 0];
        while taken != [down, up] {
            for (far, taken) in [&user, &host].into_iter().zip(&mut taken) {
                *taken += far.try_read(&mut [0; READ]).unwrap_or_default();
            }
            go_on(&mut tunnel).await;
        }
        assert_eq!([tunnel.user.rest.capacity(), tunnel.host.rest.capacity()], [0, 0]);
    }

    async fn go_on(tunnel: &mut Tunnel) {
        let mut turn = Box::pin(tunnel.turn());
        let _ = turn.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        drop(turn);
        yield_now().await;
    }
}
