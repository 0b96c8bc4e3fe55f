use serde_json::json;
use serialproxy_api::Auth;

use crate::bench::Bench;
use crate::bench::config;
use crate::fake::Fake;
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
        assert_eq!(shown["OS-EXT-STS:vm_state"], vm_state);
        assert_eq!(shown["OS-EXT-STS:power_state"], power_state);
        assert_eq!(shown["OS-EXT-STS:task_state"], json!(null));
        assert_eq!(shown["image"], "");
        assert_eq!(shown["flavor"], json!({}));
        let name = shown["name"].as_str().unwrap();
        let listed = bench.get(&format!("/v2.1/p/servers/detail?name={name}")).await.json();
        assert_eq!(listed["servers"][0]["status"], status);
    }
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
async fn a_name_filter_takes_any_part_of_the_name_as_it_is() {
    let fake = Fake { crowd: 12, ..Fake::default() };
    let bench = Bench::with(fake, &config(), Auth::Noauth);
    for (name, count) in
        [("web-", 12), ("web-000", 10), ("web-0003", 1), ("nope", 0), ("w.b", 0), ("%5B", 0)]
    {
        let answer = bench.get(&format!("/v2.1/servers?name={name}")).await.json();
        assert_eq!(answer["servers"].as_array().unwrap().len(), count, "{name}");
        assert!(answer.get("servers_links").is_none());
    }
}

#[tokio::test]
async fn following_the_next_links_shows_every_server_once_and_keeps_the_filter() {
    let fake = Fake { crowd: 12, ..Fake::default() };
    let bench = Bench::with(fake, &config(), Auth::Noauth);
    let mut next = Some("/v2.1/0fe7/servers?limit=5&name=web%2D&unknown=%26".to_owned());
    let mut seen = Vec::new();
    while let Some(path) = next {
        let page = bench.get(&path).await.json();
        seen.extend(page["servers"].as_array().unwrap().iter().map(|s| s["name"].to_string()));
        next = page.get("servers_links").map(|links| {
            let link = links[0]["href"].as_str().unwrap();
            let path = link.strip_prefix(HOST).unwrap().to_owned();
            assert!(path.contains("unknown=%26&limit=5&marker="), "{path}");
            path
        });
    }
    assert_eq!(seen.len(), 12);
    assert!(seen.is_sorted());
}

#[tokio::test]
async fn a_page_without_servers_has_no_successor_and_an_unknown_marker_is_refused() {
    let bench = Bench::new();
    let answer = bench.get("/v2.1/servers?limit=0").await;
    assert_eq!(answer.json(), json!({"servers": []}));
    let answer = bench.get("/v2.1/servers?marker=x").await;
    answer.is_fault(400, "badRequest", "marker [x] not found.");
}
