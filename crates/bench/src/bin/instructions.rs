//! A fixed amount of work for `scripts/count`, which counts the instructions that it takes:
//! a guest, the proxy and its clients in one thread, over real connections.
//!
//! Each round is done before the next begins, so that the same bytes are read at once in every
//! run. What starts up is the same for any number of rounds.

use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use anyhow::bail;
use anyhow::ensure;
use jiff::Timestamp;
use jiff::ToSpan;
use serialproxy_compute::Manager;
use serialproxy_config::Config;
use serialproxy_config::values::StaticLine;
use serialproxy_console::Host;
use serialproxy_grants::Grants;
use serialproxy_ledger::Ledger;
use serialproxy_line::Lines;
use serialproxy_line::Settings;
use serialproxy_proto::api::ADMIN_PROJECT;
use serialproxy_proto::endpoint::Endpoint;
use serialproxy_proto::id::LineKey;
use serialproxy_proto::id::ServerId;
use serialproxy_proto::terminal::TerminalSettings;
use serialproxy_proto::token::Grant;
use serialproxy_proto::token::Mode;
use serialproxy_proxy::Backing;
use serialproxy_proxy::Proxy;
use serialproxy_proxy::Tls;
use serialproxy_tls::Reception;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

/// Name of the server.
const SERVER: &str = "count";

/// Longer than any run, so that no timer fires: timers would make runs differ.
const NEVER: Duration = Duration::from_secs(24 * 60 * 60);

/// Bytes of bulk output, and of an upload, per round.
const BULK: usize = 32 * 1024;

/// Bytes of output per round that many clients receive.
const WRITE: usize = 4 * 1024;

/// Number of watchers in that case.
const WATCHERS: usize = 20;

/// Limit of connections; more than a case needs.
const CONNECTIONS: usize = 100;

/// Frames that are sent at once, and the bytes in each.
const FRAMES: usize = 256;
const SMALL: usize = 8;

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = runtime.context("there is no runtime").and_then(|runtime| runtime.block_on(run()));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("instructions: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [case, rounds] = arguments.as_slice() else { bail!("usage: instructions CASE ROUNDS") };
    let rounds = rounds.parse().context("ROUNDS is a number")?;
    let directory = tempfile::tempdir()?;
    let (mut guest, door) = start(&directory.path().join("store.sqlite")).await?;
    match case.as_str() {
        "keys" => keys(&mut guest, &mut door.open("write", "binary").await?, rounds).await,
        "keys-v1" => keys(&mut guest, &mut door.open("write", "console.v1").await?, rounds).await,
        "output" => {
            output(&mut guest, &mut [door.open("write", "binary").await?], BULK, rounds).await
        }
        "watchers" => {
            let mut clients = vec![door.open("write", "binary").await?];
            for _ in 0..WATCHERS {
                clients.push(door.open("watch", "binary").await?);
            }
            output(&mut guest, &mut clients, WRITE, rounds).await
        }
        "upload" => {
            let frame = masked(&[b'u'; BULK])?;
            input(&mut guest, &mut door.open("write", "binary").await?, &frame, BULK, rounds).await
        }
        "frames" => {
            let frames = masked(&[b'f'; SMALL])?.repeat(FRAMES);
            let length = SMALL * FRAMES;
            input(&mut guest, &mut door.open("write", "binary").await?, &frames, length, rounds)
                .await
        }
        other => bail!("there is no case {other:?}"),
    }
}

/// One key and its echo per round.
async fn keys(guest: &mut TcpStream, client: &mut Client, rounds: usize) -> anyhow::Result<()> {
    let (frame, mut key) = (masked(b"k")?, [0]);
    for _ in 0..rounds {
        client.stream.write_all(&frame).await?;
        guest.read_exact(&mut key).await?;
        guest.write_all(&key).await?;
        client.read(key.len()).await?;
    }
    Ok(())
}

/// `length` bytes per round from the guest to all clients.
async fn output(
    guest: &mut TcpStream,
    clients: &mut [Client],
    length: usize,
    rounds: usize,
) -> anyhow::Result<()> {
    let bytes = vec![b'o'; length];
    for _ in 0..rounds {
        guest.write_all(&bytes).await?;
        for client in &mut *clients {
            client.read(length).await?;
        }
    }
    Ok(())
}

/// `frames` per round, whose payload is `length` bytes.
async fn input(
    guest: &mut TcpStream,
    client: &mut Client,
    frames: &[u8],
    length: usize,
    rounds: usize,
) -> anyhow::Result<()> {
    let mut bytes = vec![0; length];
    for _ in 0..rounds {
        client.stream.write_all(frames).await?;
        guest.read_exact(&mut bytes).await?;
    }
    Ok(())
}

/// Starts a proxy with a static line. Returns the guest's end of the line, and what clients need to attach.
async fn start(file: &Path) -> anyhow::Result<(TcpStream, Door)> {
    let port = TcpListener::bind("127.0.0.1:0").await?;
    let address = port.local_addr()?;
    let endpoint = Endpoint::Tcp { host: address.ip().to_string(), port: address.port() };
    let mut config = Config::default();
    config.serial_console.enabled = true;
    config.compute.libvirt = false;
    config.compute.statics = true;
    config.session.ping_interval = NEVER;
    config.session.grace = NEVER;
    config.static_lines = vec![StaticLine {
        name: SERVER.into(),
        port: 0,
        endpoint,
        terminal: TerminalSettings::default(),
    }];
    let lines = Lines::new(Settings::default(), vec![Handle::current()]);
    let compute = Manager::start(&config, Arc::new(Ledger::open(file)?), lines.clone());
    let (guest, _) = port.accept().await?;
    let line = LineKey { server: ServerId::of_static(SERVER), port: 0 };
    ensure!(
        lines.get(line).context("there is no line")?.connected(NEVER).await,
        "the line is not connected"
    );

    let grants = Grants::open(file)?;
    let host = Host::alone(grants.clone(), &compute);
    let backing = Backing::Own(host, None);
    let listener = TcpListener::bind("127.0.0.1:0").await?.into_std()?;
    let address = listener.local_addr()?;
    let tls = Tls { users: Reception::plain(), api: None };
    let proxy = Proxy::new(Arc::new(config), lines, backing, tls)?;
    tokio::spawn(Arc::new(proxy).serve(listener, CONNECTIONS, CancellationToken::new()));
    let grant = Grant {
        line,
        project: ADMIN_PROJECT.into(),
        user: "count".into(),
        mode: Mode::Write,
        operator: false,
        wait: false,
        expires: Timestamp::now() + 24.hours(),
        host: None,
        link: None,
    };
    let token = grants.authorize(grant).await?;
    Ok((guest, Door { address, token: token.expose().to_owned() }))
}

/// What clients need to attach.
struct Door {
    address: SocketAddr,
    token: String,
}

impl Door {
    /// Attaches a client.
    async fn open(&self, mode: &str, protocol: &str) -> anyhow::Result<Client> {
        let Self { address, token } = self;
        let mut stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let request = format!(
            "GET /?token={token}&mode={mode}&from=live HTTP/1.1\r\nHost: {address}\r\n\
             Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Protocol: {protocol}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(stream.read_u8().await?);
        }
        let answer = String::from_utf8_lossy(&answer);
        ensure!(answer.starts_with("HTTP/1.1 101 "), "the proxy refuses a client: {answer}");
        Ok(Client { stream, buffer: vec![0; 2 * BULK], left: 0, is_output: false })
    }
}

/// A minimal WebSocket client, because its instructions are counted as well.
struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// Missing bytes of the current frame, and whether it holds output.
    left: usize,
    is_output: bool,
}

impl Client {
    /// Reads and drops `length` bytes of output, and the messages between.
    async fn read(&mut self, length: usize) -> anyhow::Result<()> {
        let mut have = 0;
        while have < length {
            let read = self.stream.read(&mut self.buffer).await?;
            ensure!(read > 0, "the proxy has closed a connection");
            let mut bytes = self.buffer.get(..read).unwrap_or_default();
            while !bytes.is_empty() {
                if self.left == 0 {
                    (self.is_output, self.left, bytes) = head(bytes)?;
                }
                let payload = self.left.min(bytes.len());
                self.left -= payload;
                bytes = bytes.get(payload..).unwrap_or_default();
                have += if self.is_output { payload } else { 0 };
            }
        }
        ensure!(have == length, "{have} bytes came where the guest wrote {length}");
        Ok(())
    }
}

/// Whether a frame holds output, the length of its payload, and the bytes after its head (RFC 6455
/// section 5.2).
fn head(bytes: &[u8]) -> anyhow::Result<(bool, usize, &[u8])> {
    match bytes {
        [0x88, ..] => bail!("the proxy ends a session: {}", String::from_utf8_lossy(bytes)),
        [kind, length @ ..=125, rest @ ..] => Ok((*kind == 0x82, usize::from(*length), rest)),
        [kind, 126, a, b, rest @ ..] => {
            Ok((*kind == 0x82, usize::from(u16::from_be_bytes([*a, *b])), rest))
        }
        _ => bail!("a frame begins with {:?}", bytes.get(..10)),
    }
}

/// A binary frame as a client sends it.
fn masked(payload: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut frame = vec![0x82];
    match u8::try_from(payload.len()) {
        Ok(length @ ..=125) => frame.push(0x80 | length),
        _ => {
            frame.push(0x80 | 126);
            frame.extend(u16::try_from(payload.len())?.to_be_bytes());
        }
    }
    frame.extend(MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    Ok(frame)
}
