//! `$option` in values, as in oslo.config's template.

/// The text with every `$name` and `${name}` replaced by the result of `lookup`. A name begins with
/// a letter or `_`, followed by letters, digits, `_` and `.`; `$$` and `\$` mean a dollar sign; a
/// dollar sign before anything else is kept.
pub(crate) fn substitute<E>(
    text: &str,
    mut lookup: impl FnMut(&str) -> Result<String, E>,
) -> Result<String, E> {
    let text = text.replace("\\$", "$$");
    let mut rest = text.as_str();
    let mut result = String::new();
    while let Some((before, after)) = rest.split_once('$') {
        result.push_str(before);
        rest = after;
        if let Some(after) = after.strip_prefix('$') {
            result.push('$');
            rest = after;
        } else if let Some((name, after)) = bare(after).or_else(|| braced(after)) {
            result.push_str(&lookup(name)?);
            rest = after;
        } else {
            result.push('$');
        }
    }
    result.push_str(rest);
    Ok(result)
}

/// The inverse: a text that [`substitute`] turns into this one.
pub(crate) fn escape(text: &str) -> String {
    text.replace('$', "\\$")
}

/// The name at the beginning of the text, and the rest.
fn bare(text: &str) -> Option<(&str, &str)> {
    if !text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
        return None;
    }
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '.');
    text.split_at_checked(end.unwrap_or(text.len()))
}

fn braced(text: &str) -> Option<(&str, &str)> {
    let (name, rest) = bare(text.strip_prefix('{')?)?;
    Some((name, rest.strip_prefix('}')?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn named(text: &str) -> String {
        substitute(text, |name| Ok::<_, ()>(format!("<{name}>"))).unwrap()
    }

    #[test]
    fn names_are_replaced_with_and_without_braces() {
        assert_eq!(named("$a"), "<a>");
        assert_eq!(named("http://$host_1:$port/${g.o}x"), "http://<host_1>:<port>/<g.o>x");
        assert_eq!(named("$g.o-$A9"), "<g.o>-<A9>");
    }

    #[test]
    fn a_doubled_or_escaped_dollar_is_a_dollar() {
        assert_eq!(named("$$a"), "$a");
        assert_eq!(named("\\$a"), "$a");
        assert_eq!(named("$$$a"), "$<a>");
        assert_eq!(named("\\\\$a"), "\\$a");
    }

    #[test]
    fn a_dollar_before_anything_else_stays() {
        assert_eq!(named("5$ $1 ${} ${a ${a-b} $ä $"), "5$ $1 ${} ${a ${a-b} $ä $");
    }

    #[test]
    fn an_unknown_name_ends_it() {
        assert_eq!(substitute("x $a", |name| Err(name.to_owned())), Err("a".to_owned()));
    }

    proptest! {
        #[test]
        fn any_text_is_substituted_without_a_panic(text in "[$\\\\{}a.ä]{0,40}|.{0,80}") {
            named(&text);
        }

        #[test]
        fn escaping_is_undone(text in "[$\\\\{}a.ä]{0,40}|.{0,80}") {
            prop_assert_eq!(named(&escape(&text)), text);
        }
    }
}
