//! Reads stdin, which may be a terminal, a pipe or a file, on a separate thread.
//!
//! The thread is at most one read ahead, and reads no more after the `Keyboard` was dropped: input
//! after leaving belongs to the shell.

use std::io::PipeReader;
use std::io::PipeWriter;
use std::thread::Builder;

use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::poll;
use rustix::io::Errno;
use tokio::sync::mpsc;

/// 4 KiB: a terminal returns no more at a time.
const READ_SIZE: usize = 4096;

/// The bytes from stdin.
#[derive(Debug)]
pub(crate) struct Keyboard {
    typed: mpsc::Receiver<Vec<u8>>,
    /// Closing it tells the thread to stop.
    _stop: PipeWriter,
}

impl Keyboard {
    /// Begins to read.
    pub(crate) fn start() -> std::io::Result<Self> {
        let (stopped, stop) = std::io::pipe()?;
        let (sender, typed) = mpsc::channel(1);
        // Not joined: if another process reads the same terminal, a read may hang nevertheless.
        Builder::new().name("keyboard".into()).spawn(move || read(&sender, &stopped))?;
        Ok(Self { typed, _stop: stop })
    }

    /// The next bytes; `None` at the end of stdin. Cancel-safe.
    pub(crate) async fn read(&mut self) -> Option<Vec<u8>> {
        self.typed.recv().await
    }
}

fn read(typed: &mpsc::Sender<Vec<u8>>, stopped: &PipeReader) {
    let stdin = rustix::stdio::stdin();
    loop {
        let mut ready = [PollFd::new(&stdin, PollFlags::IN), PollFd::new(stopped, PollFlags::IN)];
        match poll(&mut ready, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => return,
        }
        let [input, stop] = ready.map(|fd| !fd.revents().is_empty());
        if stop {
            return;
        }
        if !input {
            continue;
        }
        let mut bytes = vec![0; READ_SIZE];
        match rustix::io::read(stdin, &mut bytes) {
            Ok(0) => return,
            Ok(size) => {
                bytes.truncate(size);
                if typed.blocking_send(bytes).is_err() {
                    return;
                }
            }
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(_) => return,
        }
    }
}
