//! A pseudo-terminal in which a client runs.

use std::fs::File;
use std::io::Read;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::process::Pid;
use rustix::process::Signal;
use rustix::pty::OpenptFlags;
use rustix::termios::LocalModes;
use rustix::termios::tcgetattr;
use tokio::process::Child;
use tokio::process::Command;

use crate::PATIENCE;
use crate::within;

/// A terminal; dropping it kills the program that runs in it.
#[derive(Debug)]
pub struct Terminal {
    master: File,
    /// Keeps the terminal and its mode after the client has ended.
    slave: OwnedFd,
    /// Its mode before the client started.
    before: String,
    child: Child,
    shown: Arc<Mutex<Vec<u8>>>,
    read: usize,
}

impl Terminal {
    /// Runs a program in a new terminal.
    pub fn run(mut command: Command) -> Self {
        let master = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        rustix::pty::grantpt(&master).unwrap();
        rustix::pty::unlockpt(&master).unwrap();
        let name = rustix::pty::ptsname(&master, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let slave = rustix::fs::open(name.as_c_str(), flags, Mode::empty()).unwrap();
        let before = mode(&slave);
        command
            .stdin(slave.try_clone().unwrap())
            .stdout(slave.try_clone().unwrap())
            .stderr(slave.try_clone().unwrap())
            .kill_on_drop(true);
        let child = command.spawn().unwrap();
        let master = File::from(master);
        let shown = Arc::default();
        let (screen, kept) = (master.try_clone().unwrap(), Arc::clone(&shown));
        // The thread ends when all other ends are closed.
        std::thread::spawn(move || keep(screen, &kept));
        Self { master, slave, before, child, shown, read: 0 }
    }

    /// Types.
    pub fn keys(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until the screen has shown `text` since the last call.
    pub async fn shows(&mut self, text: &str) {
        let looking = async {
            loop {
                if let Some(place) = self.place_after(text) {
                    return place;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        self.read = tokio::time::timeout(PATIENCE, looking).await.unwrap_or_else(|_| {
            let shown = self.shown.lock().unwrap();
            panic!("{text:?} is not shown, but {:?}", String::from_utf8_lossy(&shown[self.read..]))
        });
    }

    /// Whether the screen shows `text` within two seconds.
    pub async fn shows_soon(&mut self, text: &str) -> bool {
        let shown = tokio::time::timeout(Duration::from_secs(2), self.shows(text));
        shown.await.is_ok()
    }

    fn place_after(&self, text: &str) -> Option<usize> {
        let shown = self.shown.lock().unwrap();
        let mut windows = shown[self.read..].windows(text.len());
        windows.position(|part| part == text.as_bytes()).map(|at| self.read + at + text.len())
    }

    /// Everything that was shown.
    pub fn shown(&self) -> String {
        String::from_utf8_lossy(&self.shown.lock().unwrap()).into_owned()
    }

    /// Whether keys reach the program one by one, including those for signals.
    pub fn is_raw(&self) -> bool {
        let modes = tcgetattr(&self.slave).unwrap().local_modes;
        !modes.intersects(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG)
    }

    /// Sends the program a signal.
    pub fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id().unwrap()).unwrap();
        rustix::process::kill_process(Pid::from_raw(id).unwrap(), signal).unwrap();
    }

    /// Waits until the program has ended. The terminal must have its earlier mode then.
    pub async fn ended(&mut self) -> ExitStatus {
        let status = within(self.child.wait()).await.unwrap();
        assert_eq!(mode(&self.slave), self.before, "the terminal's mode was not restored");
        status
    }
}

fn mode(terminal: &OwnedFd) -> String {
    format!("{:?}", tcgetattr(terminal).unwrap())
}

fn keep(mut screen: File, shown: &Mutex<Vec<u8>>) {
    let mut buffer = [0; 4096];
    while let Ok(size @ 1..) = screen.read(&mut buffer) {
        shown.lock().unwrap().extend_from_slice(&buffer[..size]);
    }
}
