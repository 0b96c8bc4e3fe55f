//! WebSocket frames as a client uses them (RFC 6455 section 5): sent frames are masked, received
//! ones are not.

use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;

use anyhow::bail;
use anyhow::ensure;

/// Largest payload of a control frame, in bytes.
const CONTROL: u64 = 125;

/// The type of a frame.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Opcode {
    /// Bytes of the console.
    Binary = 2,
    /// The end.
    Close = 8,
    /// The answer to a ping.
    Pong = 10,
}

/// A source of masks that look random and are never zero.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Masks(u32);

impl Masks {
    /// Begins with another mask each time.
    pub(crate) fn new() -> Self {
        static SEED: AtomicU32 = AtomicU32::new(0x9e37_79b9);
        Self(SEED.fetch_add(0x6d2b_79f5, Ordering::Relaxed).max(1))
    }

    /// The next mask (Marsaglia's xorshift, which never becomes zero).
    pub(crate) fn draw(&mut self) -> [u8; 4] {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0.to_be_bytes()
    }
}

/// A complete frame.
pub(crate) fn encode(opcode: Opcode, payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(payload.len() + 14);
    frame.push(0x80 | opcode as u8);
    let length = payload.len() as u64;
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(length @ ..=125), _) => frame.push(0x80 | length),
        (_, Ok(length)) => {
            frame.push(0x80 | 126);
            frame.extend(length.to_be_bytes());
        }
        _ => {
            frame.push(0x80 | 127);
            frame.extend(length.to_be_bytes());
        }
    }
    frame.extend(mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// A part of the received bytes.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Piece<'a> {
    /// Bytes of the console: the payload of a frame, or the part of it that has arrived.
    Data(&'a [u8]),
    /// A ping, to be answered with the same payload.
    Ping(Vec<u8>),
    /// The code of a Close frame; 1005 when it has none.
    Close(u16),
}

/// Parses frames from a stream in any pieces. Text frames and pongs are dropped.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    header: Vec<u8>,
    /// Bytes of the frame's payload that have not arrived yet.
    left: u64,
    opcode: u8,
    control: Vec<u8>,
}

impl Decoder {
    /// The next piece of `bytes`, which advances behind it; `None` when more bytes are needed.
    pub(crate) fn next<'a>(&mut self, bytes: &mut &'a [u8]) -> anyhow::Result<Option<Piece<'a>>> {
        loop {
            if self.left == 0 && !self.begin(bytes)? {
                return Ok(None);
            }
            let have = usize::try_from(self.left).map_or(bytes.len(), |left| left.min(bytes.len()));
            let (payload, rest) = bytes.split_at(have);
            *bytes = rest;
            self.left -= have as u64;
            match self.opcode {
                0 | 2 if have > 0 => return Ok(Some(Piece::Data(payload))),
                0..=2 | 10 => {}
                8 | 9 => self.control.extend_from_slice(payload),
                opcode => bail!("a frame has the unknown opcode {opcode}"),
            }
            if self.left > 0 {
                return Ok(None);
            }
            let control = std::mem::take(&mut self.control);
            match self.opcode {
                8 => return Ok(Some(Piece::Close(code(&control)))),
                9 => return Ok(Some(Piece::Ping(control))),
                _ => {}
            }
        }
    }

    /// Reads a header; returns whether it was complete.
    fn begin(&mut self, bytes: &mut &[u8]) -> anyhow::Result<bool> {
        while let Some((byte, rest)) = bytes.split_first() {
            self.header.push(*byte);
            *bytes = rest;
            let (opcode, length) = match *self.header {
                [opcode, length @ ..=125] => (opcode, u64::from(length)),
                [opcode, 126, a, b] => (opcode, u64::from(u16::from_be_bytes([a, b]))),
                [opcode, 127, a, b, c, d, e, f, g, h] => {
                    (opcode, u64::from_be_bytes([a, b, c, d, e, f, g, h]))
                }
                [_, 128..=255, ..] => bail!("a frame of the server is masked"),
                _ => continue,
            };
            self.header.clear();
            ensure!(opcode & 0x70 == 0, "a frame has bits set that nobody agreed on");
            (self.opcode, self.left) = (opcode & 15, length);
            ensure!(self.opcode < 8 || length <= CONTROL, "a control frame has {length} bytes");
            return Ok(true);
        }
        Ok(false)
    }
}

fn code(payload: &[u8]) -> u16 {
    match payload {
        [a, b, ..] => u16::from_be_bytes([*a, *b]),
        _ => 1005,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All pieces of `bytes`, decoded in parts of `size`; adjacent data is joined.
    fn decode(bytes: &[u8], size: usize) -> (Vec<u8>, Vec<String>) {
        let (mut decoder, mut data, mut others) = (Decoder::default(), Vec::new(), Vec::new());
        for mut part in bytes.chunks(size) {
            while let Some(piece) = decoder.next(&mut part).unwrap() {
                match piece {
                    Piece::Data(piece) => data.extend_from_slice(piece),
                    other => others.push(format!("{other:?}")),
                }
            }
        }
        (data, others)
    }

    #[test]
    fn frames_are_taken_apart_however_they_are_cut() {
        let mut bytes =
            vec![0x82, 2, b'a', b'b', 0x82, 0, 0x89, 1, b'!', 0x81, 3, b'{', b'}', b' '];
        bytes.extend([0x82, 126, 1, 0]);
        bytes.extend([b'c'; 256]);
        bytes.extend([0x82, 127, 0, 0, 0, 0, 0, 0, 0, 1, b'd', 0x88, 2, 0x0f, 0xab]);
        for size in [1, 2, 3, 7, 64, 4096] {
            let (data, others) = decode(&bytes, size);
            assert_eq!(data, [b"ab".as_slice(), &[b'c'; 256], b"d"].concat());
            assert_eq!(others, ["Ping([33])", "Close(4011)"]);
        }
    }

    #[test]
    fn a_close_without_a_code_says_so() {
        assert_eq!(decode(&[0x88, 0], 9).1, ["Close(1005)"]);
    }

    #[test]
    fn what_a_server_must_not_send_is_an_error() {
        let wrong: [&[u8]; 4] = [&[0x82, 0x81], &[0xc2, 0], &[0x83, 0], &[0x89, 126, 0, 126]];
        for mut wrong in wrong {
            assert!(Decoder::default().next(&mut wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_frame_is_masked_and_has_the_shortest_length() {
        let mask = [1, 2, 3, 4];
        assert_eq!(
            encode(Opcode::Binary, b"abcde", mask),
            [0x82, 0x85, 1, 2, 3, 4, b'a' ^ 1, b'b' ^ 2, b'c' ^ 3, b'd' ^ 4, b'e' ^ 1]
        );
        assert_eq!(encode(Opcode::Pong, &[0; 126], mask)[..4], [0x8a, 0xfe, 0, 126]);
        let long = encode(Opcode::Binary, &[0; 65_536], mask);
        assert_eq!(long[..10], [0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 0]);
        assert_eq!(long.len(), 65_536 + 14);
    }

    #[test]
    fn masks_differ_and_are_never_zero() {
        let mut masks = Masks::new();
        let drawn: std::collections::BTreeSet<_> = (0..10_000).map(|_| masks.draw()).collect();
        assert_eq!(drawn.len(), 10_000);
        assert!(!drawn.contains(&[0; 4]));
        assert_ne!(Masks::new().draw(), Masks::new().draw());
    }
}
