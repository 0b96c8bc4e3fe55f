//! The dashboard and the alert rules, held against the metrics that exist and the document that they link to.

#![allow(clippy::unwrap_used, clippy::panic, reason = "that is how a test fails")]

use std::collections::BTreeSet;

use serialproxy_metrics::ALL;
use serialproxy_metrics::Kind;
use serialproxy_metrics::Metric;

const RULES: &str = include_str!("../../../packaging/alerts.yml");
const DASHBOARD: &str = include_str!("../../../packaging/dashboard.json");
const DOCUMENT: &str = include_str!("../../../docs/monitoring.md");

/// The metrics that a text names, each with what follows the name.
fn named(text: &str) -> Vec<(&'static dyn Metric, String)> {
    let text = text.replace("\\\"", "\"");
    let pieces = text.split("serialproxy_").skip(1);
    let metric = |piece: &str| {
        let end = piece.find(|c: char| !c.is_ascii_lowercase() && c != '_').unwrap_or(piece.len());
        let (name, rest) = piece.split_at(end);
        let found =
            ALL.iter().find(|metric| is_series_of(**metric, &format!("serialproxy_{name}")));
        (*found.unwrap_or_else(|| panic!("there is no metric serialproxy_{name}")), rest.to_owned())
    };
    pieces.map(metric).collect()
}

fn is_series_of(metric: &dyn Metric, name: &str) -> bool {
    let rest = name.strip_prefix(metric.name());
    match metric.kind() {
        Kind::Histogram => matches!(rest, Some("_bucket" | "_sum" | "_count")),
        Kind::Counter | Kind::Gauge => rest == Some(""),
    }
}

/// Every value of a label, as `name="value"`.
fn values(metric: &dyn Metric) -> BTreeSet<String> {
    let mut text = String::new();
    metric.write(&mut text);
    let labels = text.lines().filter_map(|line| line.split_once('{')?.1.split_once('}'));
    labels
        .flat_map(|(labels, _)| labels.split(',').map(str::to_owned).collect::<Vec<_>>())
        .collect()
}

#[test]
fn rules_and_dashboard_name_only_metrics_labels_and_values_that_exist() {
    for text in [RULES, DASHBOARD] {
        let named = named(text);
        assert!(named.len() > 10);
        for (metric, rest) in named {
            let Some((matchers, _)) = rest.strip_prefix('{').and_then(|rest| rest.split_once('}'))
            else {
                continue;
            };
            for matcher in matchers.split(',') {
                let (label, value) = matcher.split_once('=').unwrap();
                if label == "instance" {
                    continue;
                }
                for value in value.trim_start_matches('~').trim_matches('"').split('|') {
                    let expected = format!("{label}=\"{value}\"");
                    let known = values(metric).contains(&expected);
                    assert!(known, "{} has no {expected}", metric.name());
                }
            }
        }
    }
}

#[test]
fn the_dashboard_shows_every_metric() {
    let shown: BTreeSet<_> = named(DASHBOARD).iter().map(|(metric, _)| metric.name()).collect();
    let all = ALL.iter().map(|metric| metric.name());
    let missing: Vec<_> = all.filter(|name| !shown.contains(name)).collect();
    assert_eq!(missing, ["serialproxy_start_time_seconds"]);
}

/// A part of the document as a mail shows it: in one line, and with links in words.
fn plain(part: &str) -> String {
    let mut pieces = part.split("](");
    let mut text = pieces.next().unwrap().to_owned();
    for piece in pieces {
        let (target, rest) = piece.split_once(')').unwrap();
        let (before, shown) = text.rsplit_once('[').unwrap();
        let target = target.replacen('#', "monitoring.md#", usize::from(target.starts_with('#')));
        let link = if shown == target { target } else { format!("{shown} ({target})") };
        text = format!("{before}{link}{rest}");
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn each_rule_says_what_its_part_of_the_document_says_and_links_to_it() {
    let mut rules = 0;
    for rule in RULES.split("- alert: ").skip(1) {
        let name = rule.lines().next().unwrap();
        let place = "file:///usr/share/doc/serialproxy/docs/monitoring.md";
        let link = format!("runbook_url: {place}#{}\n", name.to_lowercase());
        assert!(rule.contains(&link), "{name} lacks {link}");
        let part = DOCUMENT.split_once(&format!("\n### {name}\n"));
        let (_, part) = part.unwrap_or_else(|| panic!("docs/monitoring.md lacks a part {name}"));
        let part = part.split("\n##").next().unwrap();
        let (_, said) = rule.split_once("description: >-\n").unwrap();
        let (said, _) = said.split_once("runbook_url").unwrap();
        assert_eq!(plain(said), plain(part), "{name}");
        rules += 1;
    }
    assert_eq!(DOCUMENT.matches("\n### Serialproxy").count(), rules);
}
