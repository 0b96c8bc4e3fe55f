//! Resets the terminal's state that a guest can change: at the guest's next boot, and when the
//! command ends. Tested with xterm.js and tmux.

/// Saves the title for the time of the command.
pub(crate) const BEGIN: &[u8] = b"\x1b[22;0t";

/// Restores the title.
const TITLE: &str = "\x1b[23;0t";

/// Ends any incomplete string or sequence of the guest.
const END: &str = "\x1b\\";

/// Setting the margins moves the cursor to the corner.
const MARGINS: &str = "\x1b7\x1b[?69l\x1b[r\x1b8";

/// UTF-8, and ASCII in G0 and G1; for G2 and G3 some terminals print the sequence.
const CHARSETS: &str = "\x1b%G\x0f\x1b(B\x1b)B";

/// Replacing instead of inserting, wrapping, and no colors.
const PLAIN: &str = "\x1b[4l\x1b[?7h\x1b[m";

/// A soft reset, which not all terminals know.
const SOFT: &str = "\x1b[!p";

/// Everything else that [`Changes`] does not track, without moving the cursor. Each sequence has
/// fewer than 64 bytes, the most that tmux accepts.
const MODES: &str = concat!(
    // Keyboard lock, insert and newline mode, local echo; cursor keys and keypad; xterm's and kitty's keys.
    "\x1b[2;4;20l\x1b[12h\x1b[?1l\x1b>\x1b[>4m\x1b[=0u",
    // Mouse and focus; paste, synchronized output, reports of colors and size.
    "\x1b[?1000;1001;1002;1003;1004;1005;1006;1015;1016;9l\x1b[?2004;2026;2031;2048l",
    // Reverse video, wrap, auto-repeat, tab stops; cursor and colors.
    "\x1b[?5l\x1b[?7h\x1b[?8h\x1b[?5W\x1b[?25h\x1b[0 q\x1b[m",
);

/// The palette, and the colors of text, background, cursor and selection.
const COLORS: &str =
    "\x1b]104\x1b\\\x1b]110\x1b\\\x1b]111\x1b\\\x1b]112\x1b\\\x1b]117\x1b\\\x1b]119\x1b\\";

/// The screen of full-screen programs.
const ALTERNATE: &str = "\x1b\\\x1b[?1049l";

/// Resets the origin mode, and moves the cursor, which that puts into the corner, to the last row.
const ORIGIN: &str = "\x1b[?6l\x1b[999H";

/// State that is reset only if the guest changed it: a person may have their own colors, leaving a
/// screen that is not shown moves the cursor, and so does resetting the origin mode.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    place: Place,
    colors: bool,
    modes: Modes,
}

/// Private modes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Modes {
    origin: bool,
    alternate: bool,
}

/// The part of a sequence that changes them, as far as it was seen.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Place {
    #[default]
    Elsewhere,
    Escape,
    /// OSC.
    Command,
    /// CSI.
    Control,
    /// The number of a private mode, and the earlier ones.
    Mode {
        number: u16,
        before: Modes,
    },
}

impl Modes {
    fn with(self, number: u16) -> Self {
        Self {
            origin: self.origin || number == 6,
            alternate: self.alternate || matches!(number, 47 | 1047 | 1049),
        }
    }
}

impl Changes {
    /// Tracks the output that the terminal shows.
    pub(crate) fn follow(&mut self, mut output: &[u8]) {
        while let Some((&byte, rest)) = output.split_first() {
            self.place = self.next(byte);
            output = match self.place {
                Place::Elsewhere => {
                    let next = rest.iter().position(|byte| *byte == 0x1b).unwrap_or(rest.len());
                    rest.get(next..).unwrap_or_default()
                }
                _ => rest,
            };
        }
    }

    fn next(&mut self, byte: u8) -> Place {
        match (self.place, byte) {
            (_, 0x1b) => Place::Escape,
            (Place::Escape, b']') => Place::Command,
            (Place::Escape, b'[') => Place::Control,
            (Place::Control, b'?') => Place::Mode { number: 0, before: Modes::default() },
            (Place::Mode { number, before }, b'0'..=b'9') => {
                let number = number.saturating_mul(10).saturating_add((byte - b'0').into());
                Place::Mode { number, before }
            }
            (Place::Mode { number, before }, b';') => {
                Place::Mode { number: 0, before: before.with(number) }
            }
            (Place::Mode { number, before }, b'h' | b'l') => {
                let changed = before.with(number);
                let set = byte == b'h';
                self.modes.origin = if changed.origin { set } else { self.modes.origin };
                self.modes.alternate = if changed.alternate { set } else { self.modes.alternate };
                Place::Elsewhere
            }
            (Place::Command, b'1' | b'4' | b'5') => {
                self.colors = true;
                Place::Elsewhere
            }
            _ => Place::Elsewhere,
        }
    }

    /// Resets the terminal for the guest's next boot.
    pub(crate) fn reset(&mut self) -> Vec<u8> {
        [&self.restore(), BEGIN].concat()
    }

    /// Makes text of our own readable, whatever the guest set.
    pub(crate) fn readable(&mut self) -> Vec<u8> {
        let origin = if std::mem::take(&mut self.modes.origin) { ORIGIN } else { "" };
        [END, MARGINS, CHARSETS, PLAIN, origin].concat().into_bytes()
    }

    /// Restores the terminal to its state before the command.
    pub(crate) fn restore(&mut self) -> Vec<u8> {
        let Self { colors, modes: Modes { origin, alternate }, .. } = std::mem::take(self);
        let alternate = if alternate { ALTERNATE } else { "" };
        let colors = if colors { COLORS } else { "" };
        let origin = if origin { ORIGIN } else { "" };
        [alternate, END, SOFT, MARGINS, CHARSETS, MODES, colors, origin, TITLE]
            .concat()
            .into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(output: &str, size: usize) -> Vec<&'static str> {
        let mut changes = Changes::default();
        output.as_bytes().chunks(size).for_each(|piece| changes.follow(piece));
        let restored = String::from_utf8(changes.restore()).unwrap();
        [ALTERNATE, COLORS, ORIGIN].into_iter().filter(|part| restored.contains(part)).collect()
    }

    #[test]
    fn colors_origin_mode_and_the_other_screen_are_set_back_only_where_the_guest_set_them() {
        for size in 1..9 {
            for (set, back) in [
                ("\x1b]4;1;red\x07", &[COLORS][..]),
                ("a\x1b]11;#fff\x1b\\b", &[COLORS]),
                ("\x1b[m\x1b\x1b]104\x07", &[COLORS]),
                ("\x1b[?6h", &[ORIGIN]),
                ("\x1b[?1;06;25h", &[ORIGIN]),
                ("\x1b[?1049h", &[ALTERNATE]),
                ("\x1b[?6l\x1b[?6;47h\x1b[?25l", &[ALTERNATE, ORIGIN]),
                ("\x1b[?1049h\x1b[?1049l", &[]),
                ("\x1b[?6h\x1b[?6l", &[]),
                ("]4;1", &[]),
                ("\x1b]0;4\x07", &[]),
                ("\x1b]2;\x1b[1m\x07", &[]),
                ("\x1b[]4", &[]),
                ("\x1b]8;;\x07", &[]),
                ("\x1b[6h", &[]),
                ("\x1b[?16;61h", &[]),
                ("\x1b[?99999996h", &[]),
            ] {
                assert_eq!(changed(set, size), back, "{set:?}");
            }
        }
    }

    #[test]
    fn each_sequence_is_as_short_as_the_strictest_terminal_wants_it() {
        for sequence in [MARGINS, CHARSETS, PLAIN, MODES].concat().split('\x1b') {
            assert!(sequence.len() < 64, "{sequence}");
        }
    }
}
