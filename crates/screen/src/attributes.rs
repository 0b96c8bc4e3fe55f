//! The appearance of characters: colors and other attributes (SGR).

use std::fmt::Write;

use crate::params::Params;

/// A color: the default, one of 16, one of 256, or red, green and blue.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Color(u32);

const OF_16: u32 = 1 << 24;
const OF_256: u32 = 2 << 24;
const RGB: u32 = 3 << 24;

impl Color {
    pub(crate) const DEFAULT: Self = Self(0);

    /// Writes the parameters that select it. `base` is 30 for the foreground, 40 for the
    /// background, and 50 for the underline.
    fn write(self, base: u32, text: &mut String) {
        let value = self.0 & 0x00ff_ffff;
        // Writing to a string cannot fail.
        let _ = match self.0 & 0xff00_0000 {
            OF_16 if value < 8 => write!(text, ";{}", base + value),
            OF_16 => write!(text, ";{}", base + 60 + value - 8),
            OF_256 => write!(text, ";{};5;{value}", base + 8),
            RGB => {
                let [_, red, green, blue] = value.to_be_bytes();
                write!(text, ";{};2;{red};{green};{blue}", base + 8)
            }
            _ => Ok(()),
        };
    }
}

/// Attributes that are on or off, with the SGR parameters for on and off.
const SWITCHES: [(u16, u32); 8] = [
    (BOLD, 1),
    (DIM, 2),
    (ITALIC, 3),
    (1 << 3, 5),
    (1 << 4, 7),
    (HIDDEN, 8),
    (1 << 6, 9),
    (1 << 7, 53),
];
const BOLD: u16 = 1;
const DIM: u16 = 1 << 1;
const ITALIC: u16 = 1 << 2;
const HIDDEN: u16 = 1 << 5;

/// The attributes of printed characters.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Attributes {
    foreground: Color,
    background: Color,
    underline_color: Color,
    switches: u16,
    /// 0 none, 1 single, 2 double, 3 curly, 4 dotted, 5 dashed.
    underline: u8,
}

impl Attributes {
    /// The attributes of erased cells: only the background.
    pub(crate) fn erased(self) -> Self {
        Self { background: self.background, ..Self::default() }
    }

    pub(crate) fn is_default(self) -> bool {
        self == Self::default()
    }

    /// Whether a terminal shows blanks instead of the characters.
    pub(crate) fn is_hidden(self) -> bool {
        self.switches & HIDDEN != 0
    }

    pub(crate) fn has_background(self) -> bool {
        self.background != Color::DEFAULT
    }

    /// Writes the sequence that selects these attributes, whatever was selected before.
    pub(crate) fn write(self, text: &mut String) {
        text.push_str("\x1b[0");
        for (switch, parameter) in SWITCHES {
            if self.switches & switch != 0 {
                let _ = write!(text, ";{parameter}");
            }
        }
        match self.underline {
            0 => {}
            1 => text.push_str(";4"),
            2 => text.push_str(";21"),
            style => {
                let _ = write!(text, ";4:{style}");
            }
        }
        self.foreground.write(30, text);
        self.background.write(40, text);
        self.underline_color.write(50, text);
        text.push('m');
    }

    /// Handles SGR.
    pub(crate) fn select(&mut self, params: &Params) {
        let mut at = 0;
        while at < params.len() {
            let value = params.get(at);
            match value {
                38 | 48 | 58 => at += self.select_color(params, at),
                4 => {
                    let style = params.subs(at).first().map_or(1, |style| style.unwrap_or(1));
                    self.underline =
                        u8::try_from(style).ok().filter(|style| *style <= 5).unwrap_or(1);
                }
                _ => self.select_simple(value),
            }
            at += 1;
        }
    }

    fn select_simple(&mut self, value: u32) {
        match value {
            0 => *self = Self::default(),
            21 => self.underline = 2,
            22 => self.switches &= !(BOLD | DIM),
            24 => self.underline = 0,
            30..=37 => self.foreground = Color(OF_16 | (value - 30)),
            39 => self.foreground = Color::DEFAULT,
            40..=47 => self.background = Color(OF_16 | (value - 40)),
            49 => self.background = Color::DEFAULT,
            55 => self.switches &= !(1 << 7),
            59 => self.underline_color = Color::DEFAULT,
            90..=97 => self.foreground = Color(OF_16 | (value - 90 + 8)),
            100..=107 => self.background = Color(OF_16 | (value - 100 + 8)),
            _ => {
                for (switch, parameter) in SWITCHES {
                    if value == parameter {
                        self.switches |= switch;
                    } else if value == parameter + 20 && (3..10).contains(&parameter) {
                        self.switches &= !switch;
                    }
                }
            }
        }
    }

    /// A color: one of 256, or red, green and blue, in parameters or in subparameters. Returns how
    /// many parameters it used after the first.
    fn select_color(&mut self, params: &Params, at: usize) -> usize {
        let subs = params.subs(at);
        let sub = |place: usize| subs.get(place).copied().flatten().unwrap_or(0);
        let (color, taken) = match (subs.is_empty(), params.get(at + 1)) {
            // 38:5:N, and 38:2:SPACE:R:G:B.
            (false, _) => match sub(0) {
                5 => (Some(Color(OF_256 | (sub(1) & 0xff))), 0),
                2 => (Some(rgb(sub(2), sub(3), sub(4))), 0),
                _ => (None, 0),
            },
            (true, 5) => (Some(Color(OF_256 | (params.get(at + 2) & 0xff))), 2),
            (true, 2) => (Some(rgb(params.get(at + 2), params.get(at + 3), params.get(at + 4))), 4),
            (true, _) => (None, params.len() - at - 1),
        };
        if let Some(color) = color {
            match params.get(at) {
                38 => self.foreground = color,
                48 => self.background = color,
                _ => self.underline_color = color,
            }
        }
        taken
    }
}

fn rgb(red: u32, green: u32, blue: u32) -> Color {
    Color(RGB | (red & 0xff) << 16 | (green & 0xff) << 8 | (blue & 0xff))
}
