//! Unix sockets, as the kernel lists them (`sock_diag(7)`).

use std::io;
use std::ops::Range;

use rustix::net::AddressFamily;
use rustix::net::RecvFlags;
use rustix::net::SendFlags;
use rustix::net::netlink::SocketAddrNetlink;

use super::REQUEST;
use super::SOCK_DIAG_BY_FAMILY;
use super::attribute;
use super::field;
use super::open;

/// `NLM_F_DUMP` and `NLMSG_DONE` of `linux/netlink.h`.
const DUMP: u16 = 0x300;
const DONE: u16 = 3;
/// `UDIAG_SHOW_NAME` and `UDIAG_SHOW_PEER` of `linux/unix_diag.h`, and the attributes in the
/// response.
const SHOW: u32 = 1 | 4;
const NAME: u16 = 0;
const PEER: u16 = 2;
/// Where `udiag_state` and `udiag_ino` of `struct unix_diag_msg` are in an answer, which begins with a
/// `struct nlmsghdr`, and where the attributes begin.
const STATE: usize = 16 + 2;
const INODE: Range<usize> = 16 + 4..16 + 8;
const ATTRIBUTES: usize = 16 + 16;
/// `TCP_ESTABLISHED`.
const ESTABLISHED: u8 = 1;
/// Buffer for one part of a list, larger than the kernel's parts.
const PIECE: usize = 32 * 1024;
/// Most parts of a list: enough for some million sockets.
const PIECES: usize = 10_000;

/// A unix socket.
pub(super) struct Socket<'a> {
    state: u8,
    /// 0 where it belongs to no process yet.
    inode: u32,
    /// The path that it is bound to; for an accepted connection, the path of its listener.
    name: &'a [u8],
    /// The inode of the other end.
    pub(super) peer: Option<u64>,
}

impl<'a> Socket<'a> {
    fn read(answer: &'a [u8]) -> Option<Self> {
        let kind = u16::from_ne_bytes(field(answer, 4..6)?);
        if kind != SOCK_DIAG_BY_FAMILY {
            return None;
        }
        let attributes = answer.get(ATTRIBUTES..)?;
        let peer = attribute(attributes, PEER).and_then(|peer| field(peer, 0..4));
        Some(Self {
            state: *answer.get(STATE)?,
            inode: u32::from_ne_bytes(field(answer, INODE)?),
            name: attribute(attributes, NAME)
                .map_or(b"", |name| name.strip_suffix(b"\0").unwrap_or(name)),
            peer: peer.map(|peer| u32::from_ne_bytes(peer).into()),
        })
    }

    /// Whether this is the end of a connection to this path, accepted by the process that listens
    /// there.
    pub(super) fn is_accepted_at(&self, path: &[u8]) -> bool {
        self.state == ESTABLISHED && self.inode > 0 && self.name == path
    }
}

/// The inode of the other end of this unix socket, 0 where that belongs to no process yet; none
/// where the kernel does not report it.
pub(super) fn peer(inode: u64) -> Option<u64> {
    let inode = u32::try_from(inode).ok().filter(|inode| *inode > 0)?;
    let socket = open().ok()?;
    send(&socket, REQUEST, inode).ok()?;
    let mut answer = vec![0; 1024];
    let (length, _) = rustix::net::recv(&socket, &mut answer[..], RecvFlags::DONTWAIT).ok()?;
    Socket::read(answer.get(..length)?)?.peer
}

/// Passes all unix sockets of this network namespace to `show`; none where the kernel does not list
/// them.
pub(super) fn list(mut show: impl FnMut(&Socket<'_>)) -> Option<()> {
    let socket = open().ok()?;
    send(&socket, REQUEST | DUMP, 0).ok()?;
    let mut piece = vec![0; PIECE];
    for _ in 0..PIECES {
        let (length, _) = rustix::net::recv(&socket, &mut piece[..], RecvFlags::DONTWAIT).ok()?;
        let mut rest = piece.get(..length)?;
        while !rest.is_empty() {
            let length = usize::try_from(u32::from_ne_bytes(field(rest, 0..4)?)).ok()?;
            let answer = rest.get(..length.max(16))?;
            if u16::from_ne_bytes(field(answer, 4..6)?) == DONE {
                return Some(());
            }
            show(&Socket::read(answer)?);
            rest = rest.get(length.max(16).next_multiple_of(4)..).unwrap_or_default();
        }
    }
    None
}

/// `struct nlmsghdr` and `struct unix_diag_req`: for one socket, or for all with inode 0.
fn send(socket: &impl std::os::fd::AsFd, flags: u16, inode: u32) -> io::Result<()> {
    let mut request = Vec::with_capacity(40);
    request.extend(40u32.to_ne_bytes());
    request.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    request.extend(flags.to_ne_bytes());
    request.extend([0; 8]); // sequence and sender
    request.extend([AddressFamily::UNIX.as_raw().to_ne_bytes()[0], 0, 0, 0]);
    request.extend(u32::MAX.to_ne_bytes()); // any state
    request.extend(inode.to_ne_bytes());
    request.extend(SHOW.to_ne_bytes());
    request.extend([0xff; 8]); // no cookie
    let to = SocketAddrNetlink::new(0, 0);
    rustix::net::sendto(socket, &request, SendFlags::empty(), &to)?;
    Ok(())
}
