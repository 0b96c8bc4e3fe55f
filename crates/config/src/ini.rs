//! The file format, as oslo.config's `iniparser` reads it.
//!
//! A line is a `[group]`, a comment (`#` or `;` in the first column), an assignment (`key = value`
//! or `key: value`, whichever sign comes first), blank, or, when it begins with a space or a tab,
//! the continuation of the value above. There are no comments after a value: they are part of it. A
//! pair of matching quotes around the first line of a value is removed. Unlike oslo.config, the
//! parser continues after an error, so that all errors are reported at once.

/// A value's bound, in bytes: far above anything sensible, far below what could hurt.
pub(crate) const MAX_VALUE: usize = 64 * 1024;

/// What a file says.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Ini {
    /// The groups, in the order of their headers; a name may come more than once.
    pub(crate) sections: Vec<Section>,
    /// The lines that are not in the format.
    pub(crate) faults: Vec<Fault>,
}

/// A `[group]` and what stands below it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Section {
    /// The name as written.
    pub(crate) name: String,
    /// The header's line, from 1.
    pub(crate) line: usize,
    /// The assignments, in order.
    pub(crate) entries: Vec<Entry>,
}

/// One assignment.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Entry {
    /// The key as written.
    pub(crate) key: String,
    /// The value; its lines are joined by `\n`, without the white space at their ends.
    pub(crate) value: String,
    /// The key's line, from 1.
    pub(crate) line: usize,
}

/// A line that is not in the format.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Fault {
    /// The line, from 1.
    pub(crate) line: usize,
    /// What is wrong with it.
    pub(crate) reason: &'static str,
}

/// Reads a file's text. Work and memory grow with its length only, so the caller bounds that.
pub(crate) fn parse(text: &str) -> Ini {
    let mut reader = Reader::default();
    for (line, number) in text.lines().zip(1..) {
        reader.read(line.trim_end(), number);
    }
    reader.close();
    reader.ini
}

#[derive(Default)]
struct Reader {
    ini: Ini,
    place: Place,
    open: Open,
}

/// Where an assignment would go.
#[derive(Default)]
enum Place {
    /// Before the first header.
    #[default]
    Nowhere,
    /// Into the last section.
    Section,
    /// Below something that was faulty and has been reported.
    Skipped,
}

/// What a continuation line would continue.
#[derive(Default)]
enum Open {
    #[default]
    Nothing,
    Entry(Entry),
    /// An assignment that is not kept.
    Skipped,
}

impl Reader {
    fn read(&mut self, line: &str, number: usize) {
        if line.is_empty() {
            self.close();
        } else if line.starts_with([' ', '\t']) {
            self.go_on(line.trim_start(), number);
        } else {
            self.close();
            match line.strip_prefix('[') {
                Some(rest) => self.enter(rest, number),
                None if line.starts_with(['#', ';']) => {}
                None => self.assign(line, number),
            }
        }
    }

    fn go_on(&mut self, line: &str, number: usize) {
        match &mut self.open {
            Open::Nothing => self.fault(
                number,
                "begins with white space, but there is no value above it to continue",
            ),
            Open::Entry(entry) => {
                entry.value.push('\n');
                entry.value.push_str(line);
            }
            Open::Skipped => {}
        }
    }

    fn enter(&mut self, rest: &str, number: usize) {
        match rest.strip_suffix(']') {
            Some("") => self.skip_group(number, "the group has no name"),
            Some(name) => {
                let name = name.to_owned();
                self.ini.sections.push(Section { name, line: number, entries: Vec::new() });
                self.place = Place::Section;
            }
            None => self.skip_group(number, "a group's line must end with `]`"),
        }
    }

    fn skip_group(&mut self, number: usize, reason: &'static str) {
        self.fault(number, reason);
        self.place = Place::Skipped;
    }

    fn assign(&mut self, line: &str, number: usize) {
        self.open = Open::Skipped;
        let Some((key, value)) = line.split_once(['=', ':']) else {
            return self.fault(number, "is neither `[group]`, `key = value` nor a comment");
        };
        let key = key.trim();
        if key.is_empty() {
            return self.fault(number, "has no key before the `=` or `:`");
        }
        match self.place {
            Place::Nowhere => self.skip_group(number, "an option comes before the first `[group]`"),
            Place::Section => {
                let value = unquoted(value.trim()).to_owned();
                self.open = Open::Entry(Entry { key: key.to_owned(), value, line: number });
            }
            Place::Skipped => {}
        }
    }

    /// Ends the value that may still be open.
    fn close(&mut self) {
        let Open::Entry(entry) = std::mem::take(&mut self.open) else { return };
        if entry.value.len() > MAX_VALUE {
            self.fault(entry.line, "the value is longer than 64 KiB");
        } else if let Some(section) = self.ini.sections.last_mut() {
            section.entries.push(entry);
        }
    }

    fn fault(&mut self, line: usize, reason: &'static str) {
        self.ini.faults.push(Fault { line, reason });
    }
}

/// The value without one pair of quotes around it. Unlike oslo.config, which drops it, a lone quote
/// stays, so that it is found to be wrong.
fn unquoted(value: &str) -> &str {
    let within = |quote| value.strip_prefix(quote)?.strip_suffix(quote);
    within('"').or_else(|| within('\'')).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `group key=value` of every assignment, to compare at a glance.
    fn entries(text: &str) -> Vec<String> {
        let ini = parse(text);
        assert_eq!(ini.faults, []);
        let mut all = Vec::new();
        for section in ini.sections {
            for entry in section.entries {
                all.push(format!("{} {}={}", section.name, entry.key, entry.value));
            }
        }
        all
    }

    fn faults(text: &str) -> Vec<(usize, &'static str)> {
        parse(text).faults.into_iter().map(|fault| (fault.line, fault.reason)).collect()
    }

    #[test]
    fn both_signs_assign_and_the_first_one_counts() {
        assert_eq!(
            entries("[g]\na = 1\nb: 2\nc=3:4\nd:5=6\n"),
            ["g a=1", "g b=2", "g c=3:4", "g d=5=6"]
        );
    }

    #[test]
    fn a_comment_has_a_line_of_its_own() {
        assert_eq!(entries("# one\n; two\n[g]\na = 1 # not one\n"), ["g a=1 # not one"]);
    }

    #[test]
    fn indented_lines_continue_a_value_until_a_blank_or_comment_line() {
        assert_eq!(entries("[g]\na = 1,\n  2,\n\t3\nb =\n  4\n"), ["g a=1,\n2,\n3", "g b=\n4"]);
        let (blank, comment) = ("[g]\na = 1\n   \n  2\n", "[g]\na = 1\n# c\n  2\n");
        for text in [blank, comment] {
            let reason = "begins with white space, but there is no value above it to continue";
            assert_eq!(faults(text), [(4, reason)]);
        }
    }

    #[test]
    fn one_pair_of_matching_quotes_is_taken_off() {
        assert_eq!(
            entries("[g]\na = \"x y\"\nb = 'x'\nc = \"x'\nd = \"'x'\"\ne = \"\nf = \"\"\n"),
            ["g a=x y", "g b=x", "g c=\"x'", "g d='x'", "g e=\"", "g f="]
        );
    }

    #[test]
    fn repeated_keys_and_groups_keep_their_order_and_lines() {
        let ini = parse("[a]\nk = 1\nk = 2\n\n[b]\n[a]\nk = 3\n");
        let names: Vec<_> = ini.sections.iter().map(|s| (s.name.as_str(), s.line)).collect();
        assert_eq!(names, [("a", 1), ("b", 5), ("a", 6)]);
        let lines: Vec<_> = ini.sections.iter().flat_map(|s| &s.entries).map(|e| e.line).collect();
        assert_eq!(lines, [2, 3, 7]);
    }

    #[test]
    fn keys_keep_their_case_and_line_ends_may_be_those_of_windows() {
        assert_eq!(entries("[G]\r\nKey = V\r\n"), ["G Key=V"]);
    }

    #[test]
    fn every_fault_is_told_with_its_line() {
        assert_eq!(
            faults("[g]\nnothing\n= 1\n[]\n[h] # c\nx = 1\n[k]\n"),
            [
                (2, "is neither `[group]`, `key = value` nor a comment"),
                (3, "has no key before the `=` or `:`"),
                (4, "the group has no name"),
                (5, "a group's line must end with `]`"),
            ]
        );
    }

    #[test]
    fn options_before_the_first_group_are_told_once() {
        assert_eq!(
            faults("a = 1\n  more\nb = 2\n"),
            [(1, "an option comes before the first `[group]`")]
        );
    }

    #[test]
    fn what_stands_below_a_faulty_header_belongs_to_no_group() {
        assert_eq!(parse("[g]\n[h\na = 1\n").sections.len(), 1);
        assert_eq!(parse("[g]\n[h\na = 1\n").sections[0].entries, []);
    }

    #[test]
    fn a_value_is_bounded() {
        let text = format!("[g]\na = {}\nb = 1\n", "x".repeat(MAX_VALUE + 1));
        assert_eq!(faults(&text), [(2, "the value is longer than 64 KiB")]);
        assert_eq!(parse(&text).sections[0].entries.len(), 1);
    }

    fn word() -> impl Strategy<Value = String> {
        "[A-Za-z_][A-Za-z0-9_-]{0,12}"
    }

    fn value() -> impl Strategy<Value = String> {
        proptest::collection::vec("[!-~äß]([ -~äß]{0,20}[!-~äß])?", 1..4)
            .prop_map(|lines| lines.join("\n"))
    }

    /// As a careful person would write it down.
    fn written(value: &str) -> String {
        let (first, rest) = value.split_once('\n').unwrap_or((value, ""));
        let rest = rest.lines().map(|line| format!("\n\t{line}")).collect::<String>();
        format!("\"{first}\"{rest}")
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in ".{0,400}") {
            parse(&text);
        }

        #[test]
        fn text_that_looks_like_a_file_is_read_without_a_panic(text in "[\\[\\]=:#; \t\r\n'\"ab]{0,200}") {
            let lines = text.lines().count();
            for fault in parse(&text).faults {
                prop_assert!((1..=lines).contains(&fault.line));
            }
        }

        #[test]
        fn what_is_written_is_read_back(
            sections in proptest::collection::vec(
                (word(), proptest::collection::vec((word(), value()), 0..5)), 0..5)
        ) {
            let mut text = String::from("# a comment\n\n");
            for (name, entries) in &sections {
                text.push_str(&format!("[{name}]\n"));
                for (key, value) in entries {
                    text.push_str(&format!("{key} = {}\n# c\n", written(value)));
                }
            }
            let ini = parse(&text);
            prop_assert_eq!(&ini.faults, &[]);
            let read: Vec<_> = ini.sections.into_iter().map(|section| {
                let entries = section.entries.into_iter().map(|entry| (entry.key, entry.value));
                (section.name, entries.collect::<Vec<_>>())
            }).collect();
            prop_assert_eq!(read, sections);
        }
    }
}
