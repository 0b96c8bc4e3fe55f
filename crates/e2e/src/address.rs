//! Ports that are known before a program starts.

use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::SocketAddr;
use std::os::unix::net::UnixListener;
use std::sync::Mutex;
use std::sync::atomic::AtomicU16;
use std::sync::atomic::Ordering;

static NEXT: AtomicU16 = AtomicU16::new(22_000);

/// Shows other test programs which ports are handed out here.
static CLAIMS: Mutex<Vec<UnixListener>> = Mutex::new(Vec::new());

/// A TCP port that is free now, another one at each call, outside the range from which the system
/// chooses ports itself.
pub fn free_port() -> u16 {
    free_ports(1)
}

/// The first of so many consecutive such ports.
pub fn free_ports(count: u16) -> u16 {
    let free = |port| claim(port) && TcpListener::bind(("127.0.0.1", port)).is_ok();
    std::iter::from_fn(|| Some(NEXT.fetch_add(count, Ordering::Relaxed)))
        .take(5000)
        .find(|first| (*first..*first + count).all(free))
        .expect("no free port")
}

/// Claims a port until this program ends; false if another test program has it.
fn claim(port: u16) -> bool {
    let name = SocketAddr::from_abstract_name(format!("serialproxy-test-port-{port}")).unwrap();
    let claimed = UnixListener::bind_addr(&name).ok();
    claimed.map(|claim| CLAIMS.lock().unwrap().push(claim)).is_some()
}

/// Flags for fixed addresses, which stay the same after a restart, and for console URLs that lead
/// to the program's own proxy.
pub fn fixed() -> Vec<String> {
    let (api, proxy) = (free_port(), free_port());
    vec![
        "--api-listen".to_owned(),
        format!("127.0.0.1:{api}"),
        "--serial_console-serialproxy_port".to_owned(),
        proxy.to_string(),
        "--serial_console-base_url".to_owned(),
        format!("http://127.0.0.1:{proxy}/serial.html"),
    ]
}
