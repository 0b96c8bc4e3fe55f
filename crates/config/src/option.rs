//! What the program knows about one of its options.

use std::path::PathBuf;

use crate::refusal::Refusal;
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
