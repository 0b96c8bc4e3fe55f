//! The WebSocket of a session: frames in and out of a connection, without waiting.
//!
//! Normally it owns no buffer: it reads into a buffer of the thread, and writes output from the
//! line's history. If the kernel takes only a part of a frame, the rest is kept until the kernel
//! takes it too. So at most one frame is held for a client that reads slowly; with TLS, also what
//! is already encrypted.

use std::cell::RefCell;
use std::io;
use std::io::ErrorKind;
use std::io::IoSlice;
use std::time::Duration;

use bytes::Bytes;
use serialproxy_line::Attachment;
use serialproxy_line::Piece;
use serialproxy_metrics as metrics;
use serialproxy_metrics::Direction;
use serialproxy_proto::close::Close;
use serialproxy_proto::work;
use serialproxy_proto::work::Work;
use serialproxy_tls::Stream;
use tokio::io::Interest;
use tokio::task::yield_now;

use crate::record::Recording;
use crate::wire::Decoder;
use crate::wire::Head;
use crate::wire::Item;
use crate::wire::Opcode;
use crate::wire::close_payload;

/// Most bytes of one read from a client. All of them are handled before the next read. Together
/// with the input at the desk, this is the most that is kept of a client's input.
pub(crate) const READ: usize = 64 * 1024;

/// Slices of an output frame: its head, and its payload from two places.
const SLICES_EACH: usize = 3;

/// Most slices of one write.
const SLICES: usize = 5 * SLICES_EACH;

/// How long a client may take to accept the rest of a begun frame, and its Close frame: one that
/// was too slow may read again.
const FAREWELL: Duration = Duration::from_secs(5);

/// How long it may take to answer its Close frame.
const ANSWER: Duration = Duration::from_secs(1);

/// Most bytes that are read from a client that goes on sending after its Close frame was sent.
const LAST_WORDS: usize = READ;

thread_local! {
    /// The buffer for reads.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ].into_boxed_slice());
}

/// A connection after the WebSocket handshake.
#[derive(Debug)]
pub struct Socket {
    stream: Stream,
    /// Bytes that arrived right after the handshake and were not read yet.
    early: Bytes,
    decoder: Decoder,
    /// The rest of a frame that the kernel has not accepted yet.
    rest: Vec<u8>,
    /// Whether the kernel accepted nothing the last time.
    full: bool,
    /// The payload of the client's last ping, which must be answered.
    pong: Option<Vec<u8>>,
}

/// The result of a read.
#[derive(Debug)]
pub(crate) enum Heard {
    /// This many bytes arrived; 0 if there were none yet.
    Bytes(usize),
    /// The client sent a Close frame with this code.
    Leave(Option<u16>),
    /// The connection is gone.
    Gone,
    /// The client violated RFC 6455.
    Broken(Close),
}

impl Socket {
    /// A connection, and the bytes that arrived right after the handshake.
    pub fn new(stream: Stream, early: &[u8]) -> Self {
        Self {
            stream,
            // A copy, since the handshake's buffer is large.
            early: Bytes::copy_from_slice(early),
            decoder: Decoder::default(),
            rest: Vec::new(),
            full: false,
            pong: None,
        }
    }

    /// Whether the kernel has accepted everything, so that more can be sent.
    pub(crate) fn is_flushed(&self) -> bool {
        self.rest.is_empty() && !self.full
    }

    /// Waits until it can be read, if `read`, or its rest be written; returns which.
    pub(crate) async fn ready(&self, read: bool) -> io::Result<(bool, bool)> {
        if read && (!self.early.is_empty() || self.stream.has_more()) {
            // The next write shows whether it can be written, too.
            return Ok((true, !self.is_flushed()));
        }
        let interest = match (read, self.is_flushed()) {
            (true, true) => Interest::READABLE,
            (true, false) => Interest::READABLE | Interest::WRITABLE,
            (false, false) => Interest::WRITABLE,
            (false, true) => std::future::pending().await,
        };
        let ready = self.stream.tcp().ready(interest).await?;
        Ok((read && ready.is_readable(), ready.is_writable()))
    }

    /// Reads once, and passes everything to `take` except pings, which are answered.
    pub(crate) fn read(&mut self, take: impl FnMut(Item<'_>)) -> Heard {
        let heard = self.read_items(take);
        let answers = self.pong.is_some() && self.is_flushed();
        if answers && self.flush().is_err() { Heard::Gone } else { heard }
    }

    fn read_items(&mut self, mut take: impl FnMut(Item<'_>)) -> Heard {
        SCRATCH.with_borrow_mut(|scratch| {
            let length = if self.early.is_empty() {
                match self.stream.try_read(scratch) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return Heard::Bytes(0),
                    Ok(0) | Err(_) => return Heard::Gone,
                    Ok(length) => length,
                }
            } else {
                let early = self.early.split_to(self.early.len().min(scratch.len()));
                scratch.iter_mut().zip(&early).for_each(|(place, byte)| *place = *byte);
                early.len()
            };
            let mut input = scratch.get_mut(..length).unwrap_or_default();
            loop {
                match self.decoder.next(&mut input) {
                    Ok(None) => return Heard::Bytes(length),
                    Ok(Some(Item::Close(code))) => return Heard::Leave(code),
                    // Only the last one needs an answer (section 5.5.3).
                    Ok(Some(Item::Ping(payload))) => self.pong = Some(payload),
                    Ok(Some(item)) => take(item),
                    Err(close) => return Heard::Broken(close),
                }
            }
        })
    }

    /// Continues a begun frame, and answers a ping.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.stream.try_flush()?;
        self.full = !self.stream.is_flushed();
        if self.full {
            return Ok(());
        }
        let mut rest = std::mem::take(&mut self.rest);
        let written = if rest.is_empty() { 0 } else { self.write(&mut [IoSlice::new(&rest)])? };
        if written < rest.len() {
            rest.drain(..written);
            self.rest = rest;
        }
        match self.pong.take_if(|_| self.rest.is_empty() && !self.full) {
            Some(payload) => self.send(Opcode::Pong, &payload),
            None => Ok(()),
        }
    }

    /// Sends a frame. Everything before it must be flushed; otherwise the frame is kept.
    pub(crate) fn send(&mut self, opcode: Opcode, payload: &[u8]) -> io::Result<()> {
        let head = Head::new(opcode, payload.len());
        let head = head.as_bytes();
        let written = match self.rest.is_empty() {
            true => self.write(&mut [IoSlice::new(head), IoSlice::new(payload)])?,
            false => 0,
        };
        keep_rest(&mut self.rest, [head, payload], written);
        Ok(())
    }

    /// Sends live output, one frame for each piece, and records it.
    pub(crate) fn send_output(
        &mut self,
        attachment: &Attachment,
        recording: Option<&Recording>,
    ) -> io::Result<()> {
        let mut sent = Ok(());
        attachment.take(|pieces| {
            let taken = self.send_pieces(pieces).unwrap_or_else(|error| {
                sent = Err(error);
                0
            });
            metrics::SESSION_BYTES.of(Direction::Output).add(taken as u64);
            if let Some(recording) = recording.filter(|_| taken > 0) {
                recording.shown(first(pieces, taken));
            }
            taken
        });
        sent
    }

    /// Returns how many bytes were sent, or kept as the rest of a begun frame.
    fn send_pieces(&mut self, pieces: &[Piece<'_>]) -> io::Result<usize> {
        let mut heads = [Head::default(); SLICES / SLICES_EACH];
        for (head, piece) in heads.iter_mut().zip(pieces) {
            *head = Head::new(Opcode::Binary, piece.length());
        }
        let mut slices = [IoSlice::new(&[]); SLICES];
        let places = slices.as_chunks_mut::<SLICES_EACH>().0;
        for (place, (head, piece)) in places.iter_mut().zip(heads.iter().zip(pieces)) {
            *place = [head.as_bytes(), piece.before, piece.bytes].map(IoSlice::new);
        }
        let used = SLICES_EACH * pieces.len();
        let mut written = self.write(slices.get_mut(..used).unwrap_or_default())?;
        let mut taken = 0;
        for (head, piece) in heads.iter().zip(pieces) {
            if written == 0 {
                break;
            }
            let frame = [head.as_bytes(), piece.before, piece.bytes];
            keep_rest(&mut self.rest, frame, written);
            written = written.saturating_sub(head.as_bytes().len() + piece.length());
            taken += piece.length();
        }
        Ok(taken)
    }

    fn write(&mut self, slices: &mut [IoSlice<'_>]) -> io::Result<usize> {
        match self.stream.try_write_vectored(slices) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.full = true;
                Ok(0)
            }
            written => {
                self.full = !self.stream.is_flushed();
                written
            }
        }
    }

    /// Answers the client's Close frame.
    pub(crate) async fn part(&mut self, code: Option<u16>) {
        let payload = code.map(|code| close_payload(code, "")).unwrap_or_default();
        let _ = self.send(Opcode::Close, &payload);
        let _ = tokio::time::timeout(FAREWELL, self.flushed()).await;
        let _ = self.stream.say_goodbye();
    }

    /// Sends the Close frame and waits for the client's, both for a limited time: closing a
    /// connection with unread bytes would reset it, and the reset could overtake the reason.
    pub(crate) async fn say_goodbye(&mut self, close: &Close) {
        let payload = close_payload(close.code.number(), close.wire_reason());
        if self.send(Opcode::Close, &payload).is_err() {
            return;
        }
        if let Ok(true) = tokio::time::timeout(FAREWELL, self.flushed()).await {
            let _ = tokio::time::timeout(ANSWER, self.left()).await;
            let _ = self.stream.say_goodbye();
        }
    }

    /// Waits until everything is sent; false when the connection is lost.
    async fn flushed(&mut self) -> bool {
        while !self.is_flushed() {
            if self.ready(false).await.is_err() || self.flush().is_err() {
                return false;
            }
        }
        true
    }

    /// Waits until the client has closed the connection, or has sent so much that it will not.
    async fn left(&mut self) {
        let mut length = 0;
        while length < LAST_WORDS && self.ready(true).await.is_ok() {
            work::begin(Work::Goodbye);
            match self.read_items(|_| ()) {
                Heard::Bytes(more) => length += more,
                _ => return,
            }
            // Other tasks come first, and the deadline is checked.
            yield_now().await;
        }
    }
}

/// A copy of the first bytes of pieces.
fn first(pieces: &[Piece<'_>], length: usize) -> Vec<u8> {
    let parts = pieces.iter().flat_map(|piece| [piece.before, piece.bytes]);
    let mut bytes = Vec::with_capacity(length);
    for part in parts {
        let room = length - bytes.len();
        bytes.extend_from_slice(part.get(..room.min(part.len())).unwrap_or_default());
    }
    bytes
}

/// Keeps the rest of a frame's parts after the first `written` bytes.
fn keep_rest<const PARTS: usize>(rest: &mut Vec<u8>, parts: [&[u8]; PARTS], written: usize) {
    let mut written = written;
    for part in parts {
        rest.extend_from_slice(part.get(written..).unwrap_or_default());
        written = written.saturating_sub(part.len());
    }
}
