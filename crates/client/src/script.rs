//! `send` and `expect`: a call each.

use std::io::Read;
use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use serialproxy_proto::script;
use serialproxy_proto::script::LONGEST;
use serialproxy_proto::script::Sent;
use serialproxy_proto::script::TYPED;
use serialproxy_proto::script::Wait;
use serialproxy_proto::script::Waited;
use tokio::time::Instant;

use crate::api::ANSWER_TIME;
use crate::api::Api;
use crate::command::Begin;
use crate::command::Format;
use crate::command::script::Expect;
use crate::command::script::Send;
use crate::failure::Failure;
use crate::queries::json;
use crate::queries::show;
use crate::text::grouped;
use crate::text::printable;
use crate::text::say;

/// How long a guest may take to read what is typed.
const TYPING_TIME: Duration = Duration::from_secs(90);

/// Most characters of the last output in a failure.
const LAST: usize = 200;

pub(crate) async fn send(api: &Api, command: &Send, format: Format) -> Result<String, Failure> {
    let body = match command.text.as_str() {
        "-" => script::Send::bytes(&stdin()?),
        text => {
            let enter = if command.no_enter { "" } else { "\r" };
            script::Send { text: Some(format!("{text}{enter}")), base64: None }
        }
    };
    let server = api.find(&command.server).await?;
    let path = format!("/v1/lines/{server}/{}/send", command.port);
    let answer = api.call_within(TYPING_TIME, Method::POST, &path, &[], Some(json!(body))).await?;
    show(format, answer, |answer| Ok(format!("{}\n", api.read::<Sent>(answer)?.offset)))
}

/// All of stdin.
fn stdin() -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    std::io::stdin().lock().take(TYPED as u64 + 1).read_to_end(&mut bytes)?;
    match bytes.len() {
        1..=TYPED => Ok(bytes),
        _ => Err(Failure::Stdin),
    }
}

pub(crate) async fn expect(api: &Api, command: &Expect, format: Format) -> Result<String, Failure> {
    let server = api.find(&command.server).await?;
    let path = format!("/v1/lines/{server}/{}/wait", command.port);
    let deadline = Instant::now() + Duration::from_secs(command.timeout);
    let from = match command.from {
        Begin::Live => None,
        Begin::Start => Some(0),
        Begin::Offset(offset) => Some(offset),
    };
    let (regex, text) = (command.regex.clone(), command.text.clone());
    let mut body = Wait { regex, text, from, line: None, timeout: None };
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        // Rounded up, so that the whole time is waited.
        let seconds = left.as_millis().div_ceil(1000).min(LONGEST.into());
        let seconds = u64::try_from(seconds).unwrap_or(LONGEST);
        body.timeout = Some(seconds);
        let limit = Duration::from_secs(seconds) + ANSWER_TIME;
        let answer = api.call_within(limit, Method::POST, &path, &[], Some(json!(body))).await?;
        let found = api.read::<Waited>(answer.clone())?;
        if let Some(gap) = found.gap {
            let bytes = grouped(gap.to.saturating_sub(gap.from));
            say(&format!("{bytes} bytes of output were not searched: they are no longer kept"));
        }
        if found.matched {
            return Ok(match format {
                Format::Json => json(&answer),
                Format::Table => format!("{}\n", printable(&found.text)),
            });
        }
        if Instant::now() >= deadline {
            let skipped = found.text.chars().count().saturating_sub(LAST);
            let last: String = found.text.chars().skip(skipped).collect();
            let (seconds, last) = (command.timeout, printable(last.trim()));
            return Err(Failure::NoMatch { seconds, last });
        }
        // What was printed last may be the beginning of a match.
        (body.from, body.line) = (Some(found.start), Some(found.line));
    }
}
