//! The frames of RFC 6455 as a server reads and writes them. No I/O: bytes in, items out.
//!
//! A binary message is passed on in pieces as it arrives, in the buffer that it was read into, so a
//! connection needs no buffer for it. Text is collected, because only a complete message has a
//! meaning.

#[cfg(test)]
mod tests;

use serialproxy_proto::close::Close;
use serialproxy_proto::close::CloseCode;

/// Largest message from a client in bytes.
pub(crate) const MESSAGE: u64 = 1024 * 1024;

/// Largest text message from a client in bytes, since a whole one is kept in memory.
pub(crate) const TEXT: u64 = 64 * 1024;

/// Largest payload of a control frame in bytes (section 5.5).
const CONTROL: u8 = 125;

/// Largest head of a frame in bytes, with its mask (section 5.2).
const HEAD: usize = 14;

/// The type of a frame (section 5.2).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Opcode {
    Continuation,
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

/// An item from a client.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Item<'a> {
    /// The next bytes of a binary message.
    Binary(&'a [u8]),
    /// A text message.
    Text(String),
    /// A ping, to be answered with the same bytes.
    Ping(Vec<u8>),
    Pong,
    /// A Close frame, with its code.
    Close(Option<u16>),
}

/// Parses a client's frames.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    /// The beginning of an incomplete frame head.
    head: [u8; HEAD],
    head_length: u8,
    frame: Option<Frame>,
    /// The type of the present message; none between messages.
    message: Option<Opcode>,
    /// Its length so far, in bytes.
    length: u64,
    /// The text of the present message.
    text: Vec<u8>,
    /// A control frame's payload so far.
    control: Vec<u8>,
}

/// A frame whose payload is being read.
#[derive(Clone, Copy, Debug)]
struct Frame {
    opcode: Opcode,
    last: bool,
    mask: [u8; 4],
    left: u64,
}

impl Decoder {
    /// The next item from the front of `input`; none when all of the input was used.
    ///
    /// # Errors
    ///
    /// With the Close frame for a client that violates RFC 6455. Nothing may be parsed after that.
    pub(crate) fn next<'a>(&mut self, input: &mut &'a mut [u8]) -> Result<Option<Item<'a>>, Close> {
        loop {
            let frame = match self.frame {
                Some(frame) => frame,
                None => match self.begin_frame(input)? {
                    Some(frame) => frame,
                    None => return Ok(None),
                },
            };
            if input.is_empty() && frame.left > 0 {
                return Ok(None);
            }
            let length = usize::try_from(frame.left).unwrap_or(usize::MAX).min(input.len());
            let payload = take(input, length);
            let mask = unmask(payload, frame.mask);
            let left = frame.left - length as u64;
            self.frame = (left > 0).then_some(Frame { mask, left, ..frame });
            if let Some(item) = self.take_payload(payload, frame, left == 0)? {
                return Ok(Some(item));
            }
        }
    }

    /// Reads a frame's head, as far as it has arrived.
    fn begin_frame(&mut self, input: &mut &mut [u8]) -> Result<Option<Frame>, Close> {
        loop {
            let have = usize::from(self.head_length);
            if have == 2 {
                // At once: an invalid frame may have no further bytes.
                check_start(self.head)?;
            }
            // The second byte gives the length of the head.
            let wanted = if have < 2 { 2 } else { head_length(self.head) };
            if have == wanted && have > 2 {
                break;
            }
            if input.is_empty() {
                return Ok(None);
            }
            let more = take(input, (wanted - have).min(input.len()));
            for (place, byte) in self.head.iter_mut().skip(have).zip(more.iter()) {
                *place = *byte;
            }
            self.head_length += u8::try_from(more.len()).unwrap_or_default();
        }
        let frame = self.read_head()?;
        self.head_length = 0;
        self.frame = Some(frame);
        Ok(Some(frame))
    }

    fn read_head(&mut self) -> Result<Frame, Close> {
        let [first, second, rest @ ..] = self.head;
        let opcode = opcode(first & 0x0f)?;
        let last = first & 0x80 != 0;
        let [a, b, c, d, e, f, g, h, mask @ ..] = rest;
        let (left, least, mask) = match second & 0x7f {
            126 => (u64::from(u16::from_be_bytes([a, b])), 126, [c, d, e, f]),
            127 => (u64::from_be_bytes([a, b, c, d, e, f, g, h]), 1 << 16, mask),
            length => (u64::from(length), 0, [a, b, c, d]),
        };
        if left < least {
            return Err(broken("a length takes more bytes than it needs"));
        }
        if left >> 63 != 0 {
            return Err(broken("the highest bit of a length is set"));
        }
        match opcode {
            Opcode::Continuation if self.message.is_none() => {
                return Err(broken("there is no message to continue"));
            }
            Opcode::Text | Opcode::Binary if self.message.is_some() => {
                return Err(broken("the message before is not finished"));
            }
            Opcode::Text | Opcode::Binary => self.message = Some(opcode),
            Opcode::Continuation | Opcode::Close | Opcode::Ping | Opcode::Pong => {}
        }
        if !is_control(opcode) {
            self.length = self.length.saturating_add(left);
            let (kind, most) = match self.message {
                Some(Opcode::Text) => ("a text message", TEXT),
                _ => ("a message", MESSAGE),
            };
            if self.length > most {
                let reason = format!("{kind} has at most {most} bytes");
                return Err(Close::new(CloseCode::TooBig, reason));
            }
        }
        Ok(Frame { opcode, last, mask, left })
    }

    /// Takes a piece of a frame's payload; `whole` means that the frame ends with it.
    fn take_payload<'a>(
        &mut self,
        payload: &'a [u8],
        frame: Frame,
        whole: bool,
    ) -> Result<Option<Item<'a>>, Close> {
        if is_control(frame.opcode) {
            self.control.extend_from_slice(payload);
            if !whole {
                return Ok(None);
            }
            let payload = std::mem::take(&mut self.control);
            return match frame.opcode {
                Opcode::Ping => Ok(Some(Item::Ping(payload))),
                Opcode::Close => close_code(&payload).map(|code| Some(Item::Close(code))),
                _ => Ok(Some(Item::Pong)),
            };
        }
        let finished = whole && frame.last;
        let kind = self.message;
        if finished {
            self.message = None;
            self.length = 0;
        }
        if kind == Some(Opcode::Text) {
            self.text.extend_from_slice(payload);
            if !finished {
                return Ok(None);
            }
            let text = String::from_utf8(std::mem::take(&mut self.text));
            let bad = |_| Close::new(CloseCode::BadText, "a text message is not UTF-8");
            return text.map(|text| Some(Item::Text(text))).map_err(bad);
        }
        Ok((!payload.is_empty()).then_some(Item::Binary(payload)))
    }
}

/// The head of a server's frame, which is not masked.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Head {
    bytes: [u8; 10],
    length: usize,
}

impl Head {
    /// The head of a whole message.
    pub(crate) fn new(opcode: Opcode, payload: usize) -> Self {
        let mut bytes = [0; 10];
        let [first, second, length @ ..] = &mut bytes;
        *first = 0x80 | number(opcode);
        let [a, b, ..] = length;
        let used = match u16::try_from(payload) {
            Ok(short) if short < 126 => {
                *second = u8::try_from(short).unwrap_or_default();
                2
            }
            Ok(medium) => {
                *second = 126;
                [*a, *b] = medium.to_be_bytes();
                4
            }
            Err(_) => {
                *second = 127;
                *length = (payload as u64).to_be_bytes();
                10
            }
        };
        Self { bytes, length: used }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

/// A complete Close frame from a server.
pub fn close_frame(close: &Close) -> Vec<u8> {
    let payload = close_payload(close.code.number(), close.wire_reason());
    [Head::new(Opcode::Close, payload.len()).as_bytes(), &payload].concat()
}

/// The payload of a Close frame.
pub(crate) fn close_payload(code: u16, reason: &str) -> Vec<u8> {
    [&code.to_be_bytes(), reason.as_bytes()].concat()
}

/// Removes a client's mask, and returns the mask rotated for the next bytes.
fn unmask(bytes: &mut [u8], mask: [u8; 4]) -> [u8; 4] {
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let length = bytes.len();
    let (words, rest) = bytes.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
    match length % 4 {
        1 => [b, c, d, a],
        2 => [c, d, a, b],
        3 => [d, a, b, c],
        _ => mask,
    }
}

/// Cuts `length` bytes off the front.
fn take<'a>(input: &mut &'a mut [u8], length: usize) -> &'a mut [u8] {
    let (front, rest) = std::mem::take(input).split_at_mut(length);
    *input = rest;
    front
}

/// The length of a frame's head in bytes, from its second byte.
fn head_length(head: [u8; HEAD]) -> usize {
    let [_, second, ..] = head;
    match second & 0x7f {
        126 => 8,
        127 => 14,
        _ => 6,
    }
}

/// Checks the first two bytes of a frame's head (section 5.2).
fn check_start([first, second, ..]: [u8; HEAD]) -> Result<(), Close> {
    if first & 0x70 != 0 {
        return Err(broken("a reserved bit is set"));
    }
    if second & 0x80 == 0 {
        return Err(broken("a client's frame must be masked"));
    }
    let (last, length) = (first & 0x80 != 0, second & 0x7f);
    if is_control(opcode(first & 0x0f)?) && (!last || length > CONTROL) {
        return Err(broken("a control frame is fragmented or too long"));
    }
    Ok(())
}

fn close_code(payload: &[u8]) -> Result<Option<u16>, Close> {
    match payload {
        [] => Ok(None),
        [high, low, reason @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            // Section 7.4: these codes are never sent.
            let sendable = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
            match sendable && std::str::from_utf8(reason).is_ok() {
                true => Ok(Some(code)),
                false => Err(broken("this is no code or reason to close with")),
            }
        }
        [_] => Err(broken("half a code to close with")),
    }
}

fn opcode(number: u8) -> Result<Opcode, Close> {
    match number {
        0 => Ok(Opcode::Continuation),
        1 => Ok(Opcode::Text),
        2 => Ok(Opcode::Binary),
        8 => Ok(Opcode::Close),
        9 => Ok(Opcode::Ping),
        10 => Ok(Opcode::Pong),
        _ => Err(broken("an opcode is unknown")),
    }
}

fn number(opcode: Opcode) -> u8 {
    match opcode {
        Opcode::Continuation => 0,
        Opcode::Text => 1,
        Opcode::Binary => 2,
        Opcode::Close => 8,
        Opcode::Ping => 9,
        Opcode::Pong => 10,
    }
}

fn is_control(opcode: Opcode) -> bool {
    matches!(opcode, Opcode::Close | Opcode::Ping | Opcode::Pong)
}

fn broken(reason: &str) -> Close {
    Close::new(CloseCode::ProtocolError, reason)
}
