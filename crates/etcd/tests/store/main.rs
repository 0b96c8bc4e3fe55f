//! The shared store against a real etcd.

#![allow(clippy::unwrap_used, reason = "a test ends there")]

mod failover;
mod leases;
mod tls;
mod values;
mod watching;

use serialproxy_e2e::etcd::Etcd as Nodes;
use serialproxy_etcd::Etcd;
use serialproxy_etcd::Settings;

const PREFIX: &str = "/serialproxy/v1/";

fn settings(nodes: &Nodes) -> Settings {
    Settings { endpoints: nodes.endpoints(), tls: None, user: None, prefix: PREFIX.into() }
}

fn client(nodes: &Nodes) -> Etcd {
    Etcd::new(settings(nodes)).unwrap()
}
