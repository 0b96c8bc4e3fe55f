//! Connecting to the guest's port: the right one, and as the one whom it serves.

use std::time::Duration;

use tokio::time::Instant;
use tokio::time::sleep;

use crate::diag::is_accepted;
use crate::endpoint::Endpoint;
use crate::endpoint::Resolve;
use crate::endpoint::Unresolved;
use crate::line::Shared;
use crate::status::Connection;
use crate::stream::Stream;

/// How long a connect may take before the port counts as unreachable.
const CONNECT: Duration = Duration::from_secs(5);

/// How long the hypervisor may take to accept a connection that the kernel made for it. It takes
/// no other while it serves one (QEMU 7.2, `tcp_chr_accept`).
const ACCEPT: Duration = Duration::from_millis(500);

/// How often to look whether it has.
const LOOK: Duration = Duration::from_millis(5);

/// Clients that may hold the port or queue for it before us.
const STRANGERS: usize = 8;

/// Finds the port and connects to it; the port must still be the line's when it is connected.
pub(crate) async fn dial(
    line: &Shared,
    resolve: &dyn Resolve,
) -> Result<(Endpoint, Stream, Option<&'static str>), Connection> {
    let endpoint = resolve.resolve(line.key).await.map_err(unresolved)?;
    let address = endpoint.info().address;
    let stream = timely(&address, Stream::connect(&endpoint, &line.settings)).await?;
    let cleared = own(line, resolve, &stream, &address).await?;
    let stream = timely(&address, stream.prepare(&endpoint, &line.settings)).await?;
    if resolve.resolve(line.key).await.map_err(unresolved)? != endpoint {
        return Err(Connection::Failed(format!("{address} is no longer the guest's port")));
    }
    Ok((endpoint, stream, cleared))
}

async fn timely<T>(
    address: &str,
    work: impl Future<Output = std::io::Result<T>>,
) -> Result<T, Connection> {
    match tokio::time::timeout(CONNECT, work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(Connection::Failed(format!("{address} cannot be reached: {error}"))),
        Err(_) => Err(Connection::Failed(format!(
            "{address} did not answer within {} s",
            CONNECT.as_secs()
        ))),
    }
}

/// Waits until the hypervisor itself has accepted our connection. Where it serves somebody else,
/// it is made to hang up on them; then says so.
async fn own(
    line: &Shared,
    resolve: &dyn Resolve,
    stream: &Stream,
    address: &str,
) -> Result<Option<&'static str>, Connection> {
    let Some((ours, ports)) = stream.tcp_ends() else { return Ok(None) };
    for strangers in 0..STRANGERS {
        let started = Instant::now();
        while started.elapsed() < ACCEPT {
            if is_accepted(ours, ports) {
                return Ok((strangers > 0).then_some("after hanging up on another client"));
            }
            sleep(LOOK).await;
        }
        // Who can hang up on it says so in the log; where nobody can, the line's state does.
        if let Err(why) = resolve.clear(line.key).await {
            let reason = format!("another client holds {address}, and {why}");
            return Err(Connection::Failed(reason));
        }
    }
    Err(Connection::Failed(format!("other clients hold {address} again and again")))
}

pub(crate) fn unresolved(why: Unresolved) -> Connection {
    match why {
        Unresolved::Stopped(status) => Connection::Stopped(status),
        Unresolved::Gone(why) => Connection::Gone(why),
        Unresolved::Failed(why) => Connection::Failed(why),
    }
}
