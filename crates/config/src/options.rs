//! What the program knows about each of its options. The options themselves stand in
//! [`crate::table`].

use std::path::PathBuf;

use crate::refusal::Refusal;
use crate::table::OPTIONS;
use crate::values::Config;

/// One option: a row of the table.
#[derive(Debug)]
pub struct Opt {
    /// The `[group]` it stands in.
    pub group: &'static str,
    /// Its name there.
    pub name: &'static str,
    /// What it does, in one sentence.
    pub help: &'static str,
    pub(crate) kind: Kind,
    pub(crate) fallback: Fallback,
    /// Checks a value, and puts it into the configuration.
    pub(crate) apply: fn(&mut Config, &str) -> Result<(), Refusal>,
}

/// Which values an option takes.
#[derive(Debug)]
pub(crate) enum Kind {
    /// A boolean.
    Bool,
    /// One value, of which only the last counts; in words.
    Single(&'static str),
    /// Any number of values, which all count; in words.
    Multi(&'static str),
    /// One text that is never shown, and that no flag sets: others could read it.
    Secret,
}

/// The value of an option that is not set.
#[derive(Debug)]
pub(crate) enum Fallback {
    /// Nothing; an empty value is the same as none, save for repeatable options.
    Unset,
    /// This text.
    Text(&'static str),
    /// What the function says; in words for people.
    Computed(&'static str, fn(&Surroundings) -> Option<String>),
}

/// What computed defaults depend on.
#[derive(Debug)]
pub(crate) struct Surroundings {
    /// The state directory, absolute.
    pub(crate) state_dir: PathBuf,
    /// The directory that replaces the built-in pages if it exists.
    pub(crate) web: PathBuf,
    /// Whether this is one of our own roles, and no file is read but that of `serialproxy join`.
    pub(crate) own_without_file: bool,
}

/// A row.
pub(crate) const fn works(
    group: &'static str,
    name: &'static str,
    fallback: Fallback,
    kind: Kind,
    help: &'static str,
    apply: fn(&mut Config, &str) -> Result<(), Refusal>,
) -> Opt {
    Opt { group, name, help, kind, fallback, apply }
}

/// All options, ordered by group.
pub fn options() -> impl Iterator<Item = &'static Opt> {
    OPTIONS.iter().copied().flatten().copied().flatten()
}

/// The names of the groups, each once, in the table's order.
pub(crate) fn groups() -> Vec<&'static str> {
    let mut groups: Vec<_> = options().map(|option| option.group).collect();
    groups.dedup();
    groups
}

pub(crate) fn find(group: &str, name: &str) -> Option<&'static Opt> {
    options().find(|option| option.group == group && option.name == name)
}

impl Opt {
    /// The flag that overrides the option, without dashes: `GROUP-OPTION`, or the name alone for
    /// an option of `[DEFAULT]`.
    pub fn flag(&self) -> String {
        match self.group {
            "DEFAULT" => self.name.to_owned(),
            group => format!("{group}-{}", self.name),
        }
    }

    /// The flag that turns a boolean off, without dashes: `GROUP-noOPTION`, as oslo.config has it.
    pub fn flag_off(&self) -> Option<String> {
        self.is_bool().then(|| match self.group {
            "DEFAULT" => format!("no{}", self.name),
            group => format!("{group}-no{}", self.name),
        })
    }

    /// Whether it is a boolean: its flag may stand without a value, which then is `true`.
    pub fn is_bool(&self) -> bool {
        matches!(self.kind, Kind::Bool)
    }

    /// Whether all values count that are given: its flag may be repeated.
    pub fn is_multi(&self) -> bool {
        matches!(self.kind, Kind::Multi(_))
    }

    /// Whether its value is never shown, and given in a file only.
    pub fn is_secret(&self) -> bool {
        matches!(self.kind, Kind::Secret)
    }

    /// The default in words; empty if there is none.
    pub fn default_text(&self) -> &'static str {
        match self.fallback {
            Fallback::Unset => "",
            Fallback::Text(text) | Fallback::Computed(text, _) => text,
        }
    }

    /// What is allowed, in words.
    pub fn allowed(&self) -> &'static str {
        match self.kind {
            Kind::Bool => "true, 1, yes, on, false, 0, no or off",
            Kind::Single(allowed) | Kind::Multi(allowed) => allowed,
            Kind::Secret => "a single line of text; never shown, and not available as a flag",
        }
    }

    /// Whether an empty value means that the option is not set.
    pub(crate) fn is_unset_when_empty(&self) -> bool {
        matches!(self.fallback, Fallback::Unset) && !self.is_multi()
    }

    /// The value of an option that is not set.
    pub(crate) fn fallback(&self, surroundings: &Surroundings) -> Option<String> {
        match self.fallback {
            Fallback::Unset => None,
            Fallback::Text(text) => Some(text.to_owned()),
            Fallback::Computed(_, compute) => compute(surroundings),
        }
    }
}

/// The group of that name. Like oslo.config, case counts for `DEFAULT` only.
pub(crate) fn known_group(name: &str) -> Option<&'static str> {
    let lower = name.to_lowercase();
    groups().into_iter().find(|group| *group == name || *group == lower)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_group_stands_together_and_a_name_is_used_once() {
        let groups = groups();
        assert_eq!(groups.len(), groups.iter().collect::<HashSet<_>>().len());
        let names: HashSet<_> = options().map(|option| (option.group, option.name)).collect();
        assert_eq!(names.len(), options().count());
    }

    #[test]
    fn flags_are_named_as_oslo_names_them_and_unique() {
        assert_eq!(
            find("serial_console", "port_range").unwrap().flag(),
            "serial_console-port_range"
        );
        assert_eq!(find("DEFAULT", "debug").unwrap().flag(), "debug");
        assert_eq!(find("DEFAULT", "debug").unwrap().flag_off().unwrap(), "nodebug");
        let off = find("serial_console", "enabled").unwrap().flag_off();
        assert_eq!(off.unwrap(), "serial_console-noenabled");
        assert_eq!(find("serial_console", "port_range").unwrap().flag_off(), None);
        let flags: Vec<_> = options()
            .flat_map(|option| [Some(option.flag()), option.flag_off()])
            .flatten()
            .collect();
        assert_eq!(flags.iter().collect::<HashSet<_>>().len(), flags.len());
    }

    #[test]
    fn every_option_of_the_blueprint_is_there() {
        for name in [
            "enabled",
            "base_url",
            "listen",
            "proxyclient_address",
            "port_range",
            "record",
            "daemon",
            "ssl_only",
            "source_is_ipv6",
            "cert",
            "key",
            "web",
        ] {
            assert!(find("serial_console", name).is_some(), "{name}");
        }
    }

    #[test]
    fn only_static_lines_projects_and_exclusions_are_repeatable() {
        let multi: Vec<_> = options().filter(|option| option.is_multi()).map(Opt::flag).collect();
        assert_eq!(multi, ["compute-project", "compute-exclude", "static-line"]);
    }
}
