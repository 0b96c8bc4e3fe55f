//! Telnet (RFC 854) as QEMU speaks it on a serial port (`telnet=on`; QEMU 7.2, `chardev/char-socket.c`).
//!
//! QEMU begins with its options (`IAC WILL ECHO` and others), does not wait for an answer, and then
//! sends the guest's output unchanged: it sends a byte 0xff once, where RFC 854 requires two. In
//! the other direction each 0xff is doubled. QEMU loses the byte after a two-byte command other
//! than a break, and passes subnegotiation to the guest, so no other commands are sent.

use std::io;

/// `IAC`, and `WILL`, `WONT`, `DO` and `DONT`, which have one byte more.
const IAC: u8 = 255;
const OPTIONS: std::ops::RangeInclusive<u8> = 251..=254;

/// Most options at the beginning: QEMU sends 4, or 7 for TN3270.
const MOST: usize = 8;

/// Most bytes of input that are encoded at a time.
const PIECE: usize = 16 * 1024;

/// The stream from QEMU: first its options, then the guest's output.
#[derive(Debug)]
pub(crate) enum Decoder {
    /// At most `left` options are still to come; `begun` has the bytes of an incomplete one.
    Options { left: usize, begun: Vec<u8> },
    /// All bytes are the guest's.
    Output,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::Options { left: MOST, begun: Vec::with_capacity(2) }
    }
}

impl Decoder {
    /// Whether nothing needs to be removed any more.
    pub(crate) fn is_done(&self) -> bool {
        matches!(self, Self::Output)
    }

    /// Removes the options from received bytes. Returns the guest's bytes, including those that
    /// were held back earlier.
    pub(crate) fn decode(&mut self, came: &[u8]) -> Vec<u8> {
        let mut came = came.iter();
        while let Self::Options { left, begun } = self {
            let Some(byte) = came.next() else { return Vec::new() };
            begun.push(*byte);
            let is_option = match **begun {
                [IAC] => true,
                [IAC, command] => OPTIONS.contains(&command),
                _ => begun.len() == 3,
            };
            if !is_option || *left == 0 {
                let mut output = std::mem::take(begun);
                output.extend(came.as_slice());
                *self = Self::Output;
                return output;
            }
            if begun.len() == 3 {
                begun.clear();
                *left -= 1;
            }
        }
        came.as_slice().to_owned()
    }
}

/// The stream to QEMU.
#[derive(Debug, Default)]
pub(crate) struct Encoder {
    /// Whether the first of two `IAC` was written, and the second was not.
    half: bool,
}

impl Encoder {
    /// Writes input with each 0xff doubled, through `write`, which may accept a part; returns how
    /// many bytes of the input were written completely.
    pub(crate) fn write(
        &mut self,
        input: &[u8],
        write: impl FnOnce(&[u8]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let input = input.get(..PIECE.min(input.len())).unwrap_or_default();
        let mut encoded = Vec::with_capacity(input.len() + 1);
        // The input that it belongs to may have been dropped since: then the second `IAC` is
        // written alone.
        let dropped = self.half && input.first() != Some(&IAC);
        if dropped {
            encoded.push(IAC);
        }
        for (at, byte) in input.iter().enumerate() {
            encoded.push(*byte);
            if *byte == IAC && !(at == 0 && self.half) {
                encoded.push(IAC);
            }
        }
        let mut written = write(&encoded)?;
        if dropped && written > 0 {
            self.half = false;
            written -= 1;
        }
        let mut taken = 0;
        for byte in input {
            let length = if *byte == IAC && !self.half { 2 } else { 1 };
            if written < length {
                self.half |= written == 1;
                break;
            }
            self.half = false;
            written -= length;
            taken += 1;
        }
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The first bytes from QEMU.
    const QEMU: [u8; 12] = [255, 251, 1, 255, 251, 3, 255, 251, 0, 255, 253, 0];

    /// The bytes that the guest receives from QEMU.
    fn received(sent: &[u8]) -> Vec<u8> {
        let mut got = Vec::new();
        let mut sent = sent.iter();
        while let Some(byte) = sent.next() {
            if *byte == IAC {
                assert_eq!(sent.next(), Some(&IAC), "a command");
            }
            got.push(*byte);
        }
        got
    }

    fn decoded(stream: &[u8], cuts: usize) -> Vec<u8> {
        let mut decoder = Decoder::default();
        stream.chunks(cuts).flat_map(|piece| decoder.decode(piece)).collect()
    }

    #[test]
    fn the_options_are_taken_out_and_the_guest_s_bytes_are_left_as_they_are() {
        let output = b"login: \xff\xfb\x01\xff";
        for cuts in 1..20 {
            assert_eq!(decoded(&[&QEMU[..], output].concat(), cuts), output);
        }
        assert_eq!(decoded(b"\xffx", 1), b"\xffx", "no option");
        let many = QEMU.repeat(3);
        assert_eq!(decoded(&many, 7), &many[3 * MOST..], "so many are the guest's");
    }

    proptest! {
        #[test]
        fn whatever_is_typed_arrives_however_little_is_taken_at_once(
            input in proptest::collection::vec(prop_oneof![any::<u8>(), Just(IAC)], 0..200),
            takes in proptest::collection::vec(0..5usize, 1..20),
        ) {
            let (mut encoder, mut sent, mut rest) = (Encoder::default(), Vec::new(), &input[..]);
            let mut takes = takes.iter().chain(std::iter::repeat(&1));
            while !rest.is_empty() {
                let most = *takes.next().unwrap();
                let taken = encoder.write(rest, |encoded| {
                    let piece = &encoded[..most.min(encoded.len())];
                    sent.extend_from_slice(piece);
                    Ok(piece.len())
                });
                rest = &rest[taken.unwrap()..];
            }
            prop_assert_eq!(received(&sent), input);
        }

        #[test]
        fn what_was_dropped_half_written_makes_no_command_of_what_is_typed_next(
            next in proptest::collection::vec(0..255u8, 1..20),
        ) {
            let (mut encoder, mut sent) = (Encoder::default(), Vec::new());
            let taken = encoder.write(&[IAC], |encoded| {
                sent.push(encoded[0]);
                Ok(1)
            });
            prop_assert_eq!(taken.unwrap(), 0);
            let taken = encoder.write(&next, |encoded| {
                sent.extend_from_slice(encoded);
                Ok(encoded.len())
            });
            prop_assert_eq!(taken.unwrap(), next.len());
            prop_assert_eq!(received(&sent), [&[IAC], &next[..]].concat());
        }

        #[test]
        fn what_follows_the_options_is_the_output_wherever_it_is_cut(
            output in proptest::collection::vec(1..255u8, 0..100),
            cuts in 1..40usize,
        ) {
            prop_assert_eq!(decoded(&[&QEMU[..], &output].concat(), cuts), output);
        }
    }
}
