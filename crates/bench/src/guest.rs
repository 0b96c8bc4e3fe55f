//! The simulated guest: a TCP port like QEMU's for a serial port, whose other end echoes input and
//! prints on command.

use std::io;
use std::io::Write;
use std::net::Ipv4Addr;
use std::time::Duration;
use std::time::Instant;

use anyhow::Context;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpSocket;
use tokio::net::TcpStream;

use crate::pattern;
use crate::pattern::Check;

/// Buffer for input that waits for the guest.
const TYPED: usize = 16 * 1024;

/// The answer to an upload that arrived unchanged, and to another one.
pub(crate) const WHOLE: u8 = b'+';
const BROKEN: u8 = b'-';

/// A command to a guest: byte 1, a letter, its numbers, and a line feed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Command {
    /// Print this many bytes of the pattern, as fast as they are accepted.
    Print(u64),
    /// Print this many bytes of the pattern at this rate in bytes per second, and then a
    /// [`Punctuality`].
    Pace { bytes: u64, rate: u64 },
    /// Read this many bytes of the pattern, and answer [`WHOLE`].
    Read(u64),
}

impl Command {
    /// The input that gives the command.
    pub(crate) fn typed(self) -> String {
        match self {
            Self::Print(bytes) => format!("\x01p{bytes}\n"),
            Self::Pace { bytes, rate } => format!("\x01t{bytes},{rate}\n"),
            Self::Read(bytes) => format!("\x01r{bytes}\n"),
        }
    }

    /// Parses a command, without the first byte and the line feed.
    fn parse(text: &[u8]) -> Option<Self> {
        let text = str::from_utf8(text).ok()?;
        if let Some(bytes) = text.strip_prefix('p') {
            return bytes.parse().ok().map(Self::Print);
        }
        if let Some(bytes) = text.strip_prefix('r') {
            return bytes.parse().ok().map(Self::Read);
        }
        let (bytes, rate) = text.strip_prefix('t')?.split_once(',')?;
        Some(Self::Pace { bytes: bytes.parse().ok()?, rate: rate.parse().ok()? })
    }
}

/// How well a guest kept its rate: its output after [`Command::Pace`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Punctuality {
    /// The longest time that a single write had to wait for room.
    pub(crate) waited: Duration,
    /// How much later than planned the output was complete.
    pub(crate) late: Duration,
}

impl Punctuality {
    /// Its size in bytes.
    pub(crate) const SIZE: u64 = 22;

    fn printed(self) -> String {
        format!("{:010} {:010}\n", self.waited.as_micros(), self.late.as_micros())
    }

    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let (waited, late) = str::from_utf8(text).ok()?.trim_end().split_once(' ')?;
        let micros = |text: &str| text.parse().ok().map(Duration::from_micros);
        Some(Self { waited: micros(waited)?, late: micros(late)? })
    }
}

/// Serves ports until the process is killed; prints the address on stdout.
pub(crate) async fn run() -> anyhow::Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
    let listener = socket.listen(4096)?;
    let mut stdout = io::stdout();
    writeln!(stdout, "{}", listener.local_addr()?)?;
    stdout.flush()?;
    loop {
        let (port, _) = listener.accept().await.context("the guest cannot accept")?;
        port.set_nodelay(true)?;
        // The client notices a broken connection.
        tokio::spawn(serve(port));
    }
}

async fn serve(mut port: TcpStream) -> io::Result<()> {
    let mut typed = Vec::with_capacity(TYPED);
    while port.read_buf(&mut typed).await? > 0 {
        while let Some((command, end)) = echo(&mut port, &mut typed).await? {
            let rest = typed.split_off(end);
            obey(&mut port, command, &rest, &mut typed).await?;
        }
    }
    Ok(())
}

/// Echoes the input before a command; returns the command and its end, once it has arrived
/// completely.
async fn echo(port: &mut TcpStream, typed: &mut Vec<u8>) -> io::Result<Option<(Command, usize)>> {
    let start = typed.iter().position(|byte| *byte == 1).unwrap_or(typed.len());
    port.write_all(typed.get(..start).unwrap_or_default()).await?;
    typed.drain(..start);
    let Some(end) = typed.iter().position(|byte| *byte == b'\n') else { return Ok(None) };
    let command = typed.get(1..end).and_then(Command::parse);
    let unknown = || io::Error::new(io::ErrorKind::InvalidData, "no such command");
    command.map(|command| Some((command, end + 1))).ok_or_else(unknown)
}

/// Executes a command. `rest` is the input after it; the part that does not belong to the command
/// is in `typed` afterwards.
async fn obey(
    port: &mut TcpStream,
    command: Command,
    rest: &[u8],
    typed: &mut Vec<u8>,
) -> io::Result<()> {
    let mut own = 0;
    match command {
        Command::Print(bytes) => print(port, bytes).await?,
        Command::Pace { bytes, rate } => pace(port, bytes, rate).await?,
        Command::Read(bytes) => {
            own = rest.len().min(usize::try_from(bytes).unwrap_or(usize::MAX));
            read(port, rest.get(..own).unwrap_or_default(), bytes).await?;
        }
    }
    typed.clear();
    typed.extend_from_slice(rest.get(own..).unwrap_or_default());
    Ok(())
}

async fn print(port: &mut TcpStream, bytes: u64) -> io::Result<()> {
    let mut offset = 0;
    while offset < bytes {
        offset += port.write(pattern::piece(offset, bytes - offset)).await? as u64;
        // Guests that print at the same time take turns.
        tokio::task::yield_now().await;
    }
    Ok(())
}

/// Writes once a millisecond. Output that was delayed is printed at once afterwards.
async fn pace(port: &mut TcpStream, bytes: u64, rate: u64) -> io::Result<()> {
    let mut ticks = tokio::time::interval(Duration::from_millis(1));
    let piece = (rate / 1000).max(1);
    let (start, mut offset, mut waited) = (Instant::now(), 0, Duration::ZERO);
    while offset < bytes {
        ticks.tick().await;
        let text = pattern::piece(offset, piece.min(bytes - offset));
        let written = port.try_write(text).or_else(|error| match error.kind() {
            io::ErrorKind::WouldBlock => Ok(0),
            _ => Err(error),
        })?;
        if written < text.len() {
            let full = Instant::now();
            port.write_all(text.get(written..).unwrap_or_default()).await?;
            waited = waited.max(full.elapsed());
        }
        offset += text.len() as u64;
    }
    let due = Duration::from_millis(bytes.div_ceil(piece) - 1);
    let punctuality = Punctuality { waited, late: start.elapsed().saturating_sub(due) };
    port.write_all(punctuality.printed().as_bytes()).await
}

async fn read(port: &mut TcpStream, first: &[u8], bytes: u64) -> io::Result<()> {
    let mut check = Check::default();
    check.take(first);
    let mut buffer = vec![0; pattern::PIECE];
    while check.bytes() < bytes {
        let wanted = usize::try_from(bytes - check.bytes()).unwrap_or(usize::MAX);
        let room = wanted.min(buffer.len());
        let read = port.read(buffer.get_mut(..room).unwrap_or_default()).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        check.take(buffer.get(..read).unwrap_or_default());
    }
    port.write_all(&[if check.verify().is_ok() { WHOLE } else { BROKEN }]).await
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn a_command_is_understood_as_it_is_typed() {
        let commands =
            [Command::Print(7), Command::Read(65_536), Command::Pace { bytes: 15, rate: 5 }];
        for command in commands {
            let typed = command.typed();
            let text = typed.strip_prefix('\x01').unwrap().strip_suffix('\n').unwrap();
            assert_eq!(Command::parse(text.as_bytes()), Some(command));
        }
        assert_eq!(Command::parse(b"x1"), None);
        assert_eq!(Command::parse(b"p"), None);
    }

    #[test]
    fn punctuality_is_read_as_it_is_printed() {
        let said = Punctuality { waited: Duration::from_micros(12), late: Duration::from_secs(3) };
        assert_eq!(said.printed().len() as u64, Punctuality::SIZE);
        assert_eq!(Punctuality::parse(said.printed().as_bytes()), Some(said));
    }

    /// A guest, and the client's end of its port.
    async fn guest() -> TcpStream {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        tokio::spawn(serve(listener.accept().await.unwrap().0));
        client
    }

    #[tokio::test]
    async fn a_guest_echoes_and_prints_on_command() {
        let mut client = guest().await;
        client.write_all(b"ab\x01p16\ncd").await.unwrap();
        let mut output = [0; 20];
        client.read_exact(&mut output).await.unwrap();
        assert_eq!(&output, b"ab000000000000000\ncd");
    }

    #[tokio::test]
    async fn a_guest_tells_a_whole_upload_from_a_broken_one() {
        let mut client = guest().await;
        for (upload, answer) in [(&b"000000000000000\n"[..], b'+'), (b"000000000000001\n", b'-')] {
            client.write_all(b"\x01r16\n").await.unwrap();
            client.write_all(upload).await.unwrap();
            assert_eq!(client.read_u8().await.unwrap(), answer);
        }
    }
}
