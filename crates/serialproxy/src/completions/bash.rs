//! The line that bash completes: its words, and the form in which a candidate goes into it.

/// What a backslash quotes within double quotes.
const SPECIAL_IN_DOUBLE: &str = "\"\\$`";

/// The quote that is open at a place.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Quote {
    #[default]
    None,
    Single,
    Double,
}

/// Where a candidate goes.
#[derive(Debug)]
pub(super) struct Place {
    /// The words up to the cursor, without their quotes.
    pub(super) words: Vec<String>,
    /// The beginning of the last word, which stays: bash replaces what follows a `:` or `=`.
    kept: String,
    quote: Quote,
}

impl Place {
    /// The end of `line`, where `replaced` goes; none where the line does not end with that, or where
    /// it is the file of a redirection.
    pub(super) fn of(line: &str, replaced: &str) -> Option<Self> {
        let kept = Line::read(line.strip_suffix(replaced)?);
        let mut read = Line::read(line);
        if read.is_target {
            return None;
        }
        read.words.push(read.word.unwrap_or_default());
        Some(Self { words: read.words, kept: kept.word.unwrap_or_default(), quote: kept.quote })
    }

    /// What takes the place for this candidate; none where it does not begin as the word, or has no
    /// form there.
    pub(super) fn insertion(&self, candidate: &str) -> Option<String> {
        let rest = candidate.strip_prefix(&self.kept)?;
        // A line end would be a candidate's end, and other controls are for the terminal.
        if rest.contains(char::is_control) {
            return None;
        }
        match self.quote {
            Quote::None => Some(escaped(rest, is_special)),
            // Within these quotes, nothing is special but their end.
            Quote::Single => Some(rest.to_owned()).filter(|rest| !rest.contains('\'')),
            // Within these, a backslash keeps bash from its history, but stays.
            Quote::Double if rest.contains('!') => None,
            Quote::Double => Some(escaped(rest, |c| SPECIAL_IN_DOUBLE.contains(c))),
        }
    }
}

fn escaped(text: &str, is_special: impl Fn(char) -> bool) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        escaped.extend(is_special(c).then_some('\\'));
        escaped.push(c);
    }
    escaped
}

/// Whether bash takes a character as it is outside quotes, wherever in a word it stands.
fn is_special(c: char) -> bool {
    match c.is_ascii() {
        true => !c.is_ascii_alphanumeric() && !"-_./:=@%+,".contains(c),
        false => c.is_whitespace(),
    }
}

/// A line, as far as it is read.
#[derive(Debug, Default)]
struct Line {
    words: Vec<String>,
    /// The word that the next character belongs to, if it has begun.
    word: Option<String>,
    quote: Quote,
    /// Whether that word is the file of a redirection.
    is_target: bool,
}

impl Line {
    /// Nothing is expanded. Redirections are no words of the command.
    fn read(text: &str) -> Self {
        let mut line = Self::default();
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            let mut next_if = |wanted: &str| chars.next_if(|next| wanted.contains(*next));
            match (line.quote, c) {
                (Quote::None, ' ' | '\t' | '\n') => line.end_word(),
                (Quote::None, '<' | '>' | '&' | '|') => line.redirect(),
                (Quote::None, '\'') => line.open(Quote::Single),
                (Quote::None, '"') => line.open(Quote::Double),
                (Quote::Single, '\'') | (Quote::Double, '"') => line.quote = Quote::None,
                (Quote::None, '\\') => {
                    line.word().extend(chars.next());
                }
                (Quote::Double, '\\') => {
                    let c = next_if(SPECIAL_IN_DOUBLE).unwrap_or(c);
                    line.word().push(c);
                }
                _ => line.word().push(c),
            }
        }
        line
    }

    fn word(&mut self) -> &mut String {
        self.word.get_or_insert_default()
    }

    fn open(&mut self, quote: Quote) {
        self.quote = quote;
        self.word();
    }

    fn end_word(&mut self) {
        if let Some(word) = self.word.take() {
            if !self.is_target {
                self.words.push(word);
            }
            self.is_target = false;
        }
    }

    /// `>`, `2>`, `>>`, `>&`, `&>`, `>|`, `<` and `<<<`: other commands are not a part of the line.
    fn redirect(&mut self) {
        let is_number = |word: &String| word.chars().all(|c| c.is_ascii_digit());
        if self.word.take_if(|word| is_number(word)).is_none() {
            self.end_word();
        }
        self.is_target = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_bash() {
        for (line, words, quote) in [
            ("s connect d", &["s", "connect", "d"][..], Quote::None),
            ("s  connect ", &["s", "connect", ""], Quote::None),
            (r"s my\ server", &["s", "my server"], Quote::None),
            (r"s my\", &["s", "my"], Quote::None),
            (r#"s "my se"#, &["s", "my se"], Quote::Double),
            (r#"s "a\"b\$c\d" e"#, &["s", "a\"b$c\\d", "e"], Quote::None),
            (r"s 'my \", &["s", "my \\"], Quote::Single),
            (r#"s it"'"s'"'x"#, &["s", "it's\"x"], Quote::None),
            ("s '' x", &["s", "", "x"], Quote::None),
            ("s '", &["s", ""], Quote::Single),
            ("s $(touch x) `y`", &["s", "$(touch", "x)", "`y`"], Quote::None),
            ("s >f 2> g <h connect d", &["s", "connect", "d"], Quote::None),
            ("s 1 2>>f a2>&1 3", &["s", "1", "a2", "3"], Quote::None),
            ("s '>' \\< d", &["s", ">", "<", "d"], Quote::None),
        ] {
            let read = Line::read(line);
            assert_eq!([read.words, vec![read.word.unwrap_or_default()]].concat(), words, "{line}");
            assert_eq!(read.quote, quote, "{line}");
        }
    }

    #[test]
    fn the_file_of_a_redirection_is_left_to_bash() {
        for (line, replaced) in
            [("s log d >", ""), ("s log d > f", "f"), ("s log d 2>>f", "f"), ("s &> f", "f")]
        {
            assert!(Place::of(line, replaced).is_none(), "{line}");
        }
        assert_eq!(Place::of("s log >f d", "d").unwrap().words, ["s", "log", "d"]);
    }

    /// What the line becomes with this candidate.
    fn completed(line: &str, replaced: &str, candidate: &str) -> Option<String> {
        let place = Place::of(line, replaced)?;
        Some(line.strip_suffix(replaced)?.to_owned() + &place.insertion(candidate)?)
    }

    #[test]
    fn a_candidate_goes_on_from_what_is_typed() {
        for (line, replaced, candidate, wanted) in [
            ("s d", "d", "demo", Some("s demo")),
            ("s ", "", "demo", Some("s demo")),
            ("s x", "x", "demo", Some("s demo")),
            (r"s my\ s", r"my\ s", "my server", Some(r"s my\ server")),
            (r#"s "my s"#, "my s", "my server", Some(r#"s "my server"#)),
            ("s 'my s", "my s", "my server", Some("s 'my server")),
            (r#"s my" s"#, " s", "my server", Some(r#"s my" server"#)),
            // Bash breaks words at these.
            ("s host:", "", "host:0", Some("s host:0")),
            ("s host:1", "1", "host:10", Some("s host:10")),
            ("s --port=", "", "--port=0", Some("s --port=0")),
            ("s other:1", "1", "host:10", None),
            // The whole of what bash replaces gets our form.
            (r"s a\:b", r"a\:b", "a:bc", Some("s a:bc")),
            ("s a", "b", "b", None),
            ("s a", "a", "a\nb", None),
            ("s a", "a", "a\u{1b}[2J", None),
            ("s 'it", "it", "it's", None),
            ("s \"a", "a", "a!b", None),
        ] {
            assert_eq!(completed(line, replaced, candidate).as_deref(), wanted, "{line}");
        }
    }

    #[test]
    fn a_name_is_one_word_of_bash_in_every_quote_and_never_a_command() {
        let names = [
            "plain-1.example_x",
            "two words",
            "it's",
            "\"quoted\"",
            "$(touch /tmp/x)",
            "`id`",
            "$HOME",
            "a;b|c&d<e>f(g)h",
            "*?[a]{b,c}",
            "~",
            "~root",
            "#x",
            "back\\slash\\",
            "a!b!!",
            "^a^b",
            "host:0=x@y%z+1,2/3",
            "日本 é",
            "a\u{3000}b",
        ];
        let mut count = 0;
        for name in names {
            for line in ["printf %s ", "printf %s \"", "printf %s '"] {
                let Some(typed) = completed(line, "", name) else { continue };
                // Readline closes the quote.
                let close = line.strip_prefix("printf %s ").unwrap();
                let script = format!("{typed}{close}");
                let run =
                    std::process::Command::new("bash").args(["-c", &script]).output().unwrap();
                assert_eq!(String::from_utf8_lossy(&run.stdout), name, "{script}");
                count += 1;
            }
        }
        // All, but for one in single quotes and one in double quotes.
        assert_eq!(count, 3 * names.len() - 2);
    }

    #[test]
    fn every_character_of_ascii_is_itself_wherever_it_stands() {
        let names: Vec<_> =
            (' '..='~').flat_map(|c| [format!("{c}"), format!("{c}a"), format!("a{c}b")]).collect();
        let place = Place::of("s ", "").unwrap();
        let words: Vec<_> = names.iter().map(|name| place.insertion(name).unwrap()).collect();
        let script = format!("printf '%s\\n' {}", words.join(" "));
        let run = std::process::Command::new("bash").args(["-c", &script]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&run.stdout), names.join("\n") + "\n");
        // And the next Tab reads it in the same way.
        for (name, word) in names.iter().zip(&words) {
            assert_eq!(Line::read(word).word.as_ref(), Some(name));
        }
    }
}
