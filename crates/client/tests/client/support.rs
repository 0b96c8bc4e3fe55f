//! The client as a child process, an API that answers from a function, and a pseudo-terminal.

use std::fs::File;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::io::Write;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;
use std::time::Instant;

use clap::Parser;
use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::Timespec;
use rustix::event::poll;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::pty::OpenptFlags;
use rustix::termios::LocalModes;
use rustix::termios::Termios;
use rustix::termios::Winsize;
use rustix::termios::tcgetattr;
use rustix::termios::tcsetwinsize;

const ARGUMENTS: &str = "SERIALPROXY_TEST_ARGUMENTS";
/// Separates what the test runner prints from what the client prints.
const MARK: &str = "--- the client begins here ---\n";
/// Far more than anything takes here: only a failure waits that long.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, Parser)]
struct Program {
    #[command(subcommand)]
    command: serialproxy_client::Command,
}

/// Not a test: what the child process runs, as the program would.
#[test]
#[allow(clippy::disallowed_methods, reason = "the test runner must not print after the client")]
fn child() {
    let Ok(arguments) = std::env::var(ARGUMENTS) else {
        return;
    };
    print!("{MARK}");
    std::io::stdout().flush().unwrap();
    let program = Program::try_parse_from(arguments.split('\n')).unwrap_or_else(|e| e.exit());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let outcome = runtime.block_on(serialproxy_client::run(program.command));
    std::process::exit(outcome.code().into());
}

/// The client with these arguments, in an environment without surprises.
pub(crate) fn client(api: SocketAddr, arguments: &[&str]) -> Command {
    let url = format!("http://{api}");
    let all = [&["serialproxy"], arguments].concat().join("\n");
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "support::child", "--nocapture"]);
    for name in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"] {
        command.env_remove(name);
    }
    command.env("XDG_CONFIG_HOME", "/nonexistent");
    command.env(ARGUMENTS, all).env("SERIALPROXY_API_URL", url).env("SERIALPROXY_TOKEN", "t0ken");
    command
}

/// The same client on a machine whose `/etc/hosts` is `hosts`.
pub(crate) fn with_hosts(client: &Command, hosts: &str) -> Command {
    let mut command = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        command.arg("--map-root-user");
    }
    let script = "mount -t tmpfs hosts /mnt && printf %s \"$0\" >/mnt/hosts \
                  && mount --bind /mnt/hosts /etc/hosts && exec \"$@\"";
    command.args(["--mount", "sh", "-c", script, hosts]);
    command.arg(client.get_program()).args(client.get_args());
    for (name, value) in client.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
}

/// What a client that ran to its end left behind.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Ended {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).unwrap()
    }
}

/// Runs a client with `input` on its stdin.
pub(crate) fn run(mut command: Command, input: &[u8]) -> Ended {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    let mark = output.stdout.windows(MARK.len()).position(|part| part == MARK.as_bytes()).unwrap();
    Ended {
        code: output.status.code().unwrap(),
        stdout: output.stdout[mark + MARK.len()..].to_vec(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A request that the API got.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// Method, path and query.
    pub(crate) line: String,
    pub(crate) token: Option<String>,
    pub(crate) body: String,
}

/// An API that answers from a function.
#[derive(Debug)]
pub(crate) struct Api {
    pub(crate) address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Api {
    pub(crate) fn start(answer: impl Fn(&str) -> (u16, String) + Send + 'static) -> Self {
        Self::with_headers(move |line| {
            let (status, body) = answer(line);
            (status, String::new(), body)
        })
    }

    /// As `start`; the answer's header lines stand between its status and its body.
    pub(crate) fn with_headers(
        answer: impl Fn(&str) -> (u16, String, String) + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let theirs = requests.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let request = request(&stream);
                let (status, headers, body) = answer(&request.line);
                theirs.lock().unwrap().push(request);
                let length = body.len();
                let head = format!("HTTP/1.1 {status} x\r\ncontent-length: {length}\r\n{headers}");
                write!(stream, "{head}connection: close\r\n\r\n{body}").unwrap();
            }
        });
        Self { address, requests }
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.requests().into_iter().map(|request| request.line).collect()
    }
}

fn request(stream: &TcpStream) -> Request {
    let mut reader = BufReader::new(stream);
    let mut next = || {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    };
    let line = next().trim_end_matches(" HTTP/1.1").to_owned();
    let (mut token, mut length) = (None, 0);
    loop {
        let header = next();
        match header.split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("x-auth-token") => {
                token = Some(value.to_owned());
            }
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.parse().unwrap();
            }
            Some(_) => {}
            None => break,
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    Request { line, token, body: String::from_utf8(body).unwrap() }
}

/// A pseudo-terminal with a client in it.
#[derive(Debug)]
pub(crate) struct Terminal {
    master: File,
    /// Keeps the terminal's mode once the client has gone.
    _slave: OwnedFd,
    before: Termios,
    child: Child,
    seen: String,
}

impl Terminal {
    /// Runs a client in a new terminal.
    pub(crate) fn run(command: Command) -> Self {
        Self::run_with(command, None)
    }

    /// As `run`, with something else on its stdin.
    pub(crate) fn run_with(mut command: Command, stdin: Option<Stdio>) -> Self {
        let master = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        rustix::pty::grantpt(&master).unwrap();
        rustix::pty::unlockpt(&master).unwrap();
        let name = rustix::pty::ptsname(&master, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY;
        let slave = rustix::fs::open(name.as_c_str(), flags, Mode::empty()).unwrap();
        let before = tcgetattr(&slave).unwrap();
        command.stdin(stdin.unwrap_or_else(|| slave.try_clone().unwrap().into()));
        command.stdout(slave.try_clone().unwrap());
        command.stderr(slave.try_clone().unwrap());
        let child = command.spawn().unwrap();
        Self { master: master.into(), _slave: slave, before, child, seen: String::new() }
    }

    /// Types.
    pub(crate) fn keys(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until the screen has shown `text`, and forgets everything up to there.
    pub(crate) fn wait_for(&mut self, text: &str) {
        self.until(text);
    }

    /// The same; returns what was shown up to there.
    pub(crate) fn until(&mut self, text: &str) -> String {
        let start = Instant::now();
        while !self.seen.contains(text) {
            assert!(start.elapsed() < PATIENCE, "no {text:?} in {:?}", self.seen);
            self.read();
        }
        let end = self.seen.find(text).unwrap() + text.len();
        self.seen.drain(..end).collect()
    }

    /// Everything that is shown until the client ends, and its exit code.
    pub(crate) fn end(mut self) -> (i32, String) {
        let start = Instant::now();
        let code = loop {
            self.read();
            if let Some(status) = self.child.try_wait().unwrap() {
                break status.code().expect("the client was not killed");
            }
            assert!(start.elapsed() < PATIENCE, "still running after {:?}", self.seen);
        };
        while self.read() {}
        assert!(self.is_as_before(), "the terminal's mode was not restored");
        (code, self.seen.clone())
    }

    /// Sends the client a signal.
    pub(crate) fn kill(&self, signal: rustix::process::Signal) {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, signal).unwrap();
    }

    /// Gives the terminal another size, and tells the client as the system does where the terminal
    /// is the client's own.
    pub(crate) fn resize(&self, rows: u16, cols: u16) {
        let size = Winsize { ws_row: rows, ws_col: cols, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.master, size).unwrap();
        self.kill(rustix::process::Signal::WINCH);
    }

    pub(crate) fn is_raw(&self) -> bool {
        let modes = tcgetattr(&self.master).unwrap().local_modes;
        !modes.intersects(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG)
    }

    fn is_as_before(&self) -> bool {
        let now = tcgetattr(&self.master).unwrap();
        now.local_modes == self.before.local_modes
            && now.input_modes == self.before.input_modes
            && now.output_modes == self.before.output_modes
            && now.control_modes == self.before.control_modes
    }

    /// Reads what is there within a moment; whether there was anything.
    fn read(&mut self) -> bool {
        let mut ready = [PollFd::new(&self.master, PollFlags::IN)];
        let moment = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
        if poll(&mut ready, Some(&moment)).unwrap() == 0 {
            return false;
        }
        let mut buffer = [0; 4096];
        let size = self.master.read(&mut buffer).unwrap();
        self.seen.push_str(&String::from_utf8_lossy(&buffer[..size]));
        size > 0
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
