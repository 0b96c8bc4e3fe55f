//! Reading events from a trail.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use serialproxy_proto::audit::Event;
use serialproxy_proto::audit::Marker;
use serialproxy_proto::audit::Page;
use serialproxy_proto::audit::Query;

use crate::files::Directory;
use crate::files::Part;
use crate::lines::Lines;

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
    let parts = match Directory::open(directory) {
        Ok(directory) => directory.snapshot()?.parts,
        // Nothing was recorded yet.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    for part in &parts {
        found.add_all(part, query)?;
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
    fn add_all(&mut self, part: &Part, query: &Query) -> io::Result<()> {
        let mut lines = Lines::of(part)?;
        while let Some(line) = lines.next()? {
            if let Some(line) = line.complete()
                && let Ok(event) = serde_json::from_slice::<Event>(line)
                && query.matches(&event)
            {
                self.add(event);
            }
        }
        Ok(())
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
