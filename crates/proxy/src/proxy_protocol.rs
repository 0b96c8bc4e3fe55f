//! The PROXY protocol, versions 1 and 2: a header in which a reverse proxy says whose connection it is
//! (<https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>).

use std::io;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

const VERSION_1: &[u8] = b"PROXY ";
const VERSION_2: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// The longest line of version 1, with its end (section 2.1).
const LINE: usize = 107;

/// Maximum length of version 2 after its first 16 bytes: addresses and TLVs. HAProxy sends some 500 bytes.
const REST: usize = 4096;

/// Timeout for the whole header.
const PATIENCE: Duration = Duration::from_secs(10);

/// Interval at which an incomplete header is checked again.
const AGAIN: Duration = Duration::from_millis(10);

/// What a header says about a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Said {
    /// It belongs to a user.
    User {
        address: SocketAddr,
        /// Whether the user's connection has TLS, if the header says so.
        tls: Option<bool>,
    },
    /// It belongs to the reverse proxy itself, as for a health check, or the header does not say.
    Nobody,
}

/// The first bytes of a connection, as far as they are received.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Beginning {
    Header,
    Unknown,
    Other,
}

/// Reads the header at the beginning of a connection; none if it begins with something else.
///
/// # Errors
///
/// When the header is not valid, or is not received in time.
pub(crate) async fn read(tcp: &mut TcpStream) -> io::Result<Option<Said>> {
    let read = async {
        match has_header(tcp).await? {
            true => read_header(tcp).await.map(Some),
            false => Ok(None),
        }
    };
    tokio::time::timeout(PATIENCE, read)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// Peeks only, because the bytes may belong to TLS or HTTP.
async fn has_header(tcp: &TcpStream) -> io::Result<bool> {
    let mut first = [0; VERSION_2.len()];
    loop {
        let length = tcp.peek(&mut first).await?;
        match beginning(first.get(..length).unwrap_or_default()) {
            _ if length == 0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            Beginning::Header => return Ok(true),
            Beginning::Other => return Ok(false),
            // A socket with unread data is always ready.
            Beginning::Unknown => tokio::time::sleep(AGAIN).await,
        }
    }
}

fn beginning(bytes: &[u8]) -> Beginning {
    let headers = [VERSION_1, &VERSION_2];
    if headers.iter().any(|header| bytes.starts_with(header)) {
        Beginning::Header
    } else if headers.iter().any(|header| header.starts_with(bytes)) {
        Beginning::Unknown
    } else {
        Beginning::Other
    }
}

async fn read_header(tcp: &mut TcpStream) -> io::Result<Said> {
    // The shortest line has 15 bytes.
    let mut first = [0; VERSION_2.len()];
    tcp.read_exact(&mut first).await?;
    if first == VERSION_2 {
        let mut fixed = [0; 4];
        tcp.read_exact(&mut fixed).await?;
        let [command, family, high, low] = fixed;
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length > REST {
            return Err(broken());
        }
        let mut rest = vec![0; length];
        tcp.read_exact(&mut rest).await?;
        return version_2(command, family, &rest).ok_or_else(broken);
    }
    let mut line = first.to_vec();
    while !line.ends_with(b"\n") {
        if line.len() == LINE {
            return Err(broken());
        }
        line.push(tcp.read_u8().await?);
    }
    version_1(&line).ok_or_else(broken)
}

fn broken() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the PROXY protocol header is malformed")
}

/// `PROXY TCP4 SOURCE DESTINATION PORT PORT`, or `PROXY UNKNOWN` and any text.
pub(crate) fn version_1(line: &[u8]) -> Option<Said> {
    let line = std::str::from_utf8(line).ok()?.strip_suffix("\r\n")?;
    let mut words = line.strip_prefix("PROXY ")?.split(' ');
    let family = words.next()?;
    if family == "UNKNOWN" {
        return Some(Said::Nobody);
    }
    let mut address = || words.next()?.parse::<IpAddr>().ok();
    let (source, destination) = (address()?, address()?);
    let mut port = || words.next()?.parse::<u16>().ok();
    let (port, _) = (port()?, port()?);
    let is_whole = words.next().is_none();
    let fits = match family {
        "TCP4" => source.is_ipv4() && destination.is_ipv4(),
        "TCP6" => source.is_ipv6() && destination.is_ipv6(),
        _ => false,
    };
    let address = SocketAddr::new(source.to_canonical(), port);
    (is_whole && fits).then_some(Said::User { address, tls: None })
}

/// The command, the address family, and the bytes after the length.
pub(crate) fn version_2(command: u8, family: u8, rest: &[u8]) -> Option<Said> {
    match command {
        0x20 => return Some(Said::Nobody),
        0x21 => {}
        _ => return None,
    }
    let (source, port, notes): (IpAddr, _, _) = match family {
        0x11 => {
            let (addresses, notes) = rest.split_first_chunk::<12>()?;
            let [a, b, c, d, _, _, _, _, high, low, _, _] = *addresses;
            (Ipv4Addr::new(a, b, c, d).into(), [high, low], notes)
        }
        0x21 => {
            let (addresses, notes) = rest.split_first_chunk::<36>()?;
            let (source, behind) = addresses.split_first_chunk::<16>()?;
            let (_, ports) = behind.split_first_chunk::<16>()?;
            (Ipv6Addr::from(*source).into(), *ports.first_chunk()?, notes)
        }
        _ => return Some(Said::Nobody),
    };
    let address = SocketAddr::new(source.to_canonical(), u16::from_be_bytes(port));
    Some(Said::User { address, tls: tls(notes)? })
}

/// Whether the user's connection has TLS, according to the TLVs (`PP2_TYPE_SSL`, section 2.2.6); none if they
/// are not valid.
fn tls(mut notes: &[u8]) -> Option<Option<bool>> {
    const SSL: u8 = 0x20;
    let mut said = None;
    while !notes.is_empty() {
        let (&[kind, high, low], behind) = notes.split_first_chunk::<3>()?;
        let (note, behind) = behind.split_at_checked(u16::from_be_bytes([high, low]).into())?;
        if kind == SSL {
            said = Some(note.first()? & 1 == 1);
        }
        notes = behind;
    }
    Some(said)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn user(address: &str, tls: Option<bool>) -> Option<Said> {
        Some(Said::User { address: address.parse().unwrap(), tls })
    }

    #[test]
    fn a_line_of_version_1_names_the_user() {
        let read = |line: &str| version_1(line.as_bytes());
        assert_eq!(
            read("PROXY TCP4 192.0.2.7 10.0.0.1 56324 443\r\n"),
            user("192.0.2.7:56324", None)
        );
        assert_eq!(
            read("PROXY TCP6 2001:db8::7 ::1 56324 443\r\n"),
            user("[2001:db8::7]:56324", None)
        );
        for line in ["PROXY UNKNOWN\r\n", "PROXY UNKNOWN ffff::1 x y\r\n"] {
            assert_eq!(read(line), Some(Said::Nobody));
        }
    }

    #[test]
    fn a_broken_line_is_none() {
        for line in [
            "PROXY TCP4 192.0.2.7 10.0.0.1 56324 443\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 56324 443 \r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 56324\r\n",
            "PROXY TCP4  192.0.2.7 10.0.0.1 56324 443\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 65536 443\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 -1 443\r\n",
            "PROXY TCP4 ::1 ::1 1 443\r\n",
            "PROXY TCP6 192.0.2.7 10.0.0.1 1 443\r\n",
            "PROXY UDP4 192.0.2.7 10.0.0.1 1 443\r\n",
            "PROXY \r\n",
            "proxy UNKNOWN\r\n",
        ] {
            assert_eq!(version_1(line.as_bytes()), None, "{line}");
        }
    }

    const IPV4: [u8; 12] = [192, 0, 2, 7, 10, 0, 0, 1, 0xdc, 0x04, 1, 187];

    #[test]
    fn a_header_of_version_2_names_the_user_and_whether_they_came_by_tls() {
        assert_eq!(version_2(0x21, 0x11, &IPV4), user("192.0.2.7:56324", None));
        let mut ipv6 = [0; 36];
        ipv6[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
        (ipv6[15], ipv6[33]) = (7, 80);
        assert_eq!(version_2(0x21, 0x21, &ipv6), user("[2001:db8::7]:80", None));
        for (flags, tls) in [(1, true), (7, true), (0, false)] {
            let notes = [0x04, 0, 2, 9, 9, 0x20, 0, 5, flags, 0, 0, 0, 0];
            let rest = [&IPV4[..], &notes].concat();
            assert_eq!(version_2(0x21, 0x11, &rest), user("192.0.2.7:56324", Some(tls)));
        }
        for (command, family) in [(0x20, 0x11), (0x20, 0), (0x21, 0), (0x21, 0x31)] {
            assert_eq!(version_2(command, family, &[1; 40]), Some(Said::Nobody));
        }
    }

    #[test]
    fn a_broken_header_of_version_2_is_none() {
        for (command, family, rest) in [
            (0x11, 0x11, &IPV4[..]),
            (0x22, 0x11, &IPV4),
            (0x21, 0x11, &IPV4[..11]),
            (0x21, 0x21, &IPV4),
            (0x21, 0x11, &[&IPV4[..], &[0x20, 0]].concat()),
            (0x21, 0x11, &[&IPV4[..], &[0x20, 0, 9, 1]].concat()),
            (0x21, 0x11, &[&IPV4[..], &[0x20, 0, 0]].concat()),
        ] {
            assert_eq!(version_2(command, family, rest), None, "{command:x} {family:x} {rest:?}");
        }
    }

    #[test]
    fn what_begins_otherwise_is_told_apart_as_soon_as_that_is_known() {
        for (bytes, expected) in [
            (&b"PROXY TCP4"[..], Beginning::Header),
            (&VERSION_2, Beginning::Header),
            (b"P", Beginning::Unknown),
            (b"PROXY", Beginning::Unknown),
            (&VERSION_2[..11], Beginning::Unknown),
            (b"POST / HTTP", Beginning::Other),
            (b"PROPFIND /", Beginning::Other),
            (b"GET / HTTP/1", Beginning::Other),
            (b"\r\nGET / HTT", Beginning::Other),
            (&[0x16, 3, 1], Beginning::Other),
        ] {
            assert_eq!(beginning(bytes), expected, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(command: u8, family: u8, rest: Vec<u8>, line in "PROXY .{0,60}\r\n") {
            let _ = (version_1(line.as_bytes()), version_1(&rest), version_2(command, family, &rest));
            let _ = (version_2(0x21, 0x11, &rest), version_2(0x21, 0x21, &rest));
        }
    }
}
