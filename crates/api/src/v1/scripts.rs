//! Typing and waiting for output, for scripts.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serialproxy_audit::EventName;
use serialproxy_proto::compute::ComputeError;
use serialproxy_proto::script::Awaited;
use serialproxy_proto::script::LONGEST;
use serialproxy_proto::script::PATTERN;
use serialproxy_proto::script::Pattern;
use serialproxy_proto::script::Send;
use serialproxy_proto::script::Sent;
use serialproxy_proto::script::TYPED;
use serialproxy_proto::script::Typing;
use serialproxy_proto::script::USUAL;
use serialproxy_proto::script::Wait;
use serialproxy_proto::script::Waited;

use crate::Api;
use crate::auth::Caller;
use crate::auth::Role;
use crate::client::Client;
use crate::fault::Fault;
use crate::request::Body;
use crate::request::LinePath;
use crate::route::Route;

/// How long a call that waits may take: longer than the wait.
const WAIT: Duration = Duration::from_secs(LONGEST + 10);

pub(super) fn routes() -> [Route; 2] {
    [
        Route::post("/v1/lines/{server}/{port}/send", send)
            .summary(
                "Types text or bytes, and answers when the guest has taken them: with the offset at \
                 which its echo and answer begin. It holds the pen meanwhile: if somebody else is \
                 typing, it is refused with the cause busy. If somebody takes over, the error says \
                 how many bytes were typed",
            )
            .body("Send")
            .answer("Sent")
            .others(&[409, 501]),
        Route::post("/v1/lines/{server}/{port}/wait", wait)
            .summary(
                "Waits until the output from an offset on (default: the next output) matches a \
                 regular expression or contains a text; colors and other control sequences do not \
                 count. Without a match in time, matched is false, and text is the last text",
            )
            .body("Wait")
            .answer("Waited")
            .others(&[409, 501])
            .limit(WAIT),
    ]
}

async fn send(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Client(address): Client,
    LinePath(line): LinePath,
    body: Body,
) -> Result<Json<Sent>, Fault> {
    let bytes = bytes(body.read()?)?;
    let known = api.server(&caller, line.server).await?;
    caller.require(Role::Member, "serialproxy:lines:send")?;
    let (user, project) = (caller.user.clone(), known.project.clone());
    let sent = api.lines.type_at(line, Typing { user, project, address, bytes }).await;
    // What a session does is recorded where it runs.
    if let Err(ComputeError::Refused { cause, typed: None, .. }) = &sent {
        let refused = caller.event_at(EventName::SessionRefused, &known).line(line);
        api.audit.record(refused.cause(cause.as_str()));
    }
    Ok(Json(sent?))
}

async fn wait(
    State(api): State<Arc<Api>>,
    caller: Caller,
    LinePath(line): LinePath,
    body: Body,
) -> Result<Json<Waited>, Fault> {
    let wait: Wait = body.read()?;
    let pattern = match (wait.regex, wait.text) {
        (Some(regex), None) => Pattern::Regex(regex),
        (None, Some(text)) => Pattern::Text(text),
        _ => return Err(Fault::BadRequest("the body must have regex or text".into())),
    };
    let (Pattern::Regex(text) | Pattern::Text(text)) = &pattern;
    if text.is_empty() || text.len() > PATTERN {
        let text = format!("the pattern must have 1 to {PATTERN} bytes");
        return Err(Fault::BadRequest(text));
    }
    let timeout = wait.timeout.unwrap_or(USUAL);
    if timeout > LONGEST {
        return Err(Fault::BadRequest(format!("timeout: at most {LONGEST} seconds are allowed")));
    }
    let known = api.server(&caller, line.server).await?;
    let _place = api.waits.enter(caller.user_id).ok_or_else(|| {
        let most = api.waits.most();
        Fault::TooMany(format!("you already have {most} calls that wait, which is the maximum"))
    })?;
    let project = known.project;
    let awaited = Awaited { pattern, from: wait.from, line: wait.line, timeout, project };
    Ok(Json(api.lines.wait_at(line, awaited).await?))
}

/// The bytes to type.
fn bytes(send: Send) -> Result<Vec<u8>, Fault> {
    let bytes = match (send.text, send.base64) {
        (Some(text), None) => text.into_bytes(),
        (None, Some(text)) => {
            STANDARD.decode(text).map_err(|error| Fault::BadRequest(format!("base64: {error}")))?
        }
        _ => return Err(Fault::BadRequest("the body must have text or base64".into())),
    };
    match bytes.len() {
        1..=TYPED => Ok(bytes),
        _ => Err(Fault::BadRequest(format!("1 to {TYPED} bytes can be typed with a call"))),
    }
}
