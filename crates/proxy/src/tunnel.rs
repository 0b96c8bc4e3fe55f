//! The tunnel of a session on another host: the proxy copies bytes between the user's connection and the
//! connection to the host, unchanged.
//!
//! An idle tunnel owns no buffer: bytes are read into a buffer of the thread and written to the other end. Only
//! what that end does not accept is kept, at most one read, and nothing more is read until it was sent. When a
//! host is lost or a proxy is killed, the user's connection ends without a Close frame, and the client resumes
//! through another proxy. A proxy that shuts down or is drained sends a Close frame with 4012 between two of the
//! host's frames, so it tracks their borders.

use std::cell::RefCell;
use std::io;
use std::io::ErrorKind;
use std::io::IoSlice;
use std::time::Duration;

use serialproxy_line::Lines;
use serialproxy_metrics as metrics;
use serialproxy_metrics::Direction;
use serialproxy_metrics::Inside;
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

/// Maximum length of one read, in bytes.
const READ: usize = 64 * 1024;

/// After one end has ended, how long the other may take to receive the rest and to end.
const LINGER: Duration = Duration::from_secs(30);

/// Timeouts at a shutdown: for the rest of the host's frame, for sending the Close frame, and for the user's end.
/// Together they are less than the proxy waits.
const FRAME: Duration = Duration::from_secs(1);
const FAREWELL: Duration = Duration::from_secs(1);
const LEAVE: Duration = Duration::from_millis(500);

/// Maximum number of bytes that are read from a user who goes on sending at a shutdown.
const LAST_WORDS: usize = READ;

thread_local! {
    /// The read buffer of the thread.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ].into_boxed_slice());
}

/// Two connections, and the bytes between them.
#[derive(Debug)]
pub(crate) struct Tunnel {
    user: End,
    host: End,
    /// The position in the host's frames.
    frames: Frames,
    lost: CancellationToken,
    leaving: Leaving,
    _counted: Inside,
}

/// Tells when a tunnel has to end: at a shutdown, or at its turn in a drain.
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
    /// Bytes from the other end that this end has not accepted yet.
    rest: Vec<u8>,
    /// Whether this end has stopped sending.
    ended: bool,
    /// Whether the sending side of this end is shut down.
    told: bool,
}

/// Why the copying stopped.
enum Stop {
    Draining,
    Lost,
    Over,
}

impl Tunnel {
    /// A tunnel between a user's connection and a host's. `early` is what the user sent together with the
    /// request.
    pub(crate) fn new(user: Stream, early: &[u8], host: Host, leaving: Leaving) -> Box<Self> {
        let mut frames = Frames::default();
        frames.pass(&host.early);
        metrics::TUNNELS_OPENED.inc();
        Box::new(Self {
            user: End::new(user, &host.early),
            host: End::new(host.stream, early),
            frames,
            lost: host.lost,
            leaving,
            _counted: metrics::TUNNELS.enter(),
        })
    }

    /// Copies until both ends have ended, one has failed, or the proxy shuts down.
    // Boxed, because a future reserves space for each place to which a value moves.
    pub(crate) async fn run(mut self: Box<Self>) {
        let (lost, Leaving { lines, drain }) = (self.lost.clone(), self.leaving.clone());
        let stop = tokio::select! {
            () = lines.draining() => Stop::Draining,
            () = drain.turn() => Stop::Draining,
            () = lost.cancelled() => Stop::Lost,
            _ = self.copy() => Stop::Over,
        };
        if matches!(stop, Stop::Draining) {
            // Boxed, so that a running tunnel reserves no memory for its end.
            Box::pin(self.leave()).await;
        }
    }

    async fn copy(&mut self) -> io::Result<()> {
        while !self.user.ended && !self.host.ended {
            self.turn().await?;
        }
        // Boxed for the same reason.
        let finished = Box::pin(timeout(LINGER, self.finish()));
        finished.await.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()))
    }

    async fn finish(&mut self) -> io::Result<()> {
        while !(self.user.told && self.host.told) {
            self.turn().await?;
        }
        Ok(())
    }

    /// Waits until something can be read or written, and does it. An end is read only when the other has accepted
    /// everything.
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
            // Other tasks run first.
            yield_now().await;
        }
        Ok(())
    }

    /// Copies from the user to the host; returns whether there may be more.
    fn hear_user(&mut self) -> bool {
        let Self { user, host, .. } = self;
        let taken = user.read(|bytes| {
            metrics::TUNNEL_BYTES.of(Direction::Input).add(bytes.len() as u64);
            host.write(bytes).map(|()| bytes.len() == READ)
        });
        taken.unwrap_or_else(|_| {
            self.give_host_up();
            false
        })
    }

    /// Copies from the host to the user; returns whether there may be more.
    fn hear_host(&mut self) -> io::Result<bool> {
        let Self { user, host, frames, .. } = self;
        host.read(|bytes| {
            metrics::TUNNEL_BYTES.of(Direction::Output).add(bytes.len() as u64);
            frames.pass(bytes);
            user.write(bytes).map(|()| bytes.len() == READ)
        })
    }

    /// Stops sending to the host, which accepts no more. Its own output is still read.
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

    /// Closes the user's connection with 4012: a `console.v1` client resumes through another proxy and loses
    /// nothing; a raw one attaches again. The host's connection ends without a Close frame, as if it had broken,
    /// so the session waits for its client.
    async fn leave(mut self: Box<Self>) {
        if self.frames.is_closed() || self.host.ended {
            let _ = timeout(FRAME, self.finish()).await;
            return;
        }
        if !matches!(timeout(FRAME, self.finish_frame()).await, Ok(Ok(()))) {
            return;
        }
        // First, so that the session is detached before its client resumes.
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

    /// Copies the rest of the host's current frame, so that another frame can follow.
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

    /// Waits until this end can be read, if `read`, or written, if bytes wait; returns which.
    async fn ready(&self, read: bool) -> io::Result<(bool, bool)> {
        if read && self.stream.has_more() {
            // Whether it can be written is found out by trying.
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

    /// Passes the bytes of one read to `take`; returns false if there are none.
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

    /// Writes as much as the kernel accepts, and keeps the rest. Everything before must be flushed.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let written = match self.stream.try_write_vectored(&mut [IoSlice::new(bytes)]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            written => written?,
        };
        self.rest.extend_from_slice(bytes.get(written..).unwrap_or_default());
        Ok(())
    }

    /// Continues with the kept bytes.
    fn flush(&mut self) -> io::Result<()> {
        self.stream.try_flush()?;
        if self.rest.is_empty() || !self.stream.is_flushed() {
            return Ok(());
        }
        let rest = std::mem::take(&mut self.rest);
        self.write(&rest)
    }

    /// Shuts the sending side down when everything was sent; returns whether it is down.
    fn tell(&mut self) -> io::Result<bool> {
        if !self.told && self.rest.is_empty() {
            self.told = self.stream.try_end()?;
        }
        Ok(self.told)
    }

    /// Waits until the user has closed the connection, or has sent too much. A connection that is closed with
    /// unread bytes is reset, and the reset could overtake the Close frame.
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
            // Other tasks run first, and the timeout is checked.
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

    /// Copies until nothing moves any more, while `far` sends as much as it can.
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
        // Neither end reads, so both directions fill up.
        let down = flood(&mut tunnel, &host).await;
        let up = flood(&mut tunnel, &user).await;
        assert!(down > READ && up > READ, "{down} {up}");
        for end in [&tunnel.user, &tunnel.host] {
            assert!((1..=READ).contains(&end.rest.capacity()), "{}", end.rest.capacity());
        }
        // The waiting bytes are not lost, and no buffer is left afterwards.
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
