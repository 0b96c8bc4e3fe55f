//! The lines of a file of a trail, as far as it was written when it was looked at.

use std::fs::File;
use std::io;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::io::Seek;
use std::io::SeekFrom;
use std::io::Take;

use jiff::Timestamp;
use serialproxy_proto::audit::Event;

use crate::files::Part;
use crate::seal::LINE;

/// A place in a file is near enough if so many bytes lie between.
const NEAR: u64 = 4 * LINE as u64;

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
        Self::at(part, 0)
    }

    /// The lines of a file from a place on, of which those before have events before this time. The events of a
    /// file are in order.
    pub(crate) fn since(part: &'a Part, time: Timestamp) -> io::Result<Self> {
        let (mut low, mut high) = (0, part.size);
        while high.saturating_sub(low) > NEAR {
            let middle = low.midpoint(high);
            let mut lines = Self::at(part, middle)?;
            // The rest of a line.
            let rest = lines.next()?.map_or(0, |line| line.0.len());
            match lines.next()?.and_then(|line| line.event()) {
                Some(event) if event.time < time => low = middle + rest as u64,
                Some(_) => high = middle,
                // Somebody changed it, so all of the rest is read.
                None => break,
            }
        }
        Self::at(part, low)
    }

    fn at(part: &'a Part, place: u64) -> io::Result<Self> {
        let mut file = &part.file;
        file.seek(SeekFrom::Start(place))?;
        let size = part.size.saturating_sub(place);
        Ok(Self { file: BufReader::new(file).take(size), bytes: Vec::new() })
    }

    /// The next one.
    pub(crate) fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        self.bytes.clear();
        let read = (&mut self.file).take(LINE as u64).read_until(b'\n', &mut self.bytes)?;
        Ok((read > 0).then_some(Line(&self.bytes)))
    }

    /// The next event, and the bytes that were read for it.
    pub(crate) fn event(&mut self) -> io::Result<Option<(Event, usize)>> {
        let mut bytes = 0;
        while let Some(line) = self.next()? {
            bytes += line.0.len();
            if let Some(event) = line.event() {
                return Ok(Some((event, bytes)));
            }
        }
        Ok(None)
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

    fn event(&self) -> Option<Event> {
        serde_json::from_slice(self.complete()?).ok()
    }
}
