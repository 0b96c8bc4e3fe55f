//! The console output that Nova's clients read without attaching to the console.

use serde_json::json;
use serialproxy_api::Auth;
use serialproxy_proto::compute::ComputeError;
use serialproxy_proto::id::ServerId;

use crate::bench::Answer;
use crate::bench::Bench;
use crate::bench::config;
use crate::fake::FIRST;
use crate::fake::Fake;
use crate::fake::halted;
use crate::fake::running;

fn bench(printed: impl Into<Vec<u8>>) -> Bench {
    with(Fake { printed: Some(printed.into()), ..Fake::default() })
}

fn with(fake: Fake) -> Bench {
    Bench::with(fake, &config(), Auth::Noauth)
}

async fn act(bench: &Bench, id: ServerId, body: &str) -> Answer {
    bench.call(&format!("POST /v2.1/servers/{id}/action"), body.to_owned()).await
}

async fn output(bench: &Bench, arguments: &str) -> String {
    let body = format!(r#"{{"os-getConsoleOutput": {arguments}}}"#);
    let answer = act(bench, running(), &body).await;
    assert_eq!(answer.status, 200, "{body}");
    let json = answer.json();
    assert_eq!(json.as_object().unwrap().len(), 1);
    json["output"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_last_lines_come_in_the_form_that_clients_ask_for() {
    let bench = bench("one\r\n\x1b[0mtwo\r\nthree\r\n");
    let whole = "one\n[0mtwo\nthree\n";
    for arguments in [
        "{}",
        r#"{"length": null}"#,
        r#"{"length": -1}"#,
        r#"{"length": "-1"}"#,
        r#"{"length": 99}"#,
    ] {
        assert_eq!(output(&bench, arguments).await, whole, "{arguments}");
    }
    assert_eq!(output(&bench, r#"{"length": 2}"#).await, "three\n");
    assert_eq!(output(&bench, r#"{"length": "3"}"#).await, "[0mtwo\nthree\n");
    assert_eq!(output(&bench, r#"{"length": 0}"#).await, "");
    let beyond = r#"{"length": "99999999999999999999"}"#;
    assert_eq!(output(&bench, beyond).await, whole);
}

#[tokio::test]
async fn below_v2_what_nobody_asked_for_is_ignored() {
    let bench = bench("a");
    let body = r#"{"os-getConsoleOutput": {"length": 5, "more": 1}}"#;
    let call = |place: &str| format!("POST {place}/servers/{}/action", running());
    assert_eq!(bench.call(&call("/v2"), body).await.json(), json!({"output": "a"}));
    bench.call(&call("/v2.1"), body).await.is_fault(400, "badRequest", "('more' was unexpected)");
}

#[tokio::test]
async fn a_server_without_a_console_has_no_output() {
    let bench = with(Fake { portless: true, ..Fake::default() });
    let answer = act(&bench, running(), r#"{"os-getConsoleOutput": {}}"#).await;
    answer.is_fault(404, "itemNotFound", "Guest does not have a console available.");
}

#[tokio::test]
async fn output_that_a_driver_does_not_have_is_501() {
    let error = ComputeError::Unsupported("no output".into());
    let bench = with(Fake { error: Some(error), ..Fake::default() });
    let answer = act(&bench, running(), r#"{"os-getConsoleOutput": {}}"#).await;
    answer.is_fault(501, "notImplemented", "no output");
}

#[tokio::test]
async fn both_generations_have_it_with_and_without_a_project() {
    let bench = bench("a");
    for place in ["/v2.1", "/v2", "/v2.1/demo", "/v2/demo"] {
        let call = format!("POST {place}/servers/{}/action", running());
        let answer = bench.call(&call, r#"{"os-getConsoleOutput": {}}"#).await;
        assert_eq!((answer.status.as_u16(), answer.json()), (200, json!({"output": "a"})));
    }
}

#[tokio::test]
async fn what_is_no_text_is_replaced() {
    assert_eq!(output(&bench(*b"a\xff\xc3\xbc"), "{}").await, "a\u{fffd}\u{fc}");
}

#[tokio::test]
async fn the_newest_hundred_kibibytes_are_the_most() {
    let printed: String = (0..30_000).map(|line| format!("{line:07}\n")).collect();
    let got = output(&bench(printed.as_str()), "{}").await;
    assert_eq!(got.len(), 102_400);
    assert!(printed.ends_with(&got));
    let got = output(&bench(printed.as_str()), r#"{"length": 20000}"#).await;
    assert_eq!(got.len(), 102_400);
}

#[tokio::test]
async fn nothing_from_before_a_gap_is_glued_to_what_is_after_it() {
    for (from, to) in [(0, 1), (100, 101), (100, 999), (0, 1000), (999, 1000)] {
        let printed = [vec![b'a'; to], vec![b'b'; 1000 - to]].concat();
        let gap = FIRST + from..FIRST + u64::try_from(to).unwrap();
        let bench = with(Fake { printed: Some(printed), gap, ..Fake::default() });
        assert_eq!(output(&bench, "{}").await, "b".repeat(1000 - to), "{from} {to}");
    }
}

#[tokio::test]
async fn a_server_that_has_printed_nothing_is_not_ready_unless_it_runs() {
    let bench = bench("");
    assert_eq!(output(&bench, "{}").await, "");
    let answer = act(&bench, halted(), r#"{"os-getConsoleOutput": {}}"#).await;
    answer.is_fault(409, "conflictingRequest", &format!("Instance {} is not ready", halted()));
    let unknown: ServerId = "11111111-2222-4333-8444-555555555555".parse().unwrap();
    let answer = act(&bench, unknown, r#"{"os-getConsoleOutput": {}}"#).await;
    answer.is_fault(404, "itemNotFound", &format!("Instance {unknown} could not be found."));
}

#[tokio::test]
async fn a_wrong_action_is_told_what_is_wrong_in_nova_s_words() {
    let bench = bench("a");
    for (body, message) in [
        ("", "Malformed request body"),
        ("[]", "Malformed request body"),
        ("{}", "Malformed request body"),
        (r#"{"os-getConsoleOutput": {}, "b": {}}"#, "Malformed request body"),
        (r#"{"os-nope": {}}"#, "There is no such action: os-nope"),
        (r#"{"os-getConsoleOutput": null}"#, "None is not of type 'object'"),
        (r#"{"os-getConsoleOutput": {"a": 1}}"#, "('a' was unexpected)"),
        (r#"{"os-getConsoleOutput": {"length": -2}}"#, "-2 is less than the minimum of -1"),
        (r#"{"os-getConsoleOutput": {"length": 2.5}}"#, "2.5 is not of type 'integer'"),
        (r#"{"os-getConsoleOutput": {"length": true}}"#, "True is not of type 'integer'"),
        (r#"{"os-getConsoleOutput": {"length": NaN}}"#, "Malformed request body"),
        (r#"{"os-getConsoleOutput": {"length": ""}}"#, "'' does not match '^-?[0-9]+$'"),
        (r#"{"os-getConsoleOutput": {"length": "+1"}}"#, "'+1' does not match"),
        (r#"{"os-getConsoleOutput": {"length": "-2"}}"#, "'-2' is less than the minimum of -1"),
        (
            r#"{"os-getConsoleOutput": {"length": "-99999999999999999999"}}"#,
            "is less than the minimum of -1",
        ),
        (r#"{"os-getConsoleOutput": {"length": "abc"}}"#, "does not match '^-?[0-9]+$'"),
    ] {
        act(&bench, running(), body).await.is_fault(400, "badRequest", message);
    }
}
