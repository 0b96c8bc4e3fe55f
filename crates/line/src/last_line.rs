//! The last printed line of a line, as it was modeled last.

use std::sync::Mutex;
use std::time::Duration;
use std::time::Instant;

use crate::lock;

/// The newest output from which it is modeled, in bytes.
pub(crate) const READ: usize = 4096;

/// How long a modeled one is used while the line keeps printing. So the cost of lists is bounded,
/// however many callers ask however often.
const USED: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(crate) struct LastLine(Mutex<Option<Box<Modeled>>>);

#[derive(Debug)]
struct Modeled {
    at: At,
    time: Instant,
    text: Option<String>,
}

/// The boot, and the offset at the end of the output.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct At {
    pub(crate) epoch: u64,
    pub(crate) end: u64,
}

impl LastLine {
    /// The line that was modeled for `now` or lately; or else what `model` returns, with the place
    /// that it is of.
    pub(crate) fn at(
        &self,
        now: At,
        model: impl FnOnce() -> (At, Option<String>),
    ) -> Option<String> {
        let is_used = |last: &&Modeled| last.at == now || last.time.elapsed() < USED;
        let used = lock(&self.0).as_deref().filter(is_used).map(|last| last.text.clone());
        if let Some(text) = used {
            return text;
        }
        let (at, text) = model();
        let modeled = Modeled { at, time: Instant::now(), text: text.clone() };
        *lock(&self.0) = Some(Box::new(modeled));
        text
    }
}
