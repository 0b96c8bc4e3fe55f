//! The owner: the one task that connects to the hypervisor's port of a line.
//!
//! ```text
//!              guest runs                   connected
//!   stopped ───────────────▶ connecting ───────────────▶ pumping
//!      ▲                      │      ▲                      │
//!      │   stopped, gone      │      │ backoff              │ port closed
//!      └──────────────────────┘      └──── resolve again ◀──┘
//! ```

use std::io;
use std::sync::Arc;
use std::time::Duration;

use serialproxy_metrics as metrics;
use serialproxy_metrics::Outcome;
use serialproxy_proto::api::Status;
use serialproxy_proto::endpoint::Endpoint;
use tokio::time::Instant;

use crate::catch_up::catch_up;
use crate::claim::Claim;
use crate::dial::Dialed;
use crate::dial::Hold;
use crate::dial::await_start;
use crate::dial::dial;
use crate::dial::ended;
use crate::dial::held;
use crate::dial::not_permitted;
use crate::dial::unresolved;
use crate::intruders::intruder;
use crate::pump::pump;
use crate::resolve::Permit;
use crate::resolve::Resolve;
use crate::shared::Shared;
use crate::status::Connection;
use crate::stream::Stream;

/// The shortest pause between attempts to connect to a running guest's port, and the longest.
const BACKOFF_FIRST: Duration = Duration::from_millis(100);
const BACKOFF_MOST: Duration = Duration::from_secs(5);

/// How often to check whether the process that claimed the line has released it.
const CLAIM: Duration = Duration::from_millis(500);

/// How long the process that started a guest gets to claim its lines, for which that guest waits.
const STARTER: Duration = Duration::from_secs(2);

/// How long the hypervisor may take to report that a guest has stopped whose port closed.
const NEWS: Duration = Duration::from_millis(300);

/// A TLS connection that closes sooner, without a byte, may be refused: in TLS 1.3 the server checks the
/// client's certificate after the client has completed the handshake (RFC 8446, section 2).
const REFUSAL: Duration = Duration::from_secs(1);

/// Runs a line until it is removed.
pub(crate) async fn own(line: Arc<Shared>, resolve: Arc<dyn Resolve>) {
    let mut hold = Hold::default();
    tokio::select! {
        // The removal of a line must not wait for its guest.
        biased;
        () = line.stop.cancelled() => {}
        () = serve(&line, &*resolve, &mut hold) => {}
    }
    // The desk also holds the connected port.
    line.input.close();
    drop(hold);
}

/// A connected line waits in this future, so large parts that are needed only briefly are boxed.
async fn serve(line: &Shared, resolve: &dyn Resolve, hold: &mut Hold) {
    let mut backoff = BACKOFF_FIRST;
    let mut refusals = 0_u8;
    loop {
        let now = line.guest.power();
        if !now.running {
            Box::pin(rest(line, resolve, hold, now.status)).await;
            backoff = BACKOFF_FIRST;
            continue;
        }
        let (permit, endpoint, stream) =
            match Box::pin(connect(line, resolve, hold, now.whole)).await {
                Ok(connected) => {
                    metrics::LINE_CONNECTS.of(Outcome::Succeeded).inc();
                    connected
                }
                Err(why) => {
                    if matches!(why, Connection::Failed(_) | Connection::Held { .. }) {
                        metrics::LINE_CONNECTS.of(Outcome::Failed).inc();
                    }
                    Box::pin(pause(line, &why, &mut backoff, &mut hold.claim)).await;
                    continue;
                }
            };
        let since = Instant::now();
        let is_pty = matches!(endpoint, Endpoint::Pty(_));
        let outcome = tokio::select! {
            moved = pump(line, &stream) => Ok(moved.err()),
            // Boxed where it is needed: other programs can open only a pseudo-terminal.
            who = async { Box::pin(intruder(&endpoint)).await }, if is_pty => Err(who),
            () = ended(permit.as_deref()), if permit.is_some() => Ok(None),
        };
        line.input.close();
        drop(stream);
        tracing::debug!(line = line.name(), server = %line.key.server, ?outcome, "port closed");
        if since.elapsed() > BACKOFF_MOST {
            backoff = BACKOFF_FIRST;
        }
        let is_silent = line.output.end() == line.news.now().connection_offset;
        let is_refused = is_silent && since.elapsed() < REFUSAL;
        refusals = if is_refused && matches!(endpoint, Endpoint::Tls { .. }) {
            refusals.saturating_add(1)
        } else {
            0
        };
        let why = match outcome {
            _ if permit.is_some_and(|permit| !permit.is_good()) => not_permitted(),
            Ok(error) => Box::pin(after_close(line, resolve, error, refusals > 1)).await,
            Err(who) => leave(line, &endpoint, who),
        };
        // Also after a port that accepted and closed, so that no port is connected in a tight loop.
        Box::pin(pause(line, &why, &mut backoff, &mut hold.claim)).await;
    }
}

/// Waits for a change of a guest that does not run.
async fn rest(line: &Shared, resolve: &dyn Resolve, hold: &mut Hold, status: Status) {
    let awaited = line.guest.awaited();
    if awaited.is_none() {
        *hold = Hold::default();
    }
    line.publish_connection(&Connection::Stopped(status));
    match awaited {
        Some(endpoint) => Box::pin(await_start(line, resolve, hold, &endpoint)).await,
        None => line.guest.changed().await,
    }
}

/// Connects to the port of a running guest, and adds the guest's earlier output. `whole` means that
/// it has printed nothing yet.
async fn connect(
    line: &Shared,
    resolve: &dyn Resolve,
    hold: &mut Hold,
    whole: bool,
) -> Result<(Option<Arc<dyn Permit>>, Endpoint, Arc<Stream>), Connection> {
    if hold.claim.is_none() && whole && line.settings.claims.are_made() {
        leave_to_its_starter(line).await;
    }
    // Before each connection, the owner asks for the port: an earlier answer may be stale.
    let _ = tokio::time::timeout(Duration::ZERO, line.guest.moved()).await;
    let Dialed { permit, endpoint, stream, cleared } = dial(line, resolve, hold).await?;
    line.news.set_endpoint(endpoint.clone(), line.output.end());
    let stream = Arc::new(stream);
    line.input.desk().open(Arc::clone(&stream), permit.clone());
    let missed = catch_up(line, resolve, &stream).await;
    let notes = cleared.into_iter().chain(missed).collect();
    line.publish_connection(&Connection::Connected(notes));
    Ok((permit, endpoint, stream))
}

/// Waits a moment unless this process wants the line. The process that started a guest which waits
/// for its lines wants them at once; where that is another process, it can claim the line first.
async fn leave_to_its_starter(line: &Shared) {
    if !line.roster.members().is_wanted() {
        let _ = tokio::time::timeout(STARTER, line.roster.asked()).await;
    }
}

/// Sets the state to why the line is not connected, and waits before the next attempt, or until
/// that may have another outcome.
async fn pause(
    line: &Shared,
    last: &Connection,
    backoff: &mut Duration,
    claim: &mut Option<Claim>,
) {
    line.publish_connection(last);
    let most = *backoff;
    *backoff = (most * 2).min(BACKOFF_MOST);
    let again = async {
        match last {
            // The wait for the guest has already happened.
            Connection::Awaits(_) => {}
            Connection::Claimed { name, why } => *claim = released(line, name, why).await,
            Connection::Held { clears: true, .. } => {
                let _ = tokio::time::timeout(most, line.roster.asked()).await;
            }
            _ => tokio::time::sleep(most).await,
        }
    };
    tokio::select! {
        () = again => {}
        () = line.guest.changed() => {}
    }
}

/// Waits until the line can be claimed, or another process claims it.
async fn released(line: &Shared, name: &str, why: &str) -> Option<Claim> {
    loop {
        tokio::time::sleep(CLAIM).await;
        match line.settings.claims.take(name) {
            Ok(claim) => return claim,
            Err(now) if now.in_words() == why => {}
            Err(_) => return None,
        }
    }
}

/// The line's state after it left a terminal to a program that opened it, too.
fn leave(line: &Shared, endpoint: &Endpoint, who: String) -> Connection {
    // The owner may have been waiting for a session.
    line.output.set_owner_waits(false);
    Connection::Held { why: held(&endpoint.in_words(), Some(who)), clears: false }
}

/// The line's state after the port closed. A stopped guest is told apart from a port that hung up,
/// although the hypervisor may notice the stop a little later than we do. `is_refused`: the TLS handshake
/// seems to have succeeded on our side alone, more than once.
async fn after_close(
    line: &Shared,
    resolve: &dyn Resolve,
    error: Option<io::Error>,
    is_refused: bool,
) -> Connection {
    let stopped = async {
        loop {
            let power = line.guest.power();
            if !power.running {
                return power.status;
            }
            line.guest.changed().await;
        }
    };
    match tokio::time::timeout(NEWS, stopped).await {
        Ok(status) => Connection::Stopped(status),
        _ => resolve.closed(line.key).await.map_or_else(unresolved, |()| match error {
            _ if is_refused => Connection::Broken(format!(
                "the guest's port closed right after the TLS handshake, twice: it may refuse the client \
                 certificate, see [serial_console] tls_client_cert{}",
                error.map(|error| format!(" ({error})")).unwrap_or_default()
            )),
            None => Connection::Connecting,
            Some(error) => {
                Connection::Broken(format!("the guest's port broke the connection off: {error}"))
            }
        }),
    }
}
