//! Verifying a trail: whether a line was changed, removed, added or moved.

use std::fmt;
use std::fs::File;
use std::io;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::path::Path;

use crate::files;
use crate::files::Head;
use crate::files::last_line;
use crate::seal;
use crate::seal::GENESIS;
use crate::seal::LINE;

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
    // Lines are written before the head, so a head that is read first is behind them.
    let head = Head::read(directory)?;
    let paths = files::all(directory)?;
    let mut reading = Reading {
        verified: Verified::default(),
        previous: head.as_ref().map_or_else(|| GENESIS.into(), |head| head.first.clone()),
        wanted: head.as_ref().map(|head| head.last.clone()),
    };
    reading.reached(&reading.previous.clone());
    for path in &paths {
        let file = match File::open(path) {
            Ok(file) => file,
            // It became too old meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let old = head.as_ref().filter(|head| head.first != GENESIS && reading.verified.files == 0);
        if let Some(head) = old
            && last_line(&file)?.1.as_deref().and_then(seal::own_hash) == Some(&head.first)
        {
            // It is about to be removed.
            continue;
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        reading.file(&name, file)?;
    }
    reading.end(&paths, head.is_none());
    Ok(reading.verified)
}

struct Reading {
    verified: Verified,
    /// The hash of the line before.
    previous: String,
    /// The hash of the head, until its line was read.
    wanted: Option<String>,
}

impl Reading {
    fn file(&mut self, name: &str, file: File) -> io::Result<()> {
        self.verified.files += 1;
        let mut file = BufReader::new(file);
        let mut bytes = Vec::new();
        for line in 1.. {
            bytes.clear();
            let read = (&mut file).take(LINE as u64).read_until(b'\n', &mut bytes)?;
            if read == 0 {
                break;
            }
            match bytes.strip_suffix(b"\n") {
                Some(text) => self.line(name, line, text),
                None if read == LINE => self.flaw(name, line, "is too long for an event"),
                None => self.flaw(name, line, "is incomplete"),
            }
        }
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

    fn end(&mut self, paths: &[impl AsRef<Path>], lacks_head: bool) {
        let last = paths.last().and_then(|path| path.as_ref().file_name());
        let name = last.map_or_else(|| files::CURRENT.into(), |name| name.to_string_lossy());
        let events = self.verified.events;
        if self.wanted.is_some() {
            self.flaw(
                &name,
                events + 1,
                "is missing: the trail ended later, as the file head says",
            );
        }
        if lacks_head && events > 0 {
            self.flaw("head", 1, "is missing, or is no hash");
        }
    }

    fn flaw(&mut self, file: &str, line: usize, what: &'static str) {
        if self.verified.flaws.len() < NAMED {
            self.verified.flaws.push(Flaw { file: file.to_owned(), line, what });
        }
    }
}
