//! The connected stream to a guest's port.
//!
//! Reads and writes do not wait, so that they may happen under a lock and without a buffer of the
//! line's own.

use std::fs::OpenOptions;
use std::io;
use std::io::IoSliceMut;
use std::io::Read;
use std::io::Write;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;

use rustix::fs::OFlags;
use rustix::termios::OptionalActions;
use rustls::ClientConfig;
use rustls::ClientConnection;
use rustls::pki_types::ServerName;
use tokio::io::Interest;
use tokio::io::Ready;
use tokio::io::unix::AsyncFd;
use tokio::net::TcpStream;
use tokio::net::UnixStream;
use tokio::task::consume_budget;

use crate::endpoint::Endpoint;
use crate::lock;
use crate::registry::Settings;
use crate::tunnel;

/// How many buffers one read fills at most.
pub(crate) const BUFFERS: usize = 4;

/// Reads from the socket in one read of TLS, at most: each brings some 4 KiB.
const TLS_READS: usize = 64;

/// What a read goes into.
pub(crate) type Buffers = [Vec<u8>; BUFFERS];

#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(TcpStream),
    Tls(Box<TlsStream>),
    Unix(MeteredSocket),
    Pty(AsyncFd<OwnedFd>),
}

impl Stream {
    /// Connects; TLS is spoken once the connection is known to be served.
    pub(crate) async fn connect(endpoint: &Endpoint, settings: &Settings) -> io::Result<Self> {
        match endpoint {
            Endpoint::Tcp { host, port }
            | Endpoint::Tls { host, port }
            | Endpoint::Tunnel { host, port, .. } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await?;
                stream.set_nodelay(true)?;
                Ok(Self::Tcp(stream))
            }
            Endpoint::Unix(path) => {
                let socket = UnixStream::connect(path).await?;
                Ok(Self::Unix(MeteredSocket { socket, most: settings.input_in_flight }))
            }
            Endpoint::Pty(path) => open_pty(path).map(Self::Pty),
        }
    }

    /// Does what comes before the first byte of the guest's: speaks TLS, or asks for a path.
    pub(crate) async fn prepare(
        self,
        endpoint: &Endpoint,
        settings: &Settings,
    ) -> io::Result<Self> {
        match (self, endpoint) {
            (Self::Tcp(tcp), Endpoint::Tls { host, .. }) => {
                let tls = settings.tls.clone().ok_or_else(|| {
                    io::Error::other("it speaks TLS, and [serial_console] tls_ca_certs is not set")
                })?;
                let most = settings.input_in_flight;
                let stream = TlsStream::shake_hands(tcp, host, tls, most).await?;
                Ok(Self::Tls(Box::new(stream)))
            }
            (Self::Tcp(tcp), Endpoint::Tunnel { path, .. }) => {
                tunnel::open(&tcp, path).await?;
                Ok(Self::Tcp(tcp))
            }
            (plain, _) => Ok(plain),
        }
    }

    pub(crate) async fn ready(&self, interest: Interest) -> io::Result<Ready> {
        match self {
            Self::Tcp(stream) => stream.ready(interest).await,
            Self::Tls(stream) => stream.ready(interest).await,
            Self::Unix(stream) => stream.socket.ready(interest).await,
            Self::Pty(pty) => pty.ready(interest).await.map(|guard| guard.ready()),
        }
    }

    /// Reads once into these buffers, one after the other; returns how many bytes.
    pub(crate) fn try_read(&self, buffers: &mut Buffers) -> io::Result<usize> {
        let [first, ..] = buffers;
        match self {
            Self::Tcp(tcp) => {
                read_out(buffers, |read| tcp.try_io(Interest::READABLE, || read(tcp.as_fd())))
            }
            Self::Tls(stream) => stream.try_read(first),
            Self::Unix(MeteredSocket { socket, .. }) => {
                read_out(buffers, |read| socket.try_io(Interest::READABLE, || read(socket.as_fd())))
            }
            Self::Pty(pty) => {
                let read =
                    pty.try_io(Interest::READABLE, |fd| Ok(rustix::io::read(fd, &mut **first)?));
                // How a pty says that its other side is closed.
                if read.as_ref().is_err_and(|error| error.raw_os_error() == Some(EIO)) {
                    return Ok(0);
                }
                read
            }
        }
    }

    pub(crate) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_write(bytes),
            Self::Tls(stream) => stream.try_write(bytes),
            Self::Unix(stream) => stream.try_write(bytes),
            Self::Pty(pty) => {
                pty.try_io(Interest::WRITABLE, |fd| Ok(rustix::io::write(fd, bytes)?))
            }
        }
    }

    /// Both ends of a TCP connection: ours, and the port's.
    pub(crate) fn tcp_ends(&self) -> Option<(SocketAddr, SocketAddr)> {
        match self {
            Self::Tcp(tcp) => Some((tcp.local_addr().ok()?, tcp.peer_addr().ok()?)),
            _ => None,
        }
    }
}

/// Reads once from a socket. A read that brings less than it has room for has emptied it (epoll(7)),
/// and says so to who keeps the socket's readiness: else the next read would be one for nothing.
fn read_out(
    buffers: &mut Buffers,
    try_io: impl FnOnce(&mut dyn FnMut(BorrowedFd<'_>) -> io::Result<()>) -> io::Result<()>,
) -> io::Result<usize> {
    let room: usize = buffers.iter().map(Vec::len).sum();
    let mut rest = buffers.iter_mut();
    let mut slices: [IoSliceMut<'_>; BUFFERS] =
        std::array::from_fn(|_| IoSliceMut::new(rest.next().map_or(&mut [], |buffer| buffer)));
    let mut length = 0;
    let read = try_io(&mut |socket| {
        length = rustix::io::readv(socket, &mut slices)?;
        let emptied = 0 < length && length < room;
        if emptied { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
    });
    match read {
        Err(error) if length == 0 => Err(error),
        _ => Ok(length),
    }
}

/// `EIO` of Linux.
const EIO: i32 = 5;

/// Opens our side of a pseudo-terminal, so that every byte passes as it is, and nobody but root
/// opens it meanwhile: two readers would each get a part of the bytes.
fn open_pty(path: &Path) -> io::Result<AsyncFd<OwnedFd>> {
    let flags = (OFlags::NOCTTY | OFlags::NONBLOCK).bits().cast_signed();
    let file = OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)?;
    let mut modes = rustix::termios::tcgetattr(&file)?;
    modes.make_raw();
    rustix::termios::tcsetattr(&file, OptionalActions::Now, &modes)?;
    rustix::termios::ioctl_tiocexcl(&file)?;
    // SAFETY: an `OwnedFd` is open, and the same file, as long as it lives.
    #[allow(unsafe_code, reason = "no other way to wait for a terminal has a safe call")]
    let registered = unsafe { AsyncFd::<OwnedFd>::register(file.into()) };
    registered.map_err(|error| error.into_parts().1)
}

/// A unix socket with at most so many bytes of input between us and the hypervisor: the kernel
/// tells what the other side has yet to read.
#[derive(Debug)]
pub(crate) struct MeteredSocket {
    socket: UnixStream,
    most: usize,
}

impl MeteredSocket {
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        let piece = bytes.get(..self.most.min(bytes.len())).unwrap_or_default();
        self.socket.try_io(Interest::WRITABLE, || {
            // It becomes writable again when the other side has read all of it.
            if unread(&self.socket)? > 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            Ok(rustix::io::write(&self.socket, piece)?)
        })
    }
}

/// What was written to a unix socket and not read yet, as the memory that it takes: 0 when all was
/// read (`SIOCOUTQ`, which has the number of `TIOCOUTQ`; Linux 6, `unix_outq_len`).
fn unread(socket: &impl AsFd) -> io::Result<i32> {
    const SIOCOUTQ: rustix::ioctl::Opcode = 0x5411;
    // SAFETY: this request writes one int to the address that it is given, and nothing else.
    #[allow(unsafe_code, reason = "no crate has this request as a safe call")]
    let size = unsafe {
        let request = rustix::ioctl::Getter::<SIOCOUTQ, i32>::new();
        rustix::ioctl::ioctl(socket, request)?
    };
    Ok(size)
}

/// TLS over TCP with at most one record of input that the socket has not taken, so that what was
/// typed before a hand-over does not wait in here.
#[derive(Debug)]
pub(crate) struct TlsStream {
    tcp: TcpStream,
    state: Mutex<TlsState>,
    most: usize,
}

#[derive(Debug)]
struct TlsState {
    session: ClientConnection,
    /// Output that is decrypted and not read yet.
    decrypted: usize,
}

impl TlsStream {
    async fn shake_hands(
        tcp: TcpStream,
        host: &str,
        config: Arc<ClientConfig>,
        most: usize,
    ) -> io::Result<Self> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let mut session = ClientConnection::new(config, name).map_err(io::Error::other)?;
        while session.is_handshaking() {
            // A port that sends all the time must not keep the thread, nor hide the deadline.
            consume_budget().await;
            flush(&mut session, &tcp)?;
            if session.wants_write() {
                tcp.writable().await?;
                continue;
            }
            match session.read_tls(&mut Socket(&tcp)) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {
                    process(&mut session, &tcp)?;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => tcp.readable().await?,
                Err(error) => return Err(error),
            }
        }
        flush(&mut session, &tcp)?;
        Ok(Self { tcp, state: Mutex::new(TlsState { session, decrypted: 0 }), most })
    }

    async fn ready(&self, interest: Interest) -> io::Result<Ready> {
        let (decrypted, writes) = {
            let state = lock(&self.state);
            (state.decrypted > 0, state.session.wants_write())
        };
        if decrypted && interest.is_readable() {
            return Ok(Ready::READABLE | Ready::WRITABLE);
        }
        let interest = if writes { interest | Interest::WRITABLE } else { interest };
        let ready = self.tcp.ready(interest).await?;
        if writes && ready.is_writable() {
            flush(&mut lock(&self.state).session, &self.tcp)?;
        }
        Ok(ready)
    }

    fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut state = lock(&self.state);
        let TlsState { session, decrypted } = &mut *state;
        // Records may be empty, so what is decrypted bounds nothing.
        for _ in 0..TLS_READS {
            match session.reader().read(buffer) {
                Ok(length) => {
                    *decrypted = decrypted.saturating_sub(length);
                    return Ok(length);
                }
                // The other side broke the connection off without a word, as QEMU does.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                Err(_) => {}
            }
            session.read_tls(&mut Socket(&self.tcp))?;
            *decrypted = process(session, &self.tcp)?;
        }
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        let session = &mut lock(&self.state).session;
        flush(session, &self.tcp)?;
        if session.wants_write() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let piece = bytes.get(..self.most.min(bytes.len())).unwrap_or_default();
        // A record each: QEMU before 8.0 takes from a record what the UART has room for, and leaves
        // the rest in its TLS library until more arrives.
        let mut written = 0;
        for byte in piece.chunks(1) {
            written += session.writer().write(byte)?;
        }
        flush(session, &self.tcp)?;
        Ok(written)
    }
}

/// Decrypts what was read, and returns how many bytes of output wait then. What breaks the protocol
/// is said to the other side, if it listens.
fn process(session: &mut ClientConnection, tcp: &TcpStream) -> io::Result<usize> {
    match session.process_new_packets() {
        Ok(state) => Ok(state.plaintext_bytes_to_read()),
        Err(error) => {
            let _ = flush(session, tcp);
            Err(io::Error::other(error))
        }
    }
}

/// Gives the socket as much as it takes.
fn flush(session: &mut ClientConnection, tcp: &TcpStream) -> io::Result<()> {
    while session.wants_write() {
        match session.write_tls(&mut Socket(tcp)) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// A socket as rustls reads and writes it.
struct Socket<'a>(&'a TcpStream);

impl Read for Socket<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(buffer)
    }
}

impl Write for Socket<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
