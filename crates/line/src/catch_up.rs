//! The output of the running boot from before the line was connected.

use tokio::io::Interest;

use crate::pump::ARRIVAL;
use crate::pump::SCRATCH;
use crate::pump::take_in;
use crate::resolve::Resolve;
use crate::shared::Shared;
use crate::stream::Stream;
use crate::timeline::milliseconds;

/// Adds the running boot's output from before the connection to the history, as far as another
/// program kept it; returns notes about it for users.
pub(crate) async fn catch_up(
    line: &Shared,
    resolve: &dyn Resolve,
    stream: &Stream,
) -> Option<&'static str> {
    let untouched = line.output.end() == line.news.now().epoch_offset;
    if line.guest.power().whole || !untouched {
        return None;
    }
    let most = line.settings.history_head + line.settings.history_tail;
    let Some(kept) = resolve.kept(line.key, most).await else {
        return Some("earlier output of the guest is not available");
    };
    // The other program keeps what arrives meanwhile, too.
    let _ = tokio::time::timeout(ARRIVAL, stream.ready(Interest::READABLE)).await;
    let arrived = SCRATCH.with_borrow_mut(|scratch| {
        // The next read of the port reports the same error.
        let length = stream.try_read(scratch, false).unwrap_or(0);
        let mut arrived = scratch.concat();
        arrived.truncate(length);
        arrived
    });
    if !arrived.is_empty() {
        line.output.note_output();
    }
    let before = kept.len() - overlap(&kept, &arrived);
    take_in(line, before + arrived.len(), |history, unread| {
        // The other program does not say when it arrived.
        history.set_time(0);
        let let_go = history.append(kept.get(..before).unwrap_or_default(), unread);
        history.set_time(milliseconds());
        history.append(&arrived, unread) || let_go
    });
    line.news.set_connection_offset(line.output.end() - arrived.len() as u64);
    None
}

/// Length of the longest end of `before` that is also a beginning of `after` (by the prefix
/// function of Knuth, Morris and Pratt).
fn overlap(before: &[u8], after: &[u8]) -> usize {
    let mut shorter = vec![0; after.len()];
    let step = |length: usize, byte: u8, shorter: &[usize]| {
        let mut length = length;
        while length > 0 && after.get(length) != Some(&byte) {
            length = shorter.get(length - 1).copied().unwrap_or(0);
        }
        length + usize::from(after.get(length) == Some(&byte))
    };
    let mut length = 0;
    for at in 1..after.len() {
        length = step(length, after.get(at).copied().unwrap_or_default(), &shorter);
        if let Some(place) = shorter.get_mut(at) {
            *place = length;
        }
    }
    before.iter().fold(0, |length, byte| step(length, *byte, &shorter))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_both_kept_and_arrived_is_found() {
        let cases = [
            ("boot\nlog", "log", 3),
            ("boot\nlo", "login", 2),
            ("boot", "login", 0),
            ("", "a", 0),
            ("a", "", 0),
            ("aaa", "aab", 2),
            ("xababa", "ababb", 3),
        ];
        for (before, after, expected) in cases {
            assert_eq!(overlap(before.as_bytes(), after.as_bytes()), expected, "{before} {after}");
        }
    }

    proptest! {
        #[test]
        fn the_overlap_is_the_longest(before in "[ab]{0,30}", after in "[ab]{0,30}") {
            let longest = (0..=before.len().min(after.len()))
                .rev()
                .find(|length| before.ends_with(&after[..*length]));
            prop_assert_eq!(Some(overlap(before.as_bytes(), after.as_bytes())), longest);
        }
    }
}
