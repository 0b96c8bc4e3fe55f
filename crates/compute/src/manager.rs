//! The compute role as the API sees it: libvirt's guests and static servers side by side.

use std::sync::Arc;
use std::time::Duration;

use serialproxy_config::Config;
use serialproxy_ledger::Ledger;
use serialproxy_line::Line;
use serialproxy_line::Lines;
use serialproxy_proto::api;
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
use serialproxy_proto::id::LineKey;
use serialproxy_proto::id::ServerId;
use serialproxy_proto::id::SessionId;
use serialproxy_proto::request_id;
use serialproxy_proto::script::Awaited;
use serialproxy_proto::script::Sent;
use serialproxy_proto::script::Typing;
use serialproxy_proto::script::Waited;

use crate::guests::Guests;
use crate::guests::name_is_taken;
use crate::guests::valid_name;
use crate::hypervisor::not_found;
use crate::no_console::no_console;
use crate::no_console::unavailable;
use crate::owners::Owners;
use crate::statics::Statics;

/// The compute role.
#[derive(Debug)]
pub struct Manager {
    /// Name of this host.
    host: String,
    /// Whether consoles are handed out.
    enabled: bool,
    /// Whether sessions are recorded.
    records: bool,
    lines: Lines,
    statics: Statics,
    guests: Option<Arc<Guests>>,
}

impl Manager {
    /// Starts the drivers in `[compute] drivers`. Lines of static servers connect at once, those of
    /// guests when libvirt reports them; libvirt may become reachable later.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn start(config: &Config, ledger: Arc<Ledger>, lines: Lines) -> Arc<Self> {
        let enabled = config.serial_console.enabled;
        let statics = if config.compute.statics { config.static_lines.as_slice() } else { &[] };
        let owners = Owners::new(&config.compute);
        let statics = Statics::start(&config.cluster.name, statics, &owners, enabled, &lines);
        let guests = config.compute.libvirt.then(|| Guests::start(config, ledger, lines.clone()));
        let host = config.cluster.name.clone();
        let records = config.serial_console.record.place.is_some();
        Arc::new(Self { host, enabled, records, lines, statics, guests })
    }

    /// Why libvirt cannot be reached, if it is used.
    pub fn libvirt_is_away(&self) -> Option<String> {
        self.guests.as_ref()?.hypervisor_is_away()
    }

    fn guests(&self, id: ServerId) -> Result<&Arc<Guests>, ComputeError> {
        self.guests.as_ref().ok_or_else(|| not_found(id))
    }

    fn find_line(&self, line: LineKey) -> Result<Line, ComputeError> {
        self.lines.get(line).ok_or_else(|| {
            let LineKey { server, port } = line;
            if let Some(why) = self.guests.as_ref().and_then(|guests| guests.unusable(line)) {
                return ComputeError::NotFound(no_console(server, port, &why));
            }
            ComputeError::NotFound(format!(
                "Instance {server} could not be found, or it has no serial port {port} that can be \
                 reached."
            ))
        })
    }

    fn adoptable(&self, id: ServerId) -> Result<&Arc<Guests>, ComputeError> {
        if self.statics.get(id).is_some() {
            return Err(ComputeError::Conflict(format!(
                "Cannot 'adopt' instance {id}: it is a static line, which [static] line defines."
            )));
        }
        self.guests(id)
    }

    /// Refuses operations that static lines do not have.
    fn refuse_static(&self, line: LineKey, what: &str) -> Result<(), ComputeError> {
        let Some(known) = self.statics.check_port(line) else { return Ok(()) };
        known?;
        let name = self.statics.get(line.server).map(|server| server.name);
        Err(ComputeError::Conflict(format!(
            "Serial port {} of {} has no {what}: it is a static line, which only carries bytes.",
            line.port,
            name.unwrap_or_else(|| line.server.to_string())
        )))
    }

    async fn open(&self, ask: OpenConsole) -> Result<OpenedConsole, ComputeError> {
        let line = ask.line;
        let of_static = self.statics.get(line.server);
        let Some(server) = of_static.filter(|server| ask.is_for(&server.project)) else {
            return self.guests(line.server)?.open_console(ask).await;
        };
        if !self.enabled {
            return Err(unavailable());
        }
        self.statics.check_port(line).transpose()?;
        Ok(OpenedConsole { line, name: server.name, project: server.project })
    }

    async fn page(&self, page: Page<ServerMark>) -> api::Servers {
        let mut servers = self.statics.all();
        if let Some(guests) = &self.guests {
            servers.extend(guests.servers().await);
        }
        servers.retain(|server| page.is_of(&server.project) && !page.is_behind(&server.into()));
        servers.sort_by(|a, b| (&a.name, a.id).cmp(&(&b.name, b.id)));
        servers.truncate(page.limit());
        api::Servers::new(servers, None)
    }

    async fn boot_guest(
        &self,
        boot: api::Boot,
        project: String,
    ) -> Result<api::Server, ComputeError> {
        let Some(guests) = self.guests.clone() else {
            return Err(ComputeError::Unsupported(
                "guests cannot be booted: [compute] drivers does not contain libvirt".into(),
            ));
        };
        if let Some(host) = &boot.host
            && *host != self.host
        {
            let own = &self.host;
            return Err(ComputeError::Invalid(format!("host: no such host is up; choose {own}")));
        }
        if self.statics.has_name(valid_name(&boot.name)?) {
            return Err(name_is_taken(&boot.name));
        }
        to_the_end(async move { guests.boot(boot, &project).await }).await
    }

    async fn change_power(&self, id: ServerId, power: Power) -> Result<(), ComputeError> {
        if self.statics.get(id).is_some() {
            return Err(ComputeError::Unsupported(format!(
                "Instance {id} is a static line: serialproxy cannot control its power."
            )));
        }
        let guests = Arc::clone(self.guests(id)?);
        to_the_end(async move { guests.power(id, power).await }).await
    }

    async fn delete_guest(&self, id: ServerId) -> Result<(), ComputeError> {
        if self.statics.get(id).is_some() {
            return Err(ComputeError::Conflict(format!(
                "Cannot 'delete' instance {id}: it is a static line. Remove it from [static] line."
            )));
        }
        let guests = Arc::clone(self.guests(id)?);
        to_the_end(async move { guests.delete(id).await }).await
    }
}

impl Servers for Manager {
    fn servers(&self, page: Page<ServerMark>) -> Answer<'_, api::Servers> {
        Box::pin(async { Ok(self.page(page).await) })
    }

    fn server(&self, id: ServerId) -> Answer<'_, api::Server> {
        Box::pin(async move {
            match self.statics.get(id) {
                Some(server) => Ok(server),
                None => self.guests(id)?.server(id).await,
            }
        })
    }

    fn boot(&self, boot: api::Boot, project: String) -> Answer<'_, api::Server> {
        Box::pin(self.boot_guest(boot, project))
    }

    fn delete(&self, id: ServerId) -> Answer<'_, ()> {
        Box::pin(self.delete_guest(id))
    }

    fn power(&self, id: ServerId, power: Power) -> Answer<'_, ()> {
        Box::pin(self.change_power(id, power))
    }

    fn adopt(&self, id: ServerId, adopt: api::Adopt) -> Answer<'_, api::Adopted> {
        Box::pin(async move {
            let guests = Arc::clone(self.adoptable(id)?);
            to_the_end(async move { guests.adopt(id, adopt).await }).await
        })
    }

    fn unadopt(&self, id: ServerId) -> Answer<'_, api::Server> {
        Box::pin(async move {
            let guests = Arc::clone(self.adoptable(id)?);
            to_the_end(async move { guests.unadopt(id).await }).await
        })
    }
}

impl LineBook for Manager {
    fn open_console(&self, ask: OpenConsole) -> Answer<'_, OpenedConsole> {
        Box::pin(self.open(ask))
    }

    fn console_at(&self, server: ServerId, tcp: u16) -> Answer<'_, Option<OpenedConsole>> {
        Box::pin(async move { self.guests(server)?.console_at(server, tcp).await })
    }

    fn lines(&self, page: Page<LineKey>) -> Answer<'_, api::Lines> {
        Box::pin(async move {
            let changed = page.changed_within.map(Duration::from_secs);
            let mut lines = self.lines.all();
            lines.retain(|line| {
                !page.is_behind(&line.key())
                    && line.is_of(|project| page.is_of(project))
                    && changed.is_none_or(|within| line.changed_within(within))
            });
            lines.truncate(page.limit());
            Ok(api::Lines { lines: shown(lines).await?, unreachable: Vec::new() })
        })
    }

    fn line(&self, line: LineKey) -> Answer<'_, api::Line> {
        Box::pin(async move {
            let line = self.find_line(line)?;
            let shown = shown(vec![line]).await?.pop();
            shown.ok_or_else(|| ComputeError::Failed("the line could not be described".into()))
        })
    }

    fn output(&self, line: LineKey, from: u64, max: usize) -> Answer<'_, Output> {
        Box::pin(async move { Ok(self.find_line(line)?.output(from, max)) })
    }

    fn boots(&self, line: LineKey) -> Answer<'_, api::BootList> {
        Box::pin(async move { Ok(api::BootList { boots: self.find_line(line)?.boots().boots }) })
    }

    fn send_break(&self, line: LineKey) -> Answer<'_, ()> {
        Box::pin(async move {
            self.refuse_static(line, "break")?;
            self.guests(line.server)?.send_break(line).await
        })
    }

    fn sysrq(&self, line: LineKey, key: char) -> Answer<'_, ()> {
        Box::pin(async move {
            let key = sysrq_key(key)?;
            self.refuse_static(line, "SysRq")?;
            self.guests(line.server)?.sysrq(line, key).await
        })
    }

    fn type_at(&self, line: LineKey, typing: Typing) -> Answer<'_, Sent> {
        Box::pin(async move {
            if self.records {
                return Err(ComputeError::Unsupported(
                    "this host records sessions ([serial_console] record), and a recording would \
                     lack what is typed by a call: use `serialproxy run` or `serialproxy connect`"
                        .into(),
                ));
            }
            self.find_line(line)?.send(&typing).await
        })
    }

    fn wait_at(&self, line: LineKey, awaited: Awaited) -> Answer<'_, Waited> {
        Box::pin(async move { self.find_line(line)?.wait(&awaited).await })
    }

    fn sessions(&self, project: Option<String>) -> Answer<'_, api::Sessions> {
        Box::pin(async move {
            let all = self.lines.all();
            let own = |known: &str| project.as_deref().is_none_or(|project| project == known);
            let asked = |line: &&Line| line.is_of(own);
            let sessions = all.iter().filter(asked).flat_map(Line::sessions).collect();
            Ok(api::Sessions { sessions, unreachable: Vec::new() })
        })
    }

    fn disconnect_writer(&self, line: LineKey, by: Disconnect) -> Answer<'_, api::Writer> {
        Box::pin(async move {
            let line = self.find_line(line)?;
            line.disconnect_writer(&by).ok_or_else(|| {
                let (port, server) = (line.key().port, line.describe().server.name);
                ComputeError::NotFound(format!(
                    "Nobody is typing at serial port {port} of \
                         {server}."
                ))
            })
        })
    }

    fn disconnect(&self, line: LineKey, session: SessionId, by: Disconnect) -> Answer<'_, ()> {
        Box::pin(async move {
            if self.lines.get(line).is_some_and(|line| line.disconnect(session, &by)) {
                return Ok(());
            }
            Err(ComputeError::NotFound(format!("Session {session} could not be found.")))
        })
    }
}

/// Lines with their last printed lines. These take a thread that may be busy for a while.
async fn shown(lines: Vec<Line>) -> Result<Vec<api::Line>, ComputeError> {
    let show = |line: &Line| api::Line { last_line: line.last_line(), ..line.describe() };
    tokio::task::spawn_blocking(move || lines.iter().map(show).collect())
        .await
        .map_err(|error| ComputeError::Failed(format!("the lines cannot be described: {error}")))
}

/// Runs a change to its end even if its caller has hung up: half a change could leave a guest that
/// is not recorded anywhere.
async fn to_the_end<T: Send + 'static>(
    change: impl Future<Output = Result<T, ComputeError>> + Send + 'static,
) -> Result<T, ComputeError> {
    match tokio::spawn(request_id::in_current(change)).await {
        Ok(done) => done,
        Err(error) => Err(ComputeError::Failed(format!("the change was interrupted: {error}"))),
    }
}

/// The byte of a SysRq command key. Linux accepts letters and digits, and prints its help on `?`.
fn sysrq_key(key: char) -> Result<u8, ComputeError> {
    match u8::try_from(key) {
        Ok(key) if key.is_ascii_alphanumeric() || key == b'?' => Ok(key),
        _ => Err(ComputeError::Invalid(format!(
            "key: {key:?} is not a SysRq command; expected one of a-z A-Z 0-9 ?"
        ))),
    }
}
