//! Finds the borders between the WebSocket frames of a host: a proxy that only copies them can insert its own
//! Close frame there. The frames are not validated; the client does that.

/// Bytes of a frame's head at most (RFC 6455 section 5.2).
const HEAD: usize = 14;

/// The opcode of a Close frame.
const CLOSE: u8 = 8;

/// How much of the frames of one direction has passed.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    /// The beginning of an incomplete head.
    head: [u8; HEAD],
    have: usize,
    /// Missing bytes of the payload.
    left: u64,
    closed: bool,
}

impl Frames {
    /// Whether the last frame is complete and the next has not begun.
    pub(crate) fn at_border(&self) -> bool {
        self.have == 0 && self.left == 0
    }

    /// Whether a Close frame has begun; no frame follows it.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Counts these bytes as passed.
    pub(crate) fn pass(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let passed = self.pass_to_border(bytes);
            bytes = bytes.get(passed..).unwrap_or_default();
        }
    }

    /// Counts the bytes up to the end of the current frame, or of the next if none has begun; returns how many.
    pub(crate) fn pass_to_border(&mut self, bytes: &[u8]) -> usize {
        let mut rest = bytes;
        while self.left == 0 {
            let Some((byte, behind)) = rest.split_first() else { return bytes.len() };
            rest = behind;
            self.take(*byte);
            if self.at_border() {
                return bytes.len() - rest.len();
            }
        }
        let taken = usize::try_from(self.left).unwrap_or(usize::MAX).min(rest.len());
        self.left -= taken as u64;
        bytes.len() - rest.len() + taken
    }

    /// Takes the next byte of a head.
    fn take(&mut self, byte: u8) {
        if let Some(place) = self.head.get_mut(self.have) {
            *place = byte;
        }
        self.have += 1;
        let [first, second, length @ ..] = self.head;
        let [a, b, c, d, e, f, g, h, ..] = length;
        let mask = if second & 0x80 == 0 { 0 } else { 4 };
        let (wanted, left) = match second & 0x7f {
            126 => (4 + mask, u16::from_be_bytes([a, b]).into()),
            127 => (10 + mask, u64::from_be_bytes([a, b, c, d, e, f, g, h])),
            short => (2 + mask, u64::from(short)),
        };
        if self.have >= 2 && self.have >= wanted {
            self.closed |= first & 0x0f == CLOSE;
            self.left = left;
            self.have = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A frame with this payload, with a mask or without.
    fn frame(opcode: u8, payload: usize, masked: bool) -> Vec<u8> {
        let mut frame = vec![0x80 | opcode];
        let mask = if masked { 0x80 } else { 0 };
        match payload {
            0..126 => frame.push(mask | u8::try_from(payload).unwrap()),
            126..0x1_0000 => {
                frame.push(mask | 126);
                frame.extend(u16::try_from(payload).unwrap().to_be_bytes());
            }
            _ => {
                frame.push(mask | 127);
                frame.extend((payload as u64).to_be_bytes());
            }
        }
        frame.extend([7; 4].iter().take(if masked { 4 } else { 0 }));
        frame.resize(frame.len() + payload, 0xff);
        frame
    }

    #[test]
    fn a_frame_of_any_length_ends_where_it_ends() {
        for payload in [0, 1, 125, 126, 127, 0xffff, 0x1_0000, 100_000] {
            for masked in [false, true] {
                let frame = frame(2, payload, masked);
                let mut frames = Frames::default();
                let (last, before) = frame.split_last().unwrap();
                frames.pass(before);
                assert!(!frames.at_border(), "{payload} {masked}");
                frames.pass(&[*last]);
                assert!(frames.at_border() && !frames.is_closed(), "{payload} {masked}");
            }
        }
    }

    #[test]
    fn a_close_frame_is_noticed_with_its_head() {
        let mut frames = Frames::default();
        frames.pass(&frame(2, 5, false));
        frames.pass(&frame(8, 2, false)[..2]);
        assert!(frames.is_closed() && !frames.at_border());
    }

    proptest! {
        #[test]
        fn borders_are_found_however_the_bytes_are_cut(
            payloads in prop::collection::vec((0usize..300, any::<bool>()), 1..8),
            cuts in prop::collection::vec(1usize..200, 1..8)
        ) {
            let mut bytes = Vec::new();
            let mut borders = Vec::new();
            for (payload, masked) in payloads {
                bytes.extend(frame(2, payload, masked));
                borders.push(bytes.len());
            }
            let (mut frames, mut at, mut found) = (Frames::default(), 0, Vec::new());
            let mut cuts = cuts.into_iter().cycle();
            while at < bytes.len() {
                let piece = &bytes[at..(at + cuts.next().unwrap()).min(bytes.len())];
                at += frames.pass_to_border(piece);
                if frames.at_border() {
                    found.push(at);
                }
            }
            prop_assert_eq!(found, borders);
        }

        #[test]
        fn no_bytes_make_it_stop(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            Frames::default().pass(&bytes);
        }
    }
}
