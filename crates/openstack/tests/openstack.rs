//! Calls to a small Keystone and Nova, with success and failures.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::net::SocketAddr;

use serialproxy_config::Config;
use serialproxy_config::Sources;
use serialproxy_config::load;
use serialproxy_e2e::cloud::CREDENTIAL;
use serialproxy_e2e::cloud::Cloud;
use serialproxy_e2e::cloud::Fault;
use serialproxy_openstack::Console;
use serialproxy_openstack::Keystone;
use serialproxy_openstack::Nova;
use serialproxy_proto::id::ServerId;
use serialproxy_proto::token::ConsoleToken;
use uuid::Uuid;

const LOGIN: &str = "POST /v3/auth/tokens";
const CONSOLE: &str = "GET /v2.1/os-console-auth-tokens/*** compute 2.31";

fn config(text: &str) -> Config {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("a.conf");
    std::fs::write(&file, text).unwrap();
    load(&Sources { files: vec![file], ..Sources::default() }).unwrap().config
}

fn keystone(cloud: &Cloud) -> Keystone {
    let config = config(&cloud.login("keystone_authtoken"));
    Keystone::new(&config.keystone_authtoken).unwrap()
}

fn nova_of(text: &str) -> Nova {
    Nova::new(&config(text)).unwrap().unwrap()
}

fn nova(cloud: &Cloud) -> Nova {
    nova_of(&(cloud.login("service_user") + "region_name = RegionOne\n"))
}

fn port() -> SocketAddr {
    "192.0.2.7:10001".parse().unwrap()
}

/// A console token for a server of the cloud.
fn console_token(cloud: &Cloud) -> ConsoleToken {
    ConsoleToken::from_client(&cloud.console_token(Uuid::new_v4(), port()))
}

#[tokio::test]
async fn a_users_token_says_who_they_are() {
    let cloud = Cloud::start().await;
    let token = cloud.user_token("alice", "p1", &["member", "reader"]);
    let alice = keystone(&cloud).validate(&token).await.unwrap().unwrap();
    assert_eq!((&*alice.user_id, &*alice.user), ("id-of-alice", "alice"));
    assert_eq!((&*alice.project_id, &*alice.project), ("p1", "name-of-p1"));
    assert_eq!(alice.roles, ["member", "reader"]);
    assert_eq!(alice.expires.to_string(), "2099-01-01T00:00:00Z");
}

#[tokio::test]
async fn a_token_that_keystone_does_not_know_is_nobodys() {
    let cloud = Cloud::start().await;
    let keystone = keystone(&cloud);
    let token = cloud.user_token("alice", "p1", &[]);
    assert!(keystone.validate(&token).await.unwrap().is_some());
    cloud.expire(&token);
    assert_eq!(keystone.validate(&token).await, Ok(None));
}

#[tokio::test]
async fn what_cannot_be_a_token_is_not_asked_about() {
    let cloud = Cloud::start().await;
    for token in ["", "a\nb", &"a".repeat(8193)] {
        assert_eq!(keystone(&cloud).validate(token).await, Ok(None));
    }
    for token in ["", "../servers/x", "a?b", "a/b", "a%2fb", &"a".repeat(129)] {
        let token = ConsoleToken::from_client(token);
        assert_eq!(nova(&cloud).console(&token).await, Ok(None));
    }
    assert_eq!(cloud.calls(), [""; 0]);
}

#[tokio::test]
async fn the_service_user_logs_in_once_for_many_calls() {
    let cloud = Cloud::start().await;
    let (nova, token) = (nova(&cloud), console_token(&cloud));
    for _ in 0..3 {
        nova.console(&token).await.unwrap();
    }
    assert_eq!(cloud.calls(), [LOGIN, CONSOLE, CONSOLE, CONSOLE]);
}

#[tokio::test]
async fn a_service_token_that_is_good_no_longer_is_replaced_and_the_call_made_again() {
    let cloud = Cloud::start().await;
    let (nova, token) = (nova(&cloud), console_token(&cloud));
    assert!(nova.console(&token).await.unwrap().is_some());
    cloud.forget_service_tokens();
    assert!(nova.console(&token).await.unwrap().is_some());
    assert_eq!(cloud.calls(), [LOGIN, CONSOLE, CONSOLE, LOGIN, CONSOLE]);
}

#[tokio::test]
async fn a_service_token_is_replaced_before_it_ends() {
    let cloud = Cloud::start().await;
    let (nova, token) = (nova(&cloud), console_token(&cloud));
    cloud.set_life(59);
    nova.console(&token).await.unwrap();
    nova.console(&token).await.unwrap();
    assert_eq!(cloud.calls(), [LOGIN, CONSOLE, LOGIN, CONSOLE]);
}

#[tokio::test]
async fn a_service_user_that_keystone_refuses_does_not_knock_at_every_call() {
    let cloud = Cloud::start().await;
    let text = cloud.login("nova").replace("password = ", "password = x");
    let (nova, token) = (nova_of(&text), console_token(&cloud));
    for _ in 0..3 {
        let error = nova.console(&token).await.unwrap_err().to_string();
        assert!(error.starts_with("Keystone rejects the service user: check"), "{error}");
    }
    assert_eq!(cloud.calls(), [LOGIN]);
}

#[tokio::test]
async fn a_service_user_logs_in_with_an_application_credential_by_id_or_by_name_and_user() {
    let cloud = Cloud::start().await;
    let token = console_token(&cloud);
    let by_id = cloud.credential_login("nova") + "region_name = RegionOne\n";
    let (id, name, _) = CREDENTIAL;
    let by_name = by_id.replace(
        &format!("application_credential_id = {id}"),
        &format!("application_credential_name = {name}\nusername = nova"),
    );
    for text in [by_id, by_name] {
        assert!(nova_of(&text).console(&token).await.unwrap().is_some(), "{text}");
    }
}

#[tokio::test]
async fn an_application_credential_that_keystone_refuses_is_named_and_not_shown() {
    let cloud = Cloud::start().await;
    let text = cloud.credential_login("nova").replace("secret = ", "secret = x");
    let error = nova_of(&text).console(&console_token(&cloud)).await.unwrap_err().to_string();
    assert!(error.starts_with("Keystone rejects the application credential: check"), "{error}");
    assert!(!error.contains(CREDENTIAL.0), "{error}");
}

#[tokio::test]
async fn a_console_token_stands_for_a_port() {
    let cloud = Cloud::start().await;
    let server = Uuid::new_v4();
    let token = cloud.console_token_by(server, port(), Some("a-path"));
    let console = nova(&cloud).console(&ConsoleToken::from_client(&token)).await;
    let expected = Console {
        server: ServerId(server),
        host: Some("192.0.2.7".into()),
        port: 10001,
        internal_access_path: Some("a-path".into()),
    };
    assert_eq!(console, Ok(Some(expected)));
    cloud.expire(&token);
    assert_eq!(nova(&cloud).console(&ConsoleToken::from_client(&token)).await, Ok(None));
}

#[tokio::test]
async fn a_server_has_a_state() {
    let cloud = Cloud::start().await;
    let nova = nova(&cloud);
    let id = Uuid::new_v4();
    assert_eq!(nova.server(ServerId(id)).await, Ok(None));
    cloud.set_state(id, "stopped", Some("powering-on"));
    let server = nova.server(ServerId(id)).await.unwrap().unwrap();
    assert_eq!((&*server.name, &*server.status), ("vm", "SHUTOFF"));
    assert_eq!(server.vm_state.as_deref(), Some("stopped"));
    assert_eq!(server.task_state.as_deref(), Some("powering-on"));
}

#[tokio::test]
async fn a_region_that_the_catalog_does_not_have_is_named() {
    let cloud = Cloud::start().await;
    let nova = nova_of(&(cloud.login("nova") + "region_name = Mars\n"));
    let error = nova.console(&console_token(&cloud)).await.unwrap_err().to_string();
    assert!(error.contains("interfaces internal, public, region Mars"), "{error}");
}

#[tokio::test]
async fn an_endpoint_of_the_configuration_wins_over_the_catalog() {
    let cloud = Cloud::start().await;
    let endpoint = format!("endpoint_override = {}/v2.1/\n", cloud.auth_url());
    let nova = nova_of(&(cloud.login("nova") + "region_name = Mars\n" + &endpoint));
    assert!(nova.console(&console_token(&cloud)).await.unwrap().is_some());
}

#[tokio::test]
async fn a_failure_says_what_is_wrong_and_never_the_token() {
    let cloud = Cloud::start().await;
    let (nova, token) = (nova(&cloud), console_token(&cloud));
    for (path, fault, text) in [
        ("/v2.1", Fault::Status(403), "Nova does not let the service user of [service_user] look"),
        ("/v2.1", Fault::Status(500), "Nova responded with status 500"),
        ("/v2.1", Fault::Status(302), "Nova responded with status 302"),
        ("/v2.1", Fault::Status(404), "Nova responded with status 404"),
        ("/v2.1", Fault::Nonsense, "Nova sent an invalid response"),
        ("/v2.1", Fault::Status(401), "Nova also rejects the service user's new token"),
        ("/v3", Fault::Status(503), "Keystone responded with status 503"),
        ("/v3", Fault::Nonsense, "Keystone responded with status 200"),
    ] {
        cloud.fail(Some((path, fault)));
        let error = nova.console(&token).await.unwrap_err();
        assert!(error.to_string().starts_with(text), "{error}");
        assert!(!format!("{error:?}").contains(token.expose()), "{error:?}");
    }
}

#[tokio::test]
async fn nobody_is_waited_for_without_end() {
    let cloud = Cloud::start().await;
    let (nova, token) = (nova(&cloud), console_token(&cloud));
    nova.console(&token).await.unwrap();
    cloud.fail(Some(("/v2.1", Fault::Silence)));
    tokio::time::pause();
    let error = nova.console(&token).await.unwrap_err();
    assert_eq!(error.to_string(), "Nova did not respond within 10 s");
}

#[tokio::test]
async fn all_who_wait_for_one_login_are_told_at_once_that_it_failed() {
    let cloud = Cloud::start().await;
    let (nova, token) = (nova(&cloud), console_token(&cloud));
    cloud.set_life(59);
    nova.console(&token).await.unwrap();
    cloud.fail(Some(("/v3", Fault::Silence)));
    tokio::time::pause();
    let began = tokio::time::Instant::now();
    let answers = tokio::join!(nova.console(&token), nova.console(&token), nova.console(&token));
    for answer in [answers.0, answers.1, answers.2] {
        let error = answer.unwrap_err();
        assert_eq!(error.to_string(), "Keystone did not respond within 10 s");
    }
    assert_eq!(began.elapsed().as_secs(), 10);
}

#[tokio::test]
async fn a_service_that_is_down_cannot_be_reached() {
    let cloud = Cloud::start().await;
    let nova = nova_of(&(cloud.login("nova") + "endpoint_override = http://127.0.0.1:1\n"));
    let token = console_token(&cloud);
    let error = nova.console(&token).await.unwrap_err();
    assert!(error.to_string().starts_with("Nova cannot be reached: Connection refused"), "{error}");
    assert!(!format!("{error:?}").contains(token.expose()), "{error:?}");
}

#[tokio::test]
async fn no_debug_form_holds_the_password() {
    let cloud = Cloud::start().await;
    let text = format!("{:?} {:?}", nova(&cloud), config(&cloud.login("nova")));
    assert!(text.contains("***") && !text.contains("ecret of the service"), "{text}");
}

#[test]
fn without_a_service_user_there_is_no_nova() {
    assert!(Nova::new(&Config::default()).unwrap().is_none());
}
