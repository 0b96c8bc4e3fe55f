//! Everything in the interface is the same after a conversion to JSON and back.

use std::fmt::Debug;

use jiff::Timestamp;
use proptest::collection::btree_map;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::*;
use crate::api::Adopt;
use crate::api::Adopted;
use crate::api::AdoptedPort;
use crate::api::Boot;
use crate::api::BootList;
use crate::api::Line;
use crate::api::Protocol;
use crate::api::Server;
use crate::api::Session;
use crate::api::SessionState;
use crate::api::Status;
use crate::api::Stop;
use crate::api::UnusablePort;
use crate::api::Writer;
use crate::cause::Cause;
use crate::console;
use crate::console::BootReason;
use crate::console::LineState;
use crate::console::ServerRef;
use crate::endpoint::Endpoint;
use crate::token::Mode;

fn text() -> impl Strategy<Value = String> {
    ".{0,12}"
}

fn id() -> impl Strategy<Value = Uuid> {
    any::<u128>().prop_map(Uuid::from_u128)
}

fn server_id() -> impl Strategy<Value = ServerId> {
    id().prop_map(ServerId)
}

fn session_id() -> impl Strategy<Value = SessionId> {
    id().prop_map(SessionId)
}

fn line_key() -> impl Strategy<Value = LineKey> {
    (server_id(), any::<u8>()).prop_map(|(server, port)| LineKey { server, port })
}

/// In whole seconds, as in all calls.
fn time() -> impl Strategy<Value = Timestamp> {
    (0..4_102_444_800_i64).prop_map(|second| Timestamp::from_second(second).unwrap())
}

fn status() -> impl Strategy<Value = Status> {
    prop::sample::select(&Status::ALL[..])
}

fn server() -> impl Strategy<Value = Server> {
    let unusable = (any::<u8>(), text()).prop_map(|(port, reason)| UnusablePort { port, reason });
    (server_id(), text(), status(), text(), text(), vec(unusable, 0..3)).prop_map(
        |(id, name, status, project, host, unusable_ports)| Server {
            id,
            name,
            status,
            project,
            host,
            unusable_ports,
        },
    )
}

fn server_ref() -> impl Strategy<Value = ServerRef> {
    (server_id(), text()).prop_map(|(id, name)| ServerRef { id, name })
}

fn writer() -> impl Strategy<Value = Writer> {
    (session_id(), text(), time(), option::of(any::<u64>()))
        .prop_map(|(session, user, since, free_in)| Writer { session, user, since, free_in })
}

fn endpoint() -> impl Strategy<Value = Endpoint> {
    let tcp = ("h[a-z0-9]{0,9}", 1..=u16::MAX, 0..4_u8).prop_map(|(host, port, kind)| match kind {
        0 => Endpoint::Tcp { host, port },
        1 => Endpoint::Tls { host, port },
        2 => Endpoint::Telnet { host, port },
        _ => Endpoint::Incoming { host, port, telnet: false },
    });
    let file = ("/.{0,12}", any::<bool>()).prop_map(|(path, is_socket)| match is_socket {
        true => Endpoint::Unix(path.into()),
        false => Endpoint::Pty(path.into()),
    });
    prop_oneof![tcp, file]
}

fn line() -> impl Strategy<Value = Line> {
    use LineState::*;
    let state = prop::sample::select(vec![Waiting, Connected, Failed]);
    let cause = option::of(prop::sample::select(Cause::ALL));
    let connection = (state, text(), cause, option::of(endpoint()));
    let sessions = (option::of(writer()), any::<u64>());
    let printed = (option::of(text()), option::of(any::<u64>()));
    (server_ref(), any::<u8>(), connection, id(), any::<[u64; 5]>(), sessions, printed).prop_map(
        |(server, port, connection, line, counts, (writer, watchers), (last_line, idle))| {
            let (state, reason, cause, endpoint) = connection;
            let [epoch, offset, first_offset, bytes_in, bytes_out] = counts;
            Line {
                server,
                port,
                state,
                reason,
                cause,
                endpoint,
                line,
                epoch,
                offset,
                first_offset,
                bytes_in,
                bytes_out,
                writer,
                watchers,
                last_line,
                idle,
            }
        },
    )
}

fn session() -> impl Strategy<Value = Session> {
    let mode = prop::sample::select(vec![Mode::Watch, Mode::Write]);
    let protocol = prop::sample::select(vec![Protocol::Raw, Protocol::ConsoleV1]);
    let state = prop::sample::select(vec![SessionState::Live, SessionState::Detached]);
    let who = (text(), mode, time(), text());
    let how = (protocol, state, option::of(any::<u64>()));
    (session_id(), server_ref(), any::<u8>(), who, how).prop_map(
        |(id, server, port, (user, mode, since, address), (protocol, state, ends_in))| Session {
            id,
            server,
            port,
            user,
            mode,
            since,
            address,
            protocol,
            state,
            ends_in,
            link: None,
        },
    )
}

fn hosts() -> impl Strategy<Value = Vec<String>> {
    vec(text(), 0..3)
}

fn servers() -> impl Strategy<Value = api::Servers> {
    (vec(server(), 0..3), option::of(time()))
        .prop_map(|(servers, as_of)| api::Servers::new(servers, as_of))
}

fn lines() -> impl Strategy<Value = api::Lines> {
    (vec(line(), 0..3), hosts()).prop_map(|(lines, unreachable)| api::Lines { lines, unreachable })
}

fn sessions() -> impl Strategy<Value = api::Sessions> {
    (vec(session(), 0..3), hosts())
        .prop_map(|(sessions, unreachable)| api::Sessions { sessions, unreachable })
}

fn boot() -> impl Strategy<Value = Boot> {
    let properties = || btree_map(text(), text(), 0..3);
    (text(), text(), properties(), properties(), option::of(text())).prop_map(
        |(name, image, properties, flavor_properties, host)| Boot {
            name,
            image,
            properties,
            flavor_properties,
            host,
        },
    )
}

fn power() -> impl Strategy<Value = Power> {
    let stop = (option::of(any::<u64>()), any::<bool>())
        .prop_map(|(timeout, force)| Power::Stop(Stop { timeout, force }));
    prop_oneof![
        prop::sample::select(vec![
            Power::Start,
            Power::Reboot,
            Power::Reset,
            Power::Nmi,
            Power::Pause,
            Power::Resume
        ]),
        stop
    ]
}

fn adopt() -> impl Strategy<Value = Adopt> {
    (option::of(any::<u8>()), any::<bool>())
        .prop_map(|(serial_ports, restart)| Adopt { serial_ports, restart })
}

fn adopted() -> impl Strategy<Value = Adopted> {
    let port = (any::<u8>(), option::of(text()), text()).prop_map(|(port, was, now)| AdoptedPort {
        port,
        was,
        now,
    });
    (server(), vec(port, 0..3)).prop_map(|(server, ports)| Adopted { server, ports })
}

fn page<M: Debug>(mark: impl Strategy<Value = M>) -> impl Strategy<Value = Page<M>> {
    let changed_within = option::of(any::<u64>());
    (option::of(text()), option::of(mark), any::<usize>(), changed_within).prop_map(
        |(project, after, limit, changed_within)| Page { project, after, limit, changed_within },
    )
}

fn server_mark() -> impl Strategy<Value = ServerMark> {
    (text(), server_id()).prop_map(|(name, id)| ServerMark { name, id })
}

fn open_console() -> impl Strategy<Value = OpenConsole> {
    (line_key(), option::of(text()), any::<bool>()).prop_map(|(line, project, wait)| OpenConsole {
        line,
        project,
        wait,
    })
}

fn opened_console() -> impl Strategy<Value = OpenedConsole> {
    (line_key(), text(), text()).prop_map(|(line, name, project)| OpenedConsole {
        line,
        name,
        project,
    })
}

fn disconnect() -> impl Strategy<Value = Disconnect> {
    (text(), option::of(text())).prop_map(|(by, reason)| Disconnect { by, reason })
}

fn output() -> impl Strategy<Value = Output> {
    (any::<[u64; 3]>(), vec(any::<u8>(), 0..40), id())
        .prop_map(|([offset, end, epoch], bytes, line)| Output { offset, bytes, end, epoch, line })
}

fn boots() -> impl Strategy<Value = BootList> {
    let reason = prop::sample::select(vec![BootReason::Started, BootReason::Rebooted]);
    let boot = (any::<[u64; 2]>(), time(), reason, option::of(text()));
    vec(boot, 0..4).prop_map(|boots| BootList {
        boots: boots
            .into_iter()
            .map(|([epoch, offset], time, reason, kernel)| console::Boot {
                epoch,
                offset,
                time,
                reason,
                kernel,
            })
            .collect(),
    })
}

fn error() -> impl Strategy<Value = ComputeError> {
    use ComputeError::*;
    let kinds = [Invalid, NotFound, Conflict, Unsupported, Unavailable, Failed];
    (prop::sample::select(kinds.to_vec()), text()).prop_map(|(kind, text)| kind(text))
}

#[track_caller]
fn comes_back<T: Debug + DeserializeOwned + PartialEq + Serialize>(sent: &T) {
    let json = serde_json::to_string(sent).unwrap();
    assert_eq!(&serde_json::from_str::<T>(&json).unwrap(), sent, "{json}");
}

proptest! {
    #[test]
    fn servers_come_out_of_json_as_they_went_in(
        servers in servers(), boot in boot(), power in power(), adopt in adopt(), adopted in adopted()
    ) {
        comes_back(&servers);
        comes_back(&boot);
        comes_back(&power);
        comes_back(&adopt);
        comes_back(&adopted);
    }

    #[test]
    fn lines_and_sessions_come_out_of_json_as_they_went_in(
        key in line_key(), lines in lines(), sessions in sessions(), writer in writer(),
        by in disconnect(), output in output(), boots in boots()
    ) {
        comes_back(&key);
        comes_back(&lines);
        comes_back(&sessions);
        comes_back(&writer);
        comes_back(&by);
        comes_back(&output);
        comes_back(&boots);
    }

    #[test]
    fn consoles_come_out_of_json_as_they_went_in(
        ask in open_console(), opened in opened_console()
    ) {
        comes_back(&ask);
        comes_back(&opened);
    }

    #[test]
    fn pages_come_out_of_json_as_they_went_in(
        servers in page(server_mark()), lines in page(line_key())
    ) {
        comes_back(&servers);
        comes_back(&lines);
    }

    #[test]
    fn errors_come_out_of_json_as_they_went_in(error in error()) {
        comes_back(&error);
        comes_back(&Err::<(), _>(error));
    }
}

#[test]
fn what_crosses_has_plain_names() {
    let json = |power: Power| serde_json::to_string(&power).unwrap();
    assert_eq!(json(Power::Nmi), r#""nmi""#);
    assert_eq!(json(Power::Stop(Stop::default())), r#"{"stop":{"force":false}}"#);
    let error = ComputeError::NotFound("no".into());
    assert_eq!(serde_json::to_string(&error).unwrap(), r#"{"not_found":"no"}"#);
}
