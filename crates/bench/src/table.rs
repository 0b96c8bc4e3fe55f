//! The table that is printed.

use comfy_table::Table;
use comfy_table::presets::ASCII_FULL_CONDENSED;
use comfy_table::presets::ASCII_MARKDOWN;

use crate::peer::Peer;
use crate::rows::MEASURES;
use crate::rows::Measure;
use crate::samples::Samples;
use crate::statistics::extremes;
use crate::statistics::median;

/// The table of all measured values, with a line for each.
pub(crate) fn render(samples: &Samples, markdown: bool) -> String {
    let mut table = Table::new();
    table.load_style(if markdown { ASCII_MARKDOWN } else { ASCII_FULL_CONDENSED });
    table.set_header([
        "row",
        "what",
        "unit",
        "direct",
        "HAProxy",
        "websockify",
        "serialproxy",
        "÷ HAProxy",
        "÷ websockify",
        "goal",
        "result",
    ]);
    for measure in MEASURES {
        let line = line(samples, measure);
        if line.iter().skip(3).take(Peer::ALL.len()).any(|value| value != NOTHING) {
            table.add_row(line);
        }
    }
    table.to_string()
}

const NOTHING: &str = "–";

fn line(samples: &Samples, measure: &Measure) -> Vec<String> {
    let mut line = vec![measure.row.to_string(), measure.what.to_owned(), measure.unit.to_owned()];
    for peer in Peer::ALL {
        line.push(spread(&samples.values(measure, peer)));
    }
    for peer in [Peer::Haproxy, Peer::Websockify] {
        line.push(spread(&samples.ratios(measure, peer)));
    }
    let goals: Vec<_> = measure.goals.iter().map(ToString::to_string).collect();
    line.push(if goals.is_empty() { NOTHING.to_owned() } else { goals.join(", ") });
    line.push(samples.verdict(measure).map_or(NOTHING, |verdict| verdict.words()).to_owned());
    line
}

/// The median, followed by the smallest and the largest value.
fn spread(values: &[f64]) -> String {
    match (median(values), extremes(values)) {
        (Some(median), Some((smallest, largest))) if median.is_finite() => {
            if values.len() == 1 {
                return number(median);
            }
            format!("{} [{}–{}]", number(median), number(smallest), number(largest))
        }
        _ => NOTHING.to_owned(),
    }
}

/// The value with three significant digits.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        ..0.0995 => format!("{value:.3}"),
        ..9.95 => format!("{value:.2}"),
        ..99.5 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Load;
    use crate::load::values;

    #[test]
    fn a_number_has_three_digits_that_count() {
        let numbers = [0.0123, 0.98, 9.949, 9.96, 12.34, 99.6, 1151.4, -0.5];
        let shown = ["0.012", "0.98", "9.95", "10.0", "12.3", "100", "1151", "-0.50"];
        assert_eq!(numbers.map(number), shown);
    }

    #[test]
    fn a_spread_is_shown_where_there_is_one() {
        assert_eq!(spread(&[2.0, 1.0, 3.0]), "2.00 [1.00–3.00]");
        assert_eq!(spread(&[2.0]), "2.00");
        assert_eq!(spread(&[]), NOTHING);
        assert_eq!(spread(&[f64::NAN]), NOTHING);
    }

    #[test]
    fn only_what_was_measured_is_in_the_table() {
        let mut samples = Samples::default();
        samples.add(1, Load::Bulk, Peer::Serialproxy, values([("bulk rate", 1200.0)]));
        samples.add(1, Load::Bulk, Peer::Haproxy, values([("bulk rate", 1000.0)]));
        let table = render(&samples, true);
        let lines: Vec<_> = table.lines().collect();
        assert_eq!(lines.len(), 3, "{table}");
        let last = lines[2].split('|').map(str::trim).collect::<Vec<_>>();
        let shown = [
            "1",
            "guest prints, 1 session",
            "MiB/s",
            NOTHING,
            "1000",
            NOTHING,
            "1200",
            "1.20",
            NOTHING,
            "≥ 1 × HAProxy",
            "reached",
        ];
        assert_eq!(last[1..12], shown);
    }
}
