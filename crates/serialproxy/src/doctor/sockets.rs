//! Who listens on TCP ports of this host, as `/proc` tells: nothing is connected to.

use std::collections::HashMap;
use std::fs::File;
use std::io::BufRead;
use std::io::BufReader;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;

use serialproxy_line::Program;

/// Sockets of a table that are looked at, at most.
const MOST: usize = 1_000_000;

/// `TCP_LISTEN` of `linux/tcp_states.h`.
const LISTEN: &str = "0A";

/// A socket that listens.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Listening {
    pub(super) address: SocketAddr,
    pub(super) inode: u64,
}

impl Listening {
    /// Whether it has connections to this address: its own, or one that it stands for.
    pub(super) fn takes(&self, address: SocketAddr) -> bool {
        let (own, other) = (self.address.ip(), address.ip());
        let any = own.is_unspecified() || other.is_unspecified();
        self.address.port() == address.port() && (any || own.to_canonical() == other.to_canonical())
    }
}

/// All sockets that listen, in the order of their ports. Blocks.
pub(super) fn listening() -> Vec<Listening> {
    let tables =
        ["/proc/net/tcp", "/proc/net/tcp6"].into_iter().filter_map(|table| File::open(table).ok());
    let lines =
        tables.flat_map(|table| BufReader::new(table).lines().map_while(Result::ok).take(MOST));
    let mut all: Vec<_> = lines.filter_map(|line| parse(&line)).collect();
    all.sort_by_key(|socket| (socket.address.port(), socket.address.ip()));
    all
}

/// The programs that have these sockets open, by inode, as far as this user may see them.
pub(super) async fn programs(sockets: &[Listening]) -> HashMap<u64, Program> {
    let inodes: Vec<u64> = sockets.iter().map(|socket| socket.inode).collect();
    if inodes.is_empty() { HashMap::new() } else { serialproxy_line::programs_of(&inodes).await }
}

/// `sl local_address rem_address st tx_queue:rx_queue tr:tm->when retrnsmt uid timeout inode …`
fn parse(line: &str) -> Option<Listening> {
    let mut words = line.split_whitespace().skip(1);
    let (local, state, inode) = (words.next()?, words.nth(1)?, words.nth(5)?);
    let (ip, port) = local.split_once(':')?;
    let address = SocketAddr::new(address(ip)?, u16::from_str_radix(port, 16).ok()?);
    (state == LISTEN).then_some(Listening { address, inode: inode.parse().ok()? })
}

/// The kernel writes the words of an address as numbers of this machine.
fn address(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| Some(u32::from_str_radix(hex.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    match hex.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let words = [word(0)?, word(8)?, word(16)?, word(24)?];
            Some(Ipv6Addr::from(<[u8; 16]>::try_from(words.concat()).ok()?).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::time::Duration;
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_socket_is_found_while_it_listens() {
        for host in ["127.0.0.1:0", "[::1]:0", "0.0.0.0:0", "[::]:0"] {
            let listener = TcpListener::bind(host).unwrap();
            let address = listener.local_addr().unwrap();
            let inode = rustix::fs::fstat(&listener).unwrap().st_ino;
            assert!(listening().contains(&Listening { address, inode }), "{host}");
            drop(listener);
            // A child of another test has it open, too, until it executes its program.
            let dropped = Instant::now();
            while listening().iter().any(|socket| socket.inode == inode) {
                assert!(dropped.elapsed() < Duration::from_secs(60), "{host}");
                std::thread::park_timeout(Duration::from_millis(5));
            }
        }
    }

    #[test]
    fn a_socket_takes_connections_to_what_its_address_stands_for() {
        let takes = |own: &str, other: &str| {
            Listening { address: own.parse().unwrap(), inode: 1 }.takes(other.parse().unwrap())
        };
        assert!(takes("127.0.0.1:1", "127.0.0.1:1"));
        assert!(takes("[::]:1", "127.0.0.1:1"));
        assert!(takes("127.0.0.1:1", "0.0.0.0:1"));
        assert!(!takes("127.0.0.1:1", "127.0.0.2:1"));
        assert!(!takes("127.0.0.1:1", "127.0.0.1:2"));
    }

    #[test]
    fn lines_of_another_form_are_passed_over() {
        for line in ["", "sl local_address", "0: 0100007F:1F90 00000000:0000 01 0:0 0:0 0 0 0 7 1"]
        {
            assert_eq!(parse(line), None);
        }
    }
}
