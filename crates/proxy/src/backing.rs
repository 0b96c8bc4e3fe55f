//! What is behind the proxy: this program's own store and lines, a real Nova (the proxy replaces its
//! nova-serialproxy), or the hosts of a cluster.

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
use crate::located::FRESH;
use crate::nova_tokens::NovaTokens;
use crate::targets::Targets;

/// Where the proxy looks tokens up, and where the lines are.
#[derive(Debug)]
pub enum Backing {
    /// This process. A Nova is there if its servers can be guests of this host.
    Own(Host, Option<Arc<NovaTokens>>),
    /// A real Nova, which has the tokens. The lines are in this process; guests cannot be controlled.
    Nova(Arc<Targets>),
    /// A cluster: the host of a line checks the token and runs the session.
    Cluster(Arc<dyn Hosts>),
}

impl Backing {
    /// What a token stands for; `of_nova` if a proxy in front of a Nova says that the token is Nova's. A failure
    /// of the store or of Nova is not reported as a wrong token.
    pub(crate) async fn look_up(
        &self,
        token: &ConsoleToken,
        of_nova: bool,
    ) -> Result<Console, Refusal> {
        match self {
            Self::Own(Host { lines, .. }, Some(nova)) if of_nova => {
                nova.guest(&**lines, token).await
            }
            Self::Own(_, None) if of_nova => Err(without_nova()),
            Self::Own(Host { grants, cluster, .. }, _) => {
                // Read before the look-up, so that a revocation during it is noticed.
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

    /// Refuses a grant that is valid only at another host than `own`: links that a host asked for are valid only
    /// there.
    pub(crate) fn take(grant: Grant, own: Option<&str>) -> Result<Grant, Refusal> {
        match grant.host.is_none() || grant.host.as_deref() == own {
            true => Ok(grant),
            false => Err(Refusal::Token),
        }
    }

    /// The console after a wait. Nova is asked again unless its answer is recent, because the port may belong to
    /// another server now. A grant in our store never changes; [`Self::confirm`] and [`Self::spend`] check
    /// that it still exists.
    pub(crate) async fn refresh(
        &self,
        token: &ConsoleToken,
        console: Console,
    ) -> Result<Console, Refusal> {
        let is_recent = match &console.source {
            Source::Nova(located, _) => located.is_fresh(),
            Source::Guest(seen) => seen.elapsed() < FRESH,
            Source::Own(_) | Source::Host(_) => true,
        };
        match is_recent {
            true => Ok(console),
            false => self.look_up(token, console.is_of_nova()).await,
        }
    }

    /// Refuses a token that was revoked or expired since its look-up. Called after the line has accepted the
    /// session: a revocation that finished before that is found here, and one that finishes later finds the
    /// session. Other hosts may revoke tokens in etcd, so there it takes another look-up.
    pub(crate) async fn confirm(
        &self,
        token: &ConsoleToken,
        console: &Console,
    ) -> Result<(), Refusal> {
        let is_current = match (self, &console.source) {
            (Self::Own(Host { grants, .. }, _), Source::Own(revocations)) => {
                revocations.is_some() && grants.revocations() == *revocations
            }
            (Self::Nova(_), Source::Nova(located, _)) => located.is_fresh(),
            (Self::Own(..), Source::Guest(seen)) => seen.elapsed() < FRESH,
            _ => false,
        };
        match is_current && !console.has_expired() {
            true => Ok(()),
            false => self.look_up(token, console.is_of_nova()).await.map(drop),
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

    /// The host or other proxy that has the port of a console, if there is one. Otherwise this proxy owns it now.
    pub(crate) async fn elsewhere(
        &self,
        console: &mut Console,
    ) -> Result<Option<(&dyn Reach, String)>, Refusal> {
        match (self, &mut console.source) {
            (Self::Nova(targets), Source::Nova(located, offer)) => {
                targets.elsewhere(located, offer).await
            }
            (Self::Nova(targets), Source::Host(host)) => Ok(targets.at(host)),
            _ => Ok(None),
        }
    }

    /// The host or other proxy that may have the session of a resume key that this proxy does not know. A request
    /// that was passed on is not passed on again.
    pub(crate) async fn resumed_elsewhere(
        &self,
        client: Client,
        line: Option<&Line>,
        key: &ResumeKey,
    ) -> Result<Option<(&dyn Reach, String)>, Refusal> {
        let Self::Nova(targets) = self else { return Ok(None) };
        if client.passed_on || line.is_some_and(|line| line.knows(key)) {
            return Ok(None);
        }
        targets.of(key.line().server).await
    }

    /// Spends a single-use token; refuses it if it was spent or revoked, or has expired.
    pub(crate) async fn spend(
        &self,
        token: &ConsoleToken,
        console: &Console,
    ) -> Result<(), Refusal> {
        let Self::Own(Host { grants, .. }, _) = self else { return Ok(()) };
        if console.has_expired() {
            return Err(Refusal::Token);
        }
        match grants.spend(token.digest()).await.map_err(|error| unavailable(&error))? {
            true => Ok(()),
            false => Err(Refusal::Token),
        }
    }

    /// Ends a session with its token, which is Nova's. Nova does not say when a token expires, so it is asked again and again.
    pub(crate) fn watch_over(&self, token: &ConsoleToken, keyboard: &Keyboard) {
        let nova = match self {
            Self::Own(_, Some(nova)) => nova,
            Self::Nova(targets) => targets.tokens(),
            Self::Own(_, None) | Self::Cluster(_) => return,
        };
        tokio::spawn(Arc::clone(nova).end_with(token.clone(), keyboard.clone()));
    }
}

fn without_nova() -> Refusal {
    if seldom::is_due("without nova") {
        tracing::warn!(
            "a console token of Nova's cannot be checked: name a service user who may look it up in [nova] or \
             [service_user], as in nova.conf"
        );
    }
    Refusal::Unavailable(
        "the host of this server cannot check Nova's console URLs: [nova] is not set for its compute role".into(),
    )
}

fn unavailable(error: &GrantsError) -> Refusal {
    if seldom::is_due("store") {
        tracing::error!(%error, "tokens cannot be looked up");
    }
    Refusal::Unavailable("tokens cannot be looked up now, try again".into())
}
