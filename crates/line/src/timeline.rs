//! The boots of a line, and when its output arrived.

use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use serialproxy_proto::console::Arrival;
use serialproxy_proto::console::Boots;
use serialproxy_proto::console::Times;

use crate::boots;
use crate::keyboard::Keyboard;
use crate::line::Line;
use crate::shared::Shared;

/// Most times of one answer.
const TIMES: usize = 1000;

impl Line {
    /// The last boots, and the oldest byte that is still kept.
    pub fn boots(&self) -> Boots {
        self.0.boots()
    }

    /// When the kept output of these offsets arrived, or of the first of them where there are many.
    pub fn times(&self, from: u64, to: u64) -> Times {
        self.0.times(from, to)
    }
}

impl Keyboard {
    /// The line's last boots, and the oldest byte that is still kept.
    pub fn boots(&self) -> Boots {
        self.line.boots()
    }

    /// When the kept output of these offsets arrived, or of the first of them where there are many.
    pub fn times(&self, from: u64, to: u64) -> Times {
        self.line.times(from, to)
    }
}

impl Shared {
    fn boots(&self) -> Boots {
        let unknown = self.output.history().boots().without_kernel();
        // The lock is released in between: the owner waits for one copy at most.
        for (offset, end) in unknown {
            let most = usize::try_from(end.saturating_sub(offset)).unwrap_or_default();
            let (start, output) = self.output.history().copy(offset, most);
            let kernel = (start == offset).then(|| boots::kernel(&output)).flatten();
            // Searched once where it is all that there will be.
            if kernel.is_some() || start != offset || output.len() == most {
                self.output.history().boots().set_kernel(offset, kernel.as_deref());
            }
        }
        let mut history = self.output.history();
        Boots { first: history.first(), boots: history.boots().list() }
    }

    fn times(&self, from: u64, to: u64) -> Times {
        let (arrivals, to) = self.output.history().arrivals(from, to, TIMES);
        let arrivals = arrivals.iter().map(|arrived| Arrival {
            offset: arrived.offset.max(from),
            time: boots::time(arrived.time),
        });
        Times { from, to, times: arrivals.collect() }
    }
}

/// Milliseconds since 1970.
pub(crate) fn milliseconds() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or_default()
}
