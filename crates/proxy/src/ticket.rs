//! What a client asks for when it attaches: token, mode and start, from query and cookie.

use http::HeaderMap;
use http::header;
use serialproxy_line::Start;
use serialproxy_proto::api::Protocol;
use serialproxy_proto::refusal::Refusal;
use serialproxy_proto::token::ConsoleToken;
use serialproxy_proto::token::Mode;

/// A request to attach, before the token is looked up.
#[derive(Debug)]
pub(crate) struct Ticket {
    pub(crate) token: ConsoleToken,
    /// The mode that is asked for, else the grant's.
    pub(crate) mode: Option<Mode>,
    pub(crate) start: Start,
}

impl Ticket {
    /// Reads the query (of repeated parameters the last counts, as in Nova) and the cookies.
    ///
    /// # Errors
    ///
    /// [`Refusal::Token`] without a token, [`Refusal::BadRequest`] for a parameter that makes no
    /// sense.
    pub(crate) fn read(
        query: &str,
        headers: &HeaderMap,
        protocol: Protocol,
    ) -> Result<Self, Refusal> {
        let (mut token, mut mode, mut from) = (None, None, None);
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "token" => token = Some(value.into_owned()),
                "mode" => mode = Some(value.into_owned()),
                "from" => from = Some(value.into_owned()),
                _ => {}
            }
        }
        let token = token
            .filter(|token| !token.is_empty())
            .or_else(|| token_cookie(headers))
            .ok_or(Refusal::Token)?;
        let mode = match mode.as_deref() {
            None => None,
            Some(mode) => Some(mode.parse().map_err(|()| {
                Refusal::BadRequest(format!("mode is watch or write, not {mode:?}"))
            })?),
        };
        let start = start(from.as_deref(), protocol)?;
        // A raw terminal cannot tell replay from live output, and would answer old queries.
        if protocol == Protocol::Raw && start != Start::Live && mode != Some(Mode::Watch) {
            return Err(Refusal::BadRequest(
                "from needs mode=watch here: a terminal that writes would answer old output".into(),
            ));
        }
        Ok(Self { token: ConsoleToken::from_client(&token), mode, start })
    }
}

fn start(from: Option<&str>, protocol: Protocol) -> Result<Start, Refusal> {
    match (from, protocol) {
        (None, Protocol::Raw) | (Some("live"), _) => Ok(Start::Live),
        (None, Protocol::ConsoleV1) => Ok(Start::Newest),
        (Some("start"), _) => Ok(Start::Oldest),
        (Some(offset), _) => offset.parse().map(Start::Offset).map_err(|_| {
            Refusal::BadRequest(format!("from is an offset, start or live, not {offset:?}"))
        }),
    }
}

/// The cookie named `token`. Malformed cookies beside it are none of our business.
fn token_cookie(headers: &HeaderMap) -> Option<String> {
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

    use super::*;

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
        assert_eq!(from_query.token.expose(), "b");
        let from_cookie = read("token=", Some("x; y=1; token=\"c\""), Protocol::Raw).unwrap();
        assert_eq!(from_cookie.token.expose(), "c");
        assert_eq!(read("", Some("nottoken=c"), Protocol::Raw).unwrap_err(), Refusal::Token);
    }

    #[test]
    fn on_raw_the_output_is_live_and_on_v1_the_screen_comes_first() {
        assert_eq!(read("token=a", None, Protocol::Raw).unwrap().start, Start::Live);
        assert_eq!(read("token=a", None, Protocol::ConsoleV1).unwrap().start, Start::Newest);
    }

    #[test]
    fn replay_on_raw_is_for_watchers() {
        for query in ["token=a&from=start", "token=a&from=7", "token=a&from=7&mode=write"] {
            assert!(matches!(read(query, None, Protocol::Raw), Err(Refusal::BadRequest(_))));
        }
        let watch = read("token=a&from=7&mode=watch", None, Protocol::Raw).unwrap();
        assert_eq!(watch.start, Start::Offset(7));
    }

    #[test]
    fn a_parameter_that_makes_no_sense_is_refused() {
        for query in ["token=a&mode=own", "token=a&from=end", "token=a&from=-1&mode=watch"] {
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
