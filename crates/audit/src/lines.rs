//! The lines of a file of a trail, as far as it was written when it was looked at.

use std::fs::File;
use std::io;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::io::Seek;
use std::io::SeekFrom;
use std::io::Take;

use crate::files::Part;
use crate::seal::LINE;

/// Reads lines one after the other, of which none is longer than [`LINE`].
pub(crate) struct Lines<'a> {
    file: Take<BufReader<&'a File>>,
    bytes: Vec<u8>,
}

/// What was read of a line.
pub(crate) struct Line<'a>(&'a [u8]);

impl<'a> Lines<'a> {
    /// All lines of a file.
    pub(crate) fn of(part: &'a Part) -> io::Result<Self> {
        let mut file = &part.file;
        file.seek(SeekFrom::Start(0))?;
        Ok(Self { file: BufReader::new(file).take(part.size), bytes: Vec::new() })
    }

    /// The next one.
    pub(crate) fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        self.bytes.clear();
        let read = (&mut self.file).take(LINE as u64).read_until(b'\n', &mut self.bytes)?;
        Ok((read > 0).then_some(Line(&self.bytes)))
    }
}

impl<'a> Line<'a> {
    /// Its text, if its end was read too.
    pub(crate) fn complete(&self) -> Option<&'a [u8]> {
        self.0.strip_suffix(b"\n")
    }

    /// Whether its end is not here because it is too long for an event.
    pub(crate) fn is_too_long(&self) -> bool {
        self.0.len() == LINE && self.complete().is_none()
    }
}
