//! A compute role that simulates a few servers.

use std::ops::Range;
use std::sync::Mutex;

use jiff::Timestamp;
use serialproxy_proto::api;
use serialproxy_proto::api::Adopt;
use serialproxy_proto::api::Adopted;
use serialproxy_proto::api::AdoptedPort;
use serialproxy_proto::api::Boot;
use serialproxy_proto::api::BootList;
use serialproxy_proto::api::Line;
use serialproxy_proto::api::Lines;
use serialproxy_proto::api::Protocol;
use serialproxy_proto::api::Server;
use serialproxy_proto::api::Session;
use serialproxy_proto::api::SessionState;
use serialproxy_proto::api::Sessions;
use serialproxy_proto::api::Status;
use serialproxy_proto::api::UnusablePort;
use serialproxy_proto::api::Writer;
use serialproxy_proto::compute::Answer;
use serialproxy_proto::compute::ComputeError;
use serialproxy_proto::compute::Disconnect;
use serialproxy_proto::compute::LineBook;
use serialproxy_proto::compute::OpenConsole;
use serialproxy_proto::compute::OpenedConsole;
use serialproxy_proto::compute::Output;
use serialproxy_proto::compute::Page;
use serialproxy_proto::compute::Power;
use serialproxy_proto::compute::ServerMark;
use serialproxy_proto::compute::Servers;
use serialproxy_proto::console;
use serialproxy_proto::console::BootReason;
use serialproxy_proto::console::LineState;
use serialproxy_proto::console::ServerRef;
use serialproxy_proto::endpoint::Endpoint;
use serialproxy_proto::id::LineKey;
use serialproxy_proto::id::ServerId;
use serialproxy_proto::id::SessionId;
use serialproxy_proto::script::Awaited;
use serialproxy_proto::script::Gap;
use serialproxy_proto::script::Sent;
use serialproxy_proto::script::Typing;
use serialproxy_proto::script::Waited;
use serialproxy_proto::token::Mode;
use tokio::sync::Notify;
use uuid::Uuid;

/// The output of every line, and the offset of its first kept byte.
pub(crate) const PRINTED: &[u8] = b"hello\xff";
pub(crate) const FIRST: u64 = 10;

/// The project of `running` and `halted`.
pub(crate) const PROJECT: &str = "demo";

/// The host of all servers.
pub(crate) const HOST: &str = "host-1";

pub(crate) const SESSION: SessionId = SessionId(Uuid::from_u128(7));

/// `running` runs and has a writer on port 0; `halted` is off. Each has two ports.
#[derive(Debug, Default)]
pub(crate) struct Fake {
    /// How many servers there are besides those two.
    pub(crate) crowd: usize,
    /// The error of every call, if any.
    pub(crate) error: Option<ComputeError>,
    /// Whether it is unknown for a missing server if it exists.
    pub(crate) away: bool,
    /// Whether servers are on other hosts, and their projects are known here.
    pub(crate) elsewhere: bool,
    /// Servers that were looked up, in order.
    pub(crate) looked_at: Mutex<Vec<ServerId>>,
    /// The output of every line, if not [`PRINTED`].
    pub(crate) printed: Option<Vec<u8>>,
    /// Offsets of output that is no longer kept.
    pub(crate) gap: Range<u64>,
    /// The calls, in order, except lookups of a server.
    pub(crate) asked: Mutex<Vec<String>>,
    /// The status of `running`, if it does not run.
    pub(crate) status: Option<Status>,
    /// The error of changes of power.
    pub(crate) powerless: Option<ComputeError>,
    /// Why nothing is typed, if so.
    pub(crate) refused: Option<ComputeError>,
    /// The name of `halted`, if another.
    pub(crate) named: Option<String>,
    /// The time of the last known changes of servers, if later ones may be missing.
    pub(crate) as_of: Option<Timestamp>,
    /// Hosts that do not respond.
    pub(crate) unreachable: Vec<String>,
    /// Whether no consoles are created.
    pub(crate) disabled: bool,
    /// Whether servers have no ports.
    pub(crate) portless: bool,
    /// The endpoint of `running`, if not TCP.
    pub(crate) endpoint: Option<Endpoint>,
    /// What boots, changes of power and waits for output wait for, if anything.
    pub(crate) gate: Option<Notify>,
    /// Notified when one of them begins to wait.
    pub(crate) begun: Notify,
    /// Notified when a boot is over.
    pub(crate) booted: Notify,
}

pub(crate) fn running() -> ServerId {
    ServerId(Uuid::from_u128(0x10))
}

pub(crate) fn halted() -> ServerId {
    ServerId(Uuid::from_u128(0x20))
}

pub(crate) fn writer() -> Writer {
    let since = "2026-11-22T09:00:00Z".parse().unwrap();
    Writer { session: SESSION, user: "alice".into(), since, free_in: None }
}

impl Fake {
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    fn printed(&self) -> &[u8] {
        self.printed.as_deref().unwrap_or(PRINTED)
    }

    fn all(&self) -> Vec<Server> {
        let owned = |id, name: &str, status, project: &str| Server {
            id,
            name: name.into(),
            status,
            project: project.into(),
            host: HOST.into(),
            unusable_ports: vec![UnusablePort { port: 2, reason: "its type is 'file'".into() }],
        };
        let server = |id, name, status| owned(id, name, status, PROJECT);
        let mut servers = vec![
            server(halted(), self.named.as_deref().unwrap_or("halted"), Status::Shutoff),
            server(running(), "running", self.status.unwrap_or(Status::Active)),
        ];
        servers.extend((0..self.crowd).map(|number| {
            let id = ServerId(Uuid::from_u128(0x1000 + number as u128));
            owned(id, &format!("web-{number:04}"), Status::Active, "crowd")
        }));
        servers
    }

    fn find(&self, id: ServerId) -> Result<Server, ComputeError> {
        let found = self.all().into_iter().find(|server| server.id == id);
        found.ok_or_else(|| self.missing(id))
    }

    /// The error for a server that does not exist.
    fn missing(&self, id: ServerId) -> ComputeError {
        match self.away {
            true => ComputeError::Unavailable("libvirt is away".into()),
            false => ComputeError::NotFound(format!("Instance {id} could not be found.")),
        }
    }

    fn find_line(&self, key: LineKey) -> Result<Line, ComputeError> {
        let server = self.find(key.server)?;
        if key.port > 1 || self.portless {
            return Err(ComputeError::NotFound(format!("Instance {} has 2 ports", server.id)));
        }
        let live = key == LineKey { server: running(), port: 0 };
        let tcp = || Endpoint::Tcp { host: "127.0.0.1".into(), port: 10000 };
        let endpoint = live.then(|| self.endpoint.clone().unwrap_or_else(tcp));
        Ok(Line {
            server: ServerRef { id: server.id, name: server.name },
            port: key.port,
            state: if live { LineState::Connected } else { LineState::Waiting },
            reason: "as it should be".into(),
            cause: None,
            endpoint,
            line: Uuid::from_u128(3),
            epoch: 2,
            offset: FIRST + self.printed().len() as u64,
            first_offset: FIRST,
            bytes_in: 1,
            bytes_out: 2,
            writer: live.then(writer),
            watchers: 0,
            last_line: live.then(|| "login:".to_owned()),
            idle: live.then_some(12),
        })
    }

    /// Records a call and answers it.
    fn say<T: Send + 'static>(
        &self,
        asked: String,
        answer: impl FnOnce() -> Result<T, ComputeError>,
    ) -> Answer<'_, T> {
        self.asked.lock().unwrap().push(asked);
        let answer = self.error.clone().map_or_else(answer, Err);
        Box::pin(async { answer })
    }
}

impl Servers for Fake {
    fn servers(&self, page: Page<ServerMark>) -> Answer<'_, api::Servers> {
        self.say("servers".into(), || {
            let mut all = self.all();
            all.sort_by_key(|server| ServerMark::from(server));
            all.retain(|server| page.is_of(&server.project) && !page.is_behind(&server.into()));
            all.truncate(page.limit());
            Ok(api::Servers::new(all, self.as_of))
        })
    }

    fn server(&self, id: ServerId) -> Answer<'_, Server> {
        self.looked_at.lock().unwrap().push(id);
        let answer = self.error.clone().map_or_else(|| self.find(id), Err);
        Box::pin(async { answer })
    }

    fn known_project(&self, id: ServerId) -> Option<String> {
        self.elsewhere.then(|| self.find(id).ok()).flatten().map(|server| server.project)
    }

    fn boot(&self, boot: Boot, project: String) -> Answer<'_, Server> {
        Box::pin(async move {
            if let Some(gate) = &self.gate {
                self.begun.notify_one();
                gate.notified().await;
            }
            self.booted.notify_one();
            let server = Server {
                unusable_ports: Vec::new(),
                id: running(),
                name: boot.name.clone(),
                status: Status::Active,
                project,
                host: HOST.into(),
            };
            self.say(format!("{boot:?}"), || Ok(server)).await
        })
    }

    fn delete(&self, id: ServerId) -> Answer<'_, ()> {
        self.say(format!("delete {id}"), || self.find(id).map(drop))
    }

    fn power(&self, id: ServerId, power: Power) -> Answer<'_, ()> {
        Box::pin(async move {
            if let Some(gate) = &self.gate {
                self.begun.notify_one();
                gate.notified().await;
            }
            let outcome = || self.powerless.clone().map_or_else(|| self.find(id).map(drop), Err);
            self.say(format!("{power:?} {id}"), outcome).await
        })
    }

    fn adopt(&self, id: ServerId, adopt: Adopt) -> Answer<'_, Adopted> {
        let given = || {
            let was = Some("pty".into());
            let ports = vec![AdoptedPort { port: 0, was, now: "127.0.0.1:10000".into() }];
            Ok(Adopted { server: self.find(id)?, ports })
        };
        self.say(format!("{adopt:?} {id}"), given)
    }

    fn unadopt(&self, id: ServerId) -> Answer<'_, Server> {
        self.say(format!("unadopt {id}"), || self.find(id))
    }
}

impl LineBook for Fake {
    fn open_console(&self, ask: OpenConsole) -> Answer<'_, OpenedConsole> {
        let OpenConsole { line, wait, .. } = ask;
        self.say(format!("console {line} wait={wait}"), || {
            let server = self.find(line.server)?;
            if !ask.is_for(&server.project) {
                return Err(self.missing(line.server));
            }
            if self.disabled {
                let text = "Unavailable console type serial.";
                return Err(ComputeError::Invalid(text.into()));
            }
            self.find_line(line)?;
            if !matches!(server.status, Status::Active | Status::Paused) && !wait {
                let text = format!("Instance {} is {}: start it first", server.id, server.status);
                return Err(ComputeError::Conflict(text));
            }
            Ok(OpenedConsole { line, name: server.name, project: server.project })
        })
    }

    fn lines(&self, page: Page<LineKey>) -> Answer<'_, Lines> {
        let asked = match page.changed_within {
            None => "lines".into(),
            Some(seconds) => format!("lines that changed within {seconds} s"),
        };
        self.say(asked, || {
            let own = self.all().into_iter().filter(|server| page.is_of(&server.project));
            let keys =
                own.flat_map(|server| [0, 1].map(|port| LineKey { server: server.id, port }));
            let mut keys: Vec<_> = keys.filter(|key| !page.is_behind(key)).collect();
            keys.sort();
            let lines = keys.into_iter().take(page.limit()).map(|key| self.find_line(key));
            Ok(Lines {
                lines: lines.collect::<Result<_, _>>()?,
                unreachable: self.unreachable.clone(),
            })
        })
    }

    fn line(&self, line: LineKey) -> Answer<'_, Line> {
        self.say(format!("line {line}"), || self.find_line(line))
    }

    fn output(&self, line: LineKey, from: u64, max: usize) -> Answer<'_, Output> {
        self.say(format!("output {line} {from} {max}"), || {
            let line = self.find_line(line)?;
            let end = FIRST + self.printed().len() as u64;
            let from = from.clamp(FIRST, end);
            let from = if self.gap.contains(&from) { self.gap.end } else { from };
            let to_gap = self.gap.start.checked_sub(from).filter(|_| !self.gap.is_empty());
            let max = to_gap.map_or(max, |left| max.min(usize::try_from(left).unwrap()));
            let start = usize::try_from(from - FIRST).unwrap();
            let bytes: Vec<_> = self.printed().iter().copied().skip(start).take(max).collect();
            Ok(Output { offset: from, bytes, end, epoch: line.epoch, line: line.line })
        })
    }

    fn boots(&self, line: LineKey) -> Answer<'_, BootList> {
        self.say(format!("boots {line}"), || {
            let epoch = self.find_line(line)?.epoch;
            let time = "2026-11-30T04:58:00.12Z".parse().unwrap();
            let (reason, kernel) = (BootReason::Rebooted, Some("6.1.0-37-amd64".into()));
            Ok(BootList { boots: vec![console::Boot { epoch, offset: 12, time, reason, kernel }] })
        })
    }

    fn send_break(&self, line: LineKey) -> Answer<'_, ()> {
        self.say(format!("break {line}"), || self.find_line(line).map(drop))
    }

    fn sysrq(&self, line: LineKey, key: char) -> Answer<'_, ()> {
        self.say(format!("sysrq {line} {key}"), || self.find_line(line).map(drop))
    }

    fn type_at(&self, line: LineKey, typing: Typing) -> Answer<'_, Sent> {
        let Typing { user, project, address, bytes } = typing;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        self.say(format!("{user} of {project} at {address} types {text:?} at {line}"), || {
            let line = self.find_line(line)?;
            match &self.refused {
                Some(refused) => Err(refused.clone()),
                None => Ok(Sent {
                    typed: bytes.len() as u64,
                    offset: line.offset,
                    epoch: line.epoch,
                    line: line.line,
                }),
            }
        })
    }

    fn wait_at(&self, line: LineKey, awaited: Awaited) -> Answer<'_, Waited> {
        let Awaited { pattern, from, timeout, project, .. } = awaited;
        let asked =
            format!("wait at {line} of {project} for {pattern:?} from {from:?}, {timeout} s");
        Box::pin(async move {
            if let Some(gate) = &self.gate {
                self.begun.notify_one();
                gate.notified().await;
            }
            let found = || {
                let line = self.find_line(line)?;
                Ok(Waited {
                    matched: true,
                    text: "login:".into(),
                    start: FIRST,
                    end: FIRST + 6,
                    epoch: line.epoch,
                    line: line.line,
                    gap: Some(Gap { from: 0, to: FIRST }),
                })
            };
            self.say(asked, found).await
        })
    }

    fn sessions(&self, project: Option<String>) -> Answer<'_, Sessions> {
        let session = Session {
            id: SESSION,
            server: ServerRef { id: running(), name: "running".into() },
            port: 0,
            user: "alice".into(),
            mode: Mode::Write,
            since: writer().since,
            address: "192.0.2.1:5000".into(),
            protocol: Protocol::ConsoleV1,
            state: SessionState::Detached,
            ends_in: Some(40),
            link: None,
        };
        let is_own = project.is_none_or(|project| project == PROJECT);
        let sessions = Vec::from_iter(is_own.then_some(session));
        self.say("sessions".into(), || {
            Ok(Sessions { sessions, unreachable: self.unreachable.clone() })
        })
    }

    fn disconnect_writer(&self, line: LineKey, by: Disconnect) -> Answer<'_, Writer> {
        self.say(format!("disconnect writer of {line} {by:?}"), || {
            let nobody = || ComputeError::NotFound(format!("nobody writes to {line}"));
            self.find_line(line)?.writer.ok_or_else(nobody)
        })
    }

    fn disconnect(&self, line: LineKey, session: SessionId, by: Disconnect) -> Answer<'_, ()> {
        assert_eq!(line, LineKey { server: running(), port: 0 });
        self.say(format!("disconnect {session} {by:?}"), || {
            let text = format!("Session {session} could not be found.");
            if session == SESSION { Ok(()) } else { Err(ComputeError::NotFound(text)) }
        })
    }
}
