//! The threads for lines and sessions: one for each core, with a runtime of its own. No task moves
//! between them, so a line's owner and its sessions wake each other without a system call.

use std::io;
use std::thread;

use serialproxy_tls::Handshakes;
use tokio::runtime::Builder;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::watchdog::Watchdog;

/// Threads of each runtime for blocking calls: lookups of tokens and names, reading a log. In a
/// storm of connections the calls wait, instead of getting a thread each.
const BLOCKING: usize = 32;

/// Starts one thread for each core that this process may use. They end with the token, which drops
/// their remaining tasks. Until then, the watchdog checks that they respond.
///
/// # Errors
///
/// When the kernel refuses a thread or a file descriptor.
pub(crate) fn start(end: &CancellationToken, watchdog: &Watchdog) -> io::Result<Vec<Handle>> {
    (0..cores()).map(|core| thread(format!("lines-{core}"), end, watchdog)).collect()
}

/// Starts the threads for TLS handshakes: half as many as there are cores, so that a flood of
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
