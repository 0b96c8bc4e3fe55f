//! The messages of `console.v1` and the answers of the API, as the pages know them: `fixtures/` holds one of each, with
//! every field. The pages' tests hold their types to the same files, so that neither side changes alone.

#![allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::json;
use serialproxy_proto::api;
use serialproxy_proto::cause::Cause;
use serialproxy_proto::console::Action;
use serialproxy_proto::console::Arrival;
use serialproxy_proto::console::Boot;
use serialproxy_proto::console::BootReason;
use serialproxy_proto::console::Boots;
use serialproxy_proto::console::ClientMessage;
use serialproxy_proto::console::Hello;
use serialproxy_proto::console::LineState;
use serialproxy_proto::console::PaintedBoot;
use serialproxy_proto::console::PenAction;
use serialproxy_proto::console::PenState;
use serialproxy_proto::console::PowerAction;
use serialproxy_proto::console::ReplayKind;
use serialproxy_proto::console::ServerMessage;
use serialproxy_proto::console::ServerRef;
use serialproxy_proto::console::Size;
use serialproxy_proto::console::Times;
use serialproxy_proto::console::Viewer;
use serialproxy_proto::identity::LoginMethod;
use serialproxy_proto::identity::LoginState;
use serialproxy_proto::identity::Role;
use serialproxy_proto::identity::WhoAmI;
use serialproxy_proto::terminal::Backspace;
use serialproxy_proto::terminal::LineFeed;
use serialproxy_proto::terminal::Newline;
use serialproxy_proto::terminal::TerminalSettings;
use serialproxy_proto::token::Mode;

const ID: &str = "a3b7c1d2-0000-4000-8000-000000000003";
const TIME: &str = "2026-11-30T09:04:00Z";
const MOMENT: &str = "2026-11-30T09:04:00.123Z";

/// A value that JSON writes as this text.
fn of<T: DeserializeOwned>(text: &str) -> T {
    serde_json::from_value(json!(text)).unwrap()
}

fn web_1() -> ServerRef {
    ServerRef { id: of(ID), name: "web-1".into() }
}

fn hello() -> ServerMessage {
    ServerMessage::Hello(Hello {
        session: of(ID),
        line: of(ID),
        server: web_1(),
        port: 1,
        user: "carol".into(),
        mode: Mode::Write,
        state: LineState::Connected,
        reason: "connected".into(),
        cause: Some(Cause::Paused),
        epoch: 3,
        epoch_offset: 1000,
        offset: 2000,
        input: 12,
        resume: Some("key".into()),
        grace: 60,
        can: vec![Action::Write, Action::Force, Action::Power],
        nova: true,
        shared: true,
        terminal: TerminalSettings {
            backspace: Some(Backspace::CtrlH),
            newline: Some(Newline::Crlf),
            line_feed: Some(LineFeed::NewLine),
        },
    })
}

/// Literals, so that a new field does not compile until it is here, and then has to be in the fixture.
fn from_the_server() -> Vec<ServerMessage> {
    vec![
        hello(),
        ServerMessage::State {
            state: LineState::Waiting,
            reason: "the server is SHUTOFF".into(),
            cause: Some(Cause::Stopped),
        },
        ServerMessage::Epoch { epoch: 4, offset: 3000 },
        ServerMessage::Gap { from: 10, to: 20 },
        ServerMessage::Replay {
            kind: ReplayKind::Screen,
            bytes: 7,
            offset: 20,
            from: Some(10),
            boots: vec![PaintedBoot { epoch: 3, at: 2 }],
        },
        ServerMessage::Replay {
            kind: ReplayKind::History,
            bytes: 7,
            offset: 20,
            from: None,
            boots: vec![],
        },
        ServerMessage::Pen {
            state: PenState::Lost,
            session: Some(of(ID)),
            holder: Some("alice".into()),
            since: Some(TIME.parse().unwrap()),
            by: Some("alice".into()),
            reason: Some("maintenance".into()),
            cause: Some(Cause::Moved),
            seconds: Some(15),
            free_in: Some(40),
            seen_ago: Some(12),
            own: true,
            can: vec![Action::Write],
        },
        ServerMessage::Viewers {
            count: 2,
            who: vec![Viewer {
                session: of(ID),
                user: "alice".into(),
                mode: Mode::Watch,
                detached: true,
            }],
        },
        ServerMessage::Size(Size { rows: 24, cols: 80 }),
        ServerMessage::Ack { input: 12 },
        ServerMessage::Error { message: "this device has no break".into() },
        ServerMessage::Notice { message: "the host is drained".into() },
        ServerMessage::Link {
            url: "https://consoles.example/serial.html?token=x".into(),
            seconds: 600,
        },
        ServerMessage::Pong { id: 1 },
        boots(),
        ServerMessage::Times(Times {
            from: 10,
            to: 20,
            times: vec![Arrival { offset: 10, time: Some(MOMENT.parse().unwrap()) }],
        }),
    ]
}

fn boots() -> ServerMessage {
    ServerMessage::Boots(Boots {
        first: 100,
        boots: [BootReason::Started, BootReason::Rebooted]
            .map(|reason| Boot {
                epoch: 3,
                offset: 1000,
                time: MOMENT.parse().unwrap(),
                reason,
                kernel: Some("6.1.0-28-amd64".into()),
            })
            .to_vec(),
    })
}

fn from_the_page() -> Vec<ClientMessage> {
    let pens = [
        PenAction::Request,
        PenAction::Release,
        PenAction::Grant,
        PenAction::Deny,
        PenAction::Force,
        PenAction::Take,
    ]
    .map(|action| ClientMessage::Pen { action, reason: Some("please".into()) });
    let powers = [
        PowerAction::Start,
        PowerAction::Stop,
        PowerAction::Reboot,
        PowerAction::Reset,
        PowerAction::Nmi,
        PowerAction::Pause,
        PowerAction::Resume,
    ]
    .map(|action| ClientMessage::Power { action });
    let others = [
        ClientMessage::Input { offset: 12 },
        ClientMessage::Size(Size { rows: 24, cols: 80 }),
        ClientMessage::Break,
        ClientMessage::Sysrq { key: 'h' },
        ClientMessage::Link,
        ClientMessage::Ping { id: 1 },
        ClientMessage::Boots,
        ClientMessage::Times { from: 10, to: 20 },
        ClientMessage::Ack { offset: 2000 },
    ];
    pens.into_iter().chain(powers).chain(others).collect()
}

/// The name of a message; a new one does not compile until it is here.
fn covered(messages: &[ServerMessage]) -> [bool; 14] {
    let mut seen = [false; 14];
    for message in messages {
        let at = match message {
            ServerMessage::Hello(_) => 0,
            ServerMessage::State { .. } => 1,
            ServerMessage::Epoch { .. } => 2,
            ServerMessage::Gap { .. } => 3,
            ServerMessage::Replay { .. } => 4,
            ServerMessage::Pen { .. } => 5,
            ServerMessage::Viewers { .. } => 6,
            ServerMessage::Size(_) => 7,
            ServerMessage::Ack { .. } => 8,
            ServerMessage::Error { .. } | ServerMessage::Notice { .. } => 9,
            ServerMessage::Link { .. } => 10,
            ServerMessage::Pong { .. } => 11,
            ServerMessage::Boots(_) => 12,
            ServerMessage::Times(_) => 13,
            ServerMessage::Unknown => continue,
        };
        seen[at] = true;
    }
    seen
}

fn fixture(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name);
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// The fixture is what is written, and is read as what was written.
fn assert_held<T>(value: &T, fixture: &Value)
where
    T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug,
{
    let written = serde_json::to_value(value).unwrap();
    assert_eq!(&written, fixture, "write this to the fixture: {written:#}");
    assert_eq!(&T::deserialize(fixture).unwrap(), value);
}

#[test]
fn every_message_of_the_server_is_in_the_fixtures() {
    let messages = from_the_server();
    assert_eq!(covered(&messages), [true; 14]);
    assert_held(&messages, &fixture("console-v1-server.json"));
}

#[test]
fn every_message_of_the_page_is_in_the_fixtures() {
    assert_held(&from_the_page(), &fixture("console-v1-page.json"));
}

#[test]
fn the_lists_of_the_api_are_in_the_fixtures() {
    let answers = fixture("api.json");
    let line = api::Line {
        server: web_1(),
        port: 1,
        state: LineState::Failed,
        reason: "the port is held by another serialproxy".into(),
        cause: Some(Cause::Held),
        endpoint: None,
        line: of(ID),
        epoch: 3,
        offset: 2000,
        first_offset: 100,
        bytes_in: 12,
        bytes_out: 2000,
        writer: Some(api::Writer {
            session: of(ID),
            user: "alice".into(),
            since: TIME.parse().unwrap(),
            free_in: Some(40),
        }),
        watchers: 2,
        last_line: Some("demo login:".into()),
        idle: Some(5),
    };
    assert_held(
        &api::Lines { lines: vec![line], unreachable: vec!["host-2".into()] },
        &answers["lines"],
    );
    let session = api::Session {
        id: of(ID),
        server: web_1(),
        port: 1,
        user: "alice".into(),
        mode: Mode::Write,
        since: TIME.parse().unwrap(),
        address: "192.0.2.7:50123".into(),
        protocol: api::Protocol::ConsoleV1,
        state: api::SessionState::Detached,
        ends_in: Some(41),
        link: Some(of(ID)),
    };
    assert_held(
        &api::Sessions { sessions: vec![session], unreachable: vec![] },
        &answers["sessions"],
    );
    let server = |status| api::SeenServer {
        server: api::Server {
            id: of(ID),
            name: "web-1".into(),
            status,
            project: "p-1".into(),
            host: "host-1".into(),
            unusable_ports: vec![api::UnusablePort { port: 2, reason: "it is a pty".into() }],
        },
        r#static: false,
        can: vec![Action::Watch, Action::Write, Action::Force, Action::Power, Action::Admin],
    };
    let statuses = [
        api::Status::Active,
        api::Status::Error,
        api::Status::HostLost,
        api::Status::Paused,
        api::Status::Shutoff,
        api::Status::Suspended,
    ];
    let servers = api::Servers::new(statuses.map(server).to_vec(), Some(TIME.parse().unwrap()));
    assert_held(&servers, &answers["servers"]);
}

#[test]
fn who_is_logged_in_is_in_the_fixtures() {
    let login = LoginState {
        caller: Some(WhoAmI {
            user: "carol".into(),
            project: "p-1".into(),
            project_name: "research".into(),
            role: Role::Member,
        }),
        methods: vec![LoginMethod::Password, LoginMethod::Token, LoginMethod::Link],
        keystone: true,
    };
    assert_held(&login, &fixture("api.json")["login"]);
}
