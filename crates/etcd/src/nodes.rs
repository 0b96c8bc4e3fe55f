//! The state of etcd's nodes.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::Etcd;
use crate::EtcdError;
use crate::error::Failure;
use crate::error::brief;
use crate::link::Link;

/// How long a node may take to report its state.
const DEADLINE: Duration = Duration::from_secs(1);

/// A node of etcd.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Node {
    /// Its URL, as the settings have it.
    pub endpoint: String,
    /// Its state, or why there is none.
    pub health: Result<Health, EtcdError>,
}

/// The state of a node.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Health {
    /// The version of its program.
    pub version: String,
    /// Size of its database in bytes.
    pub bytes: u64,
    /// Whether it knows a leader. Without one, etcd accepts no changes.
    pub has_leader: bool,
    /// Whether it is the leader.
    pub is_leader: bool,
}

impl Etcd {
    /// The state of each node, in the order of the settings. All are asked at once, over separate
    /// connections.
    pub async fn nodes(&self) -> Vec<Node> {
        let mut asked = JoinSet::new();
        for (turn, endpoint) in self.link.endpoints().iter().cloned().enumerate() {
            let link = Arc::clone(&self.link);
            asked.spawn(async move {
                let health = timeout(DEADLINE, ask(&link, turn)).await;
                let silent = |_| Err(EtcdError::Away("no answer in time".into()));
                (turn, Node { endpoint, health: health.unwrap_or_else(silent) })
            });
        }
        let mut nodes = asked.join_all().await;
        nodes.sort_by_key(|(turn, _)| *turn);
        nodes.into_iter().map(|(_, node)| node).collect()
    }
}

async fn ask(link: &Link, turn: usize) -> Result<Health, EtcdError> {
    let client = link.open(turn).await.map_err(EtcdError::from)?;
    let status = client.maintenance_client().status().await;
    let status = status.map_err(|error| EtcdError::from(Failure::from(error)))?;
    let id = status.header().map_or(0, |header| header.member_id());
    Ok(Health {
        version: brief(status.version()),
        bytes: u64::try_from(status.db_size()).unwrap_or_default(),
        has_leader: status.leader() != 0,
        is_leader: status.leader() != 0 && status.leader() == id,
    })
}
