//! The serial port of one server of Nova.

use std::sync::Arc;
use std::sync::Mutex;

use serialproxy_line::Permit;
use serialproxy_line::Resolve;
use serialproxy_line::Unresolved;
use serialproxy_line::claim_at;
use serialproxy_proto::compute::BoxFuture;
use serialproxy_proto::endpoint::Endpoint;
use serialproxy_proto::id::LineKey;
use tokio::time::Instant;

use super::lock;
use super::not_running;
use super::unknown;
use crate::hosts::Neighbors;
use crate::hosts::Taken;
use crate::located::Located;
use crate::located::Offer;
use crate::located::target;
use crate::nova_tokens::NovaTokens;
use crate::obstacle::obstacle;

/// The serial port of one server.
#[derive(Debug)]
pub(super) struct Target {
    nova: Arc<NovaTokens>,
    neighbors: Option<Neighbors>,
    pub(super) state: Mutex<State>,
}

#[derive(Debug)]
pub(super) struct State {
    located: Located,
    pub(super) used: Instant,
    pub(super) gone: bool,
    /// The right to use the port that was resolved last.
    owned: Option<Offer>,
    /// The right from a look-up that the line has not used yet.
    offered: Option<Offer>,
}

impl Target {
    pub(super) fn new(
        nova: &Arc<NovaTokens>,
        neighbors: Option<&Neighbors>,
        located: &Located,
        offered: Option<&Offer>,
    ) -> Self {
        let state = State {
            located: located.clone(),
            used: located.seen,
            gone: false,
            owned: None,
            offered: offered.cloned(),
        };
        Self { nova: Arc::clone(nova), neighbors: neighbors.cloned(), state: Mutex::new(state) }
    }

    /// Whether this proxy owns the target of this name.
    pub(super) fn has(&self, target: &str) -> bool {
        lock(&self.state).owned.as_ref().is_some_and(|owned| owned.is_of(target))
    }

    /// Stores a newer look-up; returns whether the port has moved.
    pub(super) fn update(&self, located: &Located, offered: Option<&Offer>) -> bool {
        let mut state = lock(&self.state);
        let moved = state.located.endpoint != located.endpoint;
        state.located = located.clone();
        state.used = located.seen;
        if let Some(offered) = offered {
            state.offered = Some(offered.clone());
        }
        moved
    }

    /// The endpoint, after this proxy has become the port's owner.
    async fn locate(&self, line: LineKey) -> Result<Endpoint, Unresolved> {
        let endpoint = self.find().await?;
        let Some(neighbors) = &self.neighbors else { return Ok(endpoint) };
        if let Ok(Some(host)) = neighbors.host(line.server).await {
            return Err(elsewhere(&host));
        }
        let target = target(line.server, &endpoint);
        if lock(&self.state).take_up(&target) {
            return Ok(endpoint);
        }
        match neighbors.proxies.take(&target).await {
            Ok(Taken::Here(permit)) => {
                lock(&self.state).owned = Some(Offer { target, permit });
                Ok(endpoint)
            }
            Ok(Taken::By(host)) => Err(elsewhere(&host)),
            Err(refusal) => Err(Unresolved::Waits(refusal.to_string())),
        }
    }

    async fn find(&self) -> Result<Endpoint, Unresolved> {
        let last = lock(&self.state).located.clone();
        if last.is_fresh() {
            return Ok(last.endpoint);
        }
        let next = self.ask(last).await?;
        let mut state = lock(&self.state);
        if state.located.seen < next.seen {
            state.located = next;
        }
        Ok(state.located.endpoint.clone())
    }

    /// Asks Nova whether the port is still the server's.
    async fn ask(&self, last: Located) -> Result<Located, Unresolved> {
        let seen = Instant::now();
        let server = self.nova.server(last.server.id).await.map_err(|error| unknown(&error))?;
        let Some(server) = server else {
            lock(&self.state).gone = true;
            return Err(Unresolved::Gone("the server was deleted".into()));
        };
        if let Some(refusal) = obstacle(&server) {
            return Err(not_running(&server, &refusal));
        }
        if server.updated == last.updated {
            return Ok(Located { seen, ..last });
        }
        Err(Unresolved::Failed(
            "the server was changed, and its port may belong to another server now: ask for a \
             new console URL"
                .into(),
        ))
    }
}

fn elsewhere(host: &str) -> Unresolved {
    Unresolved::Failed(format!("served by another serialproxy, on host {host}"))
}

impl State {
    /// Whether this proxy has the right to use this port; takes an offered one up.
    fn take_up(&mut self, target: &str) -> bool {
        let has = |offer: &Option<Offer>| offer.as_ref().is_some_and(|offer| offer.is_of(target));
        if !has(&self.owned) && has(&self.offered) {
            self.owned = self.offered.take();
        }
        has(&self.owned)
    }
}

impl Resolve for Target {
    fn resolve(&self, line: LineKey) -> BoxFuture<'_, Result<Endpoint, Unresolved>> {
        Box::pin(self.locate(line))
    }

    fn permit(&self, _: LineKey) -> Option<Arc<dyn Permit>> {
        lock(&self.state).owned.as_ref().map(|owned| Arc::clone(&owned.permit))
    }

    /// Nova names only the port, so the endpoint is a part of the claim.
    fn claim(&self, line: LineKey, endpoint: &Endpoint) -> String {
        claim_at(line, endpoint)
    }

    /// A closed port ends the sessions, as with Nova's own proxy.
    fn closed(&self, _: LineKey) -> BoxFuture<'_, Result<(), Unresolved>> {
        Box::pin(std::future::ready(Ok(())))
    }
}
