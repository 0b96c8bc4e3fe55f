//! Whether a TCP port can be bound now: a filter for the allocator, never a reservation.

use std::io;
use std::net::SocketAddr;
use std::net::ToSocketAddrs;

use socket2::Domain;
use socket2::Socket;
use socket2::Type;

/// The process that would bind the port.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Test {
    /// A process that needs an unused port: a port that was just closed (TIME_WAIT) counts as
    /// taken.
    Strict,
    /// QEMU, which sets SO_REUSEADDR: only a port that is still in use counts as taken.
    AsQemu,
}

/// The addresses of a host name or address, with port 0.
pub(crate) fn resolve(host: &str) -> io::Result<Vec<SocketAddr>> {
    let addresses: Vec<_> = (host, 0).to_socket_addrs()?.collect();
    if addresses.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "it has no address"));
    }
    Ok(addresses)
}

/// Whether the port is free on all of `addresses`.
///
/// # Errors
///
/// When an address cannot be bound on any port, for example because it is not an address of this
/// host.
pub(crate) fn is_free(addresses: &[SocketAddr], port: u16, test: Test) -> io::Result<bool> {
    for address in addresses {
        let mut address = *address;
        address.set_port(port);
        match bind(address, test) {
            Ok(()) => {}
            Err(error) if is_about_the_port(&error) => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

fn bind(address: SocketAddr, test: Test) -> io::Result<()> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    match test {
        Test::Strict => socket.bind(&address.into()),
        Test::AsQemu => {
            socket.set_reuse_address(true)?;
            socket.bind(&address.into())?;
            socket.listen(1)
        }
    }
}

fn is_about_the_port(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied)
}

#[cfg(test)]
mod tests {
    use std::net::Shutdown;
    use std::net::TcpListener;
    use std::net::TcpStream;

    use serialproxy_e2e::eventually;

    use super::*;

    fn free(host: &str, port: u16, test: Test) -> bool {
        is_free(&resolve(host).unwrap(), port, test).unwrap()
    }

    #[tokio::test]
    async fn a_port_that_someone_listens_on_is_taken() {
        for host in ["127.0.0.1", "::1"] {
            let Ok(listener) = TcpListener::bind((host, 0)) else { continue };
            let port = listener.local_addr().unwrap().port();
            for test in [Test::Strict, Test::AsQemu] {
                assert!(!free(host, port, test), "{host} {test:?}");
            }
            drop(listener);
            // A child of another test has it open, too, until it executes its program.
            eventually(async || free(host, port, Test::Strict).then_some(())).await;
        }
    }

    #[tokio::test]
    async fn a_port_that_just_closed_is_free_for_qemu_alone() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let client = TcpStream::connect(address).unwrap();
        // The side that closes first keeps the port in TIME_WAIT. Dropping it is no close while a
        // child of another test has it open, too.
        listener.accept().unwrap().0.shutdown(Shutdown::Both).unwrap();
        drop(listener);
        drop(client);
        assert!(!free("127.0.0.1", address.port(), Test::Strict));
        eventually(async || free("127.0.0.1", address.port(), Test::AsQemu).then_some(())).await;
    }

    #[test]
    fn an_address_of_another_host_is_an_error_and_no_taken_port() {
        let addresses = resolve("192.0.2.1").unwrap();
        assert!(is_free(&addresses, 10000, Test::Strict).is_err());
    }
}
