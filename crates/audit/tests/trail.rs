//! A trail on disk: what is written can be verified, whatever happens to the process, and tampering is found.

#![allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use proptest::prelude::*;
use proptest::test_runner::Config;
use serialproxy_audit::Audit;
use serialproxy_audit::Event;
use serialproxy_audit::EventName;
use serialproxy_audit::Settings;
use serialproxy_audit::Verified;
use serialproxy_audit::merge;
use serialproxy_audit::read;
use serialproxy_audit::verify;
use serialproxy_proto::audit::Others;
use serialproxy_proto::audit::Query;
use serialproxy_proto::id::ServerId;
use tempfile::TempDir;

const WITHIN: Duration = Duration::from_secs(60);
const LONG: Duration = Duration::from_secs(3600);

struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn directory(&self) -> PathBuf {
        self.0.path().join("audit")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory().join(name)
    }

    fn start(&self, max_size: u64, max_age: Duration) -> Audit {
        let directory = self.directory();
        Audit::start(Settings { directory, max_size, max_age, required: false, syslog: None })
            .unwrap()
    }

    /// A process that records so many events and ends.
    fn record(&self, events: usize) {
        let audit = self.start(1 << 20, LONG);
        record(&audit, events);
    }

    fn verify(&self) -> Verified {
        verify(&self.directory()).unwrap()
    }

    fn flaws(&self) -> Vec<String> {
        self.verify().flaws.iter().map(ToString::to_string).collect()
    }

    /// The names of the events, in their order.
    fn events(&self) -> Vec<Event> {
        read(&self.directory(), &all()).unwrap().events
    }

    /// All files, closed ones first.
    fn files(&self) -> Vec<PathBuf> {
        let files = fs::read_dir(self.directory()).unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<_> =
            files.filter(|path| path.extension().is_some_and(|end| end == "jsonl")).collect();
        files.sort();
        files
    }
}

fn all() -> Query {
    Query { limit: 100_000, ..Query::default() }
}

fn record(audit: &Audit, events: usize) {
    for number in 0..events {
        let event = audit.event(EventName::TokenIssued).user(format!("user-{number}"));
        audit.record(event.server(ServerId::of_static("demo")));
    }
    assert!(audit.flush(WITHIN), "not written in time");
}

fn append(path: &Path, text: &str) {
    let before = fs::read_to_string(path).unwrap_or_default();
    fs::write(path, before + text).unwrap();
}

#[test]
fn only_the_owner_reads_it_and_the_head_names_the_last_line() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    place.record(3);
    let mode = |path: PathBuf| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(place.directory()), mode(place.file("audit.jsonl"))), (0o700, 0o600));
    let head = fs::read_to_string(place.file("head")).unwrap();
    assert_eq!(place.events().last().unwrap().hash, head.trim());
    let verified = place.verify();
    assert_eq!((verified.files, verified.events, verified.flaws.len()), (1, 3, 0));
}

#[test]
fn the_chain_goes_on_over_processes_and_between_those_that_write_at_once() {
    let place = Place::new();
    place.record(3);
    let (one, two) = (place.start(1 << 20, LONG), place.start(1 << 20, LONG));
    std::thread::scope(|scope| {
        for audit in [&one, &two] {
            scope.spawn(|| {
                for _ in 0..20 {
                    record(audit, 10);
                }
            });
        }
    });
    assert_eq!(place.flaws(), [""; 0]);
    assert_eq!(place.events().len(), 403);
}

#[test]
fn files_are_closed_by_size_and_the_chain_goes_over_them() {
    let place = Place::new();
    record(&place.start(4096, LONG), 100);
    assert!(place.files().len() > 5);
    assert!(place.files().iter().all(|path| path.metadata().unwrap().len() <= 4096));
    assert_eq!(place.flaws(), [""; 0]);
    let users: Vec<_> = place.events().into_iter().filter_map(|event| event.user).collect();
    assert_eq!(users, (0..100).map(|number| format!("user-{number}")).collect::<Vec<_>>());
    fs::remove_file(&place.files()[2]).unwrap();
    assert!(place.flaws()[0].starts_with("audit-00000004.jsonl line 1: does not follow"));
}

#[test]
fn files_are_closed_by_age_and_removed_when_they_are_old_and_what_is_left_is_whole() {
    let place = Place::new();
    let audit = place.start(1 << 20, Duration::from_nanos(1));
    for _ in 0..5 {
        record(&audit, 2);
    }
    assert!(place.files().len() <= 2, "{:?}", place.files());
    assert_eq!(place.flaws(), [""; 0]);
    let left = place.events().len();
    assert!(left < 10, "{left}");
    // A removed line shows although older ones are gone.
    let file = place.files().pop().unwrap();
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.split_once('\n').unwrap().1).unwrap();
    assert!(!place.flaws().is_empty());
}

#[test]
fn verifying_and_reading_find_all_of_it_while_files_are_closed() {
    let place = Place::new();
    let audit = place.start(2048, LONG);
    let written = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..300 {
                record(&audit, 2);
                written.fetch_add(2, Ordering::Release);
            }
        });
        while written.load(Ordering::Acquire) < 600 {
            let least = written.load(Ordering::Acquire);
            if least > 0 {
                assert_eq!(place.flaws(), [""; 0]);
                let events = place.events();
                assert!(events.len() >= least, "{} of {least}", events.len());
                assert!(events.windows(2).all(|two| two[1].prev == two[0].hash));
            }
        }
    });
}

#[test]
fn verifying_finds_nothing_while_old_files_are_removed() {
    let place = Place::new();
    let audit = place.start(1 << 20, Duration::from_nanos(1));
    let done = AtomicBool::new(false);
    record(&audit, 1);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..200 {
                record(&audit, 2);
            }
            done.store(true, Ordering::Release);
        });
        while !done.load(Ordering::Acquire) {
            assert_eq!(place.flaws(), [""; 0]);
        }
    });
}

#[test]
fn nothing_is_missing_after_a_restart_when_all_that_was_written_became_too_old() {
    let place = Place::new();
    let start = || place.start(1 << 20, Duration::from_nanos(1));
    record(&start(), 2);
    // It closes the file and removes it.
    assert!(start().flush(WITHIN));
    assert_eq!((place.events().len(), place.files().len()), (0, 1));
    record(&place.start(1 << 20, LONG), 1);
    let events = place.events();
    assert_eq!((events.len(), events[0].name), (1, EventName::TokenIssued));
    assert_eq!(place.flaws(), [""; 0]);
}

#[test]
fn nothing_is_written_where_a_link_leads_and_no_file_of_somebody_else() {
    let (place, other) = (Place::new(), Place::new());
    fs::create_dir(other.directory()).unwrap();
    std::os::unix::fs::symlink(other.directory(), place.directory()).unwrap();
    assert!(!place.start(1 << 20, LONG).writable());
    assert_eq!(fs::read_dir(other.directory()).unwrap().count(), 0);
    fs::remove_file(place.directory()).unwrap();
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let service = Some(65534);
    std::os::unix::fs::chown(place.0.path(), service, service).unwrap();
    record(&place.start(1 << 20, LONG), 1);
    let owner = |path: &Path| path.metadata().unwrap().uid();
    for path in [place.directory(), place.file("lock"), place.file("head")] {
        assert_eq!(Some(owner(&path)), service, "{}", path.display());
    }
    let secret = other.0.path().join("of root");
    for name in ["audit.jsonl", "lock"] {
        fs::write(&secret, "as it is").unwrap();
        fs::remove_file(place.file(name)).unwrap();
        fs::hard_link(&secret, place.file(name)).unwrap();
        assert!(!place.start(1 << 20, LONG).writable(), "{name}");
        assert_eq!(
            (fs::read_to_string(&secret).unwrap().as_str(), owner(&secret)),
            ("as it is", 0)
        );
    }
    fs::remove_file(place.file("lock")).unwrap();
    let fifo = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, place.file("lock"), fifo, 0o666.into(), 0).unwrap();
    assert!(!place.start(1 << 20, LONG).writable());
}

#[test]
fn a_torn_last_line_is_stated_and_the_chain_goes_on() {
    let place = Place::new();
    place.record(3);
    append(&place.file("audit.jsonl"), r#"{"time":"2026-11-29T08:0"#);
    assert_eq!(place.flaws(), ["audit.jsonl line 4: is incomplete"]);
    place.record(1);
    assert_eq!(place.flaws(), [""; 0]);
    let gap = &place.events()[3];
    assert_eq!((gap.name, gap.cause.as_deref()), (EventName::AuditGap, Some("torn")));
    assert_eq!(place.events().len(), 5);
}

#[test]
fn a_head_that_a_crash_left_behind_the_lines_is_no_flaw() {
    let place = Place::new();
    place.record(3);
    let head = fs::read(place.file("head")).unwrap();
    place.record(3);
    fs::write(place.file("head"), head).unwrap();
    assert_eq!(place.flaws(), [""; 0]);
    place.record(1);
    assert_eq!((place.flaws().len(), place.events().len()), (0, 7));
}

#[test]
fn a_tail_that_was_cut_is_found_and_stays_so_after_a_restart() {
    let place = Place::new();
    place.record(5);
    let text = fs::read_to_string(place.file("audit.jsonl")).unwrap();
    let (kept, _) = text.trim_end().rsplit_once('\n').unwrap();
    fs::write(place.file("audit.jsonl"), format!("{kept}\n")).unwrap();
    let cut = "audit.jsonl line 5: is missing: the trail ended later, as the file head says";
    assert_eq!(place.flaws(), [cut]);
    let two_files = Place::new();
    let audit = two_files.start(4096, LONG);
    record(&audit, 20);
    let last = two_files.file("audit.jsonl");
    let text = fs::read_to_string(&last).unwrap();
    fs::write(&last, text.split_inclusive('\n').next().unwrap()).unwrap();
    assert!(two_files.flaws()[0].starts_with("audit.jsonl line 2: is missing"));
    place.record(2);
    let broken = "audit.jsonl line 5: does not follow the line before: lines are missing or moved";
    assert_eq!(place.flaws(), [broken]);
    assert_eq!(place.events()[4].cause.as_deref(), Some("cut"));
    fs::remove_file(place.file("head")).unwrap();
    assert!(place.flaws().contains(&"head line 1: is missing, or is no hash".into()));
}

#[test]
fn what_cannot_be_written_waits_and_is_written_later() {
    let place = Place::new();
    fs::write(place.directory(), "a file in its place").unwrap();
    let audit = place.start(1 << 20, LONG);
    assert!(!audit.writable() && audit.admits());
    audit.record(audit.event(EventName::TokenIssued).user("alice"));
    assert!(!audit.flush(Duration::from_millis(10)));
    fs::remove_file(place.directory()).unwrap();
    assert!(audit.flush(WITHIN));
    assert!(audit.writable());
    assert_eq!(place.events().len(), 1);
}

#[test]
fn a_trail_that_is_required_admits_nothing_while_it_cannot_be_written() {
    let place = Place::new();
    fs::write(place.directory(), "a file in its place").unwrap();
    let (directory, max_size) = (place.directory(), 1 << 20);
    let settings = Settings { directory, max_size, max_age: LONG, required: true, syslog: None };
    let audit = Audit::start(settings).unwrap();
    assert!(!audit.admits());
}

#[test]
fn a_trail_that_is_required_admits_nothing_while_another_process_holds_its_lock() {
    let place = Place::new();
    let (directory, max_size) = (place.directory(), 1 << 20);
    let settings = Settings { directory, max_size, max_age: LONG, required: true, syslog: None };
    let audit = Audit::start(settings).unwrap();
    assert!(audit.admits());
    let lock = fs::File::open(place.file("lock")).unwrap();
    lock.lock().unwrap();
    audit.record(audit.event(EventName::TokenIssued));
    until(|| !audit.admits());
    assert!(place.flaws().is_empty() && place.events().is_empty(), "it can be read meanwhile");
    let start = Instant::now();
    for _ in 0..5 {
        assert!(audit.read(&all()).unwrap().events.is_empty());
    }
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "each waited a second for what is not written"
    );
    lock.unlock().unwrap();
    until(|| audit.admits());
    assert_eq!(place.events().len(), 1);
}

#[test]
fn a_trail_that_is_required_admits_nothing_once_an_event_found_no_room() {
    let place = Place::new();
    let (directory, max_size) = (place.directory(), 1 << 20);
    let settings = Settings { directory, max_size, max_age: LONG, required: true, syslog: None };
    let audit = Audit::start(settings).unwrap();
    let lock = fs::File::open(place.file("lock")).unwrap();
    lock.lock().unwrap();
    for _ in 0..5000 {
        audit.record(audit.event(EventName::TokenIssued));
    }
    assert!(!audit.admits());
    lock.unlock().unwrap();
    until(|| audit.admits());
    assert!(place.events().iter().any(|event| event.name == EventName::AuditGap));
}

/// Waits until it is so.
fn until(is: impl Fn() -> bool) {
    let start = Instant::now();
    while !is() {
        assert!(start.elapsed() < WITHIN, "not in time");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

#[test]
fn who_reads_sees_what_was_recorded_before() {
    let place = Place::new();
    let audit = place.start(1 << 20, LONG);
    for recorded in 1..=10 {
        audit.record(audit.event(EventName::TokenIssued).user("ada"));
        assert_eq!(audit.read(&all()).unwrap().events.len(), recorded);
    }
}

#[test]
fn pages_follow_each_other_and_those_of_hosts_are_merged() {
    let (one, two) = (Place::new(), Place::new());
    for _ in 0..5 {
        one.record(3);
        two.record(2);
    }
    let mut query = Query { limit: 4, ..Query::default() };
    let mut seen = Vec::new();
    loop {
        let [own, other] = [&one, &two].map(|place| read(&place.directory(), &query).unwrap());
        let unreachable = vec!["lost".into()];
        let others = Others { pages: vec![other], unreachable, ..Others::default() };
        let page = merge(own, others, &query);
        assert_eq!(page.unreachable, ["lost"]);
        assert!(page.events.len() <= 4);
        seen.extend(page.events);
        match page.next {
            Some(next) => query.marker = Some(next),
            None => break,
        }
    }
    assert_eq!(seen.len(), 25);
    assert!(seen.is_sorted_by_key(|event| event.time));
    let of = |query| read(&one.directory(), &query).unwrap().events.len();
    assert_eq!(of(Query { user: Some("user-2".into()), ..all() }), 5);
    assert_eq!(of(Query { server: Some("demo".into()), ..all() }), 0);
    let demo = ServerId::of_static("demo").to_string();
    assert_eq!(of(Query { server: Some(demo), since: Some(seen[20].time), ..all() }), 3);
}

/// A change to a trail of several files.
#[derive(Clone, Debug)]
enum Tamper {
    Change(u8),
    Remove,
    Swap,
    Repeat,
    Cut,
}

fn tamper() -> impl Strategy<Value = Tamper> {
    prop_oneof![
        (1..=255_u8).prop_map(Tamper::Change),
        Just(Tamper::Remove),
        Just(Tamper::Swap),
        Just(Tamper::Repeat),
        Just(Tamper::Cut),
    ]
}

/// Applies it at a place in the text of a file; the text is as it was if it changes nothing there.
fn tampered(text: &[u8], at: usize, how: &Tamper) -> Vec<u8> {
    let mut lines: Vec<_> = text.split_inclusive(|byte| *byte == b'\n').collect();
    let line = text[..at].iter().filter(|byte| **byte == b'\n').count();
    match how {
        Tamper::Change(mask) => {
            let mut changed = text.to_vec();
            changed[at] ^= mask;
            return changed;
        }
        Tamper::Cut => return text[..at].to_vec(),
        Tamper::Remove => drop(lines.remove(line)),
        Tamper::Swap => {
            let next = (line + 1) % lines.len();
            lines.swap(line, next);
        }
        Tamper::Repeat => lines.insert(line, lines[line]),
    }
    lines.concat()
}

proptest! {
    #![proptest_config(Config { cases: 100, ..Config::default() })]

    #[test]
    fn tampering_at_each_of_100_random_places_is_found(
        file in 0..4_usize,
        place in any::<proptest::sample::Index>(),
        how in tamper(),
    ) {
        let trail = Place::new();
        record(&trail.start(8192, LONG), 60);
        let files = trail.files();
        prop_assert!(files.len() >= 3);
        let path = &files[file % files.len()];
        let text = fs::read(path).unwrap();
        let changed = tampered(&text, place.index(text.len()), &how);
        prop_assume!(changed != text);
        fs::write(path, changed).unwrap();
        let flaws = trail.verify().flaws;
        prop_assert!(!flaws.is_empty());
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        // Of a file that was cut at its end, the next one shows it.
        let next = files.get(file % files.len() + 1).unwrap_or(path);
        let next = next.file_name().unwrap().to_string_lossy().into_owned();
        prop_assert!([name, next].contains(&flaws[0].file), "{flaws:?}");
    }
}
