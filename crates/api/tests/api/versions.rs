//! How clients find the versions of the compute API and select one.

use axum::body::Body;
use axum::extract::Request;
use serde_json::Value;
use serde_json::json;
use serialproxy_api::Auth;

use crate::bench::ADMIN;
use crate::bench::Answer;
use crate::bench::Bench;
use crate::bench::config;
use crate::fake::Fake;

const HOST: &str = "http://api.example:8774";
const STANDARD: &str = "OpenStack-API-Version";
const LEGACY: &str = "X-OpenStack-Nova-API-Version";

async fn asked(bench: &Bench, uri: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::get(uri).header("x-auth-token", ADMIN);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    bench.send(request.body(Body::empty()).unwrap()).await
}

/// The version that an answer names; both headers name the same.
fn spoken(answer: &Answer) -> &str {
    let version = answer.header(LEGACY);
    assert_eq!(answer.header(STANDARD).strip_prefix("compute ").unwrap_or_default(), version);
    version
}

fn vary(answer: &Answer) -> Vec<&str> {
    let lines = answer.headers.get_all("vary").into_iter();
    lines.map(|line| line.to_str().unwrap()).collect()
}

#[tokio::test]
async fn version_documents_need_no_token_with_and_without_trailing_slash() {
    let bench = Bench::new();
    for (path, id, version, min_version, link) in [
        ("/v2.1", "v2.1", "2.31", "2.1", "/v2.1/"),
        ("/v2.1/", "v2.1", "2.31", "2.1", "/v2.1/"),
        ("/v2", "v2.0", "", "", "/v2/"),
        ("/v2/", "v2.0", "", "", "/v2/"),
    ] {
        let request = Request::get(path).header("host", "api.example:8774");
        let answer = bench.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status, 200, "{path}");
        let document = &answer.json()["version"];
        assert_eq!(document["id"], id);
        assert_eq!(document["version"], version);
        assert_eq!(document["min_version"], min_version);
        let link = json!({"rel": "self", "href": format!("{HOST}{link}")});
        assert_eq!(document["links"][0], link);
    }
}

#[tokio::test]
async fn version_documents_carry_id_status_version_min_version_and_a_self_link() {
    let bench = Bench::new();
    let list = bench.get("/").await.json();
    for (version, path) in [(&list["versions"][0], "/v2"), (&list["versions"][1], "/v2.1")] {
        let document = &bench.get(path).await.json()["version"];
        for key in ["id", "status", "version", "min_version", "updated"] {
            assert!(version[key].is_string(), "{key}");
            assert_eq!(version[key], document[key], "{key}");
        }
        assert_eq!(version["links"][0]["rel"], "self");
        assert_eq!(version["links"][0], document["links"][0]);
        assert!(document["media-types"][0]["type"].is_string());
    }
    assert_eq!(list["versions"][0]["status"], "DEPRECATED");
    assert_eq!(list["versions"][1]["status"], "CURRENT");
}

#[tokio::test]
async fn at_a_catalog_endpoint_with_a_project_clients_find_the_document_at_its_parent() {
    let bench = Bench::new();
    for project in ["/v2.1/0fe7", "/v2.1/0fe7/", "/v2/0fe7"] {
        // Also without a token: a 401 would make novaclient give up.
        let answer = bench.send(Request::get(project).body(Body::empty()).unwrap()).await;
        answer.is_fault(404, "itemNotFound", "The resource could not be found.");
        let parent = project.split("0fe7").next().unwrap();
        assert_eq!(bench.get(parent).await.status, 200);
        let call = format!("{parent}0fe7/servers");
        assert_eq!(bench.get(&call).await.status, 200);
    }
}

#[tokio::test]
async fn the_version_list_answers_any_method_and_needs_no_host() {
    let bench = Bench::new();
    for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "BREW"] {
        let request = Request::builder().method(method).uri("/");
        let answer = bench.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!((answer.status.as_u16(), spoken(&answer)), (200, ""), "{method}");
        assert!(vary(&answer).is_empty());
        if method != "HEAD" {
            // Without a `Host` header, links have only a path, which is all that clients use of
            // them.
            let link = answer.json()["versions"][1]["links"][0]["href"].clone();
            assert_eq!(link, "/v2.1/", "{method}");
        }
    }
}

#[tokio::test]
async fn other_places_offer_the_versions_to_choose_from() {
    let bench = Bench::new();
    for path in ["/nope", "//", "/serial.html", "/v4/x"] {
        let answer = bench.get(path).await;
        assert_eq!(answer.status, 300, "{path}");
        let links = |at: usize| answer.json()["choices"][at]["links"][0]["href"].clone();
        assert_eq!(links(0), format!("{HOST}/v2{path}"));
        assert_eq!(links(1), format!("{HOST}/v2.1{path}"));
    }
}

#[tokio::test]
async fn clients_get_the_newest_version_that_both_know() {
    let bench = Bench::new();
    for (headers, version) in [
        (&[][..], "2.1"),
        (&[(LEGACY, "2.6")], "2.6"),
        (&[(STANDARD, "compute 2.6")], "2.6"),
        (&[(STANDARD, "Compute   2.31")], "2.31"),
        (&[(STANDARD, "compute latest")], "2.31"),
        (&[(LEGACY, "latest")], "2.31"),
        // The standard header takes precedence.
        (&[(STANDARD, "compute 2.7"), (LEGACY, "2.6")], "2.7"),
        (&[(LEGACY, "x"), (STANDARD, "compute 2.7")], "2.7"),
        // Of several entries for compute the last one counts, over all lines.
        (&[(STANDARD, "compute 2.2, compute 2.8,volume 3.0")], "2.8"),
        (&[(STANDARD, "compute 2.2"), (STANDARD, "identity 3, compute 2.9")], "2.9"),
        // Entries for other services do not count.
        (&[(STANDARD, "volume 3.0")], "2.1"),
        (&[(STANDARD, "volume 3.0, compute"), (LEGACY, "2.6")], "2.6"),
        (&[(STANDARD, ""), (LEGACY, "")], "2.1"),
    ] {
        for uri in ["/v2.1/servers", "/v2.1/0fe7/servers", "/v2.1", "/v2.1/"] {
            let answer = asked(&bench, uri, headers).await;
            assert_eq!((answer.status.as_u16(), spoken(&answer)), (200, version), "{headers:?}");
            assert_eq!(vary(&answer), [STANDARD, LEGACY]);
        }
    }
}

#[tokio::test]
async fn a_version_that_is_none_is_400_and_names_none() {
    let bench = Bench::new();
    for text in ["x.y", "2", "2.01", "02.1", "2.1.1", "0.1", "LATEST", "2.1 x", "2.1,2.1"] {
        let answer = asked(&bench, "/v2.1/servers", &[(LEGACY, text)]).await;
        let message = format!(
            "API Version String {text} is of invalid format. Must be of format MajorNum.MinorNum."
        );
        answer.is_fault(400, "badRequest", &message);
        assert_eq!(spoken(&answer), "");
        assert!(vary(&answer).is_empty());
    }
    assert!(bench.fake.asked().is_empty());
}

#[tokio::test]
async fn only_versions_that_are_advertised_are_served_and_others_are_406() {
    let bench = Bench::new();
    for version in ["2.0", "2.32", "2.999", "3.0", "1.1", "10.1"] {
        let word = format!("compute {version}");
        let answer = asked(&bench, "/v2.1/servers", &[(STANDARD, &word)]).await;
        let message = format!(
            "Version {version} is not supported by the API. Minimum is 2.1 and maximum is 2.31."
        );
        answer.is_fault(406, "computeFault", &message);
        assert_eq!(spoken(&answer), version);
        assert_eq!(vary(&answer), [STANDARD, LEGACY]);
    }
    for minor in 1..=31 {
        let version = format!("2.{minor}");
        let answer = asked(&bench, "/v2.1/servers", &[(LEGACY, &version)]).await;
        assert_eq!((answer.status.as_u16(), spoken(&answer)), (200, version.as_str()));
    }
}

#[tokio::test]
async fn the_openapi_document_has_the_newest_version_for_an_example() {
    let bench = Bench::new();
    let newest = bench.get("/v2.1").await.json()["version"]["version"].clone();
    let parameters = bench.get("/v1/openapi.json").await.json()["components"]["parameters"].clone();
    assert_eq!(parameters[LEGACY]["example"], newest);
    let standard = parameters[STANDARD]["example"].as_str().unwrap();
    assert_eq!(standard.strip_prefix("compute "), newest.as_str());
}

#[tokio::test]
async fn below_v2_and_outside_of_nova_versions_are_neither_asked_for_nor_named() {
    let bench = Bench::new();
    for uri in ["/v2", "/v2/", "/v2/servers", "/v2/0fe7/servers", "/", "/v1/lines", "/v1/nope"] {
        for text in ["2.31", "2.999", "x"] {
            let answer = asked(&bench, uri, &[(LEGACY, text)]).await;
            assert_ne!(answer.status, 400, "{uri}");
            assert_ne!(answer.status, 406, "{uri}");
            assert_eq!(spoken(&answer), "", "{uri}");
            assert!(vary(&answer).is_empty());
        }
    }
}

#[tokio::test]
async fn faults_say_the_version_too() {
    let bench = Bench::new();
    for uri in ["/v2.1/servers/web", "/v2.1/nope", "/v2.1/servers?limit=x"] {
        let answer = asked(&bench, uri, &[(LEGACY, "2.7")]).await;
        assert!(answer.status.is_client_error(), "{uri}");
        assert_eq!(spoken(&answer), "2.7", "{uri}");
    }
}

#[tokio::test]
async fn a_path_or_method_that_nova_does_not_have_is_404_as_json() {
    let bench = Bench::new();
    for call in [
        "GET /v2.1/flavors/detail?is_public=None",
        "GET /v2.1/images?id=in%3A",
        "GET /v2.1/nope",
        "PUT /v2.1/servers",
        "DELETE /v2.1",
        "PUT /v2/0fe7/servers/detail",
        "GET /v2/0fe7/servers/x/get-serial-console",
    ] {
        let answer = bench.call(call, "").await;
        answer.is_fault(404, "itemNotFound", "The resource could not be found.");
    }
}

/// The base of links in the answer to a request with these headers.
async fn base(bench: &Bench, headers: &[(&str, &str)]) -> String {
    let answer = asked(bench, "/v2.1", headers).await.json();
    let link = answer["version"]["links"][0]["href"].as_str().unwrap();
    link.strip_suffix("/v2.1/").unwrap().to_owned()
}

#[tokio::test]
async fn a_host_that_is_none_is_not_put_into_links() {
    let bench = Bench::new();
    assert_eq!(base(&bench, &[("host", "a b\"><script>")]).await, "");
}

#[tokio::test]
async fn links_begin_with_the_configured_prefix() {
    let mut config = config();
    config.api.allowed_hosts.push("a".into());
    config.api.compute_link_prefix = Some("https://cloud.example/compute".into());
    let bench = Bench::with(Fake { crowd: 2, ..Fake::default() }, &config, Auth::Noauth);
    assert_eq!(base(&bench, &[("host", "a:8774")]).await, "https://cloud.example/compute");
    let page = bench.get("/v2.1/servers?limit=1").await.json();
    let starts = |link: &Value, with: &str| assert!(link.as_str().unwrap().starts_with(with));
    let place = "https://cloud.example/compute/v2.1/servers";
    starts(&page["servers"][0]["links"][0]["href"], &format!("{place}/"));
    starts(&page["servers_links"][0]["href"], &format!("{place}?limit=1"));
}

#[tokio::test]
async fn what_a_proxy_says_counts_only_where_it_is_believed() {
    let host = ("host", "a:8774");
    let proto = ("x-forwarded-proto", "https");
    let cases = [
        (vec![host], "http://a:8774"),
        (vec![host, proto], "https://a:8774"),
        (vec![host, proto, ("x-forwarded-host", "b")], "https://b"),
        (vec![host, ("x-forwarded-prefix", "/compute/")], "http://a:8774/compute"),
        (vec![host, ("x-forwarded-prefix", "//evil/\"")], "http://a:8774"),
        (vec![host, ("x-forwarded-host", "b, c")], "http://b"),
        (vec![host, proto, ("forwarded", "for=1;proto=http;host=\"c:1\", host=d")], "http://c:1"),
        (vec![host, ("forwarded", "Proto=https")], "https://a:8774"),
    ];
    let mut config = config();
    config.api.allowed_hosts.push("a".into());
    for believed in [true, false] {
        config.oslo_middleware.enable_proxy_headers_parsing = believed;
        let bench = Bench::with(Fake::default(), &config, Auth::Noauth);
        for (headers, expected) in &cases {
            let expected = if believed { *expected } else { "http://a:8774" };
            assert_eq!(base(&bench, headers).await, expected, "{headers:?}");
        }
    }
}
