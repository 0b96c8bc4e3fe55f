//! Attaching with a token: the proxy looks up what it stands for, waits for the line, and then the line
//! decides in one step.
//!
//! A look-up can be out of date after the next wait. So the line itself refuses a session if its server was
//! deleted, drained or moved to another project: it checks that under the lock under which it learns of such a
//! change. The token is checked again after the line has accepted the session. An earlier check would cost
//! one more read from etcd, and its result could be out of date before the session exists.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serialproxy_audit::EventName;
use serialproxy_limits::Source;
use serialproxy_line::Attachment;
use serialproxy_line::Expected;
use serialproxy_line::Keyboard;
use serialproxy_line::Start;
use serialproxy_line::Visitor;
use serialproxy_metrics::Operation;
use serialproxy_proto::api::Protocol;
use serialproxy_proto::refusal::Refusal;
use serialproxy_proto::token::AskedMode;
use serialproxy_proto::token::ConsoleToken;
use serialproxy_proto::token::Mode;

use crate::Backing;
use crate::Proxy;
use crate::client::Client;
use crate::console::Console;

/// How long an attach waits for a line that is connecting.
const CONNECTING: Duration = Duration::from_secs(2);

/// How long a raw client waits for a port that Nova named. Nova may have created it a moment ago; the console of
/// an ironic node takes seconds to start.
const SLOW: Duration = Duration::from_secs(5);

/// How long an attach waits for the pen if a session of the same user holds it: a client that reconnects can
/// arrive before the end of its first connection is noticed. A refusal must not take longer than 100 ms.
const OWN_LEAVES: Duration = Duration::from_millis(30);

/// What a client with a token asks for.
#[derive(Clone, Copy)]
pub(crate) struct Wish {
    pub(crate) mode: Option<AskedMode>,
    pub(crate) start: Start,
    pub(crate) protocol: Protocol,
    pub(crate) client: Client,
}

/// Attaches to the console that was looked up for a token.
///
/// # Errors
///
/// When the token does not allow it any more, or the line refuses.
pub(crate) async fn attach(
    proxy: &Arc<Proxy>,
    token: &ConsoleToken,
    console: Console,
    mut wish: Wish,
) -> Result<(Attachment, Keyboard), Refusal> {
    let mode = match wish.mode {
        Some(AskedMode::Only(mode)) => mode,
        Some(AskedMode::Auto) | None => console.mode,
    };
    if mode == Mode::Write && console.mode == Mode::Watch {
        return Err(Refusal::Mode);
    }
    let yields = wish.mode == Some(AskedMode::Auto);
    let was_connected = match proxy.lines.get(console.line) {
        Some(line) => line.connected(Duration::ZERO).await,
        None => false,
    };
    let expected = proxy.backing.line(proxy, &console)?;
    // A client that causes the connection, or waits for it, gets its output from the first byte on.
    let is_connected = was_connected && expected.connected(Duration::ZERO).await;
    if wish.start == Start::Live && !is_connected {
        wish.start = Start::Connection;
    }
    if expected.is_connecting() {
        tracing::debug!(line = %console.line, user = console.user, "waiting for a line before an \
                 attach");
    }
    match &proxy.backing {
        Backing::Nova(_) if wish.protocol == Protocol::Raw => expected.connected(SLOW).await,
        _ => expected.is_connecting() && expected.connected(CONNECTING).await,
    };
    let (console, line) = after_wait(proxy, token, console).await?;
    if !proxy.lines.audit().admits() {
        return Err(Refusal::Audit);
    }
    let mut visitor = visitor(proxy, token, &console, mode, wish);
    let (console, attached) = match line.attach(&visitor) {
        Err(Refusal::Busy { own: true, .. }) => {
            line.pen_free(OWN_LEAVES).await;
            let (console, line) = after_wait(proxy, token, console).await?;
            visitor.yields = yields;
            (console, line.attach(&visitor)?)
        }
        Err(Refusal::Busy { .. }) if yields => {
            visitor.yields = true;
            (console, line.attach(&visitor)?)
        }
        attached => (console, attached?),
    };
    let consoleauth = &proxy.config.consoleauth;
    let of_nova = console.is_of_nova();
    match consoleauth.single_use && !of_nova && console.link.is_none() {
        true => proxy.backing.spend(token, &console).await?,
        false => proxy.backing.confirm(token, &console).await?,
    }
    attached.1.record(EventName::TokenUsed, None);
    if consoleauth.enforce_session_timeout && of_nova {
        proxy.backing.watch_over(token, &attached.1);
    }
    serialproxy_metrics::TOKENS.of(Operation::Used).inc();
    Ok(attached)
}

/// The console and its line after a wait.
async fn after_wait(
    proxy: &Proxy,
    token: &ConsoleToken,
    console: Console,
) -> Result<(Console, Expected), Refusal> {
    let console = proxy.backing.refresh(token, console).await?;
    let line = proxy.backing.line(proxy, &console)?;
    Ok((console, line))
}

fn visitor(
    proxy: &Proxy,
    token: &ConsoleToken,
    console: &Console,
    mode: Mode,
    wish: Wish,
) -> Visitor {
    let Wish { start, protocol, client, .. } = wish;
    let is_limited = proxy.config.consoleauth.enforce_session_timeout || console.link.is_some();
    Visitor {
        project: console.project.clone(),
        token: token.digest(),
        user: console.user.clone(),
        mode,
        // Not before it was waited for a session of the same user that leaves.
        yields: false,
        may: console.mode,
        operator: console.operator,
        wait: console.wait,
        link: console.link,
        limit: console.expires.filter(|_| is_limited),
        protocol,
        address: client.name(),
        source: Some(Source::from(client.address.ip())),
        start,
        now: Timestamp::now(),
    }
}

#[cfg(test)]
mod tests;
