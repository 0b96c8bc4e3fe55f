//! Character sets (ISO 2022): ASCII, the British one, and DEC's line drawing.

/// A character set.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Charset {
    #[default]
    Ascii,
    British,
    Drawing,
}

/// The characters for `` ` `` to `~` in the set for line drawing.
const DRAWING: [char; 31] = [
    '\u{25c6}', '\u{2592}', '\u{2409}', '\u{240c}', '\u{240d}', '\u{240a}', '\u{b0}', '\u{b1}',
    '\u{2424}', '\u{240b}', '\u{2518}', '\u{2510}', '\u{250c}', '\u{2514}', '\u{253c}', '\u{23ba}',
    '\u{23bb}', '\u{2500}', '\u{23bc}', '\u{23bd}', '\u{251c}', '\u{2524}', '\u{2534}', '\u{252c}',
    '\u{2502}', '\u{2264}', '\u{2265}', '\u{3c0}', '\u{2260}', '\u{a3}', '\u{b7}',
];

/// The bytes that designate G0 to G3.
const DESIGNATORS: [char; 4] = ['(', ')', '*', '+'];

impl Charset {
    fn from_final(last: u8) -> Self {
        match last {
            b'0' => Self::Drawing,
            b'A' => Self::British,
            _ => Self::Ascii,
        }
    }

    fn as_final(self) -> char {
        match self {
            Self::Ascii => 'B',
            Self::British => 'A',
            Self::Drawing => '0',
        }
    }

    fn translate(self, c: char) -> char {
        match (self, c) {
            (Self::British, '#') => '\u{a3}',
            (Self::Drawing, '`'..='~') => {
                let place = usize::try_from(u32::from(c) - u32::from('`')).ok();
                place.and_then(|place| DRAWING.get(place)).copied().unwrap_or(c)
            }
            _ => c,
        }
    }
}

/// G0 to G3, and the one in use.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Charsets {
    sets: [Charset; 4],
    level: usize,
}

impl Charsets {
    pub(crate) fn shift(&mut self, level: usize) {
        self.level = level;
    }

    /// Handles `ESC ( 0` and similar sequences.
    pub(crate) fn designate(&mut self, intermediate: u8, last: u8) {
        let level = match intermediate {
            b'(' => 0,
            b')' | b'-' => 1,
            b'*' | b'.' => 2,
            b'+' => 3,
            _ => return,
        };
        if let Some(set) = self.sets.get_mut(level) {
            *set = Charset::from_final(last);
        }
    }

    pub(crate) fn translate(&self, c: char) -> char {
        self.sets.get(self.level).map_or(c, |set| set.translate(c))
    }

    /// Writes the sequences that change a terminal from `before` to these.
    pub(crate) fn write(&self, before: &Self, text: &mut String) {
        for ((set, old), designator) in self.sets.iter().zip(&before.sets).zip(DESIGNATORS) {
            if set != old {
                text.extend(['\x1b', designator, set.as_final()]);
            }
        }
        if self.level != before.level {
            text.push_str(match self.level {
                0 => "\x0f",
                1 => "\x0e",
                2 => "\x1bn",
                _ => "\x1bo",
            });
        }
    }
}
