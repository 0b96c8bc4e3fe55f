//! Tests of grants, both in a file and in etcd.

#![allow(clippy::unwrap_used, reason = "a test ends there")]

mod api_tokens;
mod file;
mod links;
mod permissions;
mod shared;
mod tokens;
mod users;

use jiff::Timestamp;
use serialproxy_e2e::etcd::Etcd as Nodes;
use serialproxy_etcd::Etcd;
use serialproxy_etcd::Settings;
use serialproxy_grants::Grants;
use serialproxy_proto::id::LineKey;
use serialproxy_proto::id::ServerId;
use serialproxy_proto::token::Grant;
use serialproxy_proto::token::Mode;

/// Makes two tests of each function: on a file, and on an etcd.
macro_rules! everywhere {
    ($(async fn $name:ident($grants:ident) $test:block)*) => { $(
        mod $name {
            use super::*;

            async fn holds($grants: &Grants) $test

            #[tokio::test]
            async fn in_a_file() {
                let directory = tempfile::tempdir().unwrap();
                holds(&Grants::open(&directory.path().join("store.sqlite")).unwrap()).await;
            }

            #[tokio::test]
            async fn in_etcd() {
                let nodes = Nodes::start(1).await;
                holds(&$crate::on(&nodes)).await;
            }
        }
    )* };
}
use everywhere;

fn settings(nodes: &Nodes) -> Settings {
    let (endpoints, prefix) = (nodes.endpoints(), "/serialproxy/v1/".into());
    Settings { endpoints, tls: None, user: None, prefix }
}

/// The grants in this etcd, over a connection of their own.
fn on(nodes: &Nodes) -> Grants {
    Grants::on(Etcd::new(settings(nodes)).unwrap())
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn a_grant(name: &str, expires: Timestamp) -> Grant {
    Grant {
        line: LineKey { server: ServerId::of_static(name), port: 1 },
        project: "p".into(),
        user: "alice".into(),
        mode: Mode::Watch,
        operator: true,
        wait: false,
        expires,
        host: None,
        link: None,
    }
}
