//! The guests of the hypervisor, and their lines.

mod adopt;
mod boot;
mod changes;
mod disk;
mod kept;
mod kvm;
mod launch;
mod monitor;
mod power;
mod process;
mod resolve;
mod sync;
mod table;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::Weak;
use std::time::Duration;

use jiff::Timestamp;
use serialproxy_config::Config;
use serialproxy_config::values::Transport;
use serialproxy_config::values::VirtType;
use serialproxy_ledger::Ledger;
use serialproxy_ledger::LedgerError;
use serialproxy_line::Lines;
use serialproxy_proto::api;
use serialproxy_proto::api::Status;
use serialproxy_proto::compute::ComputeError;
use serialproxy_proto::compute::OpenConsole;
use serialproxy_proto::compute::OpenedConsole;
use serialproxy_proto::id::LineKey;
use serialproxy_proto::id::ServerId;
use tokio::sync::OnceCell;
use tokio::sync::OwnedMutexGuard;
use tokio::sync::RwLock;
use tokio::sync::watch;
use uuid::Uuid;

pub(crate) use self::boot::name_is_taken;
pub(crate) use self::boot::valid_name;
use self::changes::Changes;
pub use self::kvm::kvm_works;
use self::table::Guest;
use self::table::Table;
use self::table::why_not;
use crate::exclusions::Exclusions;
use crate::hypervisor::HypervisorError;
use crate::hypervisor::not_found;
use crate::hypervisor::without_paths;
use crate::libvirt::Hypervisor;
use crate::lock;
use crate::no_console::no_such_port;
use crate::no_console::unavailable;
use crate::owners::Owners;
use crate::ports::Ports;
use crate::ports::PortsError;

/// How long the first call waits for the first check of the hypervisor.
const FIRST_LOOK: Duration = Duration::from_secs(10);

/// All guests of one hypervisor.
#[derive(Debug)]
pub(crate) struct Guests {
    hypervisor: Hypervisor,
    lines: Lines,
    ledger: Arc<Ledger>,
    ports: Arc<Ports>,
    table: Table,
    settings: Settings,
    /// Only one reader of the hypervisor changes the table at a time, so that it never goes back.
    syncing: tokio::sync::Mutex<()>,
    /// Locked for reading while ports are leased for a domain that does not have them yet, and for
    /// writing while leases that no domain uses are given back.
    leasing: RwLock<()>,
    /// Requested changes in progress.
    changes: Changes,
    /// Serializes starts, stops and removals of each server.
    turns: Mutex<HashMap<ServerId, Weak<tokio::sync::Mutex<()>>>>,
    /// Whether KVM works here; probed when it is first needed.
    kvm: OnceCell<bool>,
    /// Whether the hypervisor was read once, or found to be unreachable.
    settled: watch::Sender<bool>,
    me: Weak<Self>,
}

#[derive(Debug)]
struct Settings {
    /// Name of this host.
    host: String,
    /// Whether guests get consoles.
    enabled: bool,
    owners: Owners,
    exclusions: Exclusions,
    images: PathBuf,
    state: PathBuf,
    virt_type: VirtType,
    tls_required: bool,
    transport: Transport,
}

impl Guests {
    /// Begins to follow the hypervisor. Must be called within a tokio runtime.
    pub(crate) fn start(config: &Config, ledger: Arc<Ledger>, lines: Lines) -> Arc<Self> {
        let (hypervisor, events) = Hypervisor::connect(&config.libvirt.connection_uri);
        let console = &config.serial_console;
        let (address, rest) = (&console.proxyclient_address, config.compute.port_rest);
        let ports = Ports::new(Arc::clone(&ledger), address, console.port_range, rest);
        let guests = Arc::new_cyclic(|me| Self {
            hypervisor,
            lines,
            ledger,
            ports: Arc::new(ports),
            table: Table::default(),
            settings: Settings {
                host: config.cluster.name.clone(),
                enabled: console.enabled,
                owners: Owners::new(&config.compute),
                exclusions: Exclusions::new(&config.compute),
                images: config.compute.images_path.clone(),
                state: config.state_dir.clone(),
                virt_type: config.libvirt.virt_type,
                tls_required: console.tls_required,
                transport: config.compute.transport,
            },
            syncing: tokio::sync::Mutex::default(),
            leasing: RwLock::default(),
            changes: Changes::default(),
            turns: Mutex::default(),
            kvm: OnceCell::new(),
            settled: watch::Sender::new(false),
            me: me.clone(),
        });
        // This task ends with the hypervisor's events, and so with the last use of the guests.
        tokio::spawn(sync::follow(Arc::downgrade(&guests), events));
        guests
    }

    /// All guests. They have the status ERROR while the hypervisor cannot be asked.
    pub(crate) async fn servers(&self) -> Vec<api::Server> {
        self.settle().await;
        self.table.all().into_iter().map(|(id, guest)| self.present(id, guest)).collect()
    }

    /// One guest.
    pub(crate) async fn server(&self, id: ServerId) -> Result<api::Server, ComputeError> {
        self.settle().await;
        if let Some(guest) = self.table.get(id) {
            return Ok(self.present(id, guest));
        }
        // It may have been created just now.
        match self.refresh(id).await {
            Ok(Some(guest)) => Ok(self.present(id, guest)),
            Ok(None) => Err(not_found(id)),
            Err(error) => Err(error.while_doing(id, "inspect")),
        }
    }

    /// The line that a console token is for, if the console can be attached to now.
    pub(crate) async fn open_console(
        &self,
        ask: OpenConsole,
    ) -> Result<OpenedConsole, ComputeError> {
        let LineKey { server: id, port } = ask.line;
        self.settle().await;
        let guest = self.current(&ask).await?;
        if !self.settings.enabled {
            return Err(unavailable());
        }
        if !guest.ports.iter().any(|known| known.port == port) {
            let ports: Vec<u8> = guest.ports.iter().map(|known| known.port).collect();
            let why = why_not(&guest.unusable, port);
            return Err(no_such_port(id, port, &ports, why));
        }
        if guest.run.is_none() && !ask.wait {
            return Err(ComputeError::Conflict(format!(
                "Cannot 'get_serial_console' instance {id} while it is {}: start it, or ask with \
                 wait=1",
                guest.status
            )));
        }
        Ok(OpenedConsole { line: ask.line, name: guest.name, project: guest.project })
    }

    /// The guest as it is now. If it belongs to another project, an id that no guest has is looked
    /// up instead: that takes as long, and has the same result while libvirt is away.
    async fn current(&self, ask: &OpenConsole) -> Result<Guest, ComputeError> {
        let id = ask.line.server;
        let is_own = |guest: &Guest| ask.is_for(&guest.project);
        let is_foreign = self.table.get(id).is_some_and(|guest| !is_own(&guest));
        let asked = if is_foreign { ServerId(Uuid::new_v4()) } else { id };
        match self.refresh(asked).await {
            Ok(guest) => guest.filter(is_own).ok_or_else(|| not_found(id)),
            // Lines go on without libvirt, so the guest's last known state is good enough.
            Err(HypervisorError::Unavailable(_)) => {
                self.table.get(asked).filter(is_own).ok_or_else(|| self.unknown(id))
            }
            Err(error) => Err(error.while_doing(id, "inspect")),
        }
    }

    /// Why the hypervisor cannot be reached, if so.
    pub(crate) fn hypervisor_is_away(&self) -> Option<String> {
        self.hypervisor.reachable().err().map(|error| error.to_string())
    }

    fn present(&self, id: ServerId, guest: Guest) -> api::Server {
        let reachable = self.hypervisor.reachable().is_ok();
        let status = if reachable { guest.status } else { Status::Error };
        let unusable = guest.unusable.into_iter();
        let unusable_ports =
            unusable.map(|(port, why)| api::UnusablePort { port, reason: why.into_owned() });
        api::Server {
            id,
            name: guest.name,
            status,
            project: guest.project,
            host: self.settings.host.clone(),
            unusable_ports: unusable_ports.collect(),
        }
    }

    /// Why a known serial port has no line, if so.
    pub(crate) fn unusable(&self, line: LineKey) -> Option<String> {
        let guest = self.table.get(line.server)?;
        why_not(&guest.unusable, line.port).map(str::to_owned)
    }

    /// The error for an unknown guest. While libvirt is away, it is unknown whether the guest
    /// exists.
    fn unknown(&self, id: ServerId) -> ComputeError {
        match self.hypervisor.reachable() {
            Ok(()) => not_found(id),
            Err(error) => ComputeError::Unavailable(without_paths(&error.to_string())),
        }
    }

    async fn settle(&self) {
        let mut settled = self.settled.subscribe();
        let _ = tokio::time::timeout(FIRST_LOOK, settled.wait_for(|settled| *settled)).await;
    }

    async fn turn(&self, id: ServerId) -> OwnedMutexGuard<()> {
        let turn = {
            let mut turns = lock(&self.turns);
            turns.retain(|_, turn| turn.strong_count() > 0);
            let turn = turns.get(&id).and_then(Weak::upgrade).unwrap_or_default();
            turns.insert(id, Arc::downgrade(&turn));
            turn
        };
        turn.lock_owned().await
    }

    /// Runs blocking work on the ledger.
    async fn with_ledger<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Ledger) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<T, ComputeError> {
        let ledger = Arc::clone(&self.ledger);
        match tokio::task::spawn_blocking(move || work(&ledger)).await {
            Ok(done) => done.map_err(|error| ComputeError::Unavailable(error.to_string())),
            Err(error) => Err(ComputeError::Failed(format!("the ledger failed: {error}"))),
        }
    }

    /// Runs blocking work on the ports.
    async fn with_ports<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Ports, Timestamp) -> Result<T, PortsError> + Send + 'static,
    ) -> Result<T, ComputeError> {
        let ports = Arc::clone(&self.ports);
        match tokio::task::spawn_blocking(move || work(&ports, Timestamp::now())).await {
            Ok(done) => done.map_err(|error| match error {
                PortsError::Exhausted { .. } | PortsError::Address(..) => {
                    ComputeError::Invalid(error.to_string())
                }
                PortsError::Ledger(error) => ComputeError::Unavailable(error.to_string()),
            }),
            Err(error) => Err(ComputeError::Failed(format!("the port allocator failed: {error}"))),
        }
    }
}
