//! Sessions that shared links opened end when their links are revoked.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use serialproxy_grants::Grants;
use serialproxy_grants::GrantsError;
use serialproxy_limits::seldom;
use serialproxy_line::Lines;
use serialproxy_proto::compute::Disconnect;
use tokio::time::MissedTickBehavior;

/// How often the links of live sessions are looked up.
const EVERY: Duration = Duration::from_secs(1);

/// Failures after which a pass ends.
const FAILURES: u32 = 3;

/// Ends the sessions of this process whose link is gone, until the lines are drained. Each host
/// does so itself, also for sessions that outlived a restart and while no API role reaches it. A
/// store that does not answer ends nothing.
pub async fn end_with_links(grants: Grants, lines: Lines) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = lines.draining() => return,
            _ = ticks.tick() => {}
        }
        if let Err(error) = sweep(&grants, &lines).await
            && seldom::is_due("links")
        {
            tracing::warn!(%error, "cannot check whether links are revoked");
        }
    }
}

/// A link that cannot be looked up is taken for a live one, and does not keep others from being looked up. After
/// some failures the store is taken for one that does not answer.
async fn sweep(grants: &Grants, lines: &Lines) -> Result<(), GrantsError> {
    let (mut known, mut failures) = (HashMap::new(), 0);
    let mut outcome = Ok(());
    for line in lines.all() {
        for (session, token) in line.of_links() {
            let is_live = match known.get(&token) {
                Some(is_live) => *is_live,
                None => {
                    // The time limits of the sessions end them when the link expires.
                    let found = grants.validate(token, Timestamp::UNIX_EPOCH).await;
                    let is_live = !matches!(found, Ok(None));
                    if let Err(error) = found {
                        (outcome, failures) = (Err(error), failures + 1);
                        if failures == FAILURES {
                            return outcome;
                        }
                    }
                    known.insert(token, is_live);
                    is_live
                }
            };
            if !is_live {
                let reason = Some("the link was revoked".to_owned());
                line.disconnect(session, &Disconnect { by: "serialproxy".into(), reason });
            }
        }
    }
    outcome
}
