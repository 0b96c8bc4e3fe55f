//! Opens connections to libvirt, even while it is starting.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::time::Duration;

use virt::connect::Connect;

/// An attempt that reaches a starting libvirtd can hang for good. After this time, another attempt
/// is made beside it.
const PATIENCE: Duration = Duration::from_secs(2);

/// Attempts for one connection.
const ATTEMPTS: usize = 3;

/// Attempts that may hang at a time. Each holds a thread and a socket.
const HANGING: usize = 16;

/// The interval of keepalives, and how many may be unanswered before libvirtd counts as gone.
const KEEPALIVE_SECONDS: i32 = 5;
const KEEPALIVE_COUNT: u32 = 3;

/// Opens connections to one URI.
#[derive(Debug)]
pub(super) struct Opener {
    uri: String,
    hanging: Arc<AtomicUsize>,
}

impl Opener {
    pub(super) fn new(uri: &str) -> Self {
        Self { uri: uri.into(), hanging: Arc::default() }
    }

    pub(super) fn uri(&self) -> &str {
        &self.uri
    }

    /// Opens a connection; otherwise returns why not. Blocks for some seconds at most.
    pub(super) fn open(&self) -> Result<Connect, String> {
        let (sender, opened) = mpsc::channel();
        for _ in 0..ATTEMPTS {
            self.attempt(sender.clone())?;
            if let Ok(result) = opened.recv_timeout(PATIENCE) {
                return result;
            }
        }
        Err("it does not respond".into())
    }

    fn attempt(&self, sender: mpsc::Sender<Result<Connect, String>>) -> Result<(), String> {
        let (uri, hanging) = (self.uri.clone(), Arc::clone(&self.hanging));
        if hanging.fetch_add(1, Ordering::SeqCst) >= HANGING {
            hanging.fetch_sub(1, Ordering::SeqCst);
            return Err("it does not respond, and many attempts are waiting for it".into());
        }
        let attempt = move || {
            let opened = open(&uri);
            hanging.fetch_sub(1, Ordering::SeqCst);
            // If no caller waits any more, this closes the connection again.
            let _ = sender.send(opened);
        };
        let thread = std::thread::Builder::new().name("libvirt-open".into());
        thread.spawn(attempt).map(drop).map_err(|error| {
            self.hanging.fetch_sub(1, Ordering::SeqCst);
            error.to_string()
        })
    }
}

fn open(uri: &str) -> Result<Connect, String> {
    let connect = Connect::open(Some(uri)).map_err(|error| error.message().to_owned())?;
    // Drivers within this process have no transport for keepalives, and return an error.
    let _ = connect.set_keep_alive(KEEPALIVE_SECONDS, KEEPALIVE_COUNT);
    Ok(connect)
}
