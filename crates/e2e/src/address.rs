//! Ports that are known before a program starts.

use std::net::TcpListener;
use std::sync::atomic::AtomicU16;
use std::sync::atomic::Ordering;

static NEXT: AtomicU16 = AtomicU16::new(22_000);

/// A TCP port that is free now, another one at each call, outside the range from which the system
/// chooses ports itself.
pub fn free_port() -> u16 {
    std::iter::from_fn(|| Some(NEXT.fetch_add(1, Ordering::Relaxed)))
        .take(5000)
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("no free port")
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
