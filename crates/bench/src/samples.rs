//! The values of all rounds, and whether they reach the goals.

use std::collections::BTreeMap;
use std::collections::HashMap;

use crate::load::Load;
use crate::load::Values;
use crate::peer::Peer;
use crate::rows::Bound;
use crate::rows::Goal;
use crate::rows::Measure;
use crate::statistics::extremes;
use crate::statistics::median;

/// Values by peer, load and name, and then by round.
#[derive(Debug, Default)]
pub(crate) struct Samples(HashMap<(Peer, Load, String), BTreeMap<u32, f64>>);

/// Whether a goal was reached.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Verdict {
    /// The median reaches it.
    Reached,
    /// The median does not reach it, but one round does.
    WithinScatter,
    /// No round reaches it.
    Missed,
}

impl Verdict {
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Reached => "reached",
            Self::WithinScatter => "reached within scatter",
            Self::Missed => "missed",
        }
    }
}

impl Samples {
    /// Adds the values of a load in a round.
    pub(crate) fn add(&mut self, round: u32, load: Load, peer: Peer, values: Values) {
        for (name, value) in values {
            self.0.entry((peer, load, name)).or_default().insert(round, value);
        }
    }

    /// Each round's value.
    pub(crate) fn values(&self, measure: &Measure, peer: Peer) -> Vec<f64> {
        self.by_round(measure, peer).into_values().collect()
    }

    /// Our value divided by a peer's in the same round, for each round that has both.
    pub(crate) fn ratios(&self, measure: &Measure, peer: Peer) -> Vec<f64> {
        let theirs = self.by_round(measure, peer);
        let ours = self.by_round(measure, Peer::Serialproxy).into_iter();
        ours.filter_map(|(round, value)| Some(value / theirs.get(&round)?)).collect()
    }

    /// Whether all goals are reached: the worst verdict among them, or `None` where there is no
    /// goal or no value.
    pub(crate) fn verdict(&self, measure: &Measure) -> Option<Verdict> {
        let verdicts = measure.goals.iter().filter_map(|goal| match goal {
            Goal::Ratio(peer, bound) => verdict(*bound, &self.ratios(measure, *peer)),
            Goal::Value(bound) => verdict(*bound, &self.values(measure, Peer::Serialproxy)),
        });
        verdicts.max()
    }

    fn by_round(&self, measure: &Measure, peer: Peer) -> BTreeMap<u32, f64> {
        let values = |peer| self.0.get(&(peer, measure.load, measure.value.to_owned()));
        let Some(values_of_peer) = values(peer) else { return BTreeMap::new() };
        if !measure.over_direct {
            return values_of_peer.clone();
        }
        let direct = values(Peer::Direct);
        let added = values_of_peer.iter().filter_map(|(round, value)| {
            let added = value - direct?.get(round)?;
            (peer != Peer::Direct).then_some((*round, added))
        });
        added.collect()
    }
}

fn verdict(bound: Bound, values: &[f64]) -> Option<Verdict> {
    let (smallest, largest) = extremes(values)?;
    Some(if bound.holds(median(values)?) {
        Verdict::Reached
    } else if bound.holds(smallest) || bound.holds(largest) {
        Verdict::WithinScatter
    } else {
        Verdict::Missed
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::values;

    const RATE: Measure = Measure {
        row: 1,
        load: Load::Bulk,
        what: "",
        unit: "",
        value: "rate",
        over_direct: false,
        goals: &[Goal::Ratio(Peer::Haproxy, Bound::AtLeast(1.0))],
    };

    fn samples(rounds: &[(f64, f64)]) -> Samples {
        let mut samples = Samples::default();
        for (round, (ours, theirs)) in (1..).zip(rounds) {
            samples.add(round, Load::Bulk, Peer::Serialproxy, values([("rate", *ours)]));
            samples.add(round, Load::Bulk, Peer::Haproxy, values([("rate", *theirs)]));
        }
        samples
    }

    #[test]
    fn a_ratio_is_that_of_one_round() {
        let mut samples = samples(&[(2.0, 1.0), (9.0, 3.0)]);
        samples.add(3, Load::Bulk, Peer::Serialproxy, values([("rate", 7.0)]));
        assert_eq!(samples.ratios(&RATE, Peer::Haproxy), [2.0, 3.0]);
    }

    #[test]
    fn what_a_proxy_adds_is_taken_over_the_same_round_without_one() {
        let mut samples = samples(&[(30.0, 40.0), (50.0, 60.0)]);
        samples.add(1, Load::Bulk, Peer::Direct, values([("rate", 20.0)]));
        samples.add(2, Load::Bulk, Peer::Direct, values([("rate", 10.0)]));
        let added = Measure { over_direct: true, ..RATE };
        assert_eq!(samples.values(&added, Peer::Serialproxy), [10.0, 40.0]);
        assert_eq!(samples.ratios(&added, Peer::Haproxy), [0.5, 0.8]);
        assert!(samples.values(&added, Peer::Direct).is_empty());
    }

    #[test]
    fn a_goal_is_judged_by_the_median_and_then_by_the_scatter() {
        let verdict = |rounds: &[(f64, f64)]| samples(rounds).verdict(&RATE);
        assert_eq!(verdict(&[(1.0, 1.0), (1.2, 1.0), (0.8, 1.0)]), Some(Verdict::Reached));
        assert_eq!(verdict(&[(0.9, 1.0), (1.2, 1.0), (0.8, 1.0)]), Some(Verdict::WithinScatter));
        assert_eq!(verdict(&[(0.9, 1.0), (0.7, 1.0)]), Some(Verdict::Missed));
        assert_eq!(verdict(&[]), None);
    }
}
