//! What the kernel reports about the other end of a connection on this machine (`sock_diag(7)`).
//!
//! The kernel completes connections to a listener before its process accepts them. Until then the
//! other socket belongs to no process, and its inode is 0. Bytes that the process has not read yet
//! are counted at the other socket, even if our socket has long received their acknowledgment.

mod clients;
mod unix;

use std::cell::RefCell;
use std::io;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;
use std::net::UdpSocket;
use std::ops::Range;
use std::os::fd::OwnedFd;

use rustix::net::AddressFamily;
use rustix::net::RecvFlags;
use rustix::net::SendFlags;
use rustix::net::SocketFlags;
use rustix::net::SocketType;
use rustix::net::netlink::SOCK_DIAG;
use rustix::net::netlink::SocketAddrNetlink;

pub(crate) use self::clients::is_unix_accepted;
pub(crate) use self::clients::tcp_client;
pub(crate) use self::clients::unix_client;

/// `SOCK_DIAG_BY_FAMILY` of `linux/sock_diag.h`: type of the request and of its answer.
const SOCK_DIAG_BY_FAMILY: u16 = 20;
/// `NLM_F_REQUEST` of `linux/netlink.h`.
const REQUEST: u16 = 1;
/// `IPPROTO_TCP`.
const TCP: u8 = 6;
/// Where `idiag_state`, `idiag_rqueue` and `idiag_inode` of `struct inet_diag_msg` are in the answer,
/// which begins with a `struct nlmsghdr`, and where the attributes begin.
const STATE: usize = 16 + 1;
const QUEUE: Range<usize> = 16 + 56..16 + 60;
const INODE: Range<usize> = 16 + 68..16 + 72;
/// `idiag_wqueue`: a listener's backlog, while `idiag_rqueue` is how many connections wait in it.
const ROOM: Range<usize> = 16 + 60..16 + 64;
const ATTRIBUTES: usize = 16 + 72;
/// `INET_DIAG_INFO`: the attribute with the `struct tcp_info`, and where `tcpi_bytes_received` is in it.
const INFO: u16 = 2;
const RECEIVED: Range<usize> = 128..136;
/// `TCP_ESTABLISHED` of `linux/tcp_states.h`.
const ESTABLISHED: u8 = 1;
/// `TCP_ESTABLISHED` and `TCP_SYN_RECV`: sockets that the process may still accept.
const OPEN: [u8; 2] = [ESTABLISHED, 3];
/// `TCP_LISTEN`: the kernel returns the listener where it has no socket for the connection. A
/// listener whose backlog is full drops connections that our end considers established.
const LISTEN: u8 = 10;

thread_local! {
    /// The thread's socket to the kernel: a new one for each request would take twice as long.
    static KERNEL: RefCell<Option<OwnedFd>> = const { RefCell::new(None) };
}

/// Whether the process that listens at `port` has accepted the connection from `ours`. A connection
/// to another machine counts as accepted.
pub(crate) fn is_accepted(ours: SocketAddr, port: SocketAddr) -> bool {
    // Where the kernel cannot be asked, the connection counts as accepted.
    let Some(answer) = ask(port, ours) else { return true };
    let waits = match answer.get(STATE) {
        // A listener with room would know the connection. So it leads elsewhere: the port is
        // redirected on this machine.
        Some(&LISTEN) => {
            let (waiting, room) = queue(&answer);
            waiting >= room
        }
        Some(state) => OPEN.contains(state) && field(&answer, INODE) == Some([0; 4]),
        None => false,
    };
    !waits
}

/// Whether a process of this host listens at this address, and the kernel drops further connections,
/// since one more than its backlog waits (`sk_acceptq_is_full` of Linux).
pub(crate) fn is_full(address: SocketAddr) -> bool {
    let full = ask(address, nobody(address)).is_some_and(|answer| {
        let (waiting, room) = queue(&answer);
        answer.get(STATE) == Some(&LISTEN) && waiting > room
    });
    // For an address of another host the kernel reports what listens at the same port of all addresses here.
    full && UdpSocket::bind((address.ip(), 0)).is_ok()
}

/// How many connections wait for a listener, and its backlog.
fn queue(answer: &[u8]) -> (u32, u32) {
    let number = |at| field(answer, at).map_or(0, u32::from_ne_bytes);
    (number(QUEUE), number(ROOM))
}

/// How many bytes from `ours` the process behind `port` has read in total; none where that process
/// is on another machine or in another network namespace.
pub(crate) fn read_by(port: SocketAddr, ours: SocketAddr) -> Option<u64> {
    let answer = ask(port, ours)?;
    if !answer.get(STATE).is_some_and(|state| OPEN.contains(state)) {
        return None;
    }
    let waits = u32::from_ne_bytes(field(&answer, QUEUE)?);
    let info = attribute(answer.get(ATTRIBUTES..)?, INFO)?;
    let received = u64::from_ne_bytes(field(info, RECEIVED)?);
    Some(received.saturating_sub(waits.into()))
}

/// The inode of the socket that is connected from `local` to `remote`; none where it is on another
/// machine, or gone. For a socket that is gone the kernel returns a listener at `local`, which does
/// not count.
pub(crate) fn connected(local: SocketAddr, remote: SocketAddr) -> Option<u64> {
    inode_of(local, remote, ESTABLISHED)
}

/// The inode of the socket that listens at this address, if the kernel reports it.
pub(crate) fn listens(address: SocketAddr) -> Option<u64> {
    inode_of(address, nobody(address), LISTEN)
}

/// The other end of a listener.
fn nobody(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    }
}

fn inode_of(local: SocketAddr, remote: SocketAddr, state: u8) -> Option<u64> {
    let answer = ask(local, remote)?;
    let inode = u32::from_ne_bytes(field(&answer, INODE)?);
    (answer.get(STATE) == Some(&state) && inode > 0).then_some(inode.into())
}

/// The kernel's report about the socket from `local` to `remote`; none where it has no such socket,
/// or does not respond.
fn ask(local: SocketAddr, remote: SocketAddr) -> Option<Vec<u8>> {
    KERNEL.with_borrow_mut(|kernel| {
        let answer = answer(kernel, &request(local, remote));
        if answer.is_err() {
            // A late response would be taken for that to the next request.
            *kernel = None;
        }
        let answer = answer.ok()?;
        let kind = u16::from_ne_bytes(field(&answer, 4..6)?);
        (kind == SOCK_DIAG_BY_FAMILY).then_some(answer)
    })
}

/// The kernel responds before the call that sends the request returns.
fn answer(kernel: &mut Option<OwnedFd>, request: &[u8]) -> io::Result<Vec<u8>> {
    let socket = match kernel {
        Some(socket) => socket,
        None => kernel.insert(open()?),
    };
    let to = SocketAddrNetlink::new(0, 0);
    rustix::net::sendto(&*socket, request, SendFlags::empty(), &to)?;
    let mut answer = vec![0; 1024];
    let (length, _) = rustix::net::recv(&*socket, &mut answer[..], RecvFlags::DONTWAIT)?;
    answer.truncate(length);
    Ok(answer)
}

/// A socket to the kernel.
fn open() -> io::Result<OwnedFd> {
    let (family, kind) = (AddressFamily::NETLINK, SocketType::DGRAM);
    Ok(rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, Some(SOCK_DIAG))?)
}

fn field<const N: usize>(bytes: &[u8], at: Range<usize>) -> Option<[u8; N]> {
    bytes.get(at)?.try_into().ok()
}

/// The payload of an attribute of this type (`struct nlattr`).
fn attribute(mut attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let length = usize::from(u16::from_ne_bytes(field(attributes, 0..2)?));
        let kind = u16::from_ne_bytes(field(attributes, 2..4)?);
        let payload = attributes.get(4..length)?;
        if kind == wanted {
            return Some(payload);
        }
        attributes = attributes.get(length.next_multiple_of(4)..)?;
    }
}

/// `struct nlmsghdr` and `struct inet_diag_req_v2` for one socket.
fn request(local: SocketAddr, remote: SocketAddr) -> Vec<u8> {
    let family = if local.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let mut request = Vec::with_capacity(72);
    request.extend(72u32.to_ne_bytes());
    request.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    request.extend(REQUEST.to_ne_bytes());
    request.extend([0; 8]); // sequence and sender
    request.extend([family.as_raw().to_ne_bytes()[0], TCP, 1 << (INFO - 1), 0]);
    request.extend(u32::MAX.to_ne_bytes()); // any state
    request.extend(local.port().to_be_bytes());
    request.extend(remote.port().to_be_bytes());
    request.extend(octets(local.ip()));
    request.extend(octets(remote.ip()));
    request.extend([0; 4]); // any interface
    request.extend([0xff; 8]); // no cookie
    request
}

fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        }
        IpAddr::V6(address) => address.octets(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::io::Write;
    use std::net::TcpListener;
    use std::net::TcpStream;
    use std::time::Duration;

    use super::*;

    fn a_connection_is_accepted_once_its_process_takes_it(address: &str) {
        let listener = TcpListener::bind(address).unwrap();
        let port = listener.local_addr().unwrap();
        let client = TcpStream::connect(port).unwrap();
        let ours = client.local_addr().unwrap();
        assert!(!is_accepted(ours, port));
        let _server = listener.accept().unwrap();
        assert!(is_accepted(ours, port));
    }

    #[test]
    fn a_connection_is_accepted_once_its_process_takes_it_over_ipv4() {
        a_connection_is_accepted_once_its_process_takes_it("127.0.0.1:0");
    }

    #[test]
    fn a_connection_is_accepted_once_its_process_takes_it_over_ipv6() {
        a_connection_is_accepted_once_its_process_takes_it("[::1]:0");
    }

    #[test]
    fn a_connection_s_socket_is_known_while_it_stands_and_no_listener_is_taken_for_it() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(address).unwrap();
            let port = listener.local_addr().unwrap();
            let inode = |fd: &TcpStream| Some(rustix::fs::fstat(fd).unwrap().st_ino);
            let client = TcpStream::connect(port).unwrap();
            let ours = client.local_addr().unwrap();
            assert_eq!(connected(ours, port), inode(&client));
            assert_eq!(listens(port), Some(rustix::fs::fstat(&listener).unwrap().st_ino));
            // There is no connection from an address where a socket only listens.
            assert_eq!(connected(port, SocketAddr::new(port.ip(), 9)), None);
            assert_eq!(listens(ours), None);
        }
    }

    #[test]
    fn a_connection_that_found_the_queue_full_is_not_accepted() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        rustix::net::listen(&listener, 0).unwrap();
        let port = listener.local_addr().unwrap();
        let connect = || TcpStream::connect_timeout(&port, Duration::from_millis(200)).ok();
        let clients: Vec<_> = std::iter::repeat_with(connect).take(4).flatten().collect();
        assert!(!clients.is_empty());
        assert!(is_full(port));
        for client in clients {
            assert!(!is_accepted(client.local_addr().unwrap(), port));
        }
    }

    #[test]
    fn a_queue_with_room_or_no_queue_is_not_full() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(address).unwrap();
            rustix::net::listen(&listener, 1).unwrap();
            let port = listener.local_addr().unwrap();
            let one = TcpStream::connect(port).unwrap();
            assert!(!is_full(port));
            let _other = TcpStream::connect(port).unwrap();
            assert!(is_full(port));
            assert!(!is_full(one.local_addr().unwrap()));
        }
        let everywhere = TcpListener::bind("0.0.0.0:0").unwrap();
        rustix::net::listen(&everywhere, 0).unwrap();
        let port = everywhere.local_addr().unwrap().port();
        let here = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let _waits = TcpStream::connect(here).unwrap();
        assert!(is_full(here));
        assert!(!is_full(SocketAddr::from(([192, 0, 2, 1], port))));
    }

    #[test]
    fn a_connection_to_another_machine_counts_as_accepted() {
        let [ours, port] = ["192.0.2.1:1", "192.0.2.2:2"].map(|text| text.parse().unwrap());
        assert!(is_accepted(ours, port));
    }

    #[test]
    fn what_the_process_has_read_is_known_whatever_its_kernel_acknowledged() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap();
        let mut client = TcpStream::connect(port).unwrap();
        let ours = client.local_addr().unwrap();
        let (mut server, _) = listener.accept().unwrap();
        client.write_all(&[b'x'; 1000]).unwrap();
        assert_eq!(read_by(port, ours), Some(0));
        server.read_exact(&mut [0; 300]).unwrap();
        assert_eq!(read_by(port, ours), Some(300));
        let [ours, port] = ["192.0.2.1:1", "192.0.2.2:2"].map(|text| text.parse().unwrap());
        assert_eq!(read_by(port, ours), None);
    }
}
