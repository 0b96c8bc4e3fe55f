//! The effective configuration as a file.

use std::fmt::Write;

use crate::error::Origin;
use crate::error::escaped;
use crate::load::Loaded;
use crate::load::Setting;
use crate::option::Opt;
use crate::options::find;
use crate::substitution::escape;

/// The configuration in the file format, with a comment at each option that gives the origin of its
/// value. Reading it again gives the same configuration (with the same `--state-dir`). Secrets are
/// left out; a comment says that they are set.
pub fn show(loaded: &Loaded) -> String {
    let mut text = String::new();
    let state_dir = escaped(&loaded.config.state_dir.to_string_lossy());
    let _ = writeln!(text, "# State directory (--state-dir): {state_dir}");
    let mut group = "";
    for setting in &loaded.settings {
        if setting.group != group {
            group = setting.group;
            let _ = write!(text, "\n[{group}]\n");
        }
        write_setting(&mut text, setting);
    }
    text
}

fn write_setting(text: &mut String, setting: &Setting) {
    let Setting { option, origin, .. } = setting;
    let opt = find(setting.group, option);
    let is_secret = opt.is_some_and(Opt::is_secret);
    // Writing to a String cannot fail.
    let _ = match (&setting.value, origin) {
        (Some(_), _) if is_secret => writeln!(text, "# {origin}\n# {option} is set, and secret"),
        (None, _) => match opt.map(Opt::default_text) {
            None | Some("") => writeln!(text, "# {option} is not set"),
            Some(instead) => writeln!(text, "# {option} is not set: {instead}"),
        },
        (Some(value), Origin::Default) => {
            writeln!(text, "# default\n{}", assignment(option, value))
        }
        (Some(value), _) => writeln!(text, "# {origin}\n{}", assignment(option, value)),
    };
}

/// `option = value` in a form that is read back as this value.
pub(crate) fn assignment(option: &str, value: &str) -> String {
    let value = escape(value);
    let mut lines = value.lines();
    let first = lines.next().unwrap_or_default();
    let quoted =
        ['"', '\''].iter().any(|quote| first.starts_with(*quote) && first.ends_with(*quote));
    let first = if quoted { format!("\"{first}\"") } else { first.to_owned() };
    let mut text = format!("{option} = {first}").trim_end().to_owned();
    for line in lines {
        text.push_str("\n    ");
        text.push_str(line);
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ini;
    use crate::substitution::substitute;

    #[test]
    fn values_that_the_format_would_change_are_protected() {
        assert_eq!(assignment("a", "'none'"), "a = \"'none'\"");
        assert_eq!(assignment("a", "/x$y"), "a = /x\\$y");
        assert_eq!(assignment("a", ""), "a =");
        assert_eq!(assignment("a", "x,\ny"), "a = x,\n    y");
    }

    proptest! {
        #[test]
        fn every_tidy_value_is_read_back(
            lines in proptest::collection::vec("[!-~ä]([ -~ä]{0,12}[!-~ä])?", 0..4)
        ) {
            let value = lines.join("\n");
            let ini = ini::parse(&format!("[g]\n{}\n", assignment("a", &value)));
            prop_assert_eq!(&ini.faults, &[]);
            let read = substitute(&ini.sections[0].entries[0].value, |name| Err(name.to_owned()));
            prop_assert_eq!(read, Ok(value));
        }
    }
}
