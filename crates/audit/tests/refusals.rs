//! Refusals over their rate are stated in the trail, and are no fault of the disk, for which there is an alert.

#![allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::Duration;

use serialproxy_audit::Audit;
use serialproxy_audit::EventName;
use serialproxy_audit::Settings;
use serialproxy_audit::read;
use serialproxy_metrics::AUDIT_DROPPED;
use serialproxy_proto::audit::Query;

#[test]
fn guessing_passwords_raises_no_alert_for_the_disk() {
    let place = tempfile::tempdir().unwrap();
    let directory = place.path().join("audit");
    let max_age = Duration::from_secs(3600);
    let settings = Settings {
        directory: directory.clone(),
        max_size: 1 << 20,
        max_age,
        required: true,
        syslog: None,
    };
    let audit = Audit::start(settings).unwrap();
    for _ in 0..1100 {
        audit.record(audit.event(EventName::LoginFailed).user("root"));
    }
    audit.record(audit.event(EventName::TokenIssued));
    assert!(audit.flush(Duration::from_secs(60)) && audit.admits());
    let events = read(&directory, &Query { limit: 2000, ..Query::default() }).unwrap().events;
    let missing = events.iter().filter(|event| event.name == EventName::AuditGap);
    let missing: u64 = missing.filter_map(|event| event.count).sum();
    assert!(missing >= 90 && events.len() as u64 + missing >= 1101, "{missing}");
    assert_eq!(AUDIT_DROPPED.get(), 0);
}
