//! Whether the other side of a TCP connection on this machine has accepted it.
//!
//! A listener's kernel completes connections that its process has yet to accept. Until then the
//! other socket belongs to no process, which `sock_diag(7)` shows as inode 0.

use std::io;
use std::net::IpAddr;
use std::net::SocketAddr;

use rustix::net::AddressFamily;
use rustix::net::RecvFlags;
use rustix::net::SendFlags;
use rustix::net::SocketFlags;
use rustix::net::SocketType;
use rustix::net::netlink::SOCK_DIAG;
use rustix::net::netlink::SocketAddrNetlink;

/// `SOCK_DIAG_BY_FAMILY` of `linux/sock_diag.h`: type of the request and of its answer.
const SOCK_DIAG_BY_FAMILY: u16 = 20;
/// `NLM_F_REQUEST` of `linux/netlink.h`.
const REQUEST: u16 = 1;
/// `IPPROTO_TCP`.
const TCP: u8 = 6;
/// Where `idiag_state` and `idiag_inode` of `struct inet_diag_msg` are in the answer, which begins
/// with a `struct nlmsghdr`.
const STATE: usize = 16 + 1;
const INODE: std::ops::Range<usize> = 16 + 68..16 + 72;
/// `TCP_ESTABLISHED` and `TCP_SYN_RECV` of `linux/tcp_states.h`: sockets that may be accepted yet.
const OPEN: [u8; 2] = [1, 3];
/// `TCP_LISTEN`: what answers where there is no socket for the connection itself, since a listener
/// whose queue is full forgets what our end takes for made.
const LISTEN: u8 = 10;

/// Whether the process that listens at `port` has accepted the connection from `ours`. One to
/// another machine counts as accepted.
pub(crate) fn is_accepted(ours: SocketAddr, port: SocketAddr) -> bool {
    // Where the kernel cannot be asked, nothing is known against it.
    !is_waiting(port, ours).unwrap_or(false)
}

/// Whether the socket from `local` to `remote` is open and no process has it.
fn is_waiting(local: SocketAddr, remote: SocketAddr) -> io::Result<bool> {
    let socket = rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        Some(SOCK_DIAG),
    )?;
    let kernel = SocketAddrNetlink::new(0, 0);
    rustix::net::sendto(&socket, &request(local, remote), SendFlags::empty(), &kernel)?;
    let mut answer = [0; 512];
    let (length, _) = rustix::net::recv(&socket, &mut answer[..], RecvFlags::DONTWAIT)?;
    let answer = answer.get(..length).unwrap_or_default();
    let kind = answer.get(4..6).and_then(|kind| kind.try_into().ok()).map(u16::from_ne_bytes);
    if kind != Some(SOCK_DIAG_BY_FAMILY) {
        return Ok(false);
    }
    let nobodys = answer.get(INODE).is_some_and(|inode| inode == [0; 4]);
    Ok(match answer.get(STATE) {
        Some(&LISTEN) => true,
        Some(state) => OPEN.contains(state) && nobodys,
        None => false,
    })
}

/// `struct nlmsghdr` and `struct inet_diag_req_v2` for one socket.
fn request(local: SocketAddr, remote: SocketAddr) -> Vec<u8> {
    let family = if local.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let mut request = Vec::with_capacity(72);
    request.extend(72u32.to_ne_bytes());
    request.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    request.extend(REQUEST.to_ne_bytes());
    request.extend([0; 8]); // sequence and sender
    request.extend([family.as_raw().to_ne_bytes()[0], TCP, 0, 0]);
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
    fn a_connection_that_found_the_queue_full_is_not_accepted() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        rustix::net::listen(&listener, 0).unwrap();
        let port = listener.local_addr().unwrap();
        let connect = || TcpStream::connect_timeout(&port, Duration::from_millis(200)).ok();
        let clients: Vec<_> = std::iter::repeat_with(connect).take(4).flatten().collect();
        assert!(!clients.is_empty());
        for client in clients {
            assert!(!is_accepted(client.local_addr().unwrap(), port));
        }
    }

    #[test]
    fn a_connection_to_another_machine_counts_as_accepted() {
        let [ours, port] = ["192.0.2.1:1", "192.0.2.2:2"].map(|text| text.parse().unwrap());
        assert!(is_accepted(ours, port));
    }
}
