//! Sessions that outlive the process: the ledger keeps what their clients need to resume.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serialproxy_ledger::Ledger;
use serialproxy_ledger::LedgerError;
use serialproxy_line::Lines;
use serialproxy_proto::id::SessionId;
use serialproxy_proto::kept::KeptSession;
use tokio::task::JoinHandle;

/// The pause after a write, so that further changes are written together. A change after a pause is
/// written at once.
const TOGETHER: Duration = Duration::from_millis(100);

/// Restores the sessions of the earlier process, and from then on stores the present ones until the
/// lines are drained. Call this before lines are added.
///
/// # Errors
///
/// When the ledger cannot be read.
pub(crate) fn keep(ledger: Arc<Ledger>, lines: Lines) -> Result<JoinHandle<()>, LedgerError> {
    let kept = ledger.sessions()?;
    lines.restore(kept.clone());
    Ok(tokio::spawn(write_behind(ledger, lines, of(kept))))
}

/// Writes changes. A change that the ledger refuses is written with the next one.
async fn write_behind(ledger: Arc<Ledger>, lines: Lines, written: HashMap<SessionId, KeptSession>) {
    let mut written = Arc::new(written);
    let mut fails = false;
    loop {
        tokio::select! {
            () = lines.draining() => {}
            () = lines.kept_changed() => {}
        }
        let is_last = lines.is_draining();
        let now = of(lines.kept());
        let (ledger, before) = (Arc::clone(&ledger), Arc::clone(&written));
        let write = move || write(&ledger, &before, &now).map(|()| now);
        match tokio::task::spawn_blocking(write).await {
            Ok(Ok(now)) => (written, fails) = (Arc::new(now), false),
            Ok(Err(error)) if !fails => {
                tracing::warn!(%error, "sessions cannot be kept: after a restart, clients need their tokens");
                fails = true;
            }
            Ok(Err(_)) | Err(_) => {}
        }
        if is_last {
            return;
        }
        let _ = tokio::time::timeout(TOGETHER, lines.draining()).await;
    }
}

fn of(sessions: Vec<KeptSession>) -> HashMap<SessionId, KeptSession> {
    sessions.into_iter().map(|session| (session.id, session)).collect()
}

fn write(
    ledger: &Ledger,
    before: &HashMap<SessionId, KeptSession>,
    now: &HashMap<SessionId, KeptSession>,
) -> Result<(), LedgerError> {
    let changed: Vec<_> =
        now.values().filter(|session| before.get(&session.id) != Some(session)).collect();
    let ended: Vec<_> = before.keys().filter(|id| !now.contains_key(id)).copied().collect();
    if changed.is_empty() && ended.is_empty() {
        return Ok(());
    }
    ledger.keep_sessions(&changed, &ended)?;
    tracing::debug!(changed = changed.len(), ended = ended.len(), "sessions are kept");
    Ok(())
}
