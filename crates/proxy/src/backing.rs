//! Who stands behind the proxy: this program's own store and compute role, a real Nova in whose
//! nova-serialproxy's place it is, or the hosts of a cluster.

use std::sync::Arc;

use jiff::Timestamp;
use serialproxy_console::Host;
use serialproxy_grants::GrantsError;
use serialproxy_limits::seldom;
use serialproxy_line::Expected;
use serialproxy_line::Keyboard;
use serialproxy_line::Line;
use serialproxy_proto::refusal::Refusal;
use serialproxy_proto::token::ConsoleToken;
use serialproxy_proto::token::Grant;
use serialproxy_proto::token::ResumeKey;

use crate::Proxy;
use crate::client::Client;
use crate::console::Console;
use crate::console::Source;
use crate::hosts::Hosts;
use crate::hosts::Reach;
use crate::targets::Targets;

/// Where tokens are looked up, and guests are controlled.
#[derive(Debug)]
pub enum Backing {
    /// This program.
    Own(Host),
    /// A real Nova: it has the tokens, and nothing is done to guests.
    Nova(Arc<Targets>),
    /// A cluster: tokens are checked, and sessions run, where their lines are.
    Cluster(Arc<dyn Hosts>),
}

impl Backing {
    /// What a token stands for. A store or a Nova that fails is told apart from a token that is
    /// wrong.
    pub(crate) async fn look_up(&self, token: &ConsoleToken) -> Result<Console, Refusal> {
        match self {
            Self::Own(Host { grants, cluster, .. }) => {
                // Counted before, so that one during the look-up is noticed.
                let revocations = grants.revocations();
                let grant = grants.validate(token.digest(), Timestamp::now()).await;
                let grant = grant.map_err(|error| unavailable(&error))?.ok_or(Refusal::Token)?;
                let own = cluster.as_ref().map(|cluster| &*cluster.name);
                Ok(Console::of(Self::take(grant, own)?, revocations))
            }
            Self::Nova(targets) => targets.look_up(token).await,
            // Only a host of the cluster looks tokens up.
            Self::Cluster(_) => Err(Refusal::Token),
        }
    }

    /// What a host asked for is good there alone: here, if this host is `own`.
    pub(crate) fn take(grant: Grant, own: Option<&str>) -> Result<Grant, Refusal> {
        match grant.host.is_none() || grant.host.as_deref() == own {
            true => Ok(grant),
            false => Err(Refusal::Token),
        }
    }

    /// The console after a wait. Nova is asked again unless its answer is recent, because the port may be
    /// another server's now. What our store has of a token never changes: it only ends, which
    /// [`Self::confirm`] and [`Self::spend`] find out.
    pub(crate) async fn refresh(
        &self,
        token: &ConsoleToken,
        console: Console,
    ) -> Result<Console, Refusal> {
        match &console.source {
            Source::Nova(located, _) if !located.is_fresh() => self.look_up(token).await,
            Source::Nova(..) | Source::Own(_) => Ok(console),
        }
    }

    /// Refuses a token that ended since it was looked up. Asked after the line has taken the session in, so
    /// that no session is left of a token whose revocation had returned before: in etcd another host may
    /// have revoked it, so there only another look-up tells.
    pub(crate) async fn confirm(
        &self,
        token: &ConsoleToken,
        console: &Console,
    ) -> Result<(), Refusal> {
        let is_current = match (self, &console.source) {
            (Self::Own(Host { grants, .. }), Source::Own(revocations)) => {
                revocations.is_some() && grants.revocations() == *revocations
            }
            (Self::Nova(_), Source::Nova(located, _)) => located.is_fresh(),
            _ => false,
        };
        match is_current && !console.has_expired() {
            true => Ok(()),
            false => self.look_up(token).await.map(drop),
        }
    }

    /// The line of a console.
    pub(crate) fn line(&self, proxy: &Proxy, console: &Console) -> Result<Expected, Refusal> {
        match (self, &console.source) {
            (Self::Nova(targets), Source::Nova(located, offer)) => {
                targets.open(located, offer.as_ref())
            }
            _ => proxy.lines.get(console.line).map(|line| line.expect()).ok_or_else(|| {
                Refusal::NoSuchLine(
                    "the server was deleted, or no longer has this serial port".into(),
                )
            }),
        }
    }

    /// The other proxy that has the port of a console that was looked up, if one has it. Otherwise this
    /// proxy has it now.
    pub(crate) async fn elsewhere(
        &self,
        console: &mut Console,
    ) -> Result<Option<(&dyn Reach, String)>, Refusal> {
        match (self, &mut console.source) {
            (Self::Nova(targets), Source::Nova(located, offer)) => {
                targets.elsewhere(located, offer).await
            }
            _ => Ok(None),
        }
    }

    /// The other proxy that may have the session of a key, where this one does not know it. A request that
    /// was passed on is not passed on again.
    pub(crate) fn resumed_elsewhere(
        &self,
        client: Client,
        line: Option<&Line>,
        key: &ResumeKey,
    ) -> Option<(&dyn Reach, String)> {
        let Self::Nova(targets) = self else { return None };
        if client.passed_on || line.is_some_and(|line| line.knows(key)) {
            return None;
        }
        targets.of(key.line().server)
    }

    /// Ends a token that was good for one attach, or refuses it if it ended before.
    pub(crate) async fn spend(
        &self,
        token: &ConsoleToken,
        console: &Console,
    ) -> Result<(), Refusal> {
        let Self::Own(Host { grants, .. }) = self else { return Ok(()) };
        if console.has_expired() {
            return Err(Refusal::Token);
        }
        match grants.spend(token.digest()).await.map_err(|error| unavailable(&error))? {
            true => Ok(()),
            false => Err(Refusal::Token),
        }
    }

    /// Sees to it that a session ends with its token, where only asking again can tell.
    pub(crate) fn watch_over(&self, token: &ConsoleToken, keyboard: &Keyboard) {
        if let Self::Nova(targets) = self {
            tokio::spawn(Arc::clone(targets).end_with(token.clone(), keyboard.clone()));
        }
    }
}

fn unavailable(error: &GrantsError) -> Refusal {
    if seldom::is_due("store") {
        tracing::error!(%error, "tokens cannot be looked up");
    }
    Refusal::Unavailable("tokens cannot be looked up now, try again".into())
}
