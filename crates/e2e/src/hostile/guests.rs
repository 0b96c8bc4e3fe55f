//! Hostile guests.

use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::time::sleep;

/// How many bytes a bomb prints at a time: as many as are painted.
const PRINT: usize = 256 * 1024;

/// The behavior of a guest.
#[derive(Clone, Copy, Debug)]
pub enum Guest {
    /// Prints this again and again.
    Prints(&'static str),
    /// Reads a little input, slowly, and prints nothing.
    Dawdles,
}

/// All guests, by the names of their servers.
pub const GUESTS: [(&str, Guest); 9] = [
    // A character, 65,535 times.
    ("bomb-repeat", Guest::Prints("x\x1b[65535b")),
    ("bomb-scroll", Guest::Prints("\x1b[2J\x1b[24S")),
    ("bomb-align", Guest::Prints("\x1b#8\x1b[24S")),
    ("bomb-insert", Guest::Prints("\x1b[65535L\x1b[65535@\x1b[H")),
    ("flood", Guest::Prints("0123456789abcdef 0123456789abcdef\r\n")),
    ("paste", Guest::Dawdles),
    ("paste-tls", Guest::Dawdles),
    ("force", Guest::Dawdles),
    ("drop", Guest::Dawdles),
];

/// Serves this guest to each connection.
pub(super) async fn serve(listener: TcpListener, guest: Guest) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            let _ = match guest {
                Guest::Prints(text) => print(stream, text).await,
                Guest::Dawdles => dawdle(stream).await,
            };
        });
    }
}

async fn print(stream: TcpStream, text: &str) -> std::io::Result<()> {
    let (mut from, mut to) = stream.into_split();
    tokio::spawn(
        async move { while from.read(&mut [0; 4096]).await.is_ok_and(|count| count > 0) {} },
    );
    let bomb = text.repeat(PRINT / text.len());
    loop {
        to.write_all(bomb.as_bytes()).await?;
        sleep(Duration::from_millis(200)).await;
    }
}

async fn dawdle(mut stream: TcpStream) -> std::io::Result<()> {
    while stream.read(&mut [0; 1024]).await? > 0 {
        sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}
