//! The parameters of a control sequence.

/// Most parameters, and most subparameters of all of them; further ones are ignored.
const MOST: usize = 32;

/// The largest number.
const LARGEST: u32 = 0x7fff_ffff;

/// Numbers between `;`, each followed by its subparameters after `:`. There is at least one; an
/// empty one is 0.
#[derive(Debug)]
pub(crate) struct Params {
    values: [u32; MOST],
    len: usize,
    subs: [Option<u32>; MOST],
    /// The end of each parameter's subparameters.
    sub_ends: [usize; MOST],
    sub_len: usize,
    /// Where the next digit belongs.
    digits: Digits,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Digits {
    Value,
    Sub,
    Nowhere,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            values: [0; MOST],
            len: 1,
            subs: [None; MOST],
            sub_ends: [0; MOST],
            sub_len: 0,
            digits: Digits::Value,
        }
    }
}

impl Params {
    pub(crate) fn clear(&mut self) {
        self.len = 1;
        self.sub_len = 0;
        self.digits = Digits::Value;
        if let (Some(value), Some(end)) = (self.values.first_mut(), self.sub_ends.first_mut()) {
            (*value, *end) = (0, 0);
        }
    }

    /// Handles a digit, `;` or `:`.
    pub(crate) fn push(&mut self, byte: u8) {
        match byte {
            b';' => self.begin_value(),
            b':' => self.begin_sub(),
            digit => self.push_digit(u32::from(digit & 0xf)),
        }
    }

    fn begin_value(&mut self) {
        let sub_len = self.sub_len;
        let at = self.len;
        let (Some(value), Some(end)) = (self.values.get_mut(at), self.sub_ends.get_mut(at)) else {
            self.digits = Digits::Nowhere;
            return;
        };
        (*value, *end) = (0, sub_len);
        self.len += 1;
        self.digits = Digits::Value;
    }

    fn begin_sub(&mut self) {
        let Some(sub) = self.subs.get_mut(self.sub_len).filter(|_| self.digits != Digits::Nowhere)
        else {
            self.digits = Digits::Nowhere;
            return;
        };
        *sub = None;
        self.sub_len += 1;
        if let Some(end) = self.sub_ends.get_mut(self.len - 1) {
            *end = self.sub_len;
        }
        self.digits = Digits::Sub;
    }

    fn push_digit(&mut self, digit: u32) {
        let push = |value: u32| value.saturating_mul(10).saturating_add(digit).min(LARGEST);
        match self.digits {
            Digits::Value => {
                if let Some(value) = self.values.get_mut(self.len - 1) {
                    *value = push(*value);
                }
            }
            Digits::Sub => {
                if let Some(sub) = self.subs.get_mut(self.sub_len - 1) {
                    *sub = Some(push(sub.unwrap_or(0)));
                }
            }
            Digits::Nowhere => {}
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The number at an index; 0 where there is none.
    pub(crate) fn get(&self, at: usize) -> u32 {
        self.values.get(at).filter(|_| at < self.len).copied().unwrap_or(0)
    }

    /// The number at an index as a count: 1 where there is none.
    pub(crate) fn count(&self, at: usize) -> usize {
        usize::try_from(self.get(at).max(1)).unwrap_or(usize::MAX)
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = u32> {
        self.values.iter().take(self.len).copied()
    }

    /// The subparameters of the number at an index.
    pub(crate) fn subs(&self, at: usize) -> &[Option<u32>] {
        let end = self.sub_ends.get(at).filter(|_| at < self.len).copied().unwrap_or(0);
        let begin = at.checked_sub(1).and_then(|before| self.sub_ends.get(before)).copied();
        self.subs.get(begin.unwrap_or(0)..end).unwrap_or_default()
    }
}
