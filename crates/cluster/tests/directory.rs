//! The servers of a directory, page by page, with a real etcd.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use serialproxy_cluster::Directory;
use serialproxy_cluster::Listed;
use serialproxy_e2e::etcd::Etcd;
use serialproxy_e2e::within;
use serialproxy_etcd::Settings;
use serialproxy_proto::api::Status;
use serialproxy_proto::compute::Page;
use serialproxy_proto::compute::ServerMark;
use serialproxy_proto::id::ServerId;

const SERVERS: usize = 40;

/// Three servers share each name.
fn server(number: usize) -> (String, Listed) {
    let key = format!("servers/{}", ServerId::of_static(&number.to_string()));
    let listed = Listed {
        host: "h1".into(),
        name: format!("name-{}", number % 13),
        project: format!("project-{}", number % 2),
        status: Status::Active,
        ports: vec![0],
        unusable_ports: Vec::new(),
    };
    (key, listed)
}

/// All pages of that size, one after the other.
fn pages(directory: &Directory, project: Option<&str>, limit: usize) -> Vec<ServerMark> {
    let mut listed: Vec<ServerMark> = Vec::new();
    loop {
        let (project, after) = (project.map(str::to_owned), listed.last().cloned());
        let page = directory.servers(&Page { project, after, limit, changed_within: None });
        assert!(page.len() <= limit);
        listed.extend(page.iter().map(ServerMark::from));
        if page.len() < limit {
            return listed;
        }
    }
}

#[tokio::test]
async fn pages_of_servers_follow_each_other_by_name_and_leave_none_out() {
    let nodes = Etcd::start(1).await;
    let (endpoints, prefix) = (nodes.endpoints(), "/s/".to_owned());
    let settings = Settings { endpoints, tls: None, user: None, prefix };
    let etcd = serialproxy_etcd::Etcd::new(settings).unwrap();
    for (key, listed) in (0..SERVERS).map(server) {
        etcd.put(&key, &listed, None).await.unwrap();
    }
    let directory = Directory::follow(&etcd);
    within(directory.complete()).await;
    for limit in [1, 2, 7, SERVERS, SERVERS + 1] {
        let all = pages(&directory, None, limit);
        assert!(all.is_sorted(), "{all:?}");
        assert_eq!(all.len(), SERVERS);
        assert_eq!(pages(&directory, Some("project-1"), limit).len(), SERVERS / 2);
    }
}
