//! Incomplete characters (RFC 3629): a serial line delivers bytes at any time.

/// Most bytes of a character.
const LONGEST: usize = 4;

/// How many bytes at the end are the beginning of an incomplete character; 0 where the last
/// character is complete or invalid.
pub fn unfinished(bytes: &[u8]) -> usize {
    if bytes.last().is_none_or(u8::is_ascii) {
        return 0;
    }
    let last = bytes.iter().rev().take(LONGEST - 1);
    // Skips continuation bytes, back to the byte that says how long the character is.
    let Some(behind) = last.clone().position(|byte| *byte & 0xc0 != 0x80) else { return 0 };
    let (_, end) = bytes.split_at(bytes.len() - behind - 1);
    match std::str::from_utf8(end) {
        Err(error) if error.valid_up_to() == 0 && error.error_len().is_none() => end.len(),
        _ => 0,
    }
}

/// Whether all of it is the beginning of one incomplete character.
pub fn is_unfinished(bytes: &[u8]) -> bool {
    bytes.len() < LONGEST && unfinished(bytes) == bytes.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_begins_a_character_is_unfinished_and_nothing_else_is() {
        for (bytes, expected) in [
            (&b""[..], 0),
            (b"a", 0),
            (b"a\xc3", 1),
            (b"\xc3\xa4", 0),
            (b"\xe2", 1),
            (b"a\xe2\x82", 2),
            (b"\xe2\x82\xac", 0),
            (b"\xf0\x9f\x98", 3),
            (b"\xf0\x9f\x98\x80", 0),
            // No character begins in this way: an overlong form, a surrogate, or beyond U+10FFFF.
            (b"\xc0", 0),
            (b"\xe0\x80", 0),
            (b"\xed\xa0", 0),
            (b"\xf4\x90", 0),
            (b"\xff", 0),
            (b"\x82\x82\x82\x82", 0),
            (b"\xe2\x82\x41", 0),
        ] {
            assert_eq!(unfinished(bytes), expected, "{bytes:x?}");
            assert_eq!(is_unfinished(bytes), expected == bytes.len());
        }
    }

    proptest! {
        #[test]
        fn a_text_cut_anywhere_is_whole_up_to_what_is_unfinished(text in ".{1,20}", at: u8) {
            let cut = &text.as_bytes()[..usize::from(at) % (text.len() + 1)];
            let whole = &cut[..cut.len() - unfinished(cut)];
            prop_assert!(std::str::from_utf8(whole).is_ok());
            prop_assert!(cut.len() < whole.len() + LONGEST);
        }
    }
}
