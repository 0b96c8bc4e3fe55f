//! `docs/troubleshooting.md` quotes what the program says: a text that changes has to change there too.

#![allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "that is how a test fails")]

use std::path::Path;
use std::path::PathBuf;

/// Stands for a value, or for what is left out.
const ELLIPSIS: char = '…';

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// The cells of each entry: what is seen, its cause, and what to do.
fn entries() -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(root().join("docs/troubleshooting.md")).unwrap();
    let rows = text.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    let rows = rows.map(|row| row.split(" | ").map(str::to_owned).collect::<Vec<_>>());
    rows.filter(|row| row[0] != "---" && row[0] != "what you see").collect()
}

/// What stands between backticks.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// All files below a directory with this ending.
fn files(directory: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let (directories, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    let own = files.into_iter().filter(|path| path.to_str().unwrap().ends_with(ending));
    own.chain(directories.iter().flat_map(|path| self::files(path, ending))).collect()
}

/// A file of Rust without its tests, with continued lines joined; in its strings, a mark stands for a quote.
fn code(file: &Path) -> String {
    let text = std::fs::read_to_string(file).unwrap();
    let (own, _) = text.split_once("#[cfg(test)]\nmod tests {").unwrap_or((&text, ""));
    let mut parts = own.split("\\\n");
    let first = parts.next().unwrap().to_owned();
    let joined = parts.fold(first, |joined, part| joined + part.trim_start());
    joined.replace("\\\"", "\u{1}")
}

/// What stands between the quotes of the program's Rust. Some of it is code between two strings.
fn strings_of_rust() -> Vec<String> {
    let crates = std::fs::read_dir(root().join("crates")).unwrap().map(|entry| entry.unwrap());
    let shipped = crates.filter(|entry| entry.file_name() != "e2e" && entry.file_name() != "bench");
    let files = shipped.flat_map(|entry| files(&entry.path().join("src"), ".rs"));
    let mut strings = Vec::new();
    for file in files.filter(|file| !file.ends_with("tests.rs")) {
        let code = code(&file);
        strings.extend(code.split('"').map(|string| string.replace('\u{1}', "\"")));
    }
    strings.retain(|string| !string.contains('\n'));
    strings
}

/// The texts of the warnings and errors that a file of Rust logs.
fn complaints(file: &Path) -> Vec<String> {
    let code = code(file).replace("tracing::error!(", "tracing::warn!(");
    let calls = code.split("tracing::warn!(").skip(1).map(|rest| rest.split(");").next().unwrap());
    let text = |call: &str| call.split('"').skip(1).step_by(2).last().unwrap().to_owned();
    calls.map(text).collect()
}

/// The lines of the page's source, with strings joined that are added over several lines.
fn lines_of_the_page() -> Vec<String> {
    let mut lines = Vec::new();
    for file in files(&root().join("web/src"), ".ts") {
        let text = std::fs::read_to_string(file).unwrap();
        let mut whole = String::new();
        for line in text.lines() {
            let line = line.trim();
            let goes_on = whole.ends_with(['\'', '`']) && line.starts_with("+ ");
            let begun = whole.strip_suffix("' +").or_else(|| whole.strip_suffix("` +"));
            whole = match (begun, line.chars().next()) {
                (Some(begun), Some('\'' | '`')) => begun.to_owned() + &line[1..],
                _ if goes_on => whole[..whole.len() - 1].to_owned() + &line[3..],
                _ => {
                    lines.push(whole);
                    line.to_owned()
                }
            };
        }
        lines.push(whole);
    }
    lines
}

/// Whether the literal parts of a quoted text stand in a source text, one behind the other.
fn holds(source: &str, quoted: &str) -> bool {
    let mut rest = Some(source);
    for part in quoted.split(ELLIPSIS) {
        rest = rest.and_then(|rest| rest.split_once(part)).map(|(_, rest)| rest);
    }
    rest.is_some()
}

#[test]
fn the_program_says_what_the_document_quotes() {
    let sources = [strings_of_rust(), lines_of_the_page()].concat();
    let entries = entries();
    let texts: Vec<&str> = entries.iter().flat_map(|entry| quoted(&entry[0])).collect();
    assert!(texts.len() > 100, "only {} texts were found", texts.len());
    let is_said = |text: &&&str| sources.iter().any(|source| holds(source, text));
    let unknown: Vec<_> = texts.iter().filter(|text| !is_said(text)).collect();
    assert!(unknown.is_empty(), "nothing in the program says: {unknown:#?}");
}

/// Of these, the document explains each warning and error.
const EXPLAINED: [&str; 9] = [
    "audit/src",
    "serialproxy/src/audit.rs",
    "serialproxy/src/checks.rs",
    "serialproxy/src/hypervisors.rs",
    "serialproxy/src/logging.rs",
    "serialproxy/src/monitoring.rs",
    "serialproxy/src/notify.rs",
    "serialproxy/src/reload.rs",
    "serialproxy/src/tls.rs",
];

#[test]
fn the_document_quotes_what_audit_metrics_and_logs_complain_of() {
    let entries = entries();
    let quoted: Vec<&str> = entries.iter().flat_map(|entry| quoted(&entry[0])).collect();
    let files = EXPLAINED.iter().flat_map(|path| match root().join("crates").join(path) {
        path if path.is_dir() => files(&path, ".rs"),
        path => vec![path],
    });
    let said: Vec<String> = files.flat_map(|file| complaints(&file)).collect();
    assert!(said.len() > 10, "{said:#?}");
    let is_quoted = |text: &&String| quoted.iter().any(|quoted| holds(text, quoted));
    let missing: Vec<_> = said.iter().filter(|text| !is_quoted(text)).collect();
    assert!(missing.is_empty(), "docs/troubleshooting.md does not say: {missing:#?}");
}

#[test]
fn every_entry_has_a_cause_and_says_what_to_do() {
    for entry in entries() {
        let complete = entry.len() == 3 && entry.iter().all(|cell| !cell.trim().is_empty());
        assert!(complete, "{entry:?}");
    }
}

#[test]
fn a_quoted_text_is_found_by_its_literal_parts_in_their_order() {
    let source = "cannot reach the API at {api}: {cause}. Check that it runs";
    assert!(holds(source, "cannot reach the API at …: …. Check that …"));
    assert!(holds(source, "… reach the API …"));
    assert!(!holds(source, "Check that … cannot reach"));
    assert!(!holds(source, "cannot reach the proxy at …"));
    // A value, and what is said around it.
    let joined = lines_of_the_page();
    let is_joined = joined.iter().any(|line| {
        holds(line, "an antivirus program or a browser extension can block WebSockets too")
    });
    assert!(is_joined, "strings that are added over several lines are not joined");
}
