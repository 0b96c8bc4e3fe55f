//! What is so now of all lines and sessions, for the metrics.

use serialproxy_metrics as metrics;
use serialproxy_proto::api::Protocol;
use serialproxy_proto::api::SessionState;
use serialproxy_proto::console::LineState;
use serialproxy_proto::token::Mode;

use crate::line::Line;
use crate::registry::Lines;

/// A session that is further behind has not only what is on its way.
const BEHIND: u64 = 64 * 1024;

type Labels = (Mode, (Protocol, SessionState));

#[derive(Debug, Default)]
struct Measured {
    lines: Vec<LineState>,
    sessions: Vec<Labels>,
    behind: usize,
}

impl Lines {
    /// Brings the metrics up to date that say what is so now.
    pub fn measure(&self) {
        let mut measured = Measured::default();
        self.all().iter().for_each(|line| line.measure(&mut measured));
        measured.show();
    }
}

impl Line {
    fn measure(&self, measured: &mut Measured) {
        let status = self.0.news.now();
        measured.lines.push(status.connection.state());
        let end = self.0.output.end();
        for session in self.0.roster.all() {
            let mode = if status.is_held_by(session.id) { Mode::Write } else { Mode::Watch };
            let state = match session.absence() {
                Some(_) => SessionState::Detached,
                None => SessionState::Live,
            };
            measured.sessions.push((mode, (session.protocol, state)));
            let is_behind = end.saturating_sub(session.cursor()) > BEHIND;
            measured.behind += usize::from(is_behind && state == SessionState::Live);
        }
    }
}

impl Measured {
    fn show(&self) {
        for state in [LineState::Waiting, LineState::Connected, LineState::Failed] {
            let count = self.lines.iter().filter(|other| **other == state).count();
            metrics::LINES.of(state).set(count as f64);
        }
        for mode in [Mode::Watch, Mode::Write] {
            for protocol in [Protocol::Raw, Protocol::ConsoleV1] {
                for state in [SessionState::Live, SessionState::Detached] {
                    let labels = (mode, (protocol, state));
                    let count = self.sessions.iter().filter(|other| **other == labels).count();
                    metrics::SESSIONS.of(labels).set(count as f64);
                }
            }
        }
        metrics::VIEWERS_BEHIND.set(self.behind as f64);
    }
}
