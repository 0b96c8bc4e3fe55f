//! What `/metrics` says.

use std::collections::BTreeMap;
use std::path::Path;
use std::path::PathBuf;

use crate::server::http;
use crate::within;

/// All series of a process, at one time.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// As it was sent.
    pub text: String,
    series: BTreeMap<String, f64>,
}

impl Metrics {
    /// Reads those of the process at `http://HOST:PORT`.
    pub async fn of(url: &str) -> Self {
        let answer = within(http().build().unwrap().get(format!("{url}/metrics")).send()).await;
        let answer = answer.unwrap();
        assert_eq!(answer.status(), 200);
        let text = within(answer.text()).await.unwrap();
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        let sample = |line: &str| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            (name.to_owned(), value.parse().unwrap())
        };
        let series = samples.map(sample).collect();
        Self { text, series }
    }

    /// The value of a series, as `NAME` or `NAME{LABELS}`, without `serialproxy_`.
    pub fn get(&self, name: &str) -> f64 {
        let value = self.series.get(&format!("serialproxy_{name}"));
        *value.unwrap_or_else(|| panic!("no series {name} in {}", self.text))
    }

    /// The names of all series.
    pub fn names(&self) -> Vec<&str> {
        self.series.keys().map(String::as_str).collect()
    }
}

/// Prometheus' tool, from the distribution's package.
pub fn promtool() -> PathBuf {
    let fetched = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/promtool/promtool");
    if fetched.exists() { fetched } else { "promtool".into() }
}
