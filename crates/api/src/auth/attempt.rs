//! Logins with a password: each is on record, and earlier failures delay it.

use serialproxy_audit::EventName;

use super::failures::Trier;
use crate::evidence::event;
use crate::fault::Fault;
use crate::fault::echo;

/// Characters of a user name that a log line repeats.
const SHOWN: usize = 32;

impl Trier<'_> {
    /// What `find` finds for a user's password, after the delay that earlier failures cause; `whose`
    /// names the user and their project.
    pub(super) async fn by_password<T>(
        self,
        user: &str,
        find: impl Future<Output = Result<Option<T>, Fault>>,
        whose: impl FnOnce(&T) -> (String, String),
    ) -> Result<T, Fault> {
        let attempt = self.log_in(user).await?;
        match find.await {
            Ok(Some(found)) => {
                attempt.succeeded();
                let (user, project) = whose(&found);
                let event = event(EventName::LoginSucceeded).user(user).project(Some(project));
                self.audit.record(event.cause("password"));
                Ok(found)
            }
            Ok(None) => {
                self.refused(user);
                Err(Fault::Unauthorized)
            }
            Err(fault) => {
                attempt.take_back();
                Err(fault)
            }
        }
    }

    fn refused(self, user: &str) {
        let event = event(EventName::LoginFailed).user(shown(user));
        self.audit.record(event.cause("password"));
        serialproxy_metrics::LOGIN_FAILURES.inc();
        let log = &self.failures.refused;
        if log.admit(self.client) {
            let (user, address, unlogged) = (shown(user), self.client.0, log.unlogged());
            tracing::info!(user, %address, unlogged, "a login was refused");
        }
    }
}

/// A typed user name as the log shows it.
fn shown(user: &str) -> String {
    let start: String = user.chars().take(SHOWN).collect();
    let mut shown = echo(&start);
    if start.len() < user.len() && !shown.ends_with('…') {
        shown.push('…');
    }
    shown
}
