//! The hosts to drain, in etcd: api hosts write `draining/NAME`, and the host itself follows it.

use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;
use serde::Serialize;
use serialproxy_etcd::Bounds;
use serialproxy_etcd::Etcd;
use serialproxy_etcd::Watched;
use tokio::sync::watch;
use tokio::time::timeout;

/// The prefix of hosts by name.
pub(crate) const DRAINING: &str = "draining/";

/// The limits for what is followed.
const BOUNDS: Bounds = Bounds { entries: 10_000, value: 1024 };

/// How long a host that starts waits for this information, so that it accepts no sessions by
/// mistake.
const PATIENCE: Duration = Duration::from_secs(2);

/// The record of a host that must accept no new sessions.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Drained {
    /// Since when.
    pub since: Timestamp,
}

/// Whether the host of that name must drain, from now on. While etcd is away, the value stays as it
/// was.
pub async fn follow_drain(etcd: &Etcd, name: &str) -> watch::Receiver<bool> {
    let watched = etcd.watch(DRAINING, BOUNDS);
    let _ = timeout(PATIENCE, watched.listed()).await;
    let (telling, wanted) = watch::channel(false);
    tell(&telling, &watched, name);
    tokio::spawn(follow(watched, name.to_owned(), telling));
    wanted
}

async fn follow(watched: Watched<Drained>, name: String, telling: watch::Sender<bool>) {
    let mut news = watched.news();
    loop {
        news.borrow_and_update();
        tell(&telling, &watched, &name);
        tokio::select! {
            () = telling.closed() => return,
            changed = news.changed() => if changed.is_err() { return },
        }
    }
}

fn tell(telling: &watch::Sender<bool>, watched: &Watched<Drained>, name: &str) {
    let wanted = watched.get(name).is_some();
    let changed = telling.send_if_modified(|told| std::mem::replace(told, wanted) != wanted);
    match wanted {
        true if changed => tracing::info!("this host is drained: it takes no new sessions"),
        false if changed => tracing::info!("this host is not drained any more"),
        _ => {}
    }
}
