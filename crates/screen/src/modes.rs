//! Modes of a terminal: for its keyboard, mouse, cursor and text.

use std::fmt::Write;

/// Private modes (`CSI ? … h`) that are on or off, each with its initial state. The modes of
/// screens and mouse, and DECOM, are elsewhere.
const PRIVATE: [(u32, bool); 9] = [
    (1, false),
    (5, false),
    (WRAP, true),
    (12, false),
    (25, true),
    (REVERSE_WRAP, false),
    (KEYPAD, false),
    (1004, false),
    (2004, false),
];
const WRAP: u32 = 7;
const REVERSE_WRAP: u32 = 45;
const KEYPAD: u32 = 66;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Modes {
    private: [bool; PRIVATE.len()],
    pub(crate) insert: bool,
    pub(crate) newline: bool,
    /// Whether `newline` is initially on, by the settings of the line.
    pub(crate) begins_line: bool,
    pub(crate) origin: bool,
    /// 9, 1000, 1002 or 1003.
    mouse: Option<u32>,
    /// 1006 or 1016.
    mouse_encoding: Option<u32>,
    /// DECSCUSR: 1 to 6.
    cursor: Option<u32>,
}

impl Modes {
    pub(crate) fn new(begins_line: bool) -> Self {
        Self {
            private: PRIVATE.map(|(_, on)| on),
            insert: false,
            newline: begins_line,
            begins_line,
            origin: false,
            mouse: None,
            mouse_encoding: None,
            cursor: None,
        }
    }

    pub(crate) fn wraps(&self) -> bool {
        self.is_set(WRAP)
    }

    pub(crate) fn wraps_back(&self) -> bool {
        self.is_set(REVERSE_WRAP)
    }

    pub(crate) fn set_keypad(&mut self, on: bool) {
        self.set_private(KEYPAD, on);
    }

    fn is_set(&self, mode: u32) -> bool {
        PRIVATE.iter().zip(self.private).any(|((number, _), on)| *number == mode && on)
    }

    pub(crate) fn set_ansi(&mut self, mode: u32, on: bool) {
        match mode {
            4 => self.insert = on,
            20 => self.newline = on,
            _ => {}
        }
    }

    pub(crate) fn set_private(&mut self, mode: u32, on: bool) {
        match mode {
            9 | 1000 | 1002 | 1003 => self.mouse = on.then_some(mode),
            1006 | 1016 => self.mouse_encoding = on.then_some(mode),
            _ => {
                let places = PRIVATE.iter().zip(&mut self.private);
                for (_, place) in places.filter(|((number, _), _)| *number == mode) {
                    *place = on;
                }
            }
        }
    }

    pub(crate) fn set_cursor(&mut self, style: u32) {
        if style <= 6 {
            self.cursor = (style > 0).then_some(style);
        }
    }

    /// Resets the modes that DECSTR resets in xterm.js.
    pub(crate) fn reset_softly(&mut self) {
        let Self { newline, begins_line, mouse, mouse_encoding, private, .. } = *self;
        let blinks = PRIVATE.iter().zip(private).any(|((number, _), on)| *number == 12 && on);
        *self = Self { newline, mouse, mouse_encoding, ..Self::new(begins_line) };
        self.set_private(12, blinks);
    }

    /// Writes the sequences that change a terminal from the initial modes to these, except DECOM.
    pub(crate) fn write(&self, text: &mut String) {
        let private = PRIVATE.iter().zip(self.private);
        let private =
            private.filter(|((_, first), on)| first != on).map(|((mode, _), on)| (*mode, on));
        let mouse =
            [self.mouse, self.mouse_encoding].into_iter().flatten().map(|mode| (mode, true));
        for (mode, on) in private.chain(mouse) {
            // Writing to a string cannot fail.
            let _ = match (mode, on) {
                // Older terminals support only this one.
                (KEYPAD, true) => write!(text, "\x1b="),
                (_, true) => write!(text, "\x1b[?{mode}h"),
                (_, false) => write!(text, "\x1b[?{mode}l"),
            };
        }
        if let Some(style) = self.cursor {
            let _ = write!(text, "\x1b[{style} q");
        }
        for (mode, first, on) in [(4, false, self.insert), (20, self.begins_line, self.newline)] {
            if on != first {
                let _ = write!(text, "\x1b[{mode}{}", if on { 'h' } else { 'l' });
            }
        }
    }
}
