//! Where lines and sessions live: a thread with a runtime of its own for each core, between which
//! nothing moves. So a line's owner and its sessions wake each other without a system call.

use std::io;
use std::thread;

use serialproxy_tls::Handshakes;
use tokio::runtime::Builder;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::watchdog::Watchdog;

/// Threads of each for calls that block: look-ups of tokens and names, reading a log. In a storm
/// of connections they queue, rather than each having a thread.
const BLOCKING: usize = 32;

/// Starts one for each core that this process may use. They end with the token, which drops their
/// remaining tasks. Until then, the watchdog checks that they do not hang.
///
/// # Errors
///
/// When the kernel gives no thread or no file descriptor.
pub(crate) fn start(end: &CancellationToken, watchdog: &Watchdog) -> io::Result<Vec<Handle>> {
    (0..cores()).map(|core| thread(format!("lines-{core}"), end, watchdog)).collect()
}

/// Starts the threads that do TLS's handshakes: as many as half of the cores, so that a flood of
/// handshakes leaves the other half to lines.
///
/// # Errors
///
/// As [`start`].
pub(crate) fn handshakes(end: &CancellationToken, watchdog: &Watchdog) -> io::Result<Handshakes> {
    let threads = (0..cores().div_ceil(2)).map(|core| thread(format!("tls-{core}"), end, watchdog));
    Ok(Handshakes::new(threads.collect::<io::Result<_>>()?))
}

fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

fn thread(name: String, end: &CancellationToken, watchdog: &Watchdog) -> io::Result<Handle> {
    let runtime =
        Builder::new_current_thread().enable_all().max_blocking_threads(BLOCKING).build()?;
    let handle = runtime.handle().clone();
    let end = end.clone();
    watchdog.watch(&name, &handle);
    thread::Builder::new().name(name).spawn(move || runtime.block_on(end.cancelled()))?;
    Ok(handle)
}
