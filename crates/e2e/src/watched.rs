//! A role of a cluster whose metrics and health are looked at while things happen.

use std::cell::RefCell;
use std::collections::BTreeSet;

use tokio::time::timeout;

use crate::PATIENCE;
use crate::cluster::Role;
use crate::eventually;
use crate::metrics::Metrics;
use crate::server::http;
use crate::within;

/// A role, and its metrics at the beginning of a part of a test.
#[derive(Debug)]
pub struct Watched {
    /// The role.
    pub role: Role,
    /// Its metrics then.
    pub before: Metrics,
    moved: RefCell<BTreeSet<String>>,
}

impl Watched {
    /// The first part begins now.
    pub async fn new(role: Role) -> Self {
        let before = Metrics::of(&role.metrics()).await;
        Self { role, before, moved: RefCell::default() }
    }

    /// The metrics that have moved so far, in all parts.
    pub fn moved(&self) -> BTreeSet<String> {
        self.moved.borrow().clone()
    }

    /// A new part begins.
    pub async fn mark(&mut self) {
        self.before = Metrics::of(&self.role.metrics()).await;
    }

    /// Waits until this holds of what a series was before, and of what it is now.
    pub async fn moves(&self, series: &str, as_it_should: impl Fn(f64, f64) -> bool) {
        let (url, before) = (self.role.metrics(), self.before.get(series));
        let mut now = f64::NAN;
        let moved = eventually(async || {
            now = Metrics::of(&url).await.get(series);
            as_it_should(before, now).then_some(())
        });
        let moved = timeout(PATIENCE / 3, moved).await.is_ok();
        assert!(moved, "{series} was {before} and is {now}");
        if now != before {
            let name = series.split('{').next().unwrap();
            self.moved.borrow_mut().insert(name.to_owned());
        }
    }

    /// It is so many more, and no more than that.
    pub async fn gains(&self, series: &str, count: f64) {
        self.moves(series, |before, now| now - before == count).await;
    }

    /// It grows by as much as it does.
    pub async fn grows(&self, series: &str) {
        self.moves(series, |before, now| now > before).await;
    }

    /// It becomes this value.
    pub async fn is(&self, series: &str, value: f64) {
        self.moves(series, |_, now| now == value).await;
    }

    /// The status and its reasons at `/healthz`.
    pub async fn health(&self) -> String {
        let url = format!("{}/healthz", self.role.metrics());
        let answer = within(http().build().unwrap().get(url).send()).await.unwrap();
        let status = answer.status();
        let health: serde_json::Value = within(answer.json()).await.unwrap();
        let reasons = health["reasons"].as_array().unwrap().iter();
        let reasons: Vec<_> = reasons.map(|reason| reason["name"].as_str().unwrap()).collect();
        format!("{} {} {}", status.as_u16(), health["status"].as_str().unwrap(), reasons.join(" "))
    }
}
