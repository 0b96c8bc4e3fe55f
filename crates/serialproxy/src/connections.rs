//! Connections over which a proxy forwards users to other hosts of the cluster. They end when the
//! host is lost.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::Weak;
use std::time::Duration;

use serialproxy_cluster::Directory;
use serialproxy_cluster::Links;
use serialproxy_cluster::Role;
use serialproxy_proxy::Reached;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// How often the program checks whether hosts are up.
const LOOK: Duration = Duration::from_secs(1);

/// After how many checks in a row in which a host is not up its connections are cut off: while a
/// host makes a new lease, it is absent for a moment.
const LOOKS: u32 = 5;

/// Connections to the hosts with one role.
#[derive(Debug)]
pub(crate) struct Connections {
    role: Role,
    directory: Directory,
    links: Links,
    /// For each host, the token that cuts its connections off.
    connected: Mutex<HashMap<String, CancellationToken>>,
}

impl Connections {
    /// For hosts with this role.
    pub(crate) fn to(role: Role, directory: &Directory, links: &Links) -> Arc<Self> {
        let (directory, links) = (directory.clone(), links.clone());
        let connections = Arc::new(Self { role, directory, links, connected: Mutex::default() });
        tokio::spawn(watch(Arc::downgrade(&connections)));
        connections
    }

    pub(crate) async fn open(&self, name: &str) -> io::Result<Reached> {
        let host = self.directory.process(name, self.role);
        let host = host.ok_or(io::ErrorKind::HostUnreachable)?;
        let stream = self.links.attach(name, self.role, &host.value.address).await?;
        let mut connected = self.connected.lock().unwrap_or_else(PoisonError::into_inner);
        let lost = connected.entry(name.to_owned()).or_default().clone();
        Ok(Reached { stream, lost })
    }

    /// Cuts off the connections to hosts that were not up in several checks. While etcd is away, it
    /// is unknown which hosts are up.
    fn cut_off(&self, missed: &mut HashMap<String, u32>) {
        if self.directory.as_of().is_none_or(|as_of| as_of.stale) {
            return;
        }
        let mut connected = self.connected.lock().unwrap_or_else(PoisonError::into_inner);
        connected.retain(|name, lost| {
            if self.directory.process(name, self.role).is_some() {
                missed.remove(name);
                return true;
            }
            let looks = missed.entry(name.clone()).or_default();
            *looks += 1;
            if *looks < LOOKS {
                return true;
            }
            missed.remove(name);
            lost.cancel();
            tracing::warn!(host = name, "a host is lost: its sessions are cut off");
            false
        });
    }
}

async fn watch(connections: Weak<Connections>) {
    let mut missed = HashMap::new();
    while let Some(connections) = connections.upgrade() {
        connections.cut_off(&mut missed);
        drop(connections);
        sleep(LOOK).await;
    }
}
