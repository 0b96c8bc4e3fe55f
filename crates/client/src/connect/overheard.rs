//! A connection whose first bytes are kept. If the server does not open a WebSocket, they show why.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::task::Context;
use std::task::Poll;
use std::task::ready;

use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::io::ReadBuf;

use crate::text::printable;

/// 4 KiB: the head of an answer, or most of it.
const KEPT: usize = 4096;

/// A TLS alert record, which some servers send in answer to plain HTTP (RFC 8446 section 5.1).
const ALERT: u8 = 0x15;

/// The first received bytes.
pub(crate) type Heard = Arc<Mutex<Vec<u8>>>;

/// A connection whose first bytes are kept.
#[derive(Debug)]
pub(crate) struct Overheard<S> {
    stream: S,
    /// None once enough is kept.
    heard: Option<Heard>,
}

/// The answer of a server.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Answer {
    /// HTTP status; none where the server does not speak HTTP.
    pub(crate) status: Option<u16>,
    /// The reason, in serialproxy's words.
    pub(crate) reason: Option<String>,
    /// Whether it speaks TLS.
    pub(crate) tls: bool,
}

impl<S> Overheard<S> {
    pub(crate) fn new(stream: S) -> (Self, Heard) {
        let heard = Heard::default();
        (Self { stream, heard: Some(Arc::clone(&heard)) }, heard)
    }

    fn keep(&mut self, bytes: &[u8]) {
        let Some(heard) = &self.heard else { return };
        let mut kept = heard.lock().unwrap_or_else(PoisonError::into_inner);
        let room = KEPT - kept.len();
        kept.extend(bytes.iter().take(room));
        if kept.len() == KEPT {
            drop(kept);
            self.heard = None;
        }
    }
}

/// Parses the kept bytes.
pub(crate) fn answer(heard: &Heard) -> Answer {
    let bytes = heard.lock().unwrap_or_else(PoisonError::into_inner);
    let text = String::from_utf8_lossy(&bytes);
    let mut lines = text.split("\r\n");
    let first = lines.next().and_then(|line| line.strip_prefix("HTTP/1."));
    let status = first.and_then(|line| line.split(' ').nth(1)?.parse().ok());
    let mut headers = lines.take_while(|line| !line.is_empty()).filter_map(|l| l.split_once(':'));
    let reason = headers.find(|(name, _)| name.eq_ignore_ascii_case("x-console-reason"));
    let reason = reason.map(|(_, value)| printable(value.trim()));
    Answer { status, reason, tls: bytes.first() == Some(&ALERT) }
}

impl<S: AsyncRead + Unpin> AsyncRead for Overheard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        self.keep(buffer.filled().get(before..).unwrap_or_default());
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Overheard<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    async fn heard(bytes: &[u8]) -> Answer {
        let (mut stream, heard) = Overheard::new(tokio::io::join(bytes, tokio::io::sink()));
        stream.read_to_end(&mut Vec::new()).await.unwrap();
        assert!(heard.lock().unwrap().len() <= KEPT);
        answer(&heard)
    }

    #[tokio::test]
    async fn status_and_reason_are_read_and_nothing_else_needs_to_make_sense() {
        let refusal =
            b"HTTP/1.1 400 Bad Request\r\nDate: x\r\nx-console-reason: it is\x1b busy\r\n\r\n";
        let wanted =
            Answer { status: Some(400), reason: Some("it is\\u{1b} busy".into()), tls: false };
        assert_eq!(heard(refusal).await, wanted);
        let page =
            [&b"HTTP/1.0 200 OK\r\n\r\nx-console-reason: no\r\n"[..], &[b'x'; 9000]].concat();
        assert_eq!(heard(&page).await, Answer { status: Some(200), ..Answer::default() });
        assert!(heard(b"\x15\x03\x01\x00\x02\x02\x46").await.tls);
        for other in [&b""[..], b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1", b"HTTP/1.1 x\r\n"] {
            assert_eq!(heard(other).await, Answer::default(), "{other:?}");
        }
    }
}
