//! Waiting for output, for scripts.
//!
//! A wait is no session: it holds no pen, types nothing, and nobody waits for it. It looks at the
//! history at intervals, so a line without waits pays nothing for them.

use std::ops::Range;
use std::time::Duration;

use regex::Regex;
use regex::RegexBuilder;
use serialproxy_proto::cause::Cause;
use serialproxy_proto::compute::ComputeError;
use serialproxy_proto::refusal::Refusal;
use serialproxy_proto::script::Awaited;
use serialproxy_proto::script::Gap;
use serialproxy_proto::script::LONGEST;
use serialproxy_proto::script::PATTERN;
use serialproxy_proto::script::Pattern;
use serialproxy_proto::script::SPAN;
use serialproxy_proto::script::Waited;
use serialproxy_screen::Found;
use serialproxy_screen::Printed;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio::time::sleep_until;
use tokio::time::timeout_at;

use crate::line::Line;

/// How often the history is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// How long a match at the end of the output waits for more: what a regular expression takes of a word
/// or a number that is still being printed would be a part of it.
const MORE: Duration = Duration::from_millis(100);

/// Most bytes of output that are searched at a time.
const PIECE: usize = 8 * 1024;

/// How much output before the first byte is looked at, for the column at which the output begins.
const BEFORE: usize = 1024;

/// Most bytes of memory of a regular expression, and of its automaton. The time of a search grows with it.
const COMPILED: usize = 128 * 1024;

/// How long a call without time to wait may search what is kept already.
const KEPT: Duration = Duration::from_secs(1);

/// Threads that search at a time. A hostile pattern takes a fraction of a second for each piece.
static SEARCHES: Semaphore = Semaphore::const_new(1);

/// Most waits in this process.
static WAITS: Semaphore = Semaphore::const_new(1000);

/// The state of a wait, which moves to the thread that searches.
struct Search {
    pattern: Regex,
    printed: Printed,
    /// Offset of the first byte that may match.
    from: u64,
}

impl Search {
    /// Adds output, and looks for a match in all that is kept.
    fn feed(&mut self, output: &[u8]) -> Option<Found> {
        self.printed.keep(SPAN);
        self.printed.feed(output);
        let find = |text: &str| -> Option<Range<usize>> { Some(self.pattern.find(text)?.range()) };
        self.printed.find(self.from, find)
    }
}

impl Line {
    /// Waits until the output matches, or the time is over. Dropping the future ends the wait.
    ///
    /// # Errors
    ///
    /// When the pattern or the offset is not valid, the line is closed or belongs to another project
    /// than when the wait began, or too many wait.
    pub async fn wait(&self, awaited: &Awaited) -> Result<Waited, ComputeError> {
        let deadline = Instant::now() + Duration::from_secs(awaited.timeout.min(LONGEST));
        let pattern = compiled(&awaited.pattern)?;
        let _place = WAITS.try_acquire().map_err(|_| too_many("wait for output"))?;
        let (from, printed) = self.begin_wait(awaited)?;
        let mut search = Search { pattern, printed, from };
        // A text is found as a whole; what an expression found may grow.
        let grows = matches!(awaited.pattern, Pattern::Regex(_));
        let (mut gap, mut found) = (None, None::<(Found, Instant)>);
        let mut boot = self.0.news.now().epoch_offset;
        // What is kept when the call comes is searched, also by a call that does not wait.
        let kept = self.0.output.history().end();
        let latest = deadline.max(Instant::now() + KEPT);
        loop {
            self.check_wait(awaited)?;
            let output = self.next_output(&mut search.printed, &mut gap, &mut boot);
            let now = Instant::now();
            let is_all = search.printed.offset() + output.len() as u64 >= kept;
            if !output.is_empty() {
                let looked = timeout_at(latest.max(now + MORE), look(search, output)).await;
                let next;
                (search, next) = looked.map_err(|_| too_many("search output"))??;
                found = match (next, found) {
                    // More output pushed it out of the text.
                    (None, Some((found, _))) => return Ok(self.waited(found, true, gap)),
                    (next, _) => next.map(|next| (next, now + MORE)),
                };
            }
            if let Some((found, until)) = &found
                && (!grows || !found.is_last || (is_all && now >= deadline.min(*until)))
            {
                return Ok(self.waited(found.clone(), true, gap));
            }
            if now >= deadline && (is_all || now >= latest) {
                let last = search.printed.last(from, SPAN);
                return Ok(self.waited(last, false, gap));
            }
            if is_all {
                sleep_until(deadline.min(now + LOOK)).await;
            }
        }
    }

    /// Where a wait begins: the first byte that may match, and the text model at that byte.
    fn begin_wait(&self, awaited: &Awaited) -> Result<(u64, Printed), ComputeError> {
        let history = self.0.output.history();
        let end = history.end();
        let from = match (awaited.from, awaited.line) {
            (Some(_), Some(line)) if line != self.0.id => history.first(),
            (Some(from), _) => from,
            (None, _) => end,
        };
        if from > end {
            let text = format!("offset {from} is beyond the output, which ends at {end}");
            return Err(ComputeError::Invalid(text));
        }
        let (begin, before) = history.copy(from.saturating_sub(BEFORE as u64), BEFORE);
        drop(history);
        let whole = begin + before.len() as u64 >= from;
        let before = before.get(..usize::try_from(from.saturating_sub(begin)).unwrap_or(0));
        let before = before.filter(|_| whole).unwrap_or_default();
        let mut printed = Printed::new(from - before.len() as u64);
        printed.feed(before);
        Ok((from, printed))
    }

    /// The next output for a text, up to where the guest booted. `boot` is the last boot of the text.
    fn next_output(&self, printed: &mut Printed, gap: &mut Option<Gap>, boot: &mut u64) -> Vec<u8> {
        let begun = self.0.news.now().epoch_offset;
        let from = printed.offset();
        let (at, mut output) = self.0.output.history().copy(from, PIECE);
        if at > from {
            *gap = Some(Gap { from: gap.map_or(from, |gap| gap.from), to: at });
            printed.go_on_at(at);
        }
        if begun != *boot {
            let before = usize::try_from(begun.saturating_sub(at)).unwrap_or(usize::MAX);
            output.truncate(before);
            if before == 0 {
                *boot = begun;
                printed.go_on_at(at);
            }
        }
        output
    }

    fn check_wait(&self, awaited: &Awaited) -> Result<(), ComputeError> {
        let members = self.0.roster.members();
        members.refuse_when_closed()?;
        match members.project().is_some_and(|project| project != awaited.project) {
            true => Err(Refusal::Token.into()),
            false => Ok(()),
        }
    }

    fn waited(&self, found: Found, matched: bool, gap: Option<Gap>) -> Waited {
        let Found { text, start, end, .. } = found;
        Waited { matched, text, start, end, epoch: self.0.news.now().epoch, line: self.0.id, gap }
    }
}

fn too_many(what: &str) -> ComputeError {
    let text = format!("too many calls {what} on this host: try again later");
    ComputeError::Refused { cause: Cause::Limit, text, typed: None }
}

/// Searches on a thread that may be busy for a while.
async fn look(
    mut search: Search,
    output: Vec<u8>,
) -> Result<(Search, Option<Found>), ComputeError> {
    let failed = |error: &dyn std::fmt::Display| {
        ComputeError::Failed(format!("the output cannot be searched: {error}"))
    };
    let place = SEARCHES.acquire().await.map_err(|error| failed(&error))?;
    let looked = tokio::task::spawn_blocking(move || {
        let _place = place;
        let found = search.feed(&output);
        (search, found)
    });
    looked.await.map_err(|error| failed(&error))
}

fn compiled(pattern: &Pattern) -> Result<Regex, ComputeError> {
    let (Pattern::Regex(text) | Pattern::Text(text)) = pattern;
    if text.is_empty() || text.len() > PATTERN {
        let text = format!("the pattern must have 1 to {PATTERN} bytes");
        return Err(ComputeError::Invalid(text));
    }
    let expression = match pattern {
        Pattern::Regex(text) => text.clone(),
        Pattern::Text(text) => regex::escape(text),
    };
    RegexBuilder::new(&expression)
        .multi_line(true)
        .nest_limit(50)
        .size_limit(COMPILED)
        .dfa_size_limit(COMPILED)
        .build()
        .map_err(|error| {
            let why = match error {
                regex::Error::CompiledTooBig(_) => "it is too large".to_owned(),
                // The last line of the text says what is wrong; those before show where.
                error => error.to_string().lines().last().unwrap_or_default().to_owned(),
            };
            ComputeError::Invalid(format!("regex: {why}"))
        })
}
