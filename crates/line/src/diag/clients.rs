//! The clients of a port of this host, as the kernel lists them.

use std::fs::File;
use std::io::BufRead;
use std::io::BufReader;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;
use std::os::fd::AsFd;

use super::connected;

/// The states in which a connection is served (`tcp_states.h` of Linux): established, or closed by a client
/// whose process at the port has not noticed, as QEMU while its guest takes no input.
const SERVED: [&str; 2] = ["01", "08"];

/// A client whose connection a port's process has accepted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct TcpClient {
    pub(crate) address: SocketAddr,
    /// The inode of its socket, where the socket is on this host.
    pub(crate) inode: Option<u64>,
}

/// The client, other than `ours`, that a port's process serves.
pub(crate) fn tcp_client(port: SocketAddr, ours: Option<SocketAddr>) -> Option<TcpClient> {
    let lists = ["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"];
    let lines = lists.into_iter().filter_map(|list| File::open(list).ok());
    let lines = lines.flat_map(|list| BufReader::new(list).lines().map_while(Result::ok));
    let mut clients = lines.filter_map(|line| accepted(&line, port));
    let address = clients.find(|client| Some(*client) != ours)?;
    Some(TcpClient { address, inode: connected(address, port) })
}

/// The other end of a connection to this port, from a line of `/proc/net/tcp`, if the port's
/// process has accepted the connection.
fn accepted(line: &str, port: SocketAddr) -> Option<SocketAddr> {
    let mut fields = line.split_ascii_whitespace();
    let [_, local, remote, state] = std::array::from_fn(|_| fields.next().unwrap_or_default());
    let inode: u64 = fields.nth(5)?.parse().ok()?;
    let is_accepted = SERVED.contains(&state) && inode > 0 && address(local)? == port;
    if is_accepted { address(remote) } else { None }
}

/// `0100007F:2710`: the address's 32-bit words in the host's order, and the port.
fn address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let words = address.as_bytes().chunks(8).map(|word| {
        let word = std::str::from_utf8(word).ok()?;
        u32::from_str_radix(word, 16).ok().map(u32::to_ne_bytes)
    });
    let bytes = words.collect::<Option<Vec<_>>>()?.concat();
    let address = match <[u8; 4]>::try_from(&*bytes) {
        Ok(bytes) => IpAddr::V4(Ipv4Addr::from(bytes)),
        Err(_) => Ipv6Addr::from(<[u8; 16]>::try_from(&*bytes).ok()?).to_canonical(),
    };
    Some(SocketAddr::new(address, port))
}

/// The inode of the socket of the client that the process behind a unix socket serves.
pub(crate) fn unix_client(path: &[u8]) -> Option<u64> {
    let mut client = None;
    super::unix::list(|socket| {
        if client.is_none() && socket.is_accepted_at(path) {
            client = socket.peer;
        }
    })?;
    client
}

/// Whether the listening process has accepted the connection of this unix socket.
pub(crate) fn is_unix_accepted(socket: impl AsFd) -> bool {
    let Ok(ours) = rustix::fs::fstat(socket) else { return true };
    // Where the kernel cannot be asked, the connection counts as accepted.
    super::unix::peer(ours.st_ino).is_none_or(|peer| peer > 0)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::net::TcpStream;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::net::UnixListener;
    use std::os::unix::net::UnixStream;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_client_whom_a_port_serves_is_found_and_those_who_wait_are_not() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(address).unwrap();
            let port = listener.local_addr().unwrap();
            let served = TcpStream::connect(port).unwrap();
            let _accepted = listener.accept().unwrap();
            let waits = TcpStream::connect(port).unwrap().local_addr().unwrap();
            let client = tcp_client(port, Some(waits)).unwrap();
            assert_eq!(client.address, served.local_addr().unwrap());
            assert_eq!(client.inode, Some(rustix::fs::fstat(&served).unwrap().st_ino));
            assert_eq!(tcp_client(port, Some(client.address)), None);

            drop(served);
            let gone = tcp_client(port, Some(waits)).unwrap();
            assert_eq!(gone, TcpClient { address: client.address, inode: None });
        }
    }

    #[test]
    fn a_unix_socket_is_accepted_once_its_process_takes_it_and_its_client_is_found() {
        let path = std::env::temp_dir().join(format!("socket-{}", uuid::Uuid::new_v4()));
        let listener = UnixListener::bind(&path).unwrap();
        let served = UnixStream::connect(&path).unwrap();
        assert!(!is_unix_accepted(&served));
        assert_eq!(unix_client(path.as_os_str().as_bytes()), None);
        let _accepted = listener.accept().unwrap();
        assert!(is_unix_accepted(&served));
        let waits = UnixStream::connect(&path).unwrap();
        assert!(!is_unix_accepted(&waits));
        let inode = rustix::fs::fstat(&served).unwrap().st_ino;
        assert_eq!(unix_client(path.as_os_str().as_bytes()), Some(inode));
        std::fs::remove_file(path).unwrap();
    }

    proptest! {
        #[test]
        fn no_line_makes_it_panic(line in "[ 0-9A-F:]{0,200}", other in ".{0,100}") {
            let port = "127.0.0.1:1".parse().unwrap();
            accepted(&line, port);
            accepted(&other, port);
        }
    }
}
