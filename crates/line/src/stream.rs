//! The connected stream to a guest's port.
//!
//! Reads and writes never wait, so that they can happen under a lock and without a buffer for each
//! line. Writes are limited to what the hypervisor reads soon (`meter`).

mod telnet;
mod tls;

use std::fs::OpenOptions;
use std::io;
use std::io::IoSliceMut;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;

use rustix::fs::OFlags;
use rustix::termios::OptionalActions;
use rustix::termios::QueueSelector;
use serialproxy_proto::endpoint::Endpoint;
use tokio::io::Interest;
use tokio::io::Ready;
use tokio::io::unix::AsyncFd;
use tokio::net::TcpStream;
use tokio::net::UnixStream;
use tokio::time::Instant;

use crate::diag::is_accepted;
use crate::diag::is_unix_accepted;
use crate::diag::read_by;
use crate::lock;
use crate::meter::Meter;
use crate::meter::UnderWay;
use crate::settings::Settings;
use crate::stream::telnet::TelnetStream;
use crate::stream::tls::TlsStream;
use crate::tunnel;

/// Most buffers that one read fills.
pub(crate) const BUFFERS: usize = 4;

/// The buffers for a read.
pub(crate) type Buffers = [Vec<u8>; BUFFERS];

#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(MeteredTcp),
    Tls(Box<TlsStream>),
    Telnet(Box<TelnetStream>),
    Unix(MeteredSocket),
    Pty(AsyncFd<OwnedFd>),
}

impl Stream {
    /// Connects. The TLS handshake follows once the hypervisor is known to serve the connection.
    /// Fails with [`io::ErrorKind::WouldBlock`] where too many connections wait at a unix socket.
    pub(crate) async fn connect(endpoint: &Endpoint, settings: &Settings) -> io::Result<Self> {
        match endpoint {
            Endpoint::Tcp { host, port }
            | Endpoint::Tls { host, port }
            | Endpoint::Telnet { host, port }
            | Endpoint::Tunnel { host, port, .. } => {
                let tcp = TcpStream::connect((host.as_str(), *port)).await?;
                Self::connected(tcp, settings)
            }
            Endpoint::Incoming { .. } => Err(io::ErrorKind::Unsupported.into()),
            Endpoint::Unix(path) => {
                let socket = UnixStream::connect(path).await?;
                Ok(Self::Unix(MeteredSocket { socket, most: settings.input_in_flight }))
            }
            Endpoint::Pty(path) => open_pty(path).map(Self::Pty),
        }
    }

    /// A TCP connection to the hypervisor, whichever side opened it.
    pub(crate) fn connected(tcp: TcpStream, settings: &Settings) -> io::Result<Self> {
        tcp.set_nodelay(true)?;
        let ends = (tcp.local_addr()?, tcp.peer_addr()?);
        let input = Input { meter: Meter::new(settings.input_in_flight), sent: 0, ends };
        Ok(Self::Tcp(MeteredTcp { tcp, input: Mutex::new(input) }))
    }

    /// Does what precedes the guest's first byte: the TLS handshake, or the request for a path.
    pub(crate) async fn prepare(
        self,
        endpoint: &Endpoint,
        settings: &Settings,
    ) -> io::Result<Self> {
        match (self, endpoint) {
            (Self::Tcp(MeteredTcp { tcp, input }), Endpoint::Tls { host, .. }) => {
                let tls = settings.tls.as_ref().map(|tls| Arc::clone(&tls.borrow()));
                let tls = tls.ok_or_else(|| {
                    io::Error::other("it uses TLS: set [serial_console] tls_ca_certs")
                })?;
                let stream = TlsStream::shake_hands(tcp, host, tls, input).await?;
                Ok(Self::Tls(Box::new(stream)))
            }
            (Self::Tcp(stream), Endpoint::Tunnel { path, .. }) => {
                let length = tunnel::open(&stream.tcp, path).await?;
                lock(&stream.input).sent += length as u64;
                Ok(Self::Tcp(stream))
            }
            (
                Self::Tcp(stream),
                Endpoint::Telnet { .. } | Endpoint::Incoming { telnet: true, .. },
            ) => Ok(Self::Telnet(Box::new(TelnetStream::new(stream)))),
            (plain, _) => Ok(plain),
        }
    }

    pub(crate) async fn ready(&self, interest: Interest) -> io::Result<Ready> {
        match self {
            Self::Tcp(stream) => stream.tcp.ready(interest).await,
            Self::Tls(stream) => stream.ready(interest).await,
            Self::Telnet(stream) => stream.tcp.tcp.ready(interest).await,
            Self::Unix(stream) => stream.socket.ready(interest).await,
            Self::Pty(pty) => pty.ready(interest).await.map(|guard| guard.ready()),
        }
    }

    /// Reads available bytes into these buffers, one after the other; returns their number. With
    /// `again`, the stream still counts as readable afterwards.
    pub(crate) fn try_read(&self, buffers: &mut Buffers, again: bool) -> io::Result<usize> {
        let [first, ..] = buffers;
        match self {
            Self::Tcp(MeteredTcp { tcp, .. }) => {
                let try_io = |read: Read<'_>| tcp.try_io(Interest::READABLE, || read(tcp.as_fd()));
                read_out(buffers, again, try_io)
            }
            Self::Tls(stream) => stream.try_read(first),
            Self::Telnet(stream) => match stream.try_read_beginning(first) {
                Some(read) => read,
                None => {
                    let tcp = &stream.tcp.tcp;
                    let try_io =
                        |read: Read<'_>| tcp.try_io(Interest::READABLE, || read(tcp.as_fd()));
                    read_out(buffers, again, try_io)
                }
            },
            Self::Unix(MeteredSocket { socket, .. }) => {
                let try_io =
                    |read: Read<'_>| socket.try_io(Interest::READABLE, || read(socket.as_fd()));
                read_out(buffers, again, try_io)
            }
            Self::Pty(pty) => read_pty(pty, first),
        }
    }

    /// Asks the kernel to report the stream as readable only from this many bytes on, where the
    /// transport allows it: each report takes time.
    pub(crate) fn collect(&self, bytes: usize) {
        match self {
            Self::Tcp(stream) => collect(&stream.tcp, bytes),
            Self::Tls(stream) => collect(stream.tcp(), bytes),
            Self::Telnet(stream) => collect(&stream.tcp.tcp, bytes),
            Self::Unix(_) | Self::Pty(_) => {}
        }
    }

    pub(crate) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_write(bytes),
            Self::Tls(stream) => stream.try_write(bytes),
            Self::Telnet(stream) => stream.try_write(bytes),
            Self::Unix(stream) => stream.try_write(bytes),
            Self::Pty(pty) => {
                let write = |fd: &OwnedFd| Ok(rustix::io::write(fd, bytes)?);
                match pty.try_io(Interest::WRITABLE, write) {
                    // Nothing reports the room that `drop_input` makes.
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => write(pty.get_ref()),
                    result => result,
                }
            }
        }
    }

    /// When a write that found no room may find some; none where the stream becomes writable then.
    pub(crate) fn next_look(&self) -> Option<Instant> {
        match self {
            Self::Tcp(stream) => Some(lock(&stream.input).meter.next_look()),
            Self::Tls(stream) => Some(stream.next_look()),
            Self::Telnet(stream) => Some(lock(&stream.tcp.input).meter.next_look()),
            Self::Unix(_) | Self::Pty(_) => None,
        }
    }

    /// Drops written bytes that the hypervisor has not read yet, where that is possible.
    pub(crate) fn drop_input(&self) {
        if let Self::Pty(pty) = self {
            // Where this fails, the port is closed.
            let _ = rustix::termios::tcflush(pty, QueueSelector::OFlush);
        }
    }

    /// Whether the hypervisor itself has accepted the connection that the kernel completed, as far
    /// as that is visible.
    pub(crate) fn is_accepted(&self) -> bool {
        match self {
            Self::Tcp(_) | Self::Tls(_) | Self::Telnet(_) => {
                self.tcp_ends().is_none_or(|(ours, port)| is_accepted(ours, port))
            }
            Self::Unix(stream) => is_unix_accepted(&stream.socket),
            Self::Pty(_) => true,
        }
    }

    /// The path that the other end of a unix socket is bound to.
    pub(crate) fn unix_path(&self) -> Option<Vec<u8>> {
        let Self::Unix(stream) = self else { return None };
        let address = stream.socket.peer_addr().ok()?;
        Some(address.as_pathname()?.as_os_str().as_bytes().to_owned())
    }

    /// Both ends of a TCP connection: ours, and the port's.
    pub(crate) fn tcp_ends(&self) -> Option<(SocketAddr, SocketAddr)> {
        match self {
            Self::Tcp(stream) => Some(lock(&stream.input).ends),
            _ => None,
        }
    }
}

/// One read of a socket.
type Read<'a> = &'a mut dyn FnMut(BorrowedFd<'_>) -> io::Result<()>;

/// Reads once from a socket. A read that brings less than it has room for has emptied the socket
/// (epoll(7)); reporting this to tokio avoids a read without result.
fn read_out(
    buffers: &mut Buffers,
    again: bool,
    try_io: impl FnOnce(Read<'_>) -> io::Result<()>,
) -> io::Result<usize> {
    let room: usize = buffers.iter().map(Vec::len).sum();
    let mut rest = buffers.iter_mut();
    let mut slices: [IoSliceMut<'_>; BUFFERS] =
        std::array::from_fn(|_| IoSliceMut::new(rest.next().map_or(&mut [], |buffer| buffer)));
    let mut length = 0;
    let read = try_io(&mut |socket| {
        length = rustix::io::readv(socket, &mut slices)?;
        let emptied = 0 < length && length < room;
        if emptied && !again { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
    });
    match read {
        Err(error) if length == 0 => Err(error),
        _ => Ok(length),
    }
}

/// Reads until nothing is left: one read of a terminal brings at most 4095 bytes (`n_tty`).
fn read_pty(pty: &AsyncFd<OwnedFd>, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while let Some(room) = buffer.get_mut(length..).filter(|room| !room.is_empty()) {
        match pty.try_io(Interest::READABLE, |fd| Ok(rustix::io::read(fd, &mut *room)?)) {
            Ok(some) if some > 0 => length += some,
            // The next read returns it again.
            Ok(_) | Err(_) if length > 0 => break,
            // A pseudo-terminal reports in this way that its other side is closed.
            Err(error) if error.raw_os_error() == Some(EIO) => return Ok(0),
            end => return end,
        }
    }
    Ok(length)
}

/// `EIO` of Linux.
const EIO: i32 = 5;

/// Size of a C int on every Linux.
const INT: libc::socklen_t = 4;

/// Sets `SO_RCVLOWAT` of `socket(7)`. Where this fails, the kernel reports every byte.
fn collect(tcp: &TcpStream, bytes: usize) {
    let bytes = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
    // SAFETY: the kernel reads one int at the address that it is given, and nothing else.
    #[allow(unsafe_code, reason = "no crate has this option as a safe call")]
    unsafe {
        libc::setsockopt(
            tcp.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_RCVLOWAT,
            (&raw const bytes).cast(),
            INT,
        );
    }
}

/// Opens our side of a pseudo-terminal in raw mode, and so that only root can open it meanwhile: of
/// two readers, each would get a part of the bytes.
fn open_pty(path: &Path) -> io::Result<AsyncFd<OwnedFd>> {
    let flags = (OFlags::NOCTTY | OFlags::NONBLOCK).bits().cast_signed();
    let open = || OpenOptions::new().read(true).write(true).custom_flags(flags).open(path);
    let file = open()?;
    let mut modes = rustix::termios::tcgetattr(&file)?;
    modes.make_raw();
    rustix::termios::tcsetattr(&file, OptionalActions::Now, &modes)?;
    rustix::termios::ioctl_tiocexcl(&file)?;
    // The kernel keeps this for as long as the hypervisor has its side, also when we have closed ours: whoever may not open
    // the terminal in spite of it (CAP_SYS_ADMIN) would have locked itself out.
    if open().is_err() {
        rustix::termios::ioctl_tiocnxcl(&file)?;
    }
    // SAFETY: an `OwnedFd` is open, and the same file, as long as it lives.
    #[allow(unsafe_code, reason = "no other way to wait for a terminal has a safe call")]
    let registered = unsafe { AsyncFd::<OwnedFd>::register(file.into()) };
    registered.map_err(|error| error.into_parts().1)
}

/// A TCP connection with a limit on the input in flight.
#[derive(Debug)]
pub(crate) struct MeteredTcp {
    tcp: TcpStream,
    input: Mutex<Input>,
}

/// The state of the input of a TCP connection.
#[derive(Debug)]
struct Input {
    meter: Meter,
    /// Bytes that the socket has accepted, including those before the guest's first.
    sent: u64,
    /// Both ends of the connection: ours, and the port's.
    ends: (SocketAddr, SocketAddr),
}

impl Input {
    /// How many bytes are in flight: on this machine those that the other process has not read yet,
    /// to another machine those that its kernel has not acknowledged yet.
    fn under_way(&self, tcp: &TcpStream) -> io::Result<UnderWay> {
        let (ours, port) = self.ends;
        match read_by(port, ours) {
            Some(read) => Ok(UnderWay::Unread(self.sent.saturating_sub(read))),
            None => Ok(UnderWay::Unacknowledged(queued(tcp)?)),
        }
    }
}

impl MeteredTcp {
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        let input = &mut *lock(&self.input);
        if input.meter.is_to_look(bytes.len()) {
            input.meter.note(input.under_way(&self.tcp)?);
        }
        let written = input.meter.write(bytes, |piece| self.tcp.try_write(piece))?;
        input.sent += written as u64;
        Ok(written)
    }
}

/// A unix socket with a limit on the input in flight: the kernel reports what the other side has
/// not read yet.
#[derive(Debug)]
pub(crate) struct MeteredSocket {
    socket: UnixStream,
    most: usize,
}

impl MeteredSocket {
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        let piece = bytes.get(..self.most.min(bytes.len())).unwrap_or_default();
        self.socket.try_io(Interest::WRITABLE, || {
            // The socket becomes writable when the other side has read everything. Until the kernel
            // has reported that, which it does once (`sock_wfree`), it counts 1; written data never
            // counts so little.
            if queued(&self.socket)? > 1 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            Ok(rustix::io::write(&self.socket, piece)?)
        })
    }
}

/// What was written to a socket and has not arrived yet (`SIOCOUTQ`, which has the number of
/// `TIOCOUTQ`): for TCP, bytes that are not acknowledged yet; for a unix socket, the memory of data
/// that was not read yet, 0 when all was (Linux 6, `unix_outq_len`).
fn queued(socket: &impl AsFd) -> io::Result<u64> {
    const SIOCOUTQ: rustix::ioctl::Opcode = 0x5411;
    // SAFETY: this request writes one int to the address that it is given, and nothing else.
    #[allow(unsafe_code, reason = "no crate has this request as a safe call")]
    let size = unsafe {
        let request = rustix::ioctl::Getter::<SIOCOUTQ, i32>::new();
        rustix::ioctl::ioctl(socket, request)?
    };
    Ok(size.max(0).unsigned_abs().into())
}
