//! Keeps the lines in step with the hypervisor's domains.
//!
//! On any event, the domain is read again and compared with its last known state. So neither the
//! order of events nor a lost event leaves a line behind.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::Weak;
use std::time::Duration;

use serialproxy_ledger::Ledger;
use serialproxy_ledger::LedgerError;
use serialproxy_line::Line;
use serialproxy_line::Resolve;
use serialproxy_proto::api::Status;
use serialproxy_proto::compute::ComputeError;
use serialproxy_proto::console::ServerRef;
use serialproxy_proto::endpoint::Endpoint;
use serialproxy_proto::id::LineKey;
use serialproxy_proto::id::ServerId;
use tokio::time::Instant;

use super::Guests;
use super::disk;
use super::resolve::LivePorts;
use super::table::Guest;
use crate::domain::Facts;
use crate::hypervisor::Domain;
use crate::hypervisor::Event;
use crate::hypervisor::Events;
use crate::hypervisor::HypervisorError;
use crate::ports::BoundPort;

/// The pause after reading all domains failed although libvirt is reachable.
const AGAIN: Duration = Duration::from_secs(5);

/// How long a guest that starts paused may wait for its lines before it counts as paused.
const STARTS: Duration = Duration::from_secs(6);

/// How a domain was noticed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Sight {
    /// By listing all domains: a running guest was already running.
    Found,
    /// By an event or our own action: a running guest has just been started.
    News,
}

/// What a line is told about its guest.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Change {
    Booted,
    Running,
    Stopped,
    Unchanged,
}

/// Follows the events until they end, or the guests are not used any more.
pub(super) async fn follow(guests: Weak<Guests>, mut events: Events) {
    while let Some(event) = events.next().await {
        let Some(guests) = guests.upgrade() else { return };
        guests.handle(event).await;
    }
}

impl Guests {
    async fn handle(&self, event: Event) {
        match event {
            Event::Changed(id) => {
                if let Err(error) = self.refresh(id).await {
                    let name = self.server_name(id);
                    tracing::warn!(name, server = %id, %error, "a change of a guest could not be read");
                }
            }
            Event::Rebooted(id) => {
                if self.table.count_reset(id, Instant::now()) {
                    self.lines.of_server(id).iter().for_each(Line::guest_rebooted);
                }
            }
            Event::Resync => self.resync_or_retry().await,
            Event::Down => drop(self.settled.send_replace(true)),
        }
    }

    async fn resync_or_retry(&self) {
        while let Err(error) = self.resync().await {
            tracing::warn!(%error, "the guests could not be read");
            if self.hypervisor.reachable().is_err() {
                // A new connection sends a new event.
                break;
            }
            tokio::time::sleep(AGAIN).await;
        }
        self.settled.send_replace(true);
    }

    /// Reads one domain again and updates its lines.
    pub(super) async fn refresh(&self, id: ServerId) -> Result<Option<Guest>, HypervisorError> {
        let _one_at_a_time = self.syncing.lock().await;
        let Some(domain) = self.hypervisor.domain(id).await? else {
            self.forget(id).await;
            return Ok(None);
        };
        let bound = bound_ports(&domain);
        let before = self.table.get(id).map(|guest| guest.bound);
        if before.as_ref() != Some(&bound) {
            let adopt: Vec<_> = bound.iter().cloned().collect();
            let left: Vec<_> = before.unwrap_or_default().difference(&bound).cloned().collect();
            let kept_in_step = self.with_ports(move |ports, now| {
                ports.give_back(&left, now)?;
                ports.adopt(&adopt, now)
            });
            self.log_failure(kept_in_step.await);
        }
        Ok(Some(self.apply(domain, bound, Sight::News)))
    }

    /// Reads all domains again, and updates lines and port leases.
    async fn resync(&self) -> Result<(), HypervisorError> {
        let _nobody_leases = self.leasing.write().await;
        let _one_at_a_time = self.syncing.lock().await;
        let domains = self.hypervisor.domains().await?;
        let known: BTreeSet<ServerId> = domains.iter().map(|domain| domain.id).collect();
        for (id, _) in self.table.all() {
            if !known.contains(&id) {
                self.forget(id).await;
            }
        }
        // Boots wait for this, so that no guest is half created now.
        self.clean(known.clone()).await;
        let mut bound = BTreeSet::new();
        self.log_failure(self.with_ledger(move |ledger| forget_adoptions(ledger, &known)).await);
        for domain in domains {
            let ports = bound_ports(&domain);
            bound.extend(ports.iter().cloned());
            self.apply(domain, ports, Sight::Found);
        }
        self.log_failure(self.with_ports(move |ports, now| ports.reconcile(&bound, now)).await);
        Ok(())
    }

    async fn clean(&self, known: BTreeSet<ServerId>) {
        let state = self.settings.state.clone();
        let cleaned = tokio::task::spawn_blocking(move || disk::clean(&state, &known)).await;
        if let Err(error) = cleaned.unwrap_or_else(|error| Err(error.into())) {
            tracing::error!(%error, "remains of guests cannot be removed");
        }
    }

    /// A domain is gone: removes its lines and leases. A domain that was never seen may be about to
    /// be created, so its leases stay.
    async fn forget(&self, id: ServerId) {
        if self.table.remove(id).is_none() {
            return;
        }
        for line in self.lines.of_server(id) {
            self.lines.remove(line.key(), "the server was deleted");
        }
        self.log_failure(self.with_ports(move |ports, now| ports.release_server(id, now)).await);
        self.log_failure(self.with_ledger(move |ledger| ledger.forget_adoption(id)).await);
    }

    /// Records the state of a domain, and updates its lines.
    fn apply(&self, domain: Domain, bound: BTreeSet<BoundPort>, sight: Sight) -> Guest {
        let Domain { id, name, status, halt, mut facts, .. } = domain;
        self.settings.exclusions.apply(id, &name, &mut facts);
        let before = self.table.get(id);
        let change = change(before.as_ref(), facts.run, sight);
        let boots = before.as_ref().map_or(0, |guest| guest.boots);
        let of_config = || self.settings.owners.of(id, &name);
        let project = facts.project.unwrap_or_else(of_config);
        let guest = Guest {
            // What an operator calls it is not what its users do.
            name: facts.title.unwrap_or(name),
            project,
            status,
            halt,
            waits_until: waits_until(before.as_ref(), change, status, Instant::now()),
            run: facts.run,
            boots: boots + u64::from(change == Change::Booted),
            reset: before.as_ref().and_then(|guest| guest.reset),
            ports: if self.settings.enabled { facts.ports } else { Vec::new() },
            unusable: facts.unusable,
            bound,
            ours: facts.image.is_some(),
        };
        if before.as_ref().is_none_or(|before| before.unusable != guest.unusable) {
            for (port, why) in &guest.unusable {
                tracing::debug!(server = %id, name = guest.name, port, %why, "a port has no line");
            }
        }
        self.tell_lines(id, &guest, change, before.as_ref());
        self.table.put(id, guest.clone());
        if change == Change::Booted && guest.waits_until.is_some() {
            tokio::spawn(look_again(self.me.clone(), id));
        }
        guest
    }

    fn tell_lines(&self, id: ServerId, guest: &Guest, change: Change, before: Option<&Guest>) {
        for line in self.lines.of_server(id) {
            let LineKey { port, .. } = line.key();
            if !guest.ports.iter().any(|known| known.port == port) {
                let reason = format!("the server no longer has serial port {port}");
                self.lines.remove(line.key(), &reason);
            }
        }
        if before.is_some_and(|before| before.project != guest.project) {
            tracing::info!(server = %id, project = guest.project,
                "a guest belongs to another project now");
        }
        let server = ServerRef { id, name: guest.name.clone() };
        let renamed = before.is_some_and(|before| before.name != guest.name);
        let another_status = before.is_none_or(|before| before.status != guest.status);
        for port in &guest.ports {
            let key = LineKey { server: id, port: port.port };
            let is_new = self.lines.get(key).is_none();
            let resolve: Arc<dyn Resolve> = Arc::new(LivePorts(self.me.clone()));
            let line = self.lines.add(&server, Some(&guest.project), port.port, resolve);
            if renamed {
                line.rename(&guest.name);
            }
            let awaited = port.dialed().filter(|at| matches!(at, Endpoint::Incoming { .. }));
            line.guest_connects_to(awaited.filter(|_| !self.settings.tls_required));
            match change {
                Change::Booted => line.guest_started(guest.waits_until.is_some()),
                Change::Running => line.guest_running(),
                Change::Stopped => line.guest_stopped(guest.status),
                Change::Unchanged if guest.run.is_none() && (is_new || another_status) => {
                    line.guest_stopped(guest.status);
                }
                Change::Unchanged if guest.run.is_some() && is_new => line.guest_running(),
                Change::Unchanged => {}
            }
            line.guest_halted(guest.halt.filter(|_| guest.waits_until.is_none()));
        }
    }

    /// Logs a failure of the ledger, since there is no caller to tell.
    fn log_failure(&self, done: Result<(), ComputeError>) {
        if let Err(error) = done {
            tracing::error!(%error, "the store could not be updated, and does not match the guests");
        }
    }
}

fn change(before: Option<&Guest>, run: Option<u32>, sight: Sight) -> Change {
    match (before.map(|guest| guest.run), run) {
        (None | Some(None), None) => Change::Unchanged,
        (Some(Some(_)), None) => Change::Stopped,
        (Some(Some(before)), Some(now)) if before == now => Change::Unchanged,
        (None, Some(_)) if sight == Sight::Found => Change::Running,
        (_, Some(_)) => Change::Booted,
    }
}

/// Until when a guest may wait for its lines that was started paused and has not run since.
fn waits_until(
    before: Option<&Guest>,
    change: Change,
    status: Status,
    now: Instant,
) -> Option<Instant> {
    match change {
        _ if status != Status::Paused => None,
        Change::Booted => Some(now + STARTS),
        Change::Unchanged => before?.waits_until.filter(|until| now < *until),
        Change::Running | Change::Stopped => None,
    }
}

/// Checks whether a guest that waited for its lines runs now. One that others started paused stays
/// so.
async fn look_again(guests: Weak<Guests>, id: ServerId) {
    tokio::time::sleep(STARTS).await;
    let Some(guests) = guests.upgrade() else { return };
    if let Err(error) = guests.refresh(id).await {
        tracing::debug!(server = %id, %error, "a guest that starts could not be read");
    }
}

/// Forgets the adoptions of domains that were removed unnoticed.
fn forget_adoptions(ledger: &Ledger, known: &BTreeSet<ServerId>) -> Result<(), LedgerError> {
    let gone = ledger.adopted()?.into_iter().filter(|id| !known.contains(id));
    gone.into_iter().try_for_each(|id| ledger.forget_adoption(id))
}

/// The TCP ports of a domain's process and of its next start.
fn bound_ports(domain: &Domain) -> BTreeSet<BoundPort> {
    let next = domain.next.as_ref();
    let of = |facts: &Facts| {
        let tcp = facts.ports.iter().filter_map(|port| match &port.at {
            Some(
                Endpoint::Tcp { host, port: tcp }
                | Endpoint::Tls { host, port: tcp }
                | Endpoint::Telnet { host, port: tcp },
            ) => {
                let line = LineKey { server: domain.id, port: port.port };
                Some(BoundPort { address: host.clone(), port: *tcp, line })
            }
            _ => None,
        });
        tcp.collect::<Vec<_>>()
    };
    of(&domain.facts).into_iter().chain(next.map(of).unwrap_or_default()).collect()
}

#[cfg(test)]
mod tests {
    use serialproxy_proto::api::Status;

    use super::*;

    fn guest(run: Option<u32>) -> Guest {
        Guest {
            name: "g".into(),
            project: "admin".into(),
            status: Status::Active,
            halt: None,
            waits_until: None,
            run,
            boots: 0,
            reset: None,
            ports: Vec::new(),
            unusable: Vec::new(),
            bound: BTreeSet::new(),
            ours: false,
        }
    }

    #[test]
    fn a_guest_that_starts_paused_counts_as_paused_once_it_had_time_to_wait_or_ran() {
        let (paused, now) = (Status::Paused, Instant::now());
        let later = |guest: &Guest, status, seconds| {
            let now = now + Duration::from_secs(seconds);
            waits_until(Some(guest), Change::Unchanged, status, now)
        };
        let until = waits_until(None, Change::Booted, paused, now);
        assert_eq!(until, Some(now + STARTS));
        let waits = Guest { waits_until: until, ..guest(Some(1)) };
        assert_eq!(later(&waits, paused, 1), until, "it is seen again meanwhile");
        assert_eq!(later(&waits, Status::Active, 1), None);
        assert_eq!(later(&waits, paused, STARTS.as_secs()), None);
        assert_eq!(later(&guest(Some(1)), paused, 1), None, "it ran");
    }

    #[test]
    fn another_process_is_another_boot_however_it_came_into_sight() {
        for sight in [Sight::Found, Sight::News] {
            assert_eq!(change(Some(&guest(None)), Some(1), sight), Change::Booted);
            assert_eq!(change(Some(&guest(Some(1))), Some(2), sight), Change::Booted);
            assert_eq!(change(Some(&guest(Some(1))), Some(1), sight), Change::Unchanged);
            assert_eq!(change(Some(&guest(Some(1))), None, sight), Change::Stopped);
            assert_eq!(change(None, None, sight), Change::Unchanged);
        }
    }

    #[test]
    fn a_guest_that_is_found_running_did_not_boot_just_now() {
        assert_eq!(change(None, Some(1), Sight::Found), Change::Running);
        assert_eq!(change(None, Some(1), Sight::News), Change::Booted);
    }
}
