//! The owner: the one task that connects to the hypervisor's port of a line.
//!
//! ```text
//!              guest runs                  connected
//!   stopped ───────────────▶ dialling ───────────────▶ pumping
//!      ▲                      │    ▲                      │
//!      │   stopped, gone      │    │ backoff              │ port closed
//!      └──────────────────────┘    └──── resolve again ◀──┘
//! ```

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::catch_up::catch_up;
use crate::claim::Claim;
use crate::dial::Dialled;
use crate::dial::Hold;
use crate::dial::await_start;
use crate::dial::dial;
use crate::dial::ended;
use crate::dial::held;
use crate::dial::not_permitted;
use crate::dial::unresolved;
use crate::endpoint::Endpoint;
use crate::endpoint::Resolve;
use crate::intruders::intruder;
use crate::pump::pump;
use crate::shared::Shared;
use crate::status::Connection;

/// Pauses between attempts to reach a running guest's port.
const BACKOFF_FIRST: Duration = Duration::from_millis(100);
const BACKOFF_MOST: Duration = Duration::from_secs(5);

/// How often to look whether the process that has claimed the line let it go.
const CLAIM: Duration = Duration::from_millis(500);

/// How long a guest that waits for its lines is left to the process that started it.
const STARTER: Duration = Duration::from_secs(2);

/// How long the hypervisor may take to say that a guest whose port closed has stopped.
const NEWS: Duration = Duration::from_millis(300);

/// Runs a line until it is removed.
pub(crate) async fn own(line: Arc<Shared>, resolve: Arc<dyn Resolve>) {
    let mut hold = Hold::default();
    tokio::select! {
        // Removal must not wait for a guest.
        biased;
        () = line.stop.cancelled() => {}
        () = serve(&line, &*resolve, &mut hold) => {}
    }
    // It holds the connected port as well.
    line.input.close();
    drop(hold);
}

async fn serve(line: &Shared, resolve: &dyn Resolve, hold: &mut Hold) {
    let mut backoff = BACKOFF_FIRST;
    loop {
        let now = line.guest.power();
        if !now.running {
            let awaited = line.guest.awaited();
            if awaited.is_none() {
                *hold = Hold::default();
            }
            line.publish_connection(&Connection::Stopped(now.status));
            match awaited {
                Some(endpoint) => Box::pin(await_start(line, resolve, hold, &endpoint)).await,
                None => line.guest.changed().await,
            }
            backoff = BACKOFF_FIRST;
            continue;
        }
        if hold.claim.is_none() && now.whole && line.settings.claims.are_made() {
            Box::pin(leave_to_its_starter(line)).await;
        }
        // Before each connection, the owner asks for the port: an earlier answer may be stale.
        let _ = tokio::time::timeout(Duration::ZERO, line.guest.moved()).await;
        // Boxed, since it is large and over soon: a connected line has no room for it.
        let connection = match Box::pin(dial(line, resolve, hold)).await {
            Ok(Dialled { permit, endpoint, stream, cleared }) => {
                line.news.set_endpoint(endpoint.info(), line.output.end());
                let stream = Arc::new(stream);
                line.input.desk().open(Arc::clone(&stream), permit.clone());
                let missed = Box::pin(catch_up(line, resolve, &stream)).await;
                let notes = cleared.into_iter().chain(missed).collect();
                line.publish_connection(&Connection::Connected(notes));
                let since = Instant::now();
                // Boxed where it is needed: who has a port alone has no room for it.
                let outcome = tokio::select! {
                    moved = pump(line, &stream) => Ok(moved.err()),
                    who = async { Box::pin(intruder(&endpoint)).await } => Err(who),
                    () = ended(permit.as_deref()) => Ok(None),
                };
                line.input.close();
                drop(stream);
                tracing::debug!(line = line.name(), server = %line.key.server, ?outcome, "port closed");
                if since.elapsed() > BACKOFF_MOST {
                    backoff = BACKOFF_FIRST;
                }
                match outcome {
                    _ if permit.is_some_and(|permit| !permit.is_good()) => not_permitted(),
                    Ok(error) => Box::pin(after_close(line, resolve, error)).await,
                    Err(who) => leave(line, &endpoint, who),
                }
            }
            Err(connection) => connection,
        };
        line.publish_connection(&connection);
        // Also after a port that accepted and closed: none is dialled in a tight loop.
        Box::pin(pause(line, &connection, backoff, &mut hold.claim)).await;
        backoff = (backoff * 2).min(BACKOFF_MOST);
    }
}

/// The process that started a guest which waits for its lines asks for them at once. If that is
/// another process, it is to claim the line first.
async fn leave_to_its_starter(line: &Shared) {
    if !line.roster.members().is_wanted() {
        let _ = tokio::time::timeout(STARTER, line.roster.asked()).await;
    }
}

/// Waits before the next attempt, or until it may go otherwise than the last.
async fn pause(line: &Shared, last: &Connection, most: Duration, claim: &mut Option<Claim>) {
    let again = async {
        match last {
            // It was waited for.
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

/// Waits until the line can be claimed, or another process has it.
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

/// What the line says once it has left a terminal to a program that opened it.
fn leave(line: &Shared, endpoint: &Endpoint, who: String) -> Connection {
    // It may have waited for a session.
    line.output.set_owner_waits(false);
    Connection::Held { why: held(&endpoint.in_words(), Some(who)), clears: false }
}

/// Why the port closed: a guest that went away is told apart from a port that hung up, although
/// the hypervisor may notice a little later than we do.
async fn after_close(line: &Shared, resolve: &dyn Resolve, error: Option<io::Error>) -> Connection {
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
            None => Connection::Dialling,
            Some(error) => {
                Connection::Broken(format!("the guest's port broke the connection off: {error}"))
            }
        }),
    }
}
