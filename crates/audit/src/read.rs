//! Reading events from a trail.
//!
//! The events of a file are in order, and files seldom overlap. So a reader goes straight to the first event that
//! may be asked for, and stops when it has enough.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::collections::BinaryHeap;
use std::io;
use std::path::Path;
use std::sync::Condvar;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use jiff::Timestamp;
use serialproxy_proto::audit::Event;
use serialproxy_proto::audit::Marker;
use serialproxy_proto::audit::Others;
use serialproxy_proto::audit::Page;
use serialproxy_proto::audit::Query;

use crate::files::Directory;
use crate::files::Part;
use crate::files::last_line;
use crate::lines::Lines;

/// Bytes of the events of a page at most.
const PAGE: usize = 2 * 1024 * 1024;

/// Bytes that are looked through for a page at most. Few events may be asked for, and a host has to answer in
/// time; the next page goes on behind them.
const LOOK: usize = 32 * 1024 * 1024;

/// How long a reader waits for the one before.
const WAIT: Duration = Duration::from_secs(1);

/// The first events that are asked for, ordered by time. Lines that are no events are passed over: they are
/// what [`crate::verify`] is for. If many events have to be looked through, a page may have few, and a `next`.
///
/// # Errors
///
/// When a file cannot be read.
pub fn read(directory: &Path, query: &Query) -> io::Result<Page> {
    read_within(directory, query, LOOK)
}

fn read_within(directory: &Path, query: &Query, look: usize) -> io::Result<Page> {
    let parts = match Directory::open(directory) {
        Ok(directory) => directory.snapshot()?.parts,
        // Nothing was recorded yet.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    let mut events = Events::of(&parts, query.earliest())?;
    let mut page = Filling::new(query.limit);
    let mut looked = 0;
    while let Some((event, bytes)) = events.next()? {
        let marker = Marker::of(&event);
        if looked > look || query.matches(&event) && !page.add(event) {
            let reached = page.reached.take();
            return Ok(page.until(reached));
        }
        // What is not behind the marker is no progress.
        if query.marker.as_ref().is_none_or(|before| marker > *before) {
            looked += bytes;
            page.reached = Some(marker);
        }
    }
    Ok(page.until(None))
}

/// The first events of this host and of others, each of which was asked for the same.
pub fn merge(own: Page, others: Others, query: &Query) -> Page {
    let Others { mut pages, unreachable, not_included } = others;
    pages.push(own);
    // Behind where a page ends, its host may have events before those of others.
    let ends = pages.iter().filter_map(|page| page.next.clone());
    let end = ends.filter(|end| query.marker.as_ref().is_none_or(|before| end > before)).min();
    let events = pages.into_iter().flat_map(|page| page.events);
    let asked = events.filter(|event| query.matches(event));
    let sorted: BTreeMap<_, _> = asked.map(|event| (Marker::of(&event), event)).collect();
    let mut page = Filling::new(query.limit);
    for (marker, event) in sorted {
        if end.as_ref().is_some_and(|end| marker > *end) {
            break;
        }
        if !page.add(event) {
            let reached = page.reached.take();
            return Page { unreachable, not_included, ..page.until(reached) };
        }
        page.reached = Some(marker);
    }
    Page { unreachable, not_included, ..page.until(end) }
}

/// A page that is being filled.
struct Filling {
    limit: usize,
    events: Vec<Event>,
    bytes: usize,
    /// What was looked at last.
    reached: Option<Marker>,
}

impl Filling {
    const fn new(limit: usize) -> Self {
        Self { limit, events: Vec::new(), bytes: 0, reached: None }
    }

    /// Adds an event, unless it is full.
    fn add(&mut self, event: Event) -> bool {
        let bytes = serde_json::to_string(&event).map_or(0, |text| text.len());
        let is_full =
            self.events.len() >= self.limit || self.bytes + bytes > PAGE && !self.events.is_empty();
        if !is_full {
            self.bytes += bytes;
            self.events.push(event);
        }
        !is_full
    }

    fn until(self, next: Option<Marker>) -> Page {
        Page { events: self.events, next, ..Page::default() }
    }
}

/// The events of all files from a time on, in order.
struct Events<'a> {
    /// Each file, with its next event, and the bytes of that.
    files: Vec<(Lines<'a>, Option<(Event, usize)>)>,
    /// The files that have a next event, by its place.
    order: BinaryHeap<Reverse<(Marker, usize)>>,
}

impl<'a> Events<'a> {
    fn of(parts: &'a [Part], earliest: Option<Timestamp>) -> io::Result<Self> {
        let earliest = earliest.unwrap_or(Timestamp::MIN);
        let mut events = Self { files: Vec::new(), order: BinaryHeap::new() };
        for part in parts {
            let last = last_line(&part.file, part.size)?.1;
            let last = last.and_then(|line| serde_json::from_slice::<Event>(&line).ok());
            if last.is_some_and(|last| last.time < earliest) {
                continue;
            }
            events.files.push((Lines::since(part, earliest)?, None));
            events.advance(events.files.len() - 1)?;
        }
        Ok(events)
    }

    fn next(&mut self) -> io::Result<Option<(Event, usize)>> {
        let Some(Reverse((_, file))) = self.order.pop() else { return Ok(None) };
        self.advance(file)
    }

    /// The next event of a file, in whose place the one behind it comes.
    fn advance(&mut self, file: usize) -> io::Result<Option<(Event, usize)>> {
        let Some((lines, next)) = self.files.get_mut(file) else { return Ok(None) };
        let event = std::mem::replace(next, lines.event()?);
        if let Some((event, _)) = next {
            self.order.push(Reverse((Marker::of(event), file)));
        }
        Ok(event)
    }
}

/// Lets one reader after the other read a trail: together they would keep the disk from who writes.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    is_taken: Mutex<bool>,
    given_back: Condvar,
}

impl Turns {
    /// Reads in turn.
    pub(crate) fn read(&self, directory: &Path, query: &Query) -> io::Result<Page> {
        let taken = self.is_taken.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = self.given_back.wait_timeout_while(taken, WAIT, |is_taken| *is_taken);
        let (mut is_taken, waited) = taken.unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() {
            return Err(io::Error::new(io::ErrorKind::WouldBlock, "others read it: try again"));
        }
        *is_taken = true;
        drop(is_taken);
        let page = read(directory, query);
        *self.is_taken.lock().unwrap_or_else(PoisonError::into_inner) = false;
        self.given_back.notify_one();
        page
    }
}

#[cfg(test)]
mod tests {
    use serialproxy_proto::audit::EventName;

    use super::*;
    use crate::trail::Trail;

    fn event(seconds: i64, user: &str) -> Event {
        let time = Timestamp::from_second(1_800_000_000 + seconds).unwrap();
        Event::new(EventName::TokenIssued, time).user(user)
    }

    /// A trail with these events, of which each file has about a hundred.
    fn trail(events: &[Event]) -> tempfile::TempDir {
        let place = tempfile::tempdir().unwrap();
        let age = Duration::from_secs(1 << 30);
        let mut trail = Trail::new(place.path().join("audit"), 32 * 1024, age);
        for events in events.chunks(100) {
            assert!(trail.append(events, Timestamp::now()).error.is_none());
        }
        place
    }

    fn query() -> Query {
        Query { limit: 1000, ..Query::default() }
    }

    #[test]
    fn a_page_ends_after_so_much_was_looked_through_and_the_next_goes_on_there() {
        let events: Vec<_> = (0..1000)
            .map(|number| event(number, if number % 400 == 399 { "rare" } else { "often" }))
            .collect();
        let place = trail(&events);
        let mut query = Query { user: Some("rare".into()), ..query() };
        let (mut found, mut pages) = (0, 0);
        loop {
            let page = read_within(&place.path().join("audit"), &query, 32 * 1024).unwrap();
            found += page.events.len();
            pages += 1;
            match page.next {
                Some(next) => query.marker = Some(next),
                None => break,
            }
        }
        assert_eq!(found, 2);
        assert!((5..50).contains(&pages), "{pages}");
    }

    #[test]
    fn only_files_are_read_that_may_have_what_is_asked_for() {
        let events: Vec<_> = (0..1000).map(|number| event(number, "alice")).collect();
        let place = trail(&events);
        let directory = Directory::open(&place.path().join("audit")).unwrap();
        let parts = directory.snapshot().unwrap().parts;
        let read = |since| Events::of(&parts, since).unwrap().files.len();
        assert!(parts.len() > 5);
        assert_eq!((read(None), read(Some(events[999].time))), (parts.len(), 1));
    }

    #[test]
    fn events_are_in_order_also_if_the_clock_was_set_back() {
        let clock = [100, 101, 102, 50, 51, 120, 7, 60];
        let events = clock.map(|seconds| event(seconds, "alice"));
        let place = trail(&events);
        let mut sorted = clock;
        sorted.sort_unstable();
        let mut query = Query { limit: 1, ..query() };
        let mut seen = Vec::new();
        loop {
            let page = read(&place.path().join("audit"), &query).unwrap();
            seen.extend(page.events.iter().map(|event| event.time.as_second() - 1_800_000_000));
            match page.next {
                Some(next) => query.marker = Some(next),
                None => break,
            }
        }
        assert_eq!(seen, sorted);
        assert!(crate::verify(&place.path().join("audit")).unwrap().flaws.is_empty());
    }

    #[test]
    fn a_reader_finds_the_first_event_from_a_time_on_in_a_large_file() {
        let events: Vec<_> = (0..3000).map(|number| event(number * 10, "alice")).collect();
        let place = tempfile::tempdir().unwrap();
        let directory = place.path().join("audit");
        let mut trail = Trail::new(directory.clone(), 1 << 30, Duration::from_secs(1 << 30));
        assert!(trail.append(&events, Timestamp::now()).error.is_none());
        for number in [0, 1, 2, 700, 1501, 2500, 2998, 2999] {
            for early in [0, 1] {
                let since = event(number * 10 - early, "").time;
                let page = read(&directory, &Query { since: Some(since), ..query() }).unwrap();
                assert_eq!(page.events[0].time, event(number * 10, "").time);
                assert_eq!(page.next.is_some(), number < 2000);
            }
        }
    }

    #[test]
    fn behind_the_end_of_a_page_no_event_of_another_host_is_shown() {
        let sealed = |seconds, user: &str| crate::seal::seal(&event(seconds, user), "").unwrap();
        let page = |events: &[(i64, &str)], next| {
            let events: Vec<_> = events.iter().map(|(at, user)| sealed(*at, user)).collect();
            let next = events.last().filter(|_| next).map(Marker::of);
            Page { events, next, ..Page::default() }
        };
        let others = |page| Others { pages: vec![page], ..Others::default() };
        let cut = page(&[(1, "a"), (4, "a")], true);
        let whole = page(&[(2, "a"), (3, "b"), (5, "a")], false);
        let query = Query { user: Some("a".into()), ..query() };
        let merged = merge(cut.clone(), others(whole), &query);
        let times = |page: &Page| {
            page.events.iter().map(|event| event.time.as_second() % 100).collect::<Vec<_>>()
        };
        assert_eq!((times(&merged), &merged.next), (vec![1, 2, 4], &cut.next));
        // A host answers what it was not asked for.
        let query = Query { marker: merged.next, ..query };
        let merged = merge(cut, others(page(&[(2, "a"), (6, "a")], false)), &query);
        assert_eq!((times(&merged), merged.next), (vec![6], None));
    }
}
