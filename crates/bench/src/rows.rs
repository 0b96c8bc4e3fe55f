//! The rows of the table: their texts, and their goals.

use std::fmt;

use crate::load::Load;
use crate::peer::Peer;
use crate::peer::Peer::Haproxy;
use crate::peer::Peer::Websockify;
use crate::rows::Bound::AtLeast;
use crate::rows::Bound::AtMost;
use crate::rows::Goal::Ratio;
use crate::rows::Goal::Value;

/// A line of the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measure {
    /// The row that it belongs to.
    pub(crate) row: u8,
    pub(crate) load: Load,
    pub(crate) what: &'static str,
    pub(crate) unit: &'static str,
    /// The name of the load's value.
    pub(crate) value: &'static str,
    /// Whether to subtract the value without a proxy, so that the part that a proxy adds is left.
    pub(crate) over_direct: bool,
    pub(crate) goals: &'static [Goal],
}

/// A goal.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Goal {
    /// For our value divided by a peer's in the same round.
    Ratio(Peer, Bound),
    /// For our value.
    Value(Bound),
}

/// The limit of a goal.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

impl Bound {
    pub(crate) fn holds(self, value: f64) -> bool {
        match self {
            Self::AtLeast(least) => value >= least,
            Self::AtMost(most) => value <= most,
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(least) => write!(f, "≥ {least}"),
            Self::AtMost(most) => write!(f, "≤ {most}"),
        }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ratio(peer, bound) => write!(f, "{bound} × {}", peer.name()),
            Self::Value(bound) => bound.fmt(f),
        }
    }
}

const fn measure(
    row: u8,
    load: Load,
    (value, unit): (&'static str, &'static str),
    what: &'static str,
    goals: &'static [Goal],
) -> Measure {
    Measure { row, load, what, unit, value, over_direct: false, goals }
}

const fn over_direct(measure: Measure) -> Measure {
    Measure { over_direct: true, ..measure }
}

/// All measures, in the order of the table.
pub(crate) const MEASURES: &[Measure] = &[
    measure(
        1,
        Load::Bulk,
        ("bulk rate", "MiB/s"),
        "guest prints, 1 session",
        &[Ratio(Haproxy, AtLeast(1.0))],
    ),
    measure(
        1,
        Load::Bulk,
        ("bulk cpu", "CPU s/GiB"),
        "guest prints, 1 session",
        &[Ratio(Haproxy, AtMost(1.1))],
    ),
    measure(
        2,
        Load::Fleet,
        ("fleet rate", "MiB/s"),
        "16 guests print, 16 sessions",
        &[Ratio(Haproxy, AtLeast(1.3))],
    ),
    measure(
        2,
        Load::Fleet,
        ("fleet fairness", "Jain"),
        "fairness among the 16 sessions",
        &[Value(AtLeast(0.98))],
    ),
    measure(2, Load::Fleet, ("fleet cpu", "CPU s/GiB"), "16 guests print, 16 sessions", &[]),
    measure(
        3,
        Load::Upload,
        ("upload rate", "MiB/s"),
        "upload, 1 session",
        &[Ratio(Haproxy, AtLeast(0.9)), Ratio(Websockify, AtLeast(3.0))],
    ),
    measure(3, Load::Upload, ("upload cpu", "CPU s/GiB"), "upload, 1 session", &[]),
    measure(4, Load::Keystroke, ("key p50", "µs"), "key and echo on one core, p50", &[]),
    over_direct(measure(
        4,
        Load::Keystroke,
        ("key p50", "µs"),
        "the same, minus direct",
        &[Ratio(Haproxy, AtMost(1.15))],
    )),
    measure(4, Load::Keystroke, ("key p99", "µs"), "key and echo on one core, p99", &[]),
    measure(
        4,
        Load::Keystroke,
        ("key cpu", "CPU µs/key"),
        "key and echo on one core",
        &[Ratio(Websockify, AtMost(0.6))],
    ),
    measure(5, Load::Typists, ("typists p50", "µs"), "200 sessions × 20 keys/s, p50", &[]),
    measure(
        5,
        Load::Typists,
        ("typists p99", "µs"),
        "200 sessions × 20 keys/s, p99",
        &[Ratio(Haproxy, AtMost(1.25)), Ratio(Websockify, AtMost(0.1))],
    ),
    measure(5, Load::Typists, ("typists cpu", "CPU µs/key"), "200 sessions × 20 keys/s", &[]),
    measure(6, Load::Idle, ("idle base", "MiB"), "memory before the first session", &[]),
    measure(
        6,
        Load::Idle,
        ("idle memory", "KiB"),
        "idle session after use, with its line",
        &[Value(AtMost(24.0))],
    ),
    measure(
        6,
        Load::Idle,
        ("idle watcher", "KiB"),
        "each further session on a line",
        &[Value(AtMost(6.0))],
    ),
    measure(
        7,
        Load::Idle,
        ("idle cpu", "% of a core"),
        "idle sessions, all of row 6",
        &[Value(AtMost(1.0))],
    ),
    measure(
        8,
        Load::Churn,
        ("churn rate", "sessions/s"),
        "open, 1 key, close; 16 at a time",
        &[Ratio(Haproxy, AtLeast(0.5)), Ratio(Websockify, AtLeast(40.0))],
    ),
    measure(8, Load::Churn, ("churn cpu", "CPU µs/session"), "open, 1 key, close", &[]),
    measure(
        9,
        Load::Fan,
        ("fan cpu", "CPU s"),
        "5 MB/s to 1 writer and 100 watchers",
        &[Ratio(Haproxy, AtMost(1.5))],
    ),
    measure(9, Load::Fan, ("fan rate", "MiB/s"), "total read rate", &[]),
    measure(
        9,
        Load::Fan,
        ("fan waited", "ms"),
        "the guest's longest wait for a write",
        &[Value(AtMost(5.0))],
    ),
    measure(
        9,
        Load::Fan,
        ("fan late", "ms"),
        "how late the guest finished",
        &[Value(AtMost(30.0))],
    ),
    measure(
        10,
        Load::Stalled,
        ("stalled raw", "KiB"),
        "memory held for a stalled raw session",
        &[Value(AtMost(256.0))],
    ),
    measure(
        10,
        Load::Stalled,
        ("stalled v1", "KiB"),
        "memory held for a stalled console.v1 session",
        &[Value(AtMost(256.0))],
    ),
    measure(
        10,
        Load::Stalled,
        ("stalled raw delay", "×"),
        "other sessions' keys beside a stalled raw one, p99",
        &[Value(AtMost(1.5))],
    ),
    measure(
        10,
        Load::Stalled,
        ("stalled v1 delay", "×"),
        "other sessions' keys beside a stalled console.v1 one, p99",
        &[Value(AtMost(1.5))],
    ),
    measure(
        13,
        Load::Drip,
        ("drip cpu", "CPU ms/MiB"),
        "16 guests, each prints 11 bytes per ms",
        &[Ratio(Haproxy, AtMost(0.4))],
    ),
    measure(
        13,
        Load::Drip,
        ("drip frames", "frames/s"),
        "frames of a session",
        &[Value(AtMost(250.0))],
    ),
    measure(
        14,
        Load::KeystrokeTls,
        ("key p50", "µs"),
        "TLS: key and echo on one core, p50",
        &[Ratio(Haproxy, AtMost(1.15))],
    ),
    measure(14, Load::KeystrokeTls, ("key p99", "µs"), "TLS: key and echo on one core, p99", &[]),
    measure(14, Load::KeystrokeTls, ("key cpu", "CPU µs/key"), "TLS: key and echo", &[]),
    measure(
        15,
        Load::BulkTls,
        ("bulk rate", "MiB/s"),
        "TLS: guest prints, 1 session",
        &[Ratio(Haproxy, AtLeast(1.0))],
    ),
    measure(15, Load::BulkTls, ("bulk cpu", "CPU s/GiB"), "TLS: guest prints, 1 session", &[]),
    measure(
        16,
        Load::KeystrokeHosts,
        ("key p50", "µs"),
        "2 hosts: key and echo on one core, p50",
        &[Ratio(Haproxy, AtMost(1.3))],
    ),
    over_direct(measure(
        16,
        Load::KeystrokeHosts,
        ("key p50", "µs"),
        "the same, minus direct",
        &[],
    )),
    measure(
        16,
        Load::KeystrokeHosts,
        ("key p99", "µs"),
        "2 hosts: key and echo on one core, p99",
        &[],
    ),
    measure(16, Load::KeystrokeHosts, ("key cpu", "CPU µs/key"), "2 hosts: key and echo", &[]),
    measure(
        17,
        Load::BulkHosts,
        ("bulk rate", "MiB/s"),
        "2 hosts: guest prints, 1 session",
        &[Ratio(Haproxy, AtLeast(0.9))],
    ),
    measure(17, Load::BulkHosts, ("bulk cpu", "CPU s/GiB"), "2 hosts: guest prints", &[]),
    measure(
        18,
        Load::Tunnels,
        ("idle memory", "KiB"),
        "2 hosts: idle session after use, in the proxy",
        &[Value(AtMost(32.0))],
    ),
    measure(19, Load::Attach, ("attach p50", "ms"), "2 hosts: attach, 200/s, p50", &[]),
    measure(
        19,
        Load::Attach,
        ("attach p99", "ms"),
        "2 hosts: attach, 200/s, p99",
        &[Value(AtMost(20.0))],
    ),
    measure(19, Load::Attach, ("attach cpu", "CPU µs/session"), "2 hosts: attach and leave", &[]),
];

/// Every load that these rows need, in the order of the table; without rows, all loads.
pub(crate) fn loads(rows: &[u8]) -> Vec<Load> {
    let mut loads = Vec::new();
    for measure in MEASURES {
        if (rows.is_empty() || rows.contains(&measure.row)) && !loads.contains(&measure.load) {
            loads.push(measure.load);
        }
    }
    loads
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_of_two_rows_runs_once() {
        assert_eq!(loads(&[7, 6]), [Load::Idle]);
        assert_eq!(loads(&[4, 1]), [Load::Bulk, Load::Keystroke]);
        assert_eq!(loads(&[]).len(), 16);
    }

    #[test]
    fn a_bound_holds_where_it_is_met() {
        assert!(AtLeast(1.0).holds(1.0) && !AtLeast(1.0).holds(0.99));
        assert!(AtMost(1.0).holds(1.0) && !AtMost(1.0).holds(1.01));
    }

    #[test]
    fn a_goal_reads_as_it_is_meant() {
        assert_eq!(Ratio(Haproxy, AtMost(1.25)).to_string(), "≤ 1.25 × HAProxy");
        assert_eq!(Value(AtLeast(0.98)).to_string(), "≥ 0.98");
    }
}
