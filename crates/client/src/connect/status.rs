//! The status line of `~s`.

use std::time::Duration;

use jiff::tz::TimeZone;
use serialproxy_proto::console::Hello;
use serialproxy_proto::console::LineState;
use serialproxy_proto::console::Size;

use crate::connect::guest::Guest;
use crate::connect::typing::Typing;

/// What a person may want to know of the session.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Status<'a> {
    pub(crate) hello: &'a Hello,
    pub(crate) watching: bool,
    pub(crate) typing: &'a Typing,
    pub(crate) guest: Guest,
    /// None where the server did not answer in time.
    pub(crate) latency: Option<Duration>,
    /// Boots so far; 0 where they are not counted.
    pub(crate) boot: u64,
    /// The grid of this terminal, and of that of the person who types.
    pub(crate) here: Option<Size>,
    pub(crate) theirs: Option<Size>,
    pub(crate) address: &'a str,
}

impl Status<'_> {
    pub(crate) fn text(self, zone: &TimeZone) -> String {
        let Hello { server, port, .. } = self.hello;
        let mut parts = vec![match self.watching {
            true => format!("{}, you are watching", self.typing.told(zone)),
            false => format!("you are typing{}", self.typing.since(zone)),
        }];
        parts.extend(self.guest());
        parts.push(match self.latency {
            Some(latency) => format!("latency {}", milliseconds(latency)),
            None => "the server does not answer".to_owned(),
        });
        if self.boot > 0 {
            parts.push(format!("boot {}", self.boot));
        }
        parts.extend(self.here.map(|Size { rows, cols }| format!("this terminal {cols}x{rows}")));
        let theirs = self.theirs.filter(|_| self.watching);
        parts.extend(theirs.map(|Size { rows, cols }| format!("theirs {cols}x{rows}")));
        parts.push(self.address.to_owned());
        format!("serialproxy: {}, port {port}: {}", server.name, parts.join("; "))
    }

    /// What is wrong with the guest.
    fn guest(&self) -> Option<String> {
        match (self.guest.state, self.guest.cause) {
            (LineState::Waiting, _) => Some("waiting for the guest".to_owned()),
            (LineState::Failed, _) => Some("the guest cannot be reached".to_owned()),
            (LineState::Connected, None) => None,
            (LineState::Connected, Some(cause)) => Some(format!("the guest is {}", cause.as_str())),
        }
    }
}

fn milliseconds(time: Duration) -> String {
    match time.as_secs_f64() * 1000.0 {
        short if short < 10.0 => format!("{short:.1} ms"),
        long => format!("{long:.0} ms"),
    }
}
