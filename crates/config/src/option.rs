//! The description of an option.

use std::path::PathBuf;

use crate::refusal::Refusal;
use crate::values::Config;

/// One option: a row of the table.
#[derive(Debug)]
pub struct Opt {
    /// Its `[group]`.
    pub group: &'static str,
    /// Its name.
    pub name: &'static str,
    /// Its purpose, in one sentence.
    pub help: &'static str,
    pub(crate) kind: Kind,
    pub(crate) fallback: Fallback,
    /// Checks a value, and stores it in the configuration.
    pub(crate) apply: fn(&mut Config, &str) -> Result<(), Refusal>,
}

/// The values that an option allows.
#[derive(Debug)]
pub(crate) enum Kind {
    /// A boolean.
    Bool,
    /// One value, of which the last counts; the text describes it.
    Single(&'static str),
    /// Any number of values, which all count; the text describes them.
    Multi(&'static str),
    /// A text that is never shown and cannot be set by a flag, because other users could read it.
    Secret,
}

/// The value of an option that is not set.
#[derive(Debug)]
pub(crate) enum Fallback {
    /// No value; an empty value means the same, except for repeatable options.
    Unset,
    /// This text.
    Text(&'static str),
    /// The function's result; the text describes it for people.
    Computed(&'static str, fn(&Surroundings) -> Option<String>),
}

/// What computed defaults depend on.
#[derive(Debug)]
pub(crate) struct Surroundings {
    /// The state directory, absolute.
    pub(crate) state_dir: PathBuf,
    /// The directory that replaces the built-in pages if it exists.
    pub(crate) web: PathBuf,
    /// Whether this is one of our own roles without a configuration file other than that of
    /// `serialproxy join`.
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

    /// The flag that turns a boolean off, without dashes: `GROUP-noOPTION`, as in oslo.config.
    pub fn flag_off(&self) -> Option<String> {
        self.is_bool().then(|| match self.group {
            "DEFAULT" => format!("no{}", self.name),
            group => format!("{group}-no{}", self.name),
        })
    }

    /// Whether it is a boolean: its flag without a value means `true`.
    pub fn is_bool(&self) -> bool {
        matches!(self.kind, Kind::Bool)
    }

    /// Whether all given values count, so that its flag may be repeated.
    pub fn is_multi(&self) -> bool {
        matches!(self.kind, Kind::Multi(_))
    }

    /// Whether its value is never shown and only given in a file.
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

    /// The default, where it is the same everywhere.
    pub(crate) fn fixed_default(&self) -> Option<&'static str> {
        match self.fallback {
            Fallback::Text(text) => Some(text),
            Fallback::Unset | Fallback::Computed(..) => None,
        }
    }

    /// The allowed values, in words.
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
