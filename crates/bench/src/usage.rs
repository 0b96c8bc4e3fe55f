//! The CPU time and memory of a process and its children, from `proc(5)`.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;

/// A clock tick of `proc(5)`, which is 10 ms on Linux.
const TICK: Duration = Duration::from_millis(10);

/// CPU time of a process and its descendants so far.
#[derive(Debug, Default)]
pub(crate) struct Cpu {
    /// The exact time of each running thread.
    threads: HashMap<PathBuf, Duration>,
    /// The time of ended children, in ticks.
    ended: Duration,
}

impl Cpu {
    /// Reads the times.
    pub(crate) fn of(root: u32) -> anyhow::Result<Self> {
        let ended = ended_children(&read(root, "stat")?).context("cannot read its CPU time")?;
        let mut threads = HashMap::new();
        for process in tree(root)? {
            // If it ends now, the next reading includes it among the ended children.
            let Ok(entries) = fs::read_dir(format!("/proc/{process}/task")) else { continue };
            for thread in entries.flatten().map(|entry| entry.path()) {
                let schedstat = fs::read_to_string(thread.join("schedstat"));
                if let Some(time) = schedstat.ok().as_deref().and_then(on_cpu) {
                    threads.insert(thread, time);
                }
            }
        }
        Ok(Self { threads, ended })
    }

    /// The time since an earlier reading. A thread that ended in between does not count: it had no
    /// more work.
    pub(crate) fn since(&self, earlier: &Self) -> Duration {
        let ran = self.threads.iter().map(|(thread, time)| {
            time.saturating_sub(earlier.threads.get(thread).copied().unwrap_or_default())
        });
        ran.sum::<Duration>() + self.ended.saturating_sub(earlier.ended)
    }
}

/// Memory in bytes: the resident set of a process, or for a process with children the sum of their
/// proportional sets, in which a shared page counts once.
pub(crate) fn memory(root: u32) -> anyhow::Result<u64> {
    let processes = tree(root)?;
    if let [process] = *processes {
        return kilobytes(&read(process, "status")?, "VmRSS:").context("it has no memory");
    }
    let sets = processes.iter().filter_map(|process| read(*process, "smaps_rollup").ok());
    Ok(sets.filter_map(|set| kilobytes(&set, "Pss:")).sum())
}

/// The largest resident set of a process since [`forget_peak`], in bytes.
pub(crate) fn peak(process: u32) -> anyhow::Result<u64> {
    kilobytes(&read(process, "status")?, "VmHWM:").context("it has no memory")
}

/// Resets [`peak`] to the present resident set.
pub(crate) fn forget_peak(process: u32) -> anyhow::Result<()> {
    let path = format!("/proc/{process}/clear_refs");
    fs::write(&path, "5").with_context(|| format!("cannot write {path}"))
}

/// A process and its descendants.
fn tree(root: u32) -> anyhow::Result<Vec<u32>> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc").context("cannot list processes")?.flatten() {
        let Some(id) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        if let Some(parent) = read(id, "stat").ok().as_deref().and_then(parent) {
            parents.push((id, parent));
        }
    }
    let mut tree = vec![root];
    let mut seen = 0;
    while let Some(process) = tree.get(seen).copied() {
        tree.extend(parents.iter().filter(|(_, parent)| *parent == process).map(|(id, _)| *id));
        seen += 1;
    }
    Ok(tree)
}

fn read(process: u32, file: &str) -> anyhow::Result<String> {
    let path = format!("/proc/{process}/{file}");
    fs::read_to_string(&path).with_context(|| format!("cannot read {path}: has it ended?"))
}

/// A field of `stat`, numbered as in `proc_pid_stat(5)`. The second field, the name, may contain
/// spaces and parentheses.
fn field<T: std::str::FromStr>(stat: &str, number: usize) -> Option<T> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(number.checked_sub(3)?)?.parse().ok()
}

fn parent(stat: &str) -> Option<u32> {
    field(stat, 4)
}

fn ended_children(stat: &str) -> Option<Duration> {
    Some(TICK * (field::<u32>(stat, 16)? + field::<u32>(stat, 17)?))
}

fn on_cpu(schedstat: &str) -> Option<Duration> {
    schedstat.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}

fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(value.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "71 (a ) b) S 70 71 71 0 -1 4194304 9 8 7 6 11 12 13 14 20 0 1 0 5 6 7";

    #[test]
    fn a_name_with_a_parenthesis_does_not_move_the_fields() {
        assert_eq!(parent(STAT), Some(70));
        assert_eq!(ended_children(STAT), Some(Duration::from_millis(270)));
    }

    #[test]
    fn the_first_number_of_schedstat_is_the_time_on_the_cpu() {
        assert_eq!(on_cpu("1500 3 4\n"), Some(Duration::from_nanos(1500)));
        assert_eq!(on_cpu(""), None);
    }

    #[test]
    fn memory_is_said_in_kibibytes() {
        assert_eq!(kilobytes("VmPeak:\t 9 kB\nVmRSS:\t    12 kB\n", "VmRSS:"), Some(12 * 1024));
        assert_eq!(kilobytes("VmRSS:\t    12 kB\n", "Pss:"), None);
    }

    #[test]
    fn this_process_has_memory_and_took_time() {
        let me = std::process::id();
        assert!(memory(me).unwrap() > 64 * 1024);
        assert!(Cpu::of(me).unwrap().since(&Cpu::default()) > Duration::ZERO);
    }

    #[test]
    fn a_thread_that_ended_takes_nothing_away_from_what_others_took() {
        let look = |threads: &[(&str, u64)], ended| Cpu {
            threads: threads
                .iter()
                .map(|(id, ms)| (id.into(), Duration::from_millis(*ms)))
                .collect(),
            ended: Duration::from_millis(ended),
        };
        let (before, after) = (look(&[("a", 50), ("b", 9)], 10), look(&[("a", 51), ("c", 3)], 20));
        assert_eq!(after.since(&before), Duration::from_millis(1 + 3 + 10));
    }
}
