//! The calls of libvirt that we need. They block.

use serialproxy_line::Halt;
use serialproxy_proto::api::Status;
use serialproxy_proto::id::ServerId;
use virt::connect::Connect;
use virt::domain::Domain as Handle;
use virt::domain::DomainPausedReason;
use virt::domain::DomainShutoffReason;
use virt::domain::DomainState;
use virt::domain::DomainStateReason;
use virt::error::Error;
use virt::error::ErrorNumber;

use super::callbacks;
use crate::domain::Facts;
use crate::hypervisor::Action;
use crate::hypervisor::Domain;

/// Applies an action to one domain.
pub(super) fn act(connect: &Connect, id: ServerId, action: Action) -> Result<(), Error> {
    let domain = connect.lookup_domain_by_uuid(id.0)?;
    match action {
        Action::CreatePaused => domain.create_with_flags(virt_sys::VIR_DOMAIN_START_PAUSED),
        Action::Resume => domain.resume(),
        Action::Pause => domain.suspend(),
        Action::Wake => domain.pm_wakeup(0),
        Action::Shutdown => domain.shutdown_flags(virt_sys::VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN),
        Action::Destroy => domain.destroy(),
        Action::Reboot => domain.reboot(virt_sys::VIR_DOMAIN_REBOOT_ACPI_POWER_BTN),
        Action::Reset => domain.reset(),
        Action::InjectNmi => callbacks::inject_nmi(&domain),
        Action::Undefine => domain.undefine_flags(
            virt_sys::VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
                | virt_sys::VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
                | virt_sys::VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
                | virt_sys::VIR_DOMAIN_UNDEFINE_NVRAM,
        ),
    }
}

/// All domains, running or not.
pub(super) fn domains(connect: &Connect) -> Result<Vec<Domain>, Error> {
    let mut domains = Vec::new();
    for handle in connect.list_all_domains(0)? {
        // A domain that was removed meanwhile is left out.
        domains.extend(found(describe(&handle))?);
    }
    Ok(domains)
}

/// One domain, if it exists.
pub(super) fn domain(connect: &Connect, id: ServerId) -> Result<Option<Domain>, Error> {
    found(connect.lookup_domain_by_uuid(id.0).and_then(|handle| describe(&handle)))
}

/// The domain with a name, if it exists.
pub(super) fn find(connect: &Connect, name: &str) -> Result<Option<ServerId>, Error> {
    found(connect.lookup_domain_by_name(name).and_then(|handle| handle.uuid()).map(ServerId))
}

/// Defines a domain, or changes its definition for the next start.
pub(super) fn define(connect: &Connect, xml: &str) -> Result<(), Error> {
    connect.define_domain_xml(xml).map(drop)
}

/// The XML of a domain's next start, including its passwords, so that it can be defined again.
pub(super) fn next_xml(connect: &Connect, id: ServerId) -> Result<String, Error> {
    let flags = virt_sys::VIR_DOMAIN_XML_INACTIVE | virt_sys::VIR_DOMAIN_XML_SECURE;
    connect.lookup_domain_by_uuid(id.0)?.xml_desc(flags)
}

/// Sends a QMP command to a running domain's QEMU.
pub(super) fn monitor(connect: &Connect, id: ServerId, command: &str) -> Result<String, Error> {
    let flags = virt_sys::VIR_DOMAIN_QEMU_MONITOR_COMMAND_DEFAULT;
    connect.lookup_domain_by_uuid(id.0)?.qemu_monitor_command(command, flags)
}

fn found<T>(result: Result<T, Error>) -> Result<Option<T>, Error> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.code().is(ErrorNumber::NoDomain) => Ok(None),
        Err(error) => Err(error),
    }
}

fn describe(handle: &Handle) -> Result<Domain, Error> {
    let id = ServerId(handle.uuid()?);
    let facts = facts(id, &handle.xml_desc(0)?);
    let next = match facts.run {
        Some(_) if handle.is_persistent()? => {
            Some(facts_of(id, handle.xml_desc(virt_sys::VIR_DOMAIN_XML_INACTIVE)))
        }
        _ => None,
    };
    let (status, halt) = status(handle)?;
    Ok(Domain { id, name: handle.name()?, status, halt, facts, next })
}

fn facts_of(id: ServerId, xml: Result<String, Error>) -> Facts {
    xml.map(|xml| facts(id, &xml)).unwrap_or_default()
}

/// A domain whose XML cannot be read counts as one without serial ports.
fn facts(id: ServerId, xml: &str) -> Facts {
    Facts::read(xml).unwrap_or_else(|error| {
        tracing::warn!(server = %id, %error, "the serial ports of a domain cannot be read");
        Facts::default()
    })
}

const PAUSED: Halt = Halt::Paused("the guest is paused");

/// The status of a domain in Nova's words, and why it reads no input although it has a process.
fn status(handle: &Handle) -> Result<(Status, Option<Halt>), Error> {
    let (state, reason) = handle.state()?;
    // The binding ignores the call's result; after a failure, the state is -1.
    if state.unknown() == Some(virt_sys::virDomainState::MAX) {
        return Err(Error::last_error());
    }
    let reason = Result::<DomainStateReason, _>::from(reason).ok();
    Ok(match (state.known(), reason) {
        (Some(DomainState::Paused), Some(DomainStateReason::Paused(reason))) => {
            match reason.known() {
                Some(DomainPausedReason::Crashed) => (Status::Error, Some(Halt::Crashed)),
                Some(DomainPausedReason::IOError) => (
                    Status::Paused,
                    Some(Halt::Paused(
                        "the guest is paused after an I/O error, for example a full disk",
                    )),
                ),
                _ => (Status::Paused, Some(PAUSED)),
            }
        }
        (Some(DomainState::Paused), _) => (Status::Paused, Some(PAUSED)),
        (Some(DomainState::Shutoff), Some(DomainStateReason::Shutoff(reason))) => {
            match reason.known() {
                Some(DomainShutoffReason::Crashed) => (Status::Error, None),
                Some(DomainShutoffReason::Saved) => (Status::Suspended, None),
                _ => (Status::Shutoff, None),
            }
        }
        (Some(DomainState::Shutoff), _) => (Status::Shutoff, None),
        (Some(DomainState::PMSuspended), _) => {
            (Status::Suspended, Some(Halt::Paused("the guest sleeps")))
        }
        (Some(DomainState::Running | DomainState::Blocked | DomainState::Shutdown), _) => {
            (Status::Active, None)
        }
        (Some(DomainState::NoState | DomainState::Crashed) | None, _) => (Status::Error, None),
    })
}
