//! The values that count, after substitution.

use crate::error::Origin;
use crate::error::Problem;
use crate::error::shown;
use crate::options::Opt;
use crate::options::Surroundings;
use crate::options::find;
use crate::substitution::substitute;
use crate::written::Value;
use crate::written::Written;

/// Most `$option` that one value may lead to, directly or through others. Values are bounded too,
/// so this bounds time and memory.
const MAX_SUBSTITUTIONS: usize = 64;

/// What is said of a secret, whose text no message repeats.
const UNREADABLE_SECRET: &str = "the value holds a control character, or a $ that stands for no \
     option: write $$ for a dollar";

/// A value that counts.
#[derive(Clone, Debug)]
pub(crate) struct EffectiveValue {
    /// `None` if nobody set the option and it has no default.
    pub(crate) text: Option<String>,
    pub(crate) origin: Origin,
}

/// Says of every option which values count.
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
            return vec![Ok(EffectiveValue { text, origin: Origin::Default })];
        }
        let values = written.iter().map(|value| {
            let text = Expansion::new(self).expand(option, value)?;
            Ok(EffectiveValue { text: Some(text), origin: value.origin.clone() })
        });
        values.collect()
    }
}

/// The substitution of one value and all that it leads to.
struct Expansion<'a> {
    effective: &'a Effective<'a>,
    /// The options that are being expanded, outermost first.
    trail: Vec<&'static Opt>,
    left: usize,
}

impl<'a> Expansion<'a> {
    fn new(effective: &'a Effective<'a>) -> Self {
        Self { effective, trail: Vec::new(), left: MAX_SUBSTITUTIONS }
    }

    fn expand(&mut self, option: &'static Opt, value: &Value) -> Result<String, Problem> {
        let bad = |reason| Problem::BadValue {
            origin: value.origin.clone(),
            group: option.group,
            option: option.name,
            reason: if option.is_secret() { UNREADABLE_SECRET.to_owned() } else { reason },
        };
        self.trail.push(option);
        let written = self.effective.written;
        let text = substitute(&value.text, |name| {
            // Nova's own: what it says stands as it is, unless it leads on.
            if let Some(text) = written.foreign(option.group, name).filter(|t| !t.contains('$')) {
                return Ok(text.to_owned());
            }
            let referred = self.referred(option, name).map_err(bad)?;
            match self.effective.written.of(referred) {
                [] => Ok(referred.fallback(self.effective.surroundings).unwrap_or_default()),
                [value, ..] => self.expand(referred, value),
            }
        })?;
        self.trail.pop();
        let text = tidy(&text);
        if text.chars().any(|c| c.is_control() && c != '\n' && c != '\t') {
            return Err(bad(format!("\"{}\" holds a control character", shown(&text))));
        }
        Ok(text)
    }

    /// The option that `$name` in a value of this option means: one of its own group or of
    /// `[DEFAULT]`, or with `group.name` one of that group.
    fn referred(&mut self, option: &Opt, name: &str) -> Result<&'static Opt, String> {
        let (group, own) = name.split_once('.').unwrap_or((option.group, name));
        let found = find(group, own).or_else(|| find("DEFAULT", name));
        let Some(found) = found else {
            return Err(format!(
                "there is no option that ${} could stand for; write $option, $group.option or \
                 ${{option}}, and $$ for a dollar",
                shown(name)
            ));
        };
        if found.is_secret() {
            return Err(format!("${name} is a secret, which stands for itself alone"));
        }
        if found.is_multi() {
            return Err(format!("${name} cannot stand for the many values of that option"));
        }
        if let Some(start) = self.trail.iter().position(|other| std::ptr::eq(*other, found)) {
            let circle = self.trail.iter().skip(start).map(|o| format!("[{}] {}", o.group, o.name));
            let circle = circle.collect::<Vec<_>>().join(", ");
            return Err(format!("its substitution goes round in a circle: {circle}"));
        }
        self.left = self
            .left
            .checked_sub(1)
            .ok_or_else(|| format!("it leads to more than {MAX_SUBSTITUTIONS} substitutions"))?;
        Ok(found)
    }
}

/// The text without white space around its lines, and without empty lines.
fn tidy(text: &str) -> String {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join("\n")
}
