//! The effective values, after substitution.

use crate::drop_in;
use crate::error::Origin;
use crate::error::Problem;
use crate::error::shown;
use crate::option::Opt;
use crate::option::Surroundings;
use crate::options::find;
use crate::substitution::substitute;
use crate::written::Value;
use crate::written::Written;

/// Most `$option` that one value may lead to, directly or through others. Values are limited in
/// size, too, so this limits time and memory.
const MAX_SUBSTITUTIONS: usize = 64;

/// The reason for a secret, whose text no message repeats.
const UNREADABLE_SECRET: &str = "the value contains a control character, or a $ that names no \
         option: write $$ for a dollar sign";

/// An effective value.
#[derive(Clone, Debug)]
pub(crate) struct EffectiveValue {
    /// `None` if the option is not set and has no default.
    pub(crate) text: Option<String>,
    pub(crate) origin: Origin,
    /// Warnings about the value; each text continues after the option's name.
    pub(crate) warnings: Vec<String>,
}

/// Determines the effective values of every option.
#[derive(Debug)]
pub(crate) struct Effective<'a> {
    written: &'a Written,
    surroundings: &'a Surroundings,
}

impl<'a> Effective<'a> {
    pub(crate) fn new(written: &'a Written, surroundings: &'a Surroundings) -> Self {
        Self { written, surroundings }
    }

    /// The option's values; one, unless it is repeatable.
    pub(crate) fn values(&self, option: &'static Opt) -> Vec<Result<EffectiveValue, Problem>> {
        let written = self.written.of(option);
        if written.is_empty() {
            let text = option.fallback(self.surroundings);
            let (origin, warnings) = (Origin::Default, Vec::new());
            return vec![Ok(EffectiveValue { text, origin, warnings })];
        }
        written.iter().map(|value| self.value(option, value)).collect()
    }

    /// Whether a file is one of Nova's and was read as such.
    pub(crate) fn is_novas(&self) -> bool {
        self.written.is_novas()
    }

    fn value(&self, option: &'static Opt, value: &Value) -> Result<EffectiveValue, Problem> {
        let mut expansion = Expansion::new(self);
        let text = expansion.expand(option, value)?;
        let mut warnings = expansion.warnings;
        let text = match self.is_novas() {
            true => {
                let (text, more) = drop_in::translated(option, text);
                warnings.extend(more);
                text
            }
            false => text,
        };
        Ok(EffectiveValue { text: Some(text), origin: value.origin.clone(), warnings })
    }
}

/// The substitution of one value and of everything that it refers to.
struct Expansion<'a> {
    effective: &'a Effective<'a>,
    /// The options that are being expanded, outermost first.
    trail: Vec<&'static Opt>,
    left: usize,
    warnings: Vec<String>,
}

impl<'a> Expansion<'a> {
    fn new(effective: &'a Effective<'a>) -> Self {
        Self { effective, trail: Vec::new(), left: MAX_SUBSTITUTIONS, warnings: Vec::new() }
    }

    fn expand(&mut self, option: &'static Opt, value: &Value) -> Result<String, Problem> {
        let bad = |reason| Problem::BadValue {
            origin: value.origin.clone(),
            group: option.group,
            option: option.name,
            reason: if option.is_secret() { UNREADABLE_SECRET.to_owned() } else { reason },
        };
        self.trail.push(option);
        let text = substitute(&value.text, |name| {
            if let Some(text) = self.of_novas(option.group, name).map_err(bad)? {
                return Ok(text);
            }
            let referred = self.referred(option, name).map_err(bad)?;
            match self.effective.written.of(referred) {
                [] => Ok(referred.fallback(self.effective.surroundings).unwrap_or_default()),
                [value, ..] => self.expand(referred, value),
            }
        })?;
        self.trail.pop();
        let text = trimmed_lines(&text);
        if text.chars().any(|c| c.is_control() && c != '\n' && c != '\t') {
            return Err(bad(format!("\"{}\" contains a control character", shown(&text))));
        }
        Ok(text)
    }

    /// The value of `$name` in a value of that group, if it is an option that only Nova has.
    fn of_novas(&mut self, group: &str, name: &str) -> Result<Option<String>, String> {
        let written = self.effective.written;
        if !written.is_novas() {
            return Ok(None);
        }
        if let Some(text) = written.foreign(group, name) {
            self.spend()?;
            let leads_on =
                |name: &str| self.of_novas("DEFAULT", name)?.ok_or_else(|| unknown(name));
            return substitute(text, leads_on).map(Some);
        }
        if find(group, name).or_else(|| find("DEFAULT", name)).is_some() {
            return Ok(None);
        }
        let Some(text) = drop_in::default_of(name) else { return Ok(None) };
        self.warnings.push(format!("${name} is not set: {text} is used"));
        Ok(Some(text))
    }

    /// The option that `$name` in a value of this option refers to: one of its own group or of
    /// `[DEFAULT]`; with `group.name` one of that group.
    fn referred(&mut self, option: &Opt, name: &str) -> Result<&'static Opt, String> {
        let (group, own) = name.split_once('.').unwrap_or((option.group, name));
        let found = find(group, own).or_else(|| find("DEFAULT", name));
        let found = found.ok_or_else(|| unknown(name))?;
        if found.is_secret() {
            return Err(format!("${name} is a secret and cannot be used in another value"));
        }
        if found.is_multi() {
            return Err(format!(
                "${name} is a repeatable option and cannot be used in another value"
            ));
        }
        if let Some(start) = self.trail.iter().position(|other| std::ptr::eq(*other, found)) {
            let circle = self.trail.iter().skip(start).map(|o| format!("[{}] {}", o.group, o.name));
            let circle = circle.collect::<Vec<_>>().join(", ");
            return Err(format!("its substitution is circular: {circle}"));
        }
        self.spend()?;
        Ok(found)
    }

    fn spend(&mut self) -> Result<(), String> {
        let left = self.left.checked_sub(1);
        let too_many = || format!("it needs more than {MAX_SUBSTITUTIONS} substitutions");
        self.left = left.ok_or_else(too_many)?;
        Ok(())
    }
}

fn unknown(name: &str) -> String {
    format!(
        "${} names no option; write $option, $group.option or ${{option}}, and $$ for a dollar \
         sign",
        shown(name)
    )
}

/// The text without white space around its lines, and without empty lines.
fn trimmed_lines(text: &str) -> String {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join("\n")
}
