//! All metrics of a process, and the text in which Prometheus reads them.
//!
//! The metrics are statics: one process has one set of them, and whoever counts needs no handle that would have
//! to pass through every layer. All series exist from the start, because the values of each label are a closed
//! list. No label names a server, line, user or address, so their number is the same on every host.
//!
//! Counting is one relaxed addition, without a lock or an allocation.

mod family;
mod kinds;
mod labels;
mod table;

pub use crate::family::Family;
pub use crate::family::Metric;
pub use crate::kinds::Counter;
pub use crate::kinds::Gauge;
pub use crate::kinds::Histogram;
pub use crate::kinds::Inside;
pub use crate::kinds::Kind;
pub use crate::labels::Call;
pub use crate::labels::Certificate;
pub use crate::labels::Direction;
pub use crate::labels::Label;
pub use crate::labels::Labels;
pub use crate::labels::Leased;
pub use crate::labels::Operation;
pub use crate::labels::Outcome;
pub use crate::table::*;

/// Media type of [`text`].
pub const MEDIA_TYPE: &str = "text/plain; version=0.0.4";

/// All metrics in Prometheus' text format.
pub fn text() -> String {
    let mut out = String::with_capacity(32 * 1024);
    for metric in ALL {
        metric.write(&mut out);
    }
    out
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_document_lists_every_metric_and_no_other() {
        let document = include_str!("../../../docs/monitoring.md");
        let rows: BTreeSet<_> = document
            .lines()
            .filter(|row| row.starts_with("| `serialproxy_"))
            .map(str::to_owned)
            .collect();
        let row = |metric: &&dyn Metric| {
            let labels: Vec<_> = metric.labels().iter().map(|name| format!("`{name}`")).collect();
            let labels = if labels.is_empty() { "–".to_owned() } else { labels.join(", ") };
            let (name, kind) = (metric.name(), metric.kind().as_str());
            format!("| `{name}` | {kind} | {labels} | {} |", metric.help())
        };
        let expected: BTreeSet<_> = ALL.iter().map(row).collect();
        assert_eq!(rows, expected, "docs/monitoring.md has other metrics than the program");
    }

    #[test]
    fn every_series_is_there_before_anything_happened_and_no_name_twice() {
        let text = text();
        let heads = text.lines().filter(|line| line.starts_with("# TYPE "));
        let names: BTreeSet<_> = heads.map(|line| line.split(' ').nth(2).unwrap()).collect();
        assert_eq!(names.len(), ALL.len());
        for series in [
            "serialproxy_sessions{mode=\"write\",protocol=\"console.v1\",state=\"live\"} 0",
            "serialproxy_refusals_total{cause=\"host_lost\"} 0",
            "serialproxy_attach_seconds_count 0",
        ] {
            assert!(text.lines().any(|line| line == series), "{series} is not in {text}");
        }
        for metric in ALL {
            let is_total = metric.name().ends_with("_total");
            assert_eq!(is_total, metric.kind() == Kind::Counter, "{}", metric.name());
        }
    }
}
