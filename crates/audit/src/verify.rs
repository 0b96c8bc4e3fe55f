//! Verifying a trail: whether a line was changed, removed, added or moved.

use std::fmt;
use std::io;
use std::path::Path;

use crate::files::CURRENT;
use crate::files::Directory;
use crate::files::Part;
use crate::files::Snapshot;
use crate::files::last_line;
use crate::lines::Lines;
use crate::seal;
use crate::seal::GENESIS;

/// Problems that are named at most.
const NAMED: usize = 100;

/// What is wrong with a trail, and where.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Flaw {
    /// The file's name.
    pub file: String,
    /// Which of its lines, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub what: &'static str,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} line {}: {}", self.file, self.line, self.what)
    }
}

/// What a trail consists of.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Verified {
    /// Files.
    pub files: usize,
    /// Events.
    pub events: usize,
    /// What is wrong, of which the first hundred are named.
    pub flaws: Vec<Flaw>,
}

/// Reads a whole trail, `STATE/audit`, also while it is written to.
///
/// # Errors
///
/// When there is none, or a file cannot be read.
pub fn verify(directory: &Path) -> io::Result<Verified> {
    let Snapshot { head, parts } = Directory::open(directory)?.snapshot()?;
    let mut reading = Reading {
        verified: Verified::default(),
        previous: head.as_ref().map_or_else(|| GENESIS.into(), |head| head.first.clone()),
        wanted: head.as_ref().map(|head| head.last.clone()),
        last: (CURRENT.into(), 0),
    };
    reading.reached(&reading.previous.clone());
    for part in &parts {
        let old = head.as_ref().filter(|head| head.first != GENESIS && reading.verified.files == 0);
        if let Some(head) = old
            && last_line(&part.file, part.size)?.1.as_deref().and_then(seal::own_hash)
                == Some(&head.first)
        {
            // A crash kept it from being removed.
            continue;
        }
        reading.file(part)?;
    }
    reading.end(head.is_none());
    Ok(reading.verified)
}

struct Reading {
    verified: Verified,
    /// The hash of the line before.
    previous: String,
    /// The hash of the head, until its line was read.
    wanted: Option<String>,
    /// The file that was read last, and how many lines it has.
    last: (String, usize),
}

impl Reading {
    fn file(&mut self, part: &Part) -> io::Result<()> {
        self.verified.files += 1;
        let (name, mut count) = (&part.name, 0);
        let mut lines = Lines::of(part)?;
        while let Some(line) = lines.next()? {
            count += 1;
            match line.complete() {
                Some(text) => self.line(name, count, text),
                None if line.is_too_long() => self.flaw(name, count, "is too long for an event"),
                None => self.flaw(name, count, "is incomplete"),
            }
        }
        self.last = (name.clone(), count);
        Ok(())
    }

    fn line(&mut self, name: &str, line: usize, text: &[u8]) {
        self.verified.events += 1;
        match seal::open(text) {
            Ok(event) => {
                if event.prev != self.previous {
                    self.flaw(
                        name,
                        line,
                        "does not follow the line before: lines are missing or moved",
                    );
                }
                self.reached(&event.hash);
                self.previous = event.hash;
            }
            Err(what) => {
                self.flaw(name, line, what);
                // The next line is right if it follows this one.
                if let Some(hash) = seal::own_hash(text) {
                    self.reached(hash);
                    self.previous = hash.to_owned();
                }
            }
        }
    }

    fn reached(&mut self, hash: &str) {
        if self.wanted.as_deref() == Some(hash) {
            self.wanted = None;
        }
    }

    fn end(&mut self, lacks_head: bool) {
        let (name, lines) = self.last.clone();
        if self.wanted.is_some() {
            let what = "is missing: the trail ended later, as the file head says";
            self.flaw(&name, lines + 1, what);
        }
        if lacks_head && self.verified.events > 0 {
            self.flaw("head", 1, "is missing, or is no hash");
        }
    }

    fn flaw(&mut self, file: &str, line: usize, what: &'static str) {
        if self.verified.flaws.len() < NAMED {
            self.verified.flaws.push(Flaw { file: file.to_owned(), line, what });
        }
    }
}
