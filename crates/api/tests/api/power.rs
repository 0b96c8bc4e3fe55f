//! Start, stop and reboot, requested as Nova's clients do.

use serialproxy_api::Auth;
use serialproxy_proto::api::Status;
use serialproxy_proto::compute::ComputeError;
use tokio::sync::Notify;

use crate::bench::Answer;
use crate::bench::Bench;
use crate::bench::config;
use crate::fake::Fake;
use crate::fake::running;

const STATUSES: [Status; 5] =
    [Status::Active, Status::Error, Status::Paused, Status::Shutoff, Status::Suspended];

fn bench(fake: Fake) -> Bench {
    Bench::with(fake, &config(), Auth::Noauth)
}

async fn act(bench: &Bench, body: &str) -> Answer {
    bench.call(&format!("POST /v2.1/servers/{}/action", running()), body.to_owned()).await
}

#[tokio::test]
async fn a_change_is_accepted_where_novas_states_allow_it() {
    let hard = r#"{"reboot": {"type": "HARD"}}"#;
    for (body, word, allowed) in [
        (r#"{"os-start": null}"#, "start", &[(Status::Shutoff, "Start")][..]),
        (r#"{"os-stop": null}"#, "stop", &[(Status::Active, "Stop("), (Status::Error, "Stop(")]),
        (r#"{"reboot": {"type": "SOFT"}}"#, "reboot", &[(Status::Active, "Reboot")]),
        (r#"{"pause": null}"#, "pause", &[(Status::Active, "Pause")]),
        (r#"{"unpause": null}"#, "unpause", &[(Status::Paused, "Resume")]),
        (
            hard,
            "reboot",
            &[
                (Status::Active, "Reset"),
                (Status::Error, "Reset"),
                (Status::Paused, "Reset"),
                (Status::Shutoff, "Start"),
                (Status::Suspended, "Start"),
            ],
        ),
    ] {
        for status in STATUSES {
            let bench = bench(Fake { status: Some(status), ..Fake::default() });
            let answer = act(&bench, body).await;
            if let Some((_, power)) = allowed.iter().find(|(allowed, _)| *allowed == status) {
                assert_eq!((answer.status.as_u16(), answer.body.len()), (202, 0), "{body}");
                let asked = bench.fake.asked();
                assert_eq!(asked.len(), 1);
                assert!(asked[0].starts_with(power), "{asked:?}");
            } else {
                let text =
                    format!("Cannot '{word}' instance {} while it is in vm_state ", running());
                answer.is_fault(409, "conflictingRequest", &text);
                assert!(bench.fake.asked().is_empty());
            }
        }
    }
}

#[tokio::test]
async fn starting_what_runs_is_refused_in_novas_words() {
    let answer = act(&bench(Fake::default()), r#"{"os-start": null}"#).await;
    let id = running();
    let text = format!("Cannot 'start' instance {id} while it is in vm_state active");
    assert_eq!(answer.fault(), ("conflictingRequest".into(), text));
}

#[tokio::test(start_paused = true)]
async fn a_change_that_takes_its_time_is_answered_and_goes_on() {
    let bench = bench(Fake { gate: Some(Notify::new()), ..Fake::default() });
    let answer = act(&bench, r#"{"os-stop": null}"#).await;
    assert_eq!((answer.status.as_u16(), answer.body.len()), (202, 0));
    assert!(bench.fake.asked().is_empty());
    bench.fake.gate.as_ref().unwrap().notify_one();
    while bench.fake.asked().is_empty() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_change_that_fails_at_once_is_told() {
    let error = ComputeError::Unsupported("it has no power to change".into());
    let bench = bench(Fake { powerless: Some(error), ..Fake::default() });
    let answer = act(&bench, r#"{"os-stop": null}"#).await;
    answer.is_fault(501, "notImplemented", "it has no power to change");
}

#[tokio::test]
async fn a_reboot_says_of_which_type() {
    let bench = bench(Fake::default());
    for kind in ["HARD", "Hard", "hard", "SOFT", "Soft", "soft"] {
        let body = format!(r#"{{"reboot": {{"type": "{kind}"}}}}"#);
        assert_eq!(act(&bench, &body).await.status, 202, "{kind}");
    }
    for (body, message) in [
        (r#"{"reboot": {"type": "sOFT"}}"#, "'sOFT' is not one of ['HARD', 'Hard', 'hard', "),
        (r#"{"reboot": {"type": 1}}"#, "1 is not of type 'string'"),
        (r#"{"reboot": {}}"#, "'type' is a required property"),
        (r#"{"reboot": null}"#, "None is not of type 'object'"),
        (r#"{"reboot": {"type": "SOFT", "a": 1}}"#, "('a' was unexpected)"),
    ] {
        act(&bench, body).await.is_fault(400, "badRequest", message);
    }
}
