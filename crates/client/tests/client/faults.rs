//! Reaching the API, authenticating there, and its refusals.

use std::io::Read;
use std::io::Write;
use std::net::TcpListener;

use serde_json::Value;

use crate::fake_api::api;
use crate::fake_api::ask;
use crate::fake_api::console;
use crate::fake_api::fault;
use crate::support::Api;
use crate::support::client;
use crate::support::run;

#[test]
fn faults_are_told_with_the_exit_code_of_their_kind_and_statuses_in_plain_words() {
    for (answer, code) in [
        (fault("itemNotFound", 404, "server demo has no port 7"), 3),
        (fault("conflictingRequest", 409, "busy: alice since 2026-11-22T09:00:00Z"), 4),
        (fault("conflictingRequest", 409, "server demo is SHUTOFF"), 1),
        (fault("badRequest", 400, "Unavailable console type serial."), 1),
        (fault("unauthorized", 401, "the token is unknown"), 1),
        (fault("computeFault", 500, "the store is full"), 1),
    ] {
        let fault: Value = serde_json::from_str(&answer.1).unwrap();
        let (_, fault) = fault.as_object().unwrap().iter().next().unwrap();
        let message = fault["message"].as_str().unwrap().replace("is SHUTOFF", "is off");
        let message = format!("serialproxy: {message}");
        let ended = ask(&api(answer), &["get-serial-console", "demo", "serial"]);
        assert_eq!(ended.code, code, "{ended:?}");
        assert!(ended.stderr.contains(&message), "{ended:?}");
        assert!(ended.stdout.is_empty());
    }
}

#[test]
fn who_may_not_type_reads_their_role_and_project_and_that_they_can_watch() {
    let api = Api::start(|line| match line {
        "GET /v1/login" => {
            let caller = r#"{"user":"rita","project":"p1","project_name":"admin","role":"reader"}"#;
            (200, format!(r#"{{"caller":{caller},"methods":["password"],"keystone":false}}"#))
        }
        _ => fault("forbidden", 403, "Policy doesn't allow os_compute_api:x to be performed."),
    });
    let id = "3f0c2a52-6d0a-4b9a-9d0e-0a54e1a7c0de";
    for (command, told) in [
        (&["connect", id][..], "typing needs a member. --watch works."),
        (&["stop", id], "controlling servers needs a member."),
        (&["user", "list"], "managing users needs an administrator."),
    ] {
        let ended = ask(&api, command);
        let told = format!("serialproxy: You are a reader in project admin; {told}\n");
        assert_eq!((ended.code, ended.stderr), (1, told));
    }
}

#[test]
fn something_that_is_not_the_api_is_recognized() {
    let api = Api::start(|_| (404, "<html>".into()));
    let ended = ask(&api, &["servers"]);
    assert_eq!(ended.code, 1);
    assert!(ended.stderr.contains("does not respond like serialproxy's API"), "{ended:?}");
}

#[test]
fn an_api_that_is_not_there_is_named_with_what_to_check() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let ended = run(client(address, &["servers"]), b"");
    assert_eq!(ended.code, 1);
    let reach = format!("cannot reach the API at http://{address}: Connection refused");
    assert!(ended.stderr.contains(&reach), "{ended:?}");
    assert!(ended.stderr.contains("--api-url"), "{ended:?}");
}

#[test]
fn an_api_that_only_speaks_tls_is_named_as_such() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let answering = std::thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        let _ = stream.read(&mut [0; 4096]).unwrap();
        stream.write_all(b"\x15\x03\x01\x00\x02\x02\x46").unwrap();
    });
    let ended = run(client(address, &["servers"]), b"");
    answering.join().unwrap();
    let text = format!("http://{address}: this port speaks only TLS; use https://{address}");
    assert!(ended.code == 1 && ended.stderr.contains(&text), "{ended:?}");
}

#[test]
fn a_file_without_certificates_to_trust_is_named() {
    let api = console();
    let asked = ["servers", "--api-url", "https://127.0.0.1:1", "--cacert", "/nope.pem"];
    let ended = ask(&api, &asked);
    assert_eq!(ended.code, 2);
    assert!(ended.stderr.contains("/nope.pem cannot be read"), "{ended:?}");
}

#[test]
fn the_token_comes_from_the_state_directory_where_the_environment_has_none() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("admin-token"), "fr0mfile\n").unwrap();
    let state = directory.path().to_str().unwrap();
    let api = console();
    let mut command = client(api.address, &["servers", "--state-dir", state]);
    command.env_remove("SERIALPROXY_TOKEN");
    assert_eq!(run(command, b"").code, 0);
    assert_eq!(api.requests()[0].token.as_deref(), Some("fr0mfile"));
    assert_eq!(ask(&api, &["servers", "--state-dir", state]).code, 0);
    assert_eq!(api.requests().last().unwrap().token.as_deref(), Some("t0ken"));
}

#[test]
fn without_a_token_the_refusal_says_where_one_was_looked_for() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().to_str().unwrap();
    let api = Api::start(|_| fault("unauthorized", 401, "who are you?"));
    let mut command = client(api.address, &["servers", "--state-dir", state]);
    command.env_remove("SERIALPROXY_TOKEN");
    let ended = run(command, b"");
    assert_eq!(ended.code, 1);
    assert!(ended.stderr.contains("who are you?"), "{ended:?}");
    assert!(ended.stderr.contains(&format!("{state}/admin-token cannot be read")), "{ended:?}");
    assert_eq!(api.requests()[0].token, None);
}

#[test]
fn no_proxy_of_the_environment_stands_before_this_machine() {
    let api = console();
    let mut command = client(api.address, &["servers"]);
    command.env("http_proxy", "http://127.0.0.1:1").env("HTTP_PROXY", "http://127.0.0.1:1");
    assert_eq!(run(command, b"").code, 0);
}
