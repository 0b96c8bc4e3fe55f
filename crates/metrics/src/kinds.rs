//! What a series counts or measures.

use std::fmt::Write;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// The kind of a metric.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// It only grows, until the process starts anew.
    Counter,
    /// It goes up and down.
    Gauge,
    /// Durations in buckets.
    Histogram,
}

impl Kind {
    /// Its name in Prometheus' text format.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A kind of value.
pub trait Value: Sync {
    /// Its name in Prometheus' text format.
    const KIND: Kind;

    /// Writes its samples. `labels` are those of the series, each with a comma behind it.
    fn write(&self, name: &str, labels: &str, out: &mut String);
}

/// Counts up from the start of the process.
#[derive(Debug)]
pub struct Counter(AtomicU64);

/// What is so now; NaN where it does not apply to the process.
#[derive(Debug)]
pub struct Gauge(AtomicU64);

/// Upper bounds of the buckets, in seconds.
const BOUNDS: [f64; 18] = [
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
    1.0, 2.5, 5.0, 10.0, 30.0,
];

/// How long something took, in buckets.
#[derive(Debug)]
pub struct Histogram {
    /// Observations of each bucket.
    buckets: [AtomicU64; BOUNDS.len()],
    /// Those above all bounds.
    above: AtomicU64,
    nanoseconds: AtomicU64,
}

impl Counter {
    pub(crate) const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Counts one.
    pub fn inc(&self) {
        self.add(1);
    }

    /// Counts so many.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// What was counted.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Gauge {
    pub(crate) const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// It is so now.
    pub fn set(&self, value: f64) {
        self.0.store(value.to_bits(), Ordering::Relaxed);
    }

    /// What it is.
    pub fn get(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Relaxed))
    }

    /// One more until what is returned is dropped.
    #[must_use = "it counts until it is dropped"]
    pub fn enter(&'static self) -> Inside {
        self.change(1.0);
        Inside(self)
    }

    fn change(&self, by: f64) {
        let changed = |bits| Some((f64::from_bits(bits) + by).to_bits());
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, changed);
    }
}

/// Something that a gauge counts while it exists.
#[derive(Debug)]
pub struct Inside(&'static Gauge);

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.change(-1.0);
    }
}

impl Histogram {
    pub(crate) const fn new() -> Self {
        Self {
            buckets: [const { AtomicU64::new(0) }; BOUNDS.len()],
            above: AtomicU64::new(0),
            nanoseconds: AtomicU64::new(0),
        }
    }

    /// Something took so long.
    pub fn observe(&self, time: Duration) {
        let seconds = time.as_secs_f64();
        let bucket = BOUNDS.iter().zip(&self.buckets).find(|(bound, _)| seconds <= **bound);
        bucket.map_or(&self.above, |(_, bucket)| bucket).fetch_add(1, Ordering::Relaxed);
        let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
    }
}

impl Value for Counter {
    const KIND: Kind = Kind::Counter;

    fn write(&self, name: &str, labels: &str, out: &mut String) {
        write_sample(out, name, labels, self.get());
    }
}

impl Value for Gauge {
    const KIND: Kind = Kind::Gauge;

    fn write(&self, name: &str, labels: &str, out: &mut String) {
        write_sample(out, name, labels, self.get());
    }
}

impl Value for Histogram {
    const KIND: Kind = Kind::Histogram;

    fn write(&self, name: &str, labels: &str, out: &mut String) {
        let bucket = format!("{name}_bucket");
        let mut count = 0;
        for (bound, observed) in BOUNDS.iter().zip(&self.buckets) {
            count += observed.load(Ordering::Relaxed);
            write_sample(out, &bucket, &format!("{labels}le=\"{bound}\","), count);
        }
        count += self.above.load(Ordering::Relaxed);
        write_sample(out, &bucket, &format!("{labels}le=\"+Inf\","), count);
        let nanoseconds = self.nanoseconds.load(Ordering::Relaxed);
        let seconds = Duration::from_nanos(nanoseconds).as_secs_f64();
        write_sample(out, &format!("{name}_sum"), labels, seconds);
        write_sample(out, &format!("{name}_count"), labels, count);
    }
}

fn write_sample(out: &mut String, name: &str, labels: &str, value: impl std::fmt::Display) {
    // Writing to a string does not fail.
    let _ = match labels.strip_suffix(',') {
        None => writeln!(out, "{name} {value}"),
        Some(labels) => writeln!(out, "{name}{{{labels}}} {value}"),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_has_cumulative_buckets_a_sum_and_a_count() {
        let times = Histogram::new();
        for milliseconds in [3, 4, 600, 60_000] {
            times.observe(Duration::from_millis(milliseconds));
        }
        let mut text = String::new();
        times.write("seconds", "a=\"b\",", &mut text);
        for line in [
            "seconds_bucket{a=\"b\",le=\"0.0025\"} 0",
            "seconds_bucket{a=\"b\",le=\"0.005\"} 2",
            "seconds_bucket{a=\"b\",le=\"1\"} 3",
            "seconds_bucket{a=\"b\",le=\"30\"} 3",
            "seconds_bucket{a=\"b\",le=\"+Inf\"} 4",
            "seconds_sum{a=\"b\"} 60.607",
            "seconds_count{a=\"b\"} 4",
        ] {
            assert!(text.lines().any(|written| written == line), "{line} is not in {text}");
        }
    }

    #[test]
    fn a_gauge_counts_what_is_inside() {
        static TUNNELS: Gauge = Gauge::new();
        let (one, other) = (TUNNELS.enter(), TUNNELS.enter());
        assert_eq!(TUNNELS.get(), 2.0);
        drop(one);
        assert_eq!(TUNNELS.get(), 1.0);
        drop(other);
        assert_eq!(TUNNELS.get(), 0.0);
    }
}
