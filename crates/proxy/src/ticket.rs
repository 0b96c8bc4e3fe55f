//! The parameters of an attach: token or resume key, mode and start, from the query and the cookies.

use http::HeaderMap;
use http::header;
use serialproxy_line::Start;
use serialproxy_proto::api::Protocol;
use serialproxy_proto::bounds::GRID;
use serialproxy_proto::bounds::brief;
use serialproxy_proto::console::Size;
use serialproxy_proto::refusal::Refusal;
use serialproxy_proto::token::AskedMode;
use serialproxy_proto::token::ConsoleToken;
use serialproxy_proto::token::Mode;
use serialproxy_proto::token::ResumeKey;

use crate::hosts::Sought;

/// Maximum length of a parameter in an error text, in characters.
const ECHO: usize = 40;

/// The parameters of an attach, before the token is looked up.
#[derive(Debug)]
pub(crate) struct Ticket {
    pub(crate) admission: Admission,
    /// The requested mode; none means the grant's.
    pub(crate) mode: Option<AskedMode>,
    pub(crate) start: Start,
}

/// The credentials of a client.
#[derive(Debug)]
pub(crate) enum Admission {
    /// A console URL's token: a new session.
    Token(ConsoleToken),
    /// The resume key of a session.
    Resume(ResumeKey),
}

impl Admission {
    /// The line whose host has to be found.
    pub(crate) fn sought(&self) -> Sought {
        match self {
            Self::Token(token) => Sought::Token(token.digest()),
            Self::Resume(key) => Sought::Line(key.line()),
        }
    }
}

impl Ticket {
    /// Reads the query and the cookies. Of repeated parameters, the last one counts, as in Nova.
    ///
    /// # Errors
    ///
    /// [`Refusal::Token`] without a token, [`Refusal::Resume`] for an invalid resume key,
    /// [`Refusal::BadRequest`] for an invalid parameter.
    pub(crate) fn read(
        query: &str,
        headers: &HeaderMap,
        protocol: Protocol,
    ) -> Result<Self, Refusal> {
        let (mut token, mut resume) = (None, None);
        let (mut mode, mut from, mut line) = (None, None, None);
        let (mut rows, mut cols, mut grid) = (None, None, None);
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let place = match &*name {
                "token" => &mut token,
                "resume" => &mut resume,
                "mode" => &mut mode,
                "from" => &mut from,
                "line" => &mut line,
                "rows" => &mut rows,
                "cols" => &mut cols,
                "grid" => &mut grid,
                _ => continue,
            };
            *place = Some(value.into_owned());
        }
        let admission = match resume {
            Some(key) if protocol == Protocol::ConsoleV1 => {
                Admission::Resume(ResumeKey::from_client(&key).ok_or(Refusal::Resume)?)
            }
            Some(_) => {
                return Err(Refusal::BadRequest("only console.v1 sessions can be resumed".into()));
            }
            None => {
                let token = token.filter(|token| !token.is_empty());
                let token = token.or_else(|| token_cookie(headers)).ok_or(Refusal::Token)?;
                Admission::Token(ConsoleToken::from_client(&token))
            }
        };
        let mode = mode.map(|mode| asked_mode(&mode, protocol)).transpose()?;
        let size = match protocol {
            Protocol::Raw => None,
            Protocol::ConsoleV1 => size(rows.as_deref(), cols.as_deref())?,
        };
        let follows = grid.as_deref() == Some("theirs");
        let screen = Start::Screen { size, follows };
        let start = start(from.as_deref(), line.as_deref(), screen, protocol)?;
        // A raw terminal cannot tell replay from live output, and would answer old queries.
        if protocol == Protocol::Raw
            && start != Start::Live
            && mode != Some(AskedMode::Only(Mode::Watch))
        {
            return Err(Refusal::BadRequest(
                "without console.v1, from requires mode=watch: a terminal that may type would \
                 answer queries in old output"
                    .into(),
            ));
        }
        Ok(Self { admission, mode, start })
    }
}

/// The requested mode. On raw, a client that only watches could not be told so.
fn asked_mode(mode: &str, protocol: Protocol) -> Result<AskedMode, Refusal> {
    let bad = |words: &str| {
        Refusal::BadRequest(format!("mode must be {words}, not {:?}", brief(mode, ECHO)))
    };
    match (mode.parse(), protocol) {
        (Ok(AskedMode::Auto), Protocol::Raw) => Err(bad("watch or write without console.v1")),
        (Ok(mode), _) => Ok(mode),
        (Err(()), Protocol::Raw) => Err(bad("watch or write")),
        (Err(()), Protocol::ConsoleV1) => Err(bad("auto, watch or write")),
    }
}

/// The size of the terminal, if both numbers are given.
fn size(rows: Option<&str>, cols: Option<&str>) -> Result<Option<Size>, Refusal> {
    let read = |name: &str, text: Option<&str>| match text.map(str::parse) {
        None => Ok(None),
        Some(Ok(number @ 1..=GRID)) => Ok(Some(number)),
        Some(_) => Err(Refusal::BadRequest(format!("{name} must be a number from 1 to {GRID}"))),
    };
    let (rows, cols) = (read("rows", rows)?, read("cols", cols)?);
    Ok(rows.zip(cols).map(|(rows, cols)| Size { rows, cols }))
}

fn start(
    from: Option<&str>,
    line: Option<&str>,
    screen: Start,
    protocol: Protocol,
) -> Result<Start, Refusal> {
    let bad = |text: String| Refusal::BadRequest(text);
    let line = match line {
        None => None,
        Some(text) => Some(text.parse().map_err(|_| {
            bad(format!("line must be the id from the hello message, not {:?}", brief(text, ECHO)))
        })?),
    };
    match (from, protocol) {
        (None, Protocol::Raw) | (Some("live"), _) => Ok(Start::Live),
        (None, Protocol::ConsoleV1) => Ok(screen),
        (Some("start"), _) => Ok(Start::Oldest),
        (Some(text), _) => match text.parse() {
            Ok(offset) => Ok(Start::Offset { offset, line }),
            Err(_) => Err(bad(format!(
                "from must be an offset, start or live, not {:?}",
                brief(text, ECHO)
            ))),
        },
    }
}

/// The cookie named `token`. Malformed other cookies are ignored.
pub(crate) fn token_cookie(headers: &HeaderMap) -> Option<String> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|cookies| cookies.to_str().ok())
        .flat_map(|cookies| cookies.split(';'))
        .filter_map(|cookie| cookie.trim().split_once('='))
        .filter(|(name, _)| *name == "token")
        .map(|(_, value)| value.trim_matches('"').to_owned())
        .rfind(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use serialproxy_proto::id::LineKey;
    use serialproxy_proto::id::ServerId;

    use super::*;

    fn token(ticket: &Ticket) -> &str {
        match &ticket.admission {
            Admission::Token(token) => token.expose(),
            Admission::Resume(_) => panic!("it is a resume key"),
        }
    }

    fn read(query: &str, cookie: Option<&str>, protocol: Protocol) -> Result<Ticket, Refusal> {
        let mut headers = HeaderMap::new();
        if let Some(cookie) = cookie {
            headers.insert(header::COOKIE, cookie.parse().unwrap());
        }
        Ticket::read(query, &headers, protocol)
    }

    #[test]
    fn the_token_comes_from_the_query_or_else_from_the_cookie() {
        let from_query = read("token=a&token=b", Some("token=c"), Protocol::Raw).unwrap();
        assert_eq!(token(&from_query), "b");
        let from_cookie = read("token=", Some("x; y=1; token=\"c\""), Protocol::Raw).unwrap();
        assert_eq!(token(&from_cookie), "c");
        assert_eq!(read("", Some("nottoken=c"), Protocol::Raw).unwrap_err(), Refusal::Token);
    }

    #[test]
    fn on_raw_the_output_is_live_and_on_v1_the_screen_comes_first() {
        assert_eq!(read("token=a", None, Protocol::Raw).unwrap().start, Start::Live);
        let screen = |query| read(query, None, Protocol::ConsoleV1).unwrap().start;
        assert_eq!(screen("token=a"), Start::Screen { size: None, follows: false });
        let size = Some(Size { rows: 40, cols: 120 });
        assert_eq!(screen("token=a&rows=40&cols=120"), Start::Screen { size, follows: false });
        let theirs = "token=a&rows=40&cols=120&grid=theirs";
        assert_eq!(screen(theirs), Start::Screen { size, follows: true });
        assert_eq!(screen("token=a&rows=40"), Start::Screen { size: None, follows: false });
        for query in ["rows=0&cols=80", "rows=24&cols=501", "rows=&cols=80", "rows=-1", "cols=many"]
        {
            let query = format!("token=a&{query}");
            let refused = read(&query, None, Protocol::ConsoleV1);
            assert!(matches!(refused, Err(Refusal::BadRequest(_))), "{query}: {refused:?}");
        }
    }

    #[test]
    fn replay_on_raw_is_for_watchers() {
        for query in ["token=a&from=start", "token=a&from=7", "token=a&from=7&mode=write"] {
            assert!(matches!(read(query, None, Protocol::Raw), Err(Refusal::BadRequest(_))));
        }
        let watch = read("token=a&from=7&mode=watch", None, Protocol::Raw).unwrap();
        assert_eq!(watch.start, Start::Offset { offset: 7, line: None });
    }

    #[test]
    fn auto_is_a_mode_of_v1_alone() {
        let ticket = read("token=a&mode=auto", None, Protocol::ConsoleV1).unwrap();
        assert_eq!(ticket.mode, Some(AskedMode::Auto));
        let refused = read("token=a&mode=auto", None, Protocol::Raw).unwrap_err().to_string();
        assert_eq!(refused, "mode must be watch or write without console.v1, not \"auto\"");
    }

    #[test]
    fn a_resume_key_needs_no_token_and_is_for_v1() {
        let line = LineKey { server: ServerId::of_static("a"), port: 1 };
        let key = ResumeKey::new(line);
        let query = format!("resume={}&from=7&line={}", key.expose(), line.server);
        let ticket = read(&query, None, Protocol::ConsoleV1).unwrap();
        assert!(matches!(ticket.admission, Admission::Resume(key) if key.line() == line));
        assert_eq!(ticket.start, Start::Offset { offset: 7, line: Some(line.server.0) });
        assert!(matches!(read(&query, None, Protocol::Raw), Err(Refusal::BadRequest(_))));
        let refused = read("resume=x&token=a", None, Protocol::ConsoleV1);
        assert_eq!(refused.unwrap_err(), Refusal::Resume);
    }

    #[test]
    fn a_parameter_that_makes_no_sense_is_refused() {
        for query in
            ["token=a&mode=own", "token=a&from=end", "token=a&from=-1&mode=watch", "token=a&line=7"]
        {
            assert!(matches!(read(query, None, Protocol::Raw), Err(Refusal::BadRequest(_))));
        }
    }

    proptest! {
        #[test]
        fn no_query_or_cookie_makes_it_panic(query in ".{0,60}", cookie in "[ -~]{0,60}") {
            let _ = read(&query, Some(&cookie), Protocol::ConsoleV1);
        }
    }
}
