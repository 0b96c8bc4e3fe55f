//! Which sessions find room on a line, and which are ended to make room.

use serialproxy_line::Attachment;
use serialproxy_line::SessionPlaces;
use serialproxy_line::Settings;
use serialproxy_line::Start;
use serialproxy_line::Visitor;
use serialproxy_proto::api::Protocol;
use serialproxy_proto::api::SessionState;
use serialproxy_proto::refusal::Refusal;
use serialproxy_proto::token::Mode;
use serialproxy_proto::token::ResumeKey;
use serialproxy_proto::token::TokenDigest;

use crate::rig::Rig;
use crate::rig::hello;
use crate::rig::visitor;

fn reader(user: &str) -> Visitor {
    let visitor = visitor(user, Mode::Watch, Protocol::ConsoleV1);
    Visitor { may: Mode::Watch, operator: false, ..visitor }
}

/// Attaches and loses the connection; the key for resuming.
async fn lose(rig: &Rig, visitor: &Visitor) -> ResumeKey {
    let (mut attachment, _keyboard) = rig.attach(visitor).unwrap();
    ResumeKey::from_client(&hello(&mut attachment).await.resume.unwrap()).unwrap()
}

fn comes_back(rig: &Rig, key: &ResumeKey) -> Option<Attachment> {
    rig.line.resume(key, Start::Live, "192.0.2.1:5").ok().map(|(attachment, _)| attachment)
}

#[tokio::test]
async fn who_opens_and_drops_a_thousand_connections_takes_few_places_and_nobody_s_pen() {
    let rig = Rig::new().await;
    let _guest = rig.boot().await;
    let alice = lose(&rig, &visitor("alice", Mode::Write, Protocol::ConsoleV1)).await;
    let first = lose(&rig, &reader("eve")).await;
    for _ in 0..1000 {
        lose(&rig, &reader("eve")).await;
    }
    let last = lose(&rig, &reader("eve")).await;
    assert_eq!(rig.lines.sessions().len(), 33);
    assert!(comes_back(&rig, &first).is_none(), "the oldest goes first");
    assert!(comes_back(&rig, &last).is_some());
    // A writer with the same token keeps the pen.
    let mut same = reader("alice");
    same.token = TokenDigest::of("alice");
    for _ in 0..100 {
        lose(&rig, &same).await;
    }
    assert!(comes_back(&rig, &alice).is_some());
}

#[tokio::test]
async fn a_line_full_of_watchers_has_a_place_for_an_administrator_and_one_for_a_writer() {
    let rig = Rig::new().await;
    let _guest = rig.boot().await;
    let mut all = Vec::new();
    while let Ok(attached) = rig.attach(&reader("eve")) {
        all.push(attached);
    }
    assert_eq!(all.len(), 998);
    all.push(rig.attach(&visitor("root", Mode::Watch, Protocol::ConsoleV1)).unwrap());
    let another = rig.attach(&visitor("root", Mode::Watch, Protocol::ConsoleV1));
    assert!(matches!(another, Err(Refusal::TooMany(_))));
    all.push(rig.attach(&visitor("alice", Mode::Write, Protocol::ConsoleV1)).unwrap());
}

#[tokio::test]
async fn on_a_full_line_one_without_a_connection_makes_way_for_one_who_comes() {
    let rig = Rig::new().await;
    let _guest = rig.boot().await;
    let mut all: Vec<_> = (0..997).map(|_| rig.attach(&reader("eve")).unwrap()).collect();
    let lost = lose(&rig, &reader("bob")).await;
    all.push(rig.attach(&reader("carol")).unwrap());
    assert!(comes_back(&rig, &lost).is_none());
    assert!(matches!(rig.attach(&reader("dave")), Err(Refusal::TooMany(_))));
    assert!(rig.lines.sessions().iter().all(|one| one.state == SessionState::Live));
}

#[tokio::test]
async fn a_user_and_an_address_have_so_many_sessions_at_once_lost_ones_among_them() {
    let places = SessionPlaces::new(3, 5);
    let rig = Rig::with(Settings { places, ..Settings::default() }).await;
    let _guest = rig.boot().await;
    lose(&rig, &reader("eve")).await;
    let two = [rig.attach(&reader("eve")).unwrap(), rig.attach(&reader("eve")).unwrap()];
    let refused = rig.attach(&reader("eve")).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "too many sessions: user eve has 3 sessions, which is the maximum"
    );
    let _bobs = [rig.attach(&reader("bob")).unwrap(), rig.attach(&reader("bob")).unwrap()];
    let refused = rig.attach(&reader("bob")).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "too many sessions: 5 sessions come from 192.0.2.1, which is the maximum"
    );
    let mut elsewhere = reader("bob");
    elsewhere.source = Some(std::net::IpAddr::from([192, 0, 2, 2]).into());
    rig.attach(&elsewhere).unwrap();
    drop(two);
    rig.attach(&reader("eve")).unwrap();
}
