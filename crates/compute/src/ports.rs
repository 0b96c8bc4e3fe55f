//! The port allocator: the TCP port on which QEMU listens for each line.
//!
//! The leases in the ledger are authoritative. Whether a port can be bound is only a filter, since
//! any program may take a port at any time. Only its owner gives a lease back, and a port rests
//! before it is leased again, so that a client with an old address does not reach another guest.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use jiff::SignedDuration;
use jiff::Timestamp;
use serialproxy_config::values::PortRange;
use serialproxy_ledger::Ledger;
use serialproxy_ledger::LedgerError;
use serialproxy_ledger::PortLease;
use serialproxy_metrics as metrics;
use serialproxy_metrics::Leased;
use serialproxy_proto::id::LineKey;
use serialproxy_proto::id::ServerId;

use crate::bind;
use crate::bind::Test;

/// How long rows of returned ports are kept, so that a restart continues the rotation. There is at
/// most one row for each port.
const MEMORY: Duration = Duration::from_secs(24 * 60 * 60);

/// The allocator of one address and range.
#[derive(Debug)]
pub(crate) struct Ports {
    ledger: Arc<Ledger>,
    address: String,
    range: PortRange,
    rest: Duration,
    /// The port that this process leased last. Locked during an allocation.
    last: Mutex<Option<u16>>,
}

/// A port in a domain's definition, whether it runs or not.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct BoundPort {
    pub(crate) address: String,
    pub(crate) port: u16,
    pub(crate) line: LineKey,
}

/// Why there is no port.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PortsError {
    /// All ports of the range are in use.
    #[error(
        "Not able to acquire a free port for {address}: {wanted} needed, and of port_range {}:{} \
         {leased} are leased to servers, {resting} rest for up to {} s after use and {foreign} are \
         taken by other programs. Delete servers that are no longer needed, or widen \
         [serial_console] port_range.",
        .range.start, .range.end, .rest.as_secs()
    )]
    Exhausted {
        address: String,
        range: PortRange,
        rest: Duration,
        wanted: usize,
        leased: usize,
        resting: usize,
        foreign: usize,
    },
    /// No port of the address can be bound at all.
    #[error(
        "Not able to acquire a free port for {0}: [serial_console] proxyclient_address must be an \
         address of this host ({1})"
    )]
    Address(String, #[source] std::io::Error),
    /// The leases cannot be read or written.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl Ports {
    pub(crate) fn new(
        ledger: Arc<Ledger>,
        address: &str,
        range: PortRange,
        rest: Duration,
    ) -> Self {
        let ports = Self { ledger, address: address.into(), range, rest, last: Mutex::default() };
        ports.measure();
        ports
    }

    /// Brings the metrics up to date. Blocks.
    fn measure(&self) {
        let Ok(leases) = self.ledger.port_leases() else { return };
        let PortRange { start, end } = self.range;
        let all = end.saturating_sub(u32::from(start));
        let is_used = |lease: &&PortLease| {
            lease.released.is_none()
                && (u32::from(start)..end).contains(&u32::from(lease.port))
                && overlap(&lease.address, &self.address)
        };
        let used = leases.iter().filter(is_used).count();
        metrics::PORT_LEASES.of(Leased::Used).set(used as f64);
        metrics::PORT_LEASES.of(Leased::Free).set(f64::from(all) - used as f64);
    }

    /// The address that the ports are bound on.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Leases a port to each of `lines`, or none. Blocks.
    pub(crate) fn acquire(
        &self,
        lines: &[LineKey],
        now: Timestamp,
    ) -> Result<Vec<u16>, PortsError> {
        let wrong = |error| PortsError::Address(self.address.clone(), error);
        let addresses = bind::resolve(&self.address).map_err(wrong)?;
        let is_free = |port| bind::is_free(&addresses, port, Test::Strict).map_err(wrong);
        let acquired = self.acquire_with(lines, now, &is_free);
        self.measure();
        acquired
    }

    /// Whether QEMU could bind a port that it has leased already. Blocks.
    pub(crate) fn is_usable(&self, port: u16) -> Result<bool, PortsError> {
        let wrong = |error| PortsError::Address(self.address.clone(), error);
        let addresses = bind::resolve(&self.address).map_err(wrong)?;
        bind::is_free(&addresses, port, Test::AsQemu).map_err(wrong)
    }

    /// Gives back one port, if the line holds it. Blocks.
    pub(crate) fn release(
        &self,
        port: u16,
        line: LineKey,
        now: Timestamp,
    ) -> Result<(), PortsError> {
        self.ledger.release_port(&self.address, port, line, now)?;
        self.measure();
        Ok(())
    }

    /// Gives back ports that a domain no longer has. Blocks.
    pub(crate) fn give_back(&self, left: &[BoundPort], now: Timestamp) -> Result<(), PortsError> {
        for BoundPort { address, port, line } in left {
            self.ledger.release_port(address, *port, *line, now)?;
        }
        self.measure();
        Ok(())
    }

    /// Gives back all ports of a server. Blocks.
    pub(crate) fn release_server(&self, id: ServerId, now: Timestamp) -> Result<(), PortsError> {
        self.ledger.release_ports_of(id, now)?;
        self.measure();
        Ok(())
    }

    /// Leases the ports that domains already have. Blocks.
    pub(crate) fn adopt(&self, bound: &[BoundPort], now: Timestamp) -> Result<(), PortsError> {
        let leases = self.ledger.port_leases()?;
        let of = |bound: &BoundPort| {
            leases.iter().find(|lease| {
                lease.released.is_none()
                    && lease.port == bound.port
                    && lease.address == bound.address
            })
        };
        for bound in bound {
            if of(bound).is_some_and(|lease| lease.line == bound.line) {
                continue;
            }
            let BoundPort { address, port, line } = bound;
            if !self.ledger.lease_port(address, *port, *line, now)? {
                let holder = of(bound).map(|lease| lease.line.to_string());
                tracing::warn!(%line, address, port, holder, "two servers claim the same port");
            }
        }
        self.measure();
        Ok(())
    }

    /// Updates the leases from all domains, running or not. Blocks.
    pub(crate) fn reconcile(
        &self,
        bound: &BTreeSet<BoundPort>,
        now: Timestamp,
    ) -> Result<(), PortsError> {
        for lease in self.ledger.port_leases()? {
            let PortLease { address, port, line, released, .. } = lease;
            let lease = BoundPort { address, port, line };
            if released.is_none() && !bound.contains(&lease) {
                self.ledger.release_port(&lease.address, port, line, now)?;
            }
        }
        self.adopt(&bound.iter().cloned().collect::<Vec<_>>(), now)?;
        let memory = self.rest.max(MEMORY);
        if let Ok(then) = now.checked_sub(memory) {
            self.ledger.forget_ports_released_before(then)?;
        }
        Ok(())
    }

    fn acquire_with(
        &self,
        lines: &[LineKey],
        now: Timestamp,
        is_free: &dyn Fn(u16) -> Result<bool, PortsError>,
    ) -> Result<Vec<u16>, PortsError> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        // An attempt fails only if another process leased one of the ports meanwhile.
        loop {
            let ports = self.choose(lines.len(), *last, now, is_free)?;
            if self.lease_all(lines, &ports, now)? {
                *last = ports.last().copied().or(*last);
                return Ok(ports);
            }
        }
    }

    /// The next `count` free ports after the one leased last. Nothing is leased here, so that after
    /// a failure no port rests.
    fn choose(
        &self,
        count: usize,
        last: Option<u16>,
        now: Timestamp,
        is_free: &dyn Fn(u16) -> Result<bool, PortsError>,
    ) -> Result<Vec<u16>, PortsError> {
        let mut leases = self.ledger.port_leases()?;
        leases.retain(|lease| overlap(&lease.address, &self.address));
        let (leased, resting): (Vec<_>, Vec<_>) =
            leases.iter().partition(|lease| lease.released.is_none());
        let leased: BTreeSet<u16> = leased.iter().map(|lease| lease.port).collect();
        let resting = resting.iter().filter(|lease| self.rests(lease, now));
        let resting: BTreeSet<u16> = resting.map(|lease| lease.port).collect();
        let mut chosen = Vec::with_capacity(count);
        let (mut leased_seen, mut resting_seen, mut foreign) = (0, 0, 0);
        for port in self.rotation(last, &leases) {
            if chosen.len() == count {
                break;
            }
            if leased.contains(&port) {
                leased_seen += 1;
            } else if resting.contains(&port) {
                resting_seen += 1;
            } else if is_free(port)? {
                chosen.push(port);
            } else {
                foreign += 1;
            }
        }
        if chosen.len() < count {
            return Err(self.exhausted(count, leased_seen, resting_seen, foreign));
        }
        Ok(chosen)
    }

    /// All ports of the range, beginning after the one leased last.
    fn rotation(
        &self,
        last: Option<u16>,
        leases: &[PortLease],
    ) -> impl Iterator<Item = u16> + use<> {
        let PortRange { start, end } = self.range;
        let stored = || leases.iter().max_by_key(|lease| (lease.since, lease.port));
        let last = last.or_else(|| stored().map(|lease| lease.port));
        let start = u32::from(start);
        let first = last.map_or(start, |last| u32::from(last) + 1);
        let first = if (start..end).contains(&first) { first } else { start };
        (first..end).chain(start..first).filter_map(|port| u16::try_from(port).ok())
    }

    fn lease_all(
        &self,
        lines: &[LineKey],
        ports: &[u16],
        now: Timestamp,
    ) -> Result<bool, PortsError> {
        for (index, (line, port)) in lines.iter().zip(ports).enumerate() {
            let leased = self.ledger.lease_port(&self.address, *port, *line, now);
            if matches!(leased, Ok(true)) {
                continue;
            }
            for (line, port) in lines.iter().zip(ports).take(index) {
                self.ledger.release_port(&self.address, *port, *line, now)?;
            }
            return Ok(leased?);
        }
        Ok(true)
    }

    /// A port rests from its release on; a clock that was set back does not make it rest longer.
    fn rests(&self, lease: &PortLease, now: Timestamp) -> bool {
        let rest = SignedDuration::try_from(self.rest).unwrap_or(SignedDuration::MAX);
        lease.released.is_some_and(|released| now.duration_since(released).abs() < rest)
    }

    fn exhausted(
        &self,
        wanted: usize,
        leased: usize,
        resting: usize,
        foreign: usize,
    ) -> PortsError {
        let Self { address, range, rest, .. } = self;
        let (address, range, rest) = (address.clone(), *range, *rest);
        PortsError::Exhausted { address, range, rest, wanted, leased, resting, foreign }
    }
}

/// Whether two addresses may overlap. A name may mean any address.
fn overlap(a: &str, b: &str) -> bool {
    match (a.parse::<IpAddr>(), b.parse::<IpAddr>()) {
        (Ok(a), Ok(b)) => a == b || a.is_unspecified() || b.is_unspecified(),
        _ => true,
    }
}

#[cfg(test)]
mod tests;
