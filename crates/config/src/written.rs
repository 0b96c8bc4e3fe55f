//! The written values: those of known options in files and flags, before they are interpreted.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::io::Read;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use crate::auth_section;
use crate::auth_section::AuthSections;
use crate::error::Origin;
use crate::error::Problem;
use crate::error::Problems;
use crate::error::escaped;
use crate::error::shown;
use crate::hint::nearest;
use crate::ini;
use crate::ini::Ini;
use crate::ini::Section;
use crate::nova;
use crate::nova::Meaning;
use crate::option::Opt;
use crate::options::find;
use crate::options::groups;
use crate::options::known_group;
use crate::options::options;
use crate::sources::Role;
use crate::sources::Sources;

/// Largest file that is read, in bytes.
const MAX_FILE: u64 = 1024 * 1024;

/// A value as written.
#[derive(Clone, Debug)]
pub(crate) struct Value {
    pub(crate) text: String,
    pub(crate) origin: Origin,
}

/// The written values, by group and option.
#[derive(Debug, Default)]
pub(crate) struct Written {
    files: BTreeMap<(&'static str, &'static str), Vec<Value>>,
    flags: BTreeMap<(&'static str, &'static str), Vec<Value>>,
    /// Values under another name in a file of Nova's: they count where the files have no other.
    elsewhere: BTreeMap<(&'static str, &'static str), Vec<Value>>,
    /// Values of options that only Nova has, by group and option.
    foreign: BTreeMap<(String, String), String>,
    /// Warnings about a file of Nova's.
    warnings: Vec<String>,
    any_file: bool,
    nova: bool,
}

/// The content of a file.
struct FileText {
    file: Arc<Path>,
    ini: Ini,
}

impl Written {
    /// Reads files and flags. Errors become problems, and the faulty part is left out.
    pub(crate) fn read(sources: &Sources, problems: &mut Problems) -> Self {
        let mut written = Self::default();
        let files = read_all(sources, problems);
        written.any_file = !files.iter().all(FileText::is_of_join);
        written.nova = matches!(sources.role, Role::Proxy | Role::Either)
            && files.iter().any(FileText::is_novas);
        let logins = AuthSections::of(files.iter().flat_map(|file| &file.ini.sections));
        for FileText { file, ini } in files {
            let origin = |line| Origin::File { file: Arc::clone(&file), line };
            for fault in ini.faults {
                let reason = fault.reason.to_owned();
                problems.add(Problem::Malformed { origin: origin(fault.line), reason });
            }
            for section in ini.sections {
                match written.nova {
                    true => written.add_novas(section, &logins, &origin, problems),
                    false => written.add_section(section, &origin, problems),
                }
            }
        }
        for (group, name, value) in &sources.flags {
            let origin = Origin::Flag(format!("{group}-{name}"));
            match known(group, name, origin) {
                Ok(option) => written.add_flag(option, value),
                Err(problem) => problems.add(problem),
            }
        }
        written
    }

    /// Whether there was a configuration file other than that of `serialproxy join`, which does not
    /// concern consoles.
    pub(crate) fn any_file(&self) -> bool {
        self.any_file
    }

    /// The written values that count for the option; empty if there are none.
    pub(crate) fn of(&self, option: &Opt) -> &[Value] {
        let key = (option.group, option.name);
        let values = self.flags.get(&key).or_else(|| self.files.get(&key));
        let values = values.or_else(|| self.elsewhere.get(&key));
        let values = values.map(Vec::as_slice).unwrap_or_default();
        match values {
            [.., last] if !option.is_multi() => std::slice::from_ref(last),
            _ => values,
        }
    }

    /// Whether a file is one of Nova's and was read as such.
    pub(crate) fn is_novas(&self) -> bool {
        self.nova
    }

    /// The warnings about a file of Nova's; empty afterwards.
    pub(crate) fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }

    /// The written value of an option of Nova's that we do not have, in this group or in
    /// `[DEFAULT]`.
    pub(crate) fn foreign(&self, group: &str, name: &str) -> Option<&str> {
        let (group, own) = name.split_once('.').unwrap_or((group, name));
        let found = self.foreign.get(&(group.to_owned(), own.to_owned()));
        let found = found.or_else(|| self.foreign.get(&("DEFAULT".to_owned(), name.to_owned())));
        found.map(String::as_str)
    }

    /// The ignored groups of Nova's files, and the ignored options in our groups.
    pub(crate) fn passed_over(&self) -> BTreeSet<String> {
        let names = self.foreign.keys().map(|(group, name)| match known_group(group) {
            Some(_) => format!("[{}] {}", shown(group), shown(name)),
            None => format!("[{}]", shown(group)),
        });
        names.collect()
    }

    fn add_novas(
        &mut self,
        section: Section,
        logins: &AuthSections,
        origin: &dyn Fn(usize) -> Origin,
        problems: &mut Problems,
    ) {
        for entry in section.entries {
            if auth_section::leads(&section.name, &entry) {
                continue;
            }
            let groups = logins.groups(&section.name, &entry);
            let value = Value { text: entry.value, origin: origin(entry.line) };
            for group in &groups {
                self.add_novas_value(group, &entry.key, &value, problems);
            }
            if groups.is_empty() {
                self.foreign.insert((section.name.clone(), entry.key), value.text);
            }
        }
    }

    fn add_novas_value(&mut self, group: &str, name: &str, value: &Value, problems: &mut Problems) {
        let key = |option: &Opt| (option.group, option.name);
        match nova::meaning(group, name) {
            Meaning::Ours(option) => {
                self.files.entry(key(option)).or_default().push(value.clone());
            }
            Meaning::Elsewhere(options) => {
                for option in options {
                    self.elsewhere.entry(key(option)).or_default().push(value.clone());
                }
            }
            Meaning::Foreign => {
                self.foreign.insert((group.to_owned(), name.to_owned()), value.text.clone());
            }
            Meaning::Past(fate) => {
                self.warnings.push(format!("{}: [{group}] {name} {fate}", value.origin));
            }
            Meaning::Unknown => match known(group, name, value.origin.clone()) {
                // Nova has the group, too, and ignores unknown options.
                Err(slip) if nova::shares(group) => {
                    self.warnings.push(format!("{slip}; it is ignored"));
                }
                Err(slip) => problems.add(slip),
                Ok(_) => {}
            },
        }
    }

    fn add_section(
        &mut self,
        section: Section,
        origin: &dyn Fn(usize) -> Origin,
        problems: &mut Problems,
    ) {
        let Some(group) = known_group(&section.name) else {
            return problems.add(unknown_group(&section.name, origin(section.line)));
        };
        for entry in section.entries {
            match known(group, &entry.key, origin(entry.line)) {
                Ok(option) => {
                    let value = Value { text: entry.value, origin: origin(entry.line) };
                    self.files.entry((option.group, option.name)).or_default().push(value);
                }
                Err(problem) => problems.add(problem),
            }
        }
    }

    fn add_flag(&mut self, option: &Opt, text: &str) {
        let value = Value { text: text.to_owned(), origin: Origin::Flag(option.flag()) };
        self.flags.entry((option.group, option.name)).or_default().push(value);
    }
}

impl FileText {
    /// Whether `serialproxy join` wrote the file, in any directory.
    fn is_of_join(&self) -> bool {
        self.file.file_name().is_some_and(|name| name == "cluster.conf")
    }

    fn is_novas(&self) -> bool {
        self.file.file_name().is_some_and(|name| name == "nova.conf")
            || self.ini.sections.iter().any(nova::marks)
    }
}

/// The files, in the order in which they count.
fn read_all(sources: &Sources, problems: &mut Problems) -> Vec<FileText> {
    let mut files = Vec::new();
    let mut named = sources.files.clone();
    if sources.files.is_empty() {
        files.extend(read_file(&sources.default_file, Absence::Fine, problems));
        match files_of(&sources.default_directory) {
            Ok(files) => named.extend(files),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => problems.add(unreadable(&sources.default_directory, &error)),
        }
    }
    for directory in &sources.directories {
        match files_of(directory) {
            Ok(files) => named.extend(files),
            Err(error) => problems.add(unreadable(directory, &error)),
        }
    }
    files.extend(named.iter().filter_map(|file| read_file(file, Absence::Problem, problems)));
    files
}

fn read_file(file: &Path, absence: Absence, problems: &mut Problems) -> Option<FileText> {
    let text = match read_text(file) {
        Ok(text) => text,
        Err(error) if absence == Absence::Fine && error.kind() == io::ErrorKind::NotFound => {
            return None;
        }
        Err(error) => {
            problems.add(unreadable(file, &error));
            return None;
        }
    };
    Some(FileText { file: file.into(), ini: ini::parse(&text) })
}

/// The meaning of a missing file.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Absence {
    Fine,
    Problem,
}

fn unreadable(path: &Path, error: &io::Error) -> Problem {
    // Those that are not the system's are whole sentences about the file.
    let reason = match error.raw_os_error() {
        Some(_) => format!("cannot be read: {error}"),
        None => error.to_string(),
    };
    Problem::Unreadable { file: escaped(&path.to_string_lossy()), reason }
}

/// The configuration files of a directory, by name, in oslo.config's order.
fn files_of(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "conf") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn read_text(file: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(file)?.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(io::Error::other(
            "is larger than 1 MiB, the maximum size of a configuration \
                 file",
        ));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.as_bytes().iter().take(error.utf8_error().valid_up_to());
        let line = valid.filter(|byte| **byte == b'\n').count() + 1;
        io::Error::other(format!("is not UTF-8 text in line {line}"))
    })
}

fn known(group: &str, name: &str, origin: Origin) -> Result<&'static Opt, Problem> {
    let Some(group) = known_group(group) else { return Err(unknown_group(group, origin)) };
    find(group, name).ok_or_else(|| Problem::UnknownOption {
        origin,
        group: group.to_owned(),
        option: shown(name),
        hint: option_hint(group, name),
    })
}

fn unknown_group(name: &str, origin: Origin) -> Problem {
    let groups = groups();
    let guess = nearest(name, groups.iter().copied());
    let guess = guess.map(|guess| format!("did you mean [{guess}]? ")).unwrap_or_default();
    let hint = format!("{guess}known groups: {}", groups.join(", "));
    Problem::UnknownGroup { origin, group: shown(name), hint }
}

/// Where the option may be, or its correct name.
fn option_hint(group: &str, name: &str) -> String {
    let names = || options().filter(move |o| o.group == group).map(|o| o.name);
    let guess = if let Some(other) = options().find(|option| option.name == name) {
        format!("it belongs in [{}]; ", other.group)
    } else if let Some(guess) = nearest(name, names()) {
        format!("did you mean {guess}? ")
    } else {
        String::new()
    };
    format!("{guess}[{group}] has {}", names().collect::<Vec<_>>().join(", "))
}
