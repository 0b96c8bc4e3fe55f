//! Lines and their output.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderName;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use serialproxy_audit::EventName;
use serialproxy_proto::api::BootList;
use serialproxy_proto::api::Line;
use serialproxy_proto::api::Lines;
use serialproxy_proto::api::Sysrq;
use serialproxy_proto::compute::Page;
use serialproxy_proto::id::LineKey;
use serialproxy_proto::id::ServerId;
use uuid::Uuid;

use crate::Api;
use crate::auth::Caller;
use crate::auth::Role;
use crate::fault::Fault;
use crate::query::Query;
use crate::query::bad;
use crate::request::Body;
use crate::request::LinePath;
use crate::route::Route;

/// Maximum number of bytes of output in one answer, and the default: 1 MiB.
const OUTPUT: usize = 1 << 20;

pub(super) fn routes() -> [Route; 6] {
    [
        Route::get("/v1/lines", lines)
            .summary(
                "Lists all lines, ordered by server and port; marker is SERVER/PORT of the last \
                 line of the previous page. To follow changes, ask again with changed_within: \
                 the seconds since the last call began, and two more",
            )
            .query(&["changed_within", "limit", "marker", "of_server"])
            .answer("Lines"),
        Route::get("/v1/lines/{server}/{port}", line).summary("One line").answer("Line"),
        Route::get("/v1/lines/{server}/{port}/output", output)
            .summary(
                "Returns a line's output, beginning with the first kept byte at or after an \
                 offset (default: the oldest byte kept), and ending before the next gap",
            )
            .query(&["from", "max"])
            .answer("Octets"),
        Route::get("/v1/lines/{server}/{port}/boots", boots)
            .summary(
                "Lists the last boots of the guest that the line has seen: where the output of \
                 each begins, when, and its kernel, if the output says that",
            )
            .answer("BootList"),
        Route::post("/v1/lines/{server}/{port}/break", send_break)
            .summary("Sends a break")
            .others(&[409, 501])
            .success(StatusCode::NO_CONTENT),
        Route::post("/v1/lines/{server}/{port}/sysrq", sysrq)
            .summary("Sends a magic SysRq, in the way that the guest's device requires")
            .body("Sysrq")
            .others(&[409, 501])
            .success(StatusCode::NO_CONTENT),
    ]
}

async fn lines(
    State(api): State<Arc<Api>>,
    caller: Caller,
    query: Query,
) -> Result<Json<Lines>, Fault> {
    let limit = query.limit()?;
    let server: Option<ServerId> = query.value("of_server", "the UUID of a server")?;
    let after = match (query.text("marker"), server) {
        (Some(text), _) => Some(marker(text)?),
        (None, server) => server.and_then(before),
    };
    let changed_within = query.value("changed_within", "a number of seconds")?;
    let page = Page { project: caller.scope().cloned(), after, limit, changed_within };
    let mut lines = api.lines.lines(page).await?;
    lines.lines.retain(|line| server.is_none_or(|server| line.server.id == server));
    Ok(Json(lines))
}

/// The marker after which the lines of a server come first; none where they are the first of all.
fn before(ServerId(server): ServerId) -> Option<LineKey> {
    let server = ServerId(Uuid::from_u128(server.as_u128().checked_sub(1)?));
    Some(LineKey { server, port: u8::MAX })
}

async fn line(
    State(api): State<Arc<Api>>,
    caller: Caller,
    LinePath(line): LinePath,
) -> Result<Json<Line>, Fault> {
    api.server(&caller, line.server).await?;
    Ok(Json(api.lines.line(line).await?))
}

async fn output(
    State(api): State<Arc<Api>>,
    caller: Caller,
    LinePath(line): LinePath,
    query: Query,
) -> Result<impl IntoResponse, Fault> {
    let max = query.value("max", "a number of bytes")?.unwrap_or(OUTPUT).min(OUTPUT);
    api.server(&caller, line.server).await?;
    let from = match query.value("from", "an offset in bytes")? {
        Some(from) => from,
        None => api.lines.line(line).await?.first_offset,
    };
    let output = api.lines.output(line, from, max).await?;
    if output.offset < from {
        return Err(Fault::BadRequest(format!(
            "offset {from} is beyond the output, which ends at {}",
            output.offset
        )));
    }
    let length = u64::try_from(output.bytes.len()).unwrap_or(u64::MAX);
    let headers = [
        (CONTENT_TYPE, "application/octet-stream".to_owned()),
        (HeaderName::from_static("x-console-offset"), output.offset.to_string()),
        (
            HeaderName::from_static("x-console-next"),
            output.offset.saturating_add(length).to_string(),
        ),
        (HeaderName::from_static("x-console-end"), output.end.to_string()),
        (HeaderName::from_static("x-console-epoch"), output.epoch.to_string()),
        (HeaderName::from_static("x-console-line"), output.line.to_string()),
    ];
    Ok((headers, output.bytes))
}

async fn boots(
    State(api): State<Arc<Api>>,
    caller: Caller,
    LinePath(line): LinePath,
) -> Result<Json<BootList>, Fault> {
    api.server(&caller, line.server).await?;
    Ok(Json(api.lines.boots(line).await?))
}

async fn send_break(
    State(api): State<Arc<Api>>,
    caller: Caller,
    LinePath(line): LinePath,
) -> Result<(), Fault> {
    let known = api.server(&caller, line.server).await?;
    caller.require(Role::Member, "serialproxy:lines:break")?;
    api.lines.send_break(line).await?;
    api.audit.record(caller.event_at(EventName::GuestBreak, &known).line(line));
    let name = known.name;
    let server = line.server;
    tracing::info!(user = caller.user, line = line.named(&name), %server, "break sent");
    Ok(())
}

async fn sysrq(
    State(api): State<Arc<Api>>,
    caller: Caller,
    LinePath(line): LinePath,
    body: Body,
) -> Result<(), Fault> {
    let Sysrq { key } = body.read()?;
    let known = api.server(&caller, line.server).await?;
    caller.require(Role::Member, "serialproxy:lines:sysrq")?;
    api.lines.sysrq(line, key).await?;
    api.audit.record(caller.event_at(EventName::GuestSysrq, &known).line(line));
    let name = known.name;
    let server = line.server;
    tracing::info!(user = caller.user, line = line.named(&name), %server, %key, "SysRq sent");
    Ok(())
}

fn marker(text: &str) -> Result<LineKey, Fault> {
    let parse = |text: &str| {
        let (server, port) = text.split_once('/')?;
        Some(LineKey { server: server.parse().ok()?, port: port.parse().ok()? })
    };
    parse(text).ok_or_else(|| {
        bad(
            "marker",
            text,
            "SERVER/PORT of the last line of the previous \
             page",
        )
    })
}
