//! Consoles in Nova's API. The tests whose names begin with `test_` check what Nova's own tests of
//! these names check.

use axum::body::Body;
use axum::extract::Request;
use serde_json::Value;
use serde_json::json;
use serialproxy_api::Auth;
use serialproxy_proto::api::Status;
use serialproxy_proto::compute::ComputeError;
use serialproxy_proto::id::ServerId;

use crate::bench::ADMIN;
use crate::bench::Answer;
use crate::bench::BASE;
use crate::bench::Bench;
use crate::bench::config;
use crate::fake::Fake;
use crate::fake::halted;
use crate::fake::running;

pub(crate) const LEGACY: &str = r#"{"os-getSerialConsole": {"type": "serial"}}"#;

fn bench(fake: Fake) -> Bench {
    Bench::with(fake, &config(), Auth::Noauth)
}

fn failing(error: ComputeError) -> Bench {
    bench(Fake { error: Some(error), ..Fake::default() })
}

pub(crate) async fn post(bench: &Bench, uri: &str, version: &str, body: &str) -> Answer {
    let request = Request::post(uri)
        .header("x-auth-token", ADMIN)
        .header("content-type", "application/json")
        .header("x-openstack-nova-api-version", version);
    bench.send(request.body(Body::from(body.to_owned())).unwrap()).await
}

pub(crate) async fn legacy(bench: &Bench, server: ServerId, body: &str) -> Answer {
    post(bench, &format!("/v2.1/servers/{server}/action"), "2.1", body).await
}

pub(crate) async fn create_as(
    bench: &Bench,
    server: ServerId,
    version: &str,
    body: &str,
) -> Answer {
    post(bench, &format!("/v2.1/servers/{server}/remote-consoles"), version, body).await
}

fn wanted(protocol: &str, kind: &str) -> String {
    json!({"remote_console": {"protocol": protocol, "type": kind}}).to_string()
}

async fn create(bench: &Bench, server: ServerId) -> Answer {
    create_as(bench, server, "2.6", &wanted("serial", "serial")).await
}

/// The answers of both calls that create a console.
async fn both(bench: &Bench, server: ServerId) -> [Answer; 2] {
    [legacy(bench, server, LEGACY).await, create(bench, server).await]
}

#[track_caller]
fn is_url(url: &Value) {
    let token = url.as_str().unwrap().strip_prefix(BASE).unwrap().strip_prefix("?token=").unwrap();
    assert_eq!(token.len(), 36);
    assert_eq!(uuid::Uuid::parse_str(token).unwrap().get_version_num(), 4);
}

#[tokio::test]
async fn the_action_of_horizon_and_the_call_of_the_command_line_both_work() {
    let bench = Bench::new();
    for answer in both(&bench, running()).await {
        assert_eq!(answer.status, 200);
    }
}

#[tokio::test]
async fn success_is_exactly_200_in_every_place_and_microversion() {
    let bench = Bench::new();
    let id = running();
    for place in ["/v2.1", "/v2.1/0fe7", "/v2", "/v2/0fe7"] {
        for version in ["2.1", "2.5", "2.6", "2.31", "latest"] {
            let uri = format!("{place}/servers/{id}/action");
            let answer = post(&bench, &uri, version, LEGACY).await;
            assert_eq!(answer.status, 200, "{uri} {version}");
            assert_eq!(answer.header("content-type"), "application/json");
            let uri = format!("{place}/servers/{id}/remote-consoles");
            let answer = post(&bench, &uri, version, &wanted("serial", "serial")).await;
            let has_it = place.starts_with("/v2.1") && !["2.1", "2.5"].contains(&version);
            if has_it {
                assert_eq!(answer.status, 200, "{uri} {version}");
            } else {
                answer.is_fault(404, "itemNotFound", "The resource could not be found.");
            }
        }
    }
}

#[tokio::test]
async fn the_url_is_base_url_and_token_and_nothing_else() {
    let bench = Bench::new();
    let [old, new] = both(&bench, running()).await;
    is_url(&old.json()["console"]["url"]);
    is_url(&new.json()["remote_console"]["url"]);
}

#[tokio::test]
async fn errors_are_json_with_a_name_a_code_and_a_message() {
    let bench = Bench::new();
    let unknown = ServerId("11111111-2222-4333-8444-555555555555".parse().unwrap());
    for answer in both(&bench, unknown).await {
        assert_eq!(answer.header("content-type"), "application/json");
        let message = format!("Instance {unknown} could not be found.");
        assert_eq!(answer.json(), json!({"itemNotFound": {"code": 404, "message": message}}));
    }
}

#[tokio::test]
async fn test_get_serial_console() {
    let bench = Bench::new();
    let answer = legacy(&bench, running(), LEGACY).await;
    let console = answer.json()["console"].clone();
    assert_eq!(answer.json().as_object().unwrap().len(), 1);
    assert_eq!(console.as_object().unwrap().len(), 2);
    assert_eq!(console["type"], "serial");
    is_url(&console["url"]);
    let asked = format!("console {}/0 wait=false", running());
    assert_eq!(bench.fake.asked(), [asked]);
}

#[tokio::test]
async fn test_get_serial_console_not_enable() {
    let bench = Bench::local(Fake { disabled: true, ..Fake::default() }, &config());
    for answer in both(&bench, running()).await {
        answer.is_fault(400, "badRequest", "Unavailable console type serial.");
    }
}

#[tokio::test]
async fn test_get_serial_console_invalid_type() {
    let bench = Bench::new();
    let answer = legacy(&bench, running(), r#"{"os-getSerialConsole": {"type": "invalid"}}"#).await;
    let message = "Invalid input for field/attribute type. Value: invalid. 'invalid' is not one \
                   of ['serial']";
    answer.is_fault(400, "badRequest", message);
}

#[tokio::test]
async fn test_get_serial_console_no_type() {
    let bench = Bench::new();
    let answer = legacy(&bench, running(), r#"{"os-getSerialConsole": {}}"#).await;
    let message = "Invalid input for field/attribute os-getSerialConsole. Value: {}. 'type' is a \
                   required property";
    answer.is_fault(400, "badRequest", message);
}

#[tokio::test]
async fn test_get_serial_console_no_instance() {
    let bench = Bench::new();
    let unknown = ServerId(uuid::Uuid::from_u128(1));
    let answer = legacy(&bench, unknown, LEGACY).await;
    let message = format!("Instance {unknown} could not be found.");
    answer.is_fault(404, "itemNotFound", &message);
}

#[tokio::test]
async fn test_get_serial_console_instance_not_ready() {
    let bench = failing(ComputeError::Conflict("Instance x is not ready".into()));
    let answer = legacy(&bench, running(), LEGACY).await;
    answer.is_fault(409, "conflictingRequest", "is not ready");
}

/// Nova's own test covers only VNC: for serial consoles, Nova answers 500.
#[tokio::test]
async fn test_get_serial_console_instance_invalid_state() {
    let bench = Bench::new();
    for answer in both(&bench, halted()).await {
        answer.is_fault(409, "conflictingRequest", "is SHUTOFF");
    }
    // The output before the pause can be read, and the console goes on when the guest does.
    let paused = self::bench(Fake { status: Some(Status::Paused), ..Fake::default() });
    for answer in both(&paused, running()).await {
        assert_eq!(answer.status, 200);
    }
}

/// The caller reads what the compute role finds wrong with a server's ports.
async fn refused_for(reason: &str) {
    let bench = failing(ComputeError::Invalid(reason.into()));
    for answer in both(&bench, running()).await {
        answer.is_fault(400, "badRequest", reason);
    }
}

#[tokio::test]
async fn test_get_serial_console_socket_exhausted() {
    refused_for("Not able to acquire a free port for 127.0.0.1").await;
}

#[tokio::test]
async fn test_get_serial_console_image_nport_invalid() {
    refused_for("Number of serial ports specified in flavor is invalid").await;
}

#[tokio::test]
async fn test_get_serial_console_image_nport_exceed() {
    refused_for("Forbidden to exceed flavor value of number of serial ports").await;
}

#[tokio::test]
async fn test_create_serial_console() {
    let bench = Bench::new();
    let answer = create(&bench, running()).await;
    let console = answer.json()["remote_console"].clone();
    assert_eq!(answer.json().as_object().unwrap().len(), 1);
    assert_eq!(console.as_object().unwrap().len(), 3);
    assert_eq!(console["protocol"], "serial");
    assert_eq!(console["type"], "serial");
    is_url(&console["url"]);
    let asked = format!("console {}/0 wait=false", running());
    assert_eq!(bench.fake.asked(), [asked]);
}

#[tokio::test]
async fn test_create_console_instance_not_ready() {
    let bench = failing(ComputeError::Conflict("Instance x is not ready".into()));
    create(&bench, running()).await.is_fault(409, "conflictingRequest", "is not ready");
}

#[tokio::test]
async fn test_create_console_unavailable() {
    let bench = bench(Fake { portless: true, ..Fake::default() });
    for answer in both(&bench, running()).await {
        answer.is_fault(400, "badRequest", "Unavailable console type serial.");
    }
}

#[tokio::test]
async fn test_create_console_not_found() {
    let bench = Bench::new();
    let unknown = ServerId(uuid::Uuid::from_u128(1));
    let message = format!("Instance {unknown} could not be found.");
    create(&bench, unknown).await.is_fault(404, "itemNotFound", &message);
}

#[tokio::test]
async fn test_create_console_not_implemented() {
    let text = "The requested functionality is not supported.";
    let bench = failing(ComputeError::Unsupported(text.into()));
    for answer in both(&bench, running()).await {
        answer.is_fault(501, "notImplemented", text);
    }
}

#[tokio::test]
async fn test_create_console_nport_invalid() {
    refused_for("Number of serial ports specified in flavor is invalid").await;
}

#[tokio::test]
async fn test_create_console_nport_exceed() {
    refused_for("Forbidden to exceed flavor value of number of serial ports").await;
}

#[tokio::test]
async fn test_create_console_socket_exhausted() {
    refused_for("Not able to acquire a free port for 127.0.0.1").await;
}

#[tokio::test]
async fn test_create_console_invalid_type() {
    let bench = Bench::new();
    for (protocol, kind) in [("serial", "novnc"), ("vnc", "serial"), ("spice", "xvpvnc")] {
        let answer = create_as(&bench, running(), "2.6", &wanted(protocol, kind)).await;
        answer.is_fault(400, "badRequest", &format!("Invalid console type {kind}"));
    }
}

#[tokio::test]
async fn test_create_rdp_console_bad_request() {
    let bench = Bench::new();
    let answer = create_as(&bench, running(), "2.6", &wanted("rdp", "rdp-html5")).await;
    let message = "The server could not comply with the request since it is either malformed or \
                   otherwise incorrect.";
    answer.is_fault(400, "badRequest", message);
}

#[tokio::test]
async fn test_create_mks_console() {
    let bench = Bench::new();
    let body = wanted("mks", "webmks");
    let answer = create_as(&bench, running(), "2.7", &body).await;
    answer.is_fault(400, "badRequest", "'mks' is not one of ['vnc', 'spice', 'serial', 'rdp']");
    let answer = create_as(&bench, running(), "2.8", &body).await;
    answer.is_fault(400, "badRequest", "Unavailable console type webmks.");
}

#[tokio::test]
async fn test_create_spice_direct_console() {
    let bench = Bench::new();
    // Microversion 2.99 added this type, and is not supported here.
    let answer = create_as(&bench, running(), "latest", &wanted("spice", "spice-direct")).await;
    answer.is_fault(400, "badRequest", "'spice-direct' is not one of ['novnc', ");
}

#[tokio::test]
async fn other_consoles_than_serial_ones_are_unavailable() {
    let bench = Bench::new();
    for (protocol, kind) in [("vnc", "novnc"), ("vnc", "xvpvnc"), ("spice", "spice-html5")] {
        let answer = create_as(&bench, running(), "2.6", &wanted(protocol, kind)).await;
        answer.is_fault(400, "badRequest", &format!("Unavailable console type {kind}."));
    }
    assert!(bench.fake.asked().is_empty());
}
