//! Adoption: TCP ports for domains that others defined, and its reversal.

use serialproxy_ledger::Adoption;
use serialproxy_proto::api;
use serialproxy_proto::api::AdoptedPort;
use serialproxy_proto::api::Status;
use serialproxy_proto::api::Stop;
use serialproxy_proto::compute::ComputeError;
use serialproxy_proto::endpoint::Endpoint;
use serialproxy_proto::id::LineKey;
use serialproxy_proto::id::ServerId;

use super::Guests;
use super::changes::Task;
use super::power::refuse_paused;
use super::table::why_not;
use crate::domain::Facts;
use crate::domain::GiveError;
use crate::domain::Given;
use crate::domain::SerialDevices;
use crate::domain::XmlError;
use crate::hypervisor::Domain;
use crate::hypervisor::HypervisorError;
use crate::hypervisor::not_found;
use crate::no_console::no_such_port;
use crate::serial_ports::MAX;

impl Guests {
    /// Gives a domain TCP ports in its persistent XML and, with `restart`, in its process.
    pub(crate) async fn adopt(
        &self,
        id: ServerId,
        adopt: api::Adopt,
    ) -> Result<api::Adopted, ComputeError> {
        self.settle().await;
        if !self.settings.enabled {
            return Err(no_such_port(id, 0, &[], None));
        }
        let guest = self.seen(id).await?;
        if adopt.restart && guest.run.is_some() {
            refuse_paused("adopt", &guest, id, "adopt it without restart")?;
        }
        let mut change = self.changes.begin(id, &guest.project, Task::ADOPT).await?;
        let (ran, ports) = {
            let _turn = self.turn(id).await;
            let _leasing = self.leasing.read().await;
            let ran = self.adoptable(id).await?.facts.run.is_some();
            let ports = self.give_ports(id, adopt.serial_ports.map(usize::from)).await?;
            tracing::info!(server = %id, ?ports, "a domain was given TCP ports");
            (ran, ports)
        };
        if adopt.restart && ran {
            let guest = self.seen(id).await?;
            // A guest that stopped meanwhile is nevertheless started.
            self.end_run(&mut change, id, &guest, &Stop::default()).await?;
            change.resume().await;
            self.start_guest(id).await?;
        }
        let server = self.present(id, self.seen(id).await?);
        Ok(api::Adopted { server, ports })
    }

    /// Restores a domain's serial devices to what they were before the adoption.
    pub(crate) async fn unadopt(&self, id: ServerId) -> Result<api::Server, ComputeError> {
        self.settle().await;
        let project = self.seen(id).await?.project;
        let _change = self.changes.begin(id, &project, Task::ADOPT).await?;
        let _turn = self.turn(id).await;
        self.seen(id).await?;
        let adoption = self.with_ledger(move |ledger| ledger.adoption(id)).await?;
        let Some(Adoption { before, after }) = adoption else {
            return Err(refused(id, "it was not adopted"));
        };
        let xml = self.next_xml(id).await?;
        let (head, devices, tail) = split(&xml, &find(id, &xml)?);
        if devices != before {
            if after.is_some_and(|after| after != devices) {
                return Err(refused(
                    id,
                    "its serial devices were changed after it was adopted. Edit them with `virsh \
                     edit`, or undefine and define the domain again",
                ));
            }
            let defined = self.hypervisor.define([head, &before, tail].concat()).await;
            defined.map_err(|error| error.while_doing(id, "redefine"))?;
        }
        self.with_ledger(move |ledger| ledger.forget_adoption(id)).await?;
        tracing::info!(server = %id, "restored the serial devices of a domain");
        Ok(self.present(id, self.seen(id).await?))
    }

    /// The domain as it is now; an error if it cannot be adopted.
    async fn adoptable(&self, id: ServerId) -> Result<Domain, ComputeError> {
        let domain =
            self.hypervisor.domain(id).await.map_err(|error| error.while_doing(id, "inspect"))?;
        let domain = domain.ok_or_else(|| not_found(id))?;
        if domain.facts.image.is_some() {
            return Err(refused(id, "it was made by `boot` and already has TCP ports"));
        }
        if domain.facts.run.is_some() && domain.next.is_none() {
            return Err(refused(
                id,
                "it is transient, so it has no next start at which it could \
                     get the ports",
            ));
        }
        if domain.status == Status::Suspended && domain.facts.run.is_none() {
            return Err(refused(
                id,
                "it is saved to disk (managed save) with its old devices. Start it first",
            ));
        }
        let Some(adoption) = self.with_ledger(move |ledger| ledger.adoption(id)).await? else {
            return Ok(domain);
        };
        let xml = self.next_xml(id).await?;
        let (_, devices, _) = split(&xml, &find(id, &xml)?);
        if adoption.after.is_none() && adoption.before == devices {
            // An earlier adoption was interrupted before it changed anything.
            return Ok(domain);
        }
        Err(refused(id, "it is already adopted. Undo that first"))
    }

    /// Leases the ports and defines the domain with them; returns the ports, and what they replace.
    async fn give_ports(
        &self,
        id: ServerId,
        wanted: Option<usize>,
    ) -> Result<Vec<AdoptedPort>, ComputeError> {
        let xml = self.next_xml(id).await?;
        let devices = find(id, &xml)?;
        let count = wanted.unwrap_or_else(|| devices.serials().max(1));
        if count == 0 {
            return Err(ComputeError::Invalid(format!("serial_ports must be 1 to {MAX}")));
        }
        if count > usize::from(MAX) {
            return Err(refused(id, &format!("a guest has at most {MAX} serial ports")));
        }
        let lines: Vec<_> =
            (0..=u8::MAX).take(count).map(|port| LineKey { server: id, port }).collect();
        let leased = lines.clone();
        let ports = self.with_ports(move |ports, now| ports.acquire(&leased, now)).await?;
        if let Err(error) = self.define_given(id, &xml, &devices, &ports).await {
            let pairs: Vec<_> = lines.into_iter().zip(ports).collect();
            self.with_ports(move |ports, now| {
                pairs.into_iter().try_for_each(|(line, port)| ports.release(port, line, now))
            })
            .await?;
            return Err(error);
        }
        self.seen(id).await?;
        let (before, now) = (split(&xml, &devices).1.to_owned(), self.next_xml(id).await?);
        let after = Some(split(&now, &find(id, &now)?).1.to_owned());
        self.with_ledger(move |ledger| ledger.keep_adoption(id, &Adoption { before, after }))
            .await?;
        Ok(self.given(&devices, &ports))
    }

    /// The given ports, each with what it replaces.
    fn given(&self, devices: &SerialDevices, ports: &[u16]) -> Vec<AdoptedPort> {
        let replaced = devices.replaced(ports.len());
        let given = (0..=u8::MAX).zip(ports).zip(replaced).map(|((port, tcp), was)| {
            let endpoint = Endpoint::Tcp { host: self.ports.address().to_owned(), port: *tcp };
            AdoptedPort { port, was, now: endpoint.address() }
        });
        given.collect()
    }

    /// Defines the domain with these ports, after storing its earlier devices.
    async fn define_given(
        &self,
        id: ServerId,
        xml: &str,
        devices: &SerialDevices,
        ports: &[u16],
    ) -> Result<(), ComputeError> {
        let tls = self.settings.tls_required;
        let given = Given { address: self.ports.address(), ports, tls };
        let given =
            devices.give(xml, given).map_err(|error| refused(id, &in_words(xml, &error)))?;
        if tcp_ports(&given).map_err(|error| unreadable(id, &error))? != ports {
            return Err(refused(id, "its XML has no place for serial ports"));
        }
        let before = split(xml, devices).1.to_owned();
        let begun = Adoption { before, after: None };
        self.with_ledger(move |ledger| ledger.keep_adoption(id, &begun)).await?;
        if let Err(error) = self.hypervisor.define(given).await {
            self.with_ledger(move |ledger| ledger.forget_adoption(id)).await?;
            return Err(error.while_doing(id, "redefine"));
        }
        Ok(())
    }

    async fn next_xml(&self, id: ServerId) -> Result<String, ComputeError> {
        self.hypervisor.next_xml(id).await.map_err(|error| error.while_doing(id, "inspect"))
    }
}

/// Why ports cannot be given, with the present form of the port that prevents it.
fn in_words(xml: &str, error: &GiveError) -> String {
    let GiveError::Relied { port, .. } = error else { return error.to_string() };
    let (port, facts) = (u8::try_from(*port).unwrap_or(u8::MAX), Facts::read(xml));
    let Ok(facts) = facts else { return error.to_string() };
    if let Some(why) = why_not(&facts.unusable, port) {
        return format!("{error}. It has no console: {why}");
    }
    let usable = facts.ports.iter().find(|known| known.port == port);
    match usable.and_then(|known| known.at.as_ref()) {
        Some(Endpoint::Telnet { .. }) => {
            format!("{error}. It already has a console, over telnet")
        }
        Some(_) => format!("{error}. It already has a console"),
        None => error.to_string(),
    }
}

/// The XML before the serial devices, of the devices, and after them.
fn split<'a>(xml: &'a str, devices: &SerialDevices) -> (&'a str, &'a str, &'a str) {
    let span = devices.span();
    let part = |range| xml.get(range).unwrap_or_default();
    (part(0..span.start), part(span.clone()), part(span.end..xml.len()))
}

fn find(id: ServerId, xml: &str) -> Result<SerialDevices, ComputeError> {
    SerialDevices::find(xml).map_err(|error| unreadable(id, &error))
}

/// The TCP ports of the first serial ports.
fn tcp_ports(xml: &str) -> Result<Vec<u16>, XmlError> {
    let ports = Facts::read(xml)?.ports.into_iter().map_while(|port| match port.at {
        Some(Endpoint::Tcp { port, .. } | Endpoint::Tls { port, .. }) => Some(port),
        _ => None,
    });
    Ok(ports.collect())
}

fn unreadable(id: ServerId, error: &XmlError) -> ComputeError {
    HypervisorError::Failed(error.to_string()).while_doing(id, "read")
}

fn refused(id: ServerId, why: &str) -> ComputeError {
    ComputeError::Conflict(format!("Cannot 'adopt' instance {id}: {why}."))
}
