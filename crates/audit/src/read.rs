//! Reading events from a trail.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::path::Path;

use serialproxy_proto::audit::Event;
use serialproxy_proto::audit::Marker;
use serialproxy_proto::audit::Page;
use serialproxy_proto::audit::Query;

use crate::files;
use crate::seal::LINE;

/// Bytes of the events of a page at most.
const PAGE: usize = 2 * 1024 * 1024;

/// The first events that are asked for, ordered by time. Lines that are no events are passed over: they are
/// what [`crate::verify`] is for.
///
/// # Errors
///
/// When a file cannot be read.
pub fn read(directory: &Path, query: &Query) -> io::Result<Page> {
    let mut found = Found { limit: query.limit, ..Found::default() };
    if directory.is_dir() {
        for path in files::all(directory)? {
            match File::open(path) {
                Ok(file) => found.add_all(file, query)?,
                // It became too old meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(found.page())
}

/// The first events of the pages of several hosts, each of which was asked for `limit` events.
pub fn merge(pages: Vec<Page>, limit: usize, unreachable: Vec<String>) -> Page {
    let mut found = Found { limit, ..Found::default() };
    let more = pages.iter().any(|page| page.next.is_some());
    pages.into_iter().flat_map(|page| page.events).for_each(|event| found.add(event));
    found.more |= more;
    Page { unreachable, ..found.page() }
}

/// The first events of those that were found.
#[derive(Default)]
struct Found {
    limit: usize,
    events: BTreeMap<Marker, (usize, Event)>,
    bytes: usize,
    more: bool,
}

impl Found {
    fn add_all(&mut self, file: File, query: &Query) -> io::Result<()> {
        let mut file = BufReader::new(file);
        let mut bytes = Vec::new();
        loop {
            bytes.clear();
            if (&mut file).take(LINE as u64).read_until(b'\n', &mut bytes)? == 0 {
                return Ok(());
            }
            if !bytes.ends_with(b"\n") {
                continue;
            }
            if let Ok(event) = serde_json::from_slice::<Event>(&bytes)
                && query.matches(&event)
            {
                self.add(event);
            }
        }
    }

    fn add(&mut self, event: Event) {
        let marker = Marker::of(&event);
        if self.more && self.events.last_key_value().is_none_or(|(last, _)| *last < marker) {
            return;
        }
        let bytes = serde_json::to_string(&event).map_or(0, |text| text.len());
        self.bytes += bytes;
        if let Some((again, _)) = self.events.insert(marker, (bytes, event)) {
            self.bytes -= again;
        }
        while self.events.len() > self.limit || (self.bytes > PAGE && self.events.len() > 1) {
            self.bytes -= self.events.pop_last().map_or(0, |(_, (bytes, _))| bytes);
            self.more = true;
        }
    }

    fn page(self) -> Page {
        let next = self.events.last_key_value().filter(|_| self.more);
        let next = next.map(|(marker, _)| marker.clone());
        let events = self.events.into_values().map(|(_, event)| event).collect();
        Page { events, next, unreachable: Vec::new() }
    }
}
