//! A metric: its name, its meaning, and one series for each combination of its labels.

use std::fmt::Write;
use std::marker::PhantomData;
use std::ops::Deref;

use crate::kinds::Kind;
use crate::kinds::Value;
use crate::labels::Labels;

/// What all metrics have.
pub trait Metric: Sync {
    /// Its name.
    fn name(&self) -> &'static str;
    /// What it counts or measures, in a sentence.
    fn help(&self) -> &'static str;
    /// Its kind.
    fn kind(&self) -> Kind;
    /// The names of its labels.
    fn labels(&self) -> Vec<&'static str>;
    /// Writes it in Prometheus' text format.
    fn write(&self, out: &mut String);
}

/// The series of a metric, by labels `L`, of which there are `N` combinations.
#[derive(Debug)]
pub struct Family<V, L, const N: usize> {
    name: &'static str,
    help: &'static str,
    series: [V; N],
    /// Stands in where there is no series, which `new` rules out.
    none: V,
    labels: PhantomData<fn(L)>,
}

impl<V: Value, L: Labels, const N: usize> Family<V, L, N> {
    pub(crate) const fn new(
        name: &'static str,
        help: &'static str,
        series: [V; N],
        none: V,
    ) -> Self {
        assert!(N == L::COUNT, "a metric has a series for each combination of its labels");
        Self { name, help, series, none, labels: PhantomData }
    }

    /// The series with these labels.
    pub fn of(&self, labels: L) -> &V {
        self.series.get(labels.index()).unwrap_or(&self.none)
    }
}

/// A metric without labels is its one series.
impl<V> Deref for Family<V, (), 1> {
    type Target = V;

    fn deref(&self) -> &V {
        let [value] = &self.series;
        value
    }
}

impl<V: Value, L: Labels, const N: usize> Metric for Family<V, L, N> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn help(&self) -> &'static str {
        self.help
    }

    fn kind(&self) -> Kind {
        V::KIND
    }

    fn labels(&self) -> Vec<&'static str> {
        L::names()
    }

    fn write(&self, out: &mut String) {
        write_head(self, out);
        for (index, value) in self.series.iter().enumerate() {
            let mut labels = String::new();
            L::write(index, &mut labels);
            value.write(self.name, &labels, out);
        }
    }
}

/// Writes what comes before the series.
pub(crate) fn write_head(metric: &dyn Metric, out: &mut String) {
    let (name, help, kind) = (metric.name(), metric.help(), metric.kind().as_str());
    // Writing to a string does not fail.
    let _ = write!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
}
