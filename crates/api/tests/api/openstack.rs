use axum::body::Body;
use axum::extract::Request;
use serde_json::json;
use serialproxy_api::Auth;
use serialproxy_proto::api::Status;

use crate::bench::Bench;
use crate::bench::config;
use crate::fake::Fake;
use crate::fake::PROJECT;
use crate::fake::halted;
use crate::fake::running;

const HOST: &str = "http://api.example:8774";

#[tokio::test]
async fn servers_are_listed_with_links_that_keep_version_and_project() {
    let bench = Bench::new();
    let id = running();
    for (place, own, bookmark) in [
        ("/v2.1", "/v2.1", ""),
        ("/v2", "/v2", ""),
        ("/v2.1/0fe7", "/v2.1/0fe7", "/0fe7"),
        ("/v2/0fe7", "/v2/0fe7", "/0fe7"),
    ] {
        let answer = bench.get(&format!("{place}/servers?name=running")).await;
        let expected = json!({"servers": [{"id": id, "name": "running", "links": [
            {"rel": "self", "href": format!("{HOST}{own}/servers/{id}")},
            {"rel": "bookmark", "href": format!("{HOST}{bookmark}/servers/{id}")},
        ]}]});
        assert_eq!(answer.json(), expected);
    }
}

#[tokio::test]
async fn a_server_is_shown_in_novas_words() {
    let bench = Bench::new();
    for (id, status, vm_state, power_state) in
        [(running(), "ACTIVE", "active", 1), (halted(), "SHUTOFF", "stopped", 4)]
    {
        let shown = bench.get(&format!("/v2.1/servers/{id}")).await.json()["server"].clone();
        assert_eq!(shown["id"], json!(id));
        assert_eq!(shown["status"], status);
        assert_eq!(shown["tenant_id"], PROJECT);
        assert_eq!(shown["OS-EXT-STS:vm_state"], vm_state);
        assert_eq!(shown["OS-EXT-STS:power_state"], power_state);
        let flavor = &shown["flavor"]["links"][0]["href"];
        assert_eq!(*flavor, format!("{HOST}/flavors/none"));
        let name = shown["name"].as_str().unwrap();
        let listed = bench.get(&format!("/v2.1/p/servers/detail?name={name}")).await.json();
        assert_eq!(listed["servers"][0]["status"], status);
    }
}

/// The properties of `running` in a microversion.
async fn keys(bench: &Bench, place: &str, version: &str) -> Vec<String> {
    let uri = format!("{place}/servers/{}", running());
    let request = Request::get(uri).header("x-openstack-nova-api-version", version);
    let answer = bench.send(request.body(Body::empty()).unwrap()).await.json();
    answer["server"].as_object().unwrap().keys().cloned().collect()
}

#[tokio::test]
async fn later_microversions_show_more_of_a_server() {
    let bench = Bench::with(Fake::default(), &config(), Auth::Noauth);
    let first = keys(&bench, "/v2.1", "2.1").await;
    for key in [
        "accessIPv4",
        "addresses",
        "created",
        "hostId",
        "image",
        "key_name",
        "security_groups",
        "user_id",
        "OS-EXT-STS:task_state",
        "OS-EXT-SRV-ATTR:host",
    ] {
        assert!(first.contains(&key.to_owned()), "{key}");
    }
    let mut last = first.clone();
    for (minor, key) in [
        (3, "OS-EXT-SRV-ATTR:hostname"),
        (9, "locked"),
        (16, "host_status"),
        (19, "description"),
        (26, "tags"),
    ] {
        let before = keys(&bench, "/v2.1", &format!("2.{}", minor - 1)).await;
        assert_eq!(before, last, "{key}");
        assert!(!before.contains(&key.to_owned()));
        last = keys(&bench, "/v2.1", &format!("2.{minor}")).await;
        assert!(last.contains(&key.to_owned()), "{key}");
    }
    assert_eq!(keys(&bench, "/v2.1", "2.31").await, last);
    assert_eq!(keys(&bench, "/v2", "2.31").await, first);
}

#[tokio::test]
async fn administrators_see_the_host_and_a_lost_one_is_unknown_as_nova_has_it() {
    let fake = Fake { status: Some(Status::HostLost), ..Fake::default() };
    let bench = Bench::with(fake, &config(), Auth::Noauth);
    let id = running();
    let server = bench.get(&format!("/v1/servers/{id}")).await.json()["server"].clone();
    assert_eq!(
        (&server["status"], &server["host"]),
        (&"HOST_LOST".into(), &crate::fake::HOST.into())
    );
    let server = bench.get(&format!("/v2.1/servers/{id}")).await.json()["server"].clone();
    assert_eq!((&server["status"], &server["host_status"]), (&"UNKNOWN".into(), &"DOWN".into()));
    for key in ["OS-EXT-SRV-ATTR:host", "OS-EXT-SRV-ATTR:hypervisor_hostname"] {
        assert_eq!(server[key], crate::fake::HOST);
    }
    for (status, count) in [("unknown", 1), ("ACTIVE", 0), ("HOST_LOST", 0)] {
        let answer = bench.get(&format!("/v2.1/servers?status={status}")).await.json();
        assert_eq!(answer["servers"].as_array().unwrap().len(), count, "{status}");
    }
    let call = format!("POST /v2.1/servers/{id}/action");
    let answer = bench.call(&call, r#"{"os-start": null}"#).await;
    answer.is_fault(503, "serviceUnavailable", "does not respond");
}

#[tokio::test]
async fn a_name_in_place_of_an_id_is_404_so_that_clients_search_for_it() {
    let bench = Bench::new();
    for path in ["/v2.1/servers/running", "/v2/demo/servers/running"] {
        let answer = bench.get(path).await;
        answer.is_fault(404, "itemNotFound", "Instance running could not be found.");
    }
}

#[tokio::test]
async fn a_name_filter_takes_a_part_of_the_name_or_a_pattern() {
    let fake = Fake { crowd: 12, ..Fake::default() };
    let bench = Bench::with(fake, &config(), Auth::Noauth);
    for (name, count) in [
        ("web-", 12),
        ("web-000", 10),
        ("web-0003", 1),
        ("nope", 0),
        ("w.b", 12),
        ("%5Eeb", 0),
        ("%5Eweb-000%5B12%5D$", 2),
    ] {
        let answer = bench.get(&format!("/v2.1/servers?name={name}")).await.json();
        assert_eq!(answer["servers"].as_array().unwrap().len(), count, "{name}");
        assert!(answer.get("servers_links").is_none());
    }
}

#[tokio::test]
async fn a_pattern_that_is_none_is_400() {
    let bench = Bench::new();
    let answer = bench.get("/v2.1/servers?name=%5B").await;
    answer.is_fault(400, "badRequest", "name: '[' is not a supported regular expression");
}

#[tokio::test]
async fn lists_take_the_filters_that_clients_send() {
    let bench = Bench::new();
    for (query, names) in [
        ("", &["halted", "running"][..]),
        ("?deleted=False&changes-since=x&unknown", &["halted", "running"]),
        ("?deleted=True", &[]),
        ("?status=ACTIVE", &["running"]),
        ("?status=shutoff", &["halted"]),
        ("?status=ACTIVE&status=SHUTOFF", &["halted", "running"]),
        ("?status=NONE", &[]),
        ("?all_tenants=1", &["halted", "running"]),
        ("?all_tenants=", &["halted", "running"]),
        ("?all_tenants=True&project_id=demo", &["halted", "running"]),
        ("?all_tenants=True&project_id=other", &[]),
        ("?all_tenants=True&tenant_id=other", &[]),
        ("?project_id=other", &[]),
        ("?marker=", &["halted", "running"]),
    ] {
        for place in ["/v2.1/servers", "/v2.1/servers/detail"] {
            let answer = bench.get(&format!("{place}{query}")).await.json();
            let servers = answer["servers"].as_array().unwrap().iter();
            let found: Vec<_> = servers.map(|server| server["name"].as_str().unwrap()).collect();
            assert_eq!(found, names, "{query}");
        }
    }
    let answer = bench.get("/v2.1/servers?all_tenants=x").await;
    answer.is_fault(400, "badRequest", "all_tenants: 'x'");
}

#[tokio::test]
async fn following_the_next_links_shows_every_server_once_and_keeps_the_filter() {
    let fake = Fake { crowd: 12, ..Fake::default() };
    let bench = Bench::with(fake, &config(), Auth::Noauth);
    for place in ["/v2.1/0fe7/servers", "/v2/servers/detail"] {
        let mut next = Some(format!("{place}?limit=5&name=web%2D&unknown=%26"));
        let mut seen = Vec::new();
        while let Some(path) = next {
            let page = bench.get(&path).await.json();
            seen.extend(page["servers"].as_array().unwrap().iter().map(|s| s["name"].to_string()));
            next = page.get("servers_links").map(|links| {
                let link = links[0]["href"].as_str().unwrap();
                let path = link.strip_prefix(HOST).unwrap().to_owned();
                assert!(path.starts_with(place), "{path}");
                assert!(path.contains("unknown=%26&limit=5&marker="), "{path}");
                path
            });
        }
        assert_eq!(seen.len(), 12);
        assert!(seen.is_sorted());
    }
}

#[tokio::test]
async fn a_page_without_servers_has_no_successor_and_an_unknown_marker_is_refused() {
    let bench = Bench::new();
    let answer = bench.get("/v2.1/servers?limit=0").await;
    assert_eq!(answer.json(), json!({"servers": []}));
    let answer = bench.get("/v2.1/servers?marker=x").await;
    answer.is_fault(400, "badRequest", "marker [x] not found.");
}
