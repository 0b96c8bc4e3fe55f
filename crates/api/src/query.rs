//! Query parameters. Like Nova, the API ignores unknown ones; of a repeated one the last value
//! counts.

use std::convert::Infallible;
use std::str::FromStr;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use serialproxy_proto::bounds::REASON;
use serialproxy_proto::compute::PAGE;

use crate::fault::Fault;
use crate::fault::echo;

/// The query parameters of a request.
#[derive(Debug)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// All values of a parameter that may be repeated.
    pub(crate) fn texts(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The parameter's value, if present; `allowed` completes the error text "it takes …".
    pub(crate) fn value<T: FromStr>(&self, name: &str, allowed: &str) -> Result<Option<T>, Fault> {
        self.text(name).map(|text| text.parse().map_err(|_| bad(name, text, allowed))).transpose()
    }

    /// Index of a serial port; the default is 0.
    pub(crate) fn port(&self) -> Result<u8, Fault> {
        Ok(self.value("port", PORT)?.unwrap_or(0))
    }

    pub(crate) fn flag(&self, name: &str) -> Result<bool, Fault> {
        match self.text(name) {
            None | Some("0") => Ok(false),
            Some("1") => Ok(true),
            Some(text) => Err(bad(name, text, "0 or 1")),
        }
    }

    /// How many items to return, at most [`PAGE`].
    pub(crate) fn limit(&self) -> Result<usize, Fault> {
        Ok(self.value("limit", "a number from 0")?.map_or(PAGE, |limit: usize| limit.min(PAGE)))
    }

    /// The reason for a disconnection. The disconnected person's terminal shows it, so it must be
    /// plain text.
    pub(crate) fn reason(&self) -> Result<Option<String>, Fault> {
        let Some(text) = self.text("reason").filter(|text| !text.is_empty()) else {
            return Ok(None);
        };
        if text.chars().any(char::is_control) || text.chars().count() > REASON {
            let allowed = format!("plain text of at most {REASON} characters");
            return Err(bad("reason", text, &allowed));
        }
        Ok(Some(text.to_owned()))
    }

    /// The same parameters as a query string, with `limit` and `marker` set.
    pub(crate) fn next_page(&self, limit: usize, marker: &str) -> String {
        let kept = self.0.iter().filter(|(name, _)| name != "limit" && name != "marker");
        form_urlencoded::Serializer::new(String::new())
            .extend_pairs(kept)
            .append_pair("limit", &limit.to_string())
            .append_pair("marker", marker)
            .finish()
    }
}

/// The allowed values of a port index, for error texts.
pub(crate) const PORT: &str = "a number from 0 to 255";

pub(crate) fn bad(name: &str, text: &str, allowed: &str) -> Fault {
    Fault::BadRequest(format!("{name}: '{}' is not allowed; expected {allowed}", echo(text)))
}

impl<S: Sync> FromRequestParts<S> for Query {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let query = parts.uri.query().unwrap_or_default();
        Ok(Self(form_urlencoded::parse(query.as_bytes()).into_owned().collect()))
    }
}
