//! Commands of a session for its guest: break, SysRq, power.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;

use jiff::SignedDuration;
use jiff::Timestamp;
use serialproxy_audit::EventName;
use serialproxy_limits::seldom;
use serialproxy_line::Keyboard;
use serialproxy_proto::api::Stop;
use serialproxy_proto::compute::Power;
use serialproxy_proto::console::PowerAction;
use serialproxy_proto::console::ServerMessage;
use serialproxy_proto::refusal::Refusal;
use serialproxy_proto::token::Grant;
use serialproxy_proto::token::Mode;
use tokio::sync::Semaphore;
use tokio::sync::mpsc;

use crate::Consoles;
use crate::Host;
use crate::Membership;

/// Commands of one session in progress at a time: a reset may overtake a stop that waits for its guest.
const AT_ONCE: usize = 2;

/// Maximum number of watch links that one connection creates.
const LINKS: u32 = 100;

#[derive(Clone, Copy, Debug)]
pub(crate) enum GuestCommand {
    Break,
    Sysrq(char),
    Power(PowerAction),
}

/// Runs commands while the session continues to send input.
pub(crate) struct GuestCommands {
    consoles: Arc<Consoles>,
    keyboard: Keyboard,
    answers: mpsc::Sender<Box<ServerMessage>>,
    room: Arc<Semaphore>,
    links: AtomicU32,
}

impl GuestCommands {
    pub(crate) fn new(
        consoles: &Arc<Consoles>,
        keyboard: &Keyboard,
        answers: &mpsc::Sender<Box<ServerMessage>>,
    ) -> Self {
        Self {
            consoles: Arc::clone(consoles),
            keyboard: keyboard.clone(),
            answers: answers.clone(),
            room: Arc::new(Semaphore::new(AT_ONCE)),
            links: AtomicU32::new(0),
        }
    }

    /// Starts a command. The client is told only of a failure, because the effect of a command that
    /// succeeds shows on the console.
    ///
    /// # Errors
    ///
    /// In words, if the session may not do this, or too many commands are in progress.
    pub(crate) fn start(&self, command: GuestCommand) -> Result<(), String> {
        self.allow(command)?;
        let Some(Host { servers, lines, .. }) = &self.consoles.host else {
            return Err(
                "this proxy only reaches the server's serial port: use Nova's API for this".into(),
            );
        };
        let place = Arc::clone(&self.room).try_acquire_owned();
        let place = place.map_err(|_| "wait until your previous request has finished")?;
        tracing::info!(line = self.keyboard.line_name(),
            server = %self.keyboard.line().server, session = %self.keyboard.session(),
            user = self.keyboard.user(), ?command, "command at the console");
        let (servers, lines) = (Arc::clone(servers), Arc::clone(lines));
        let answers = self.answers.clone();
        let (line, keyboard) = (self.keyboard.line(), self.keyboard.clone());
        tokio::spawn(async move {
            let done = match command {
                GuestCommand::Break => lines.send_break(line).await,
                GuestCommand::Sysrq(key) => lines.sysrq(line, key).await,
                GuestCommand::Power(action) => servers.power(line.server, power(action)).await,
            };
            drop(place);
            match done {
                Ok(()) => record(&keyboard, command),
                Err(error) => {
                    let message = error.to_string();
                    let _ = answers.send(Box::new(ServerMessage::Error { message })).await;
                }
            }
        });
        Ok(())
    }

    /// Creates a URL with which another person can only watch.
    ///
    /// # Errors
    ///
    /// In words, if the session may only watch, was opened by a shared link, or has created too many.
    pub(crate) fn link(&self) -> Result<(), String> {
        if !self.keyboard.may_write() {
            return Err("only a session that may type can create links for watching".into());
        }
        if self.keyboard.is_shared() {
            return Err("a session that a shared link opened cannot create links".into());
        }
        if self.links.fetch_add(1, Ordering::Relaxed) >= LINKS {
            return Err("this session has created too many links: use one of them".into());
        }
        let project = self.keyboard.project().map(str::to_owned);
        let Some((host, project)) = self.consoles.host.clone().zip(project) else {
            return Err("Nova creates the console URLs here: to let others watch, append \
                     &mode=watch to one"
                .into());
        };
        if !self.keyboard.may_act() {
            return Err(Refusal::Audit.to_string());
        }
        let now = Timestamp::now();
        let grant = self.grant(project, now);
        let seconds = now.duration_until(grant.expires).as_secs().max(0);
        let (answers, keyboard) = (self.answers.clone(), self.keyboard.clone());
        let base = self.consoles.console_url.clone();
        tokio::spawn(async move {
            let answer = match make_link(&host, grant, &base).await {
                Ok(url) => {
                    // In a cluster, the host that makes it records it.
                    if host.cluster.is_none() {
                        keyboard.record(EventName::TokenIssued, Some(Mode::Watch.as_str()));
                    }
                    tracing::info!(line = keyboard.line_name(),
                        server = %keyboard.line().server, session = %keyboard.session(),
                        user = keyboard.user(), "watch link created");
                    ServerMessage::Link { url, seconds: seconds.cast_unsigned() }
                }
                Err(error) => {
                    if seldom::is_due("link") {
                        tracing::error!(error, "watch links cannot be made");
                    }
                    let message = "links cannot be made now, try again".into();
                    ServerMessage::Error { message }
                }
            };
            let _ = answers.send(Box::new(answer)).await;
        });
        Ok(())
    }

    /// The grant of a link.
    fn grant(&self, project: String, now: Timestamp) -> Grant {
        let ttl = self.consoles.token_ttl.as_secs();
        let expires = now + SignedDuration::from_secs(ttl.cast_signed());
        Grant {
            line: self.keyboard.line(),
            // The session's project, even if the server belongs to another project now.
            project,
            user: self.keyboard.user().to_owned(),
            mode: Mode::Watch,
            operator: false,
            wait: true,
            // If the session's time is limited, its links end at the same time.
            expires: self.keyboard.limit().map_or(expires, |limit| limit.min(expires)),
            host: None,
            link: None,
        }
    }

    fn allow(&self, command: GuestCommand) -> Result<(), String> {
        let typed = matches!(command, GuestCommand::Break | GuestCommand::Sysrq(_));
        if typed && !self.keyboard.writes() {
            return Err("only the person who is typing can send this".into());
        }
        if !matches!(command, GuestCommand::Break) && !self.keyboard.may_power() {
            return Err("this requires a console URL of a user who may control the server".into());
        }
        Ok(())
    }
}

fn record(keyboard: &Keyboard, command: GuestCommand) {
    match command {
        GuestCommand::Break => keyboard.record(EventName::GuestBreak, None),
        GuestCommand::Sysrq(_) => keyboard.record(EventName::GuestSysrq, None),
        GuestCommand::Power(action) => {
            keyboard.record(EventName::GuestPower, Some(power(action).as_str()));
        }
    }
}

/// The URL of a link, or the error.
async fn make_link(host: &Host, grant: Grant, base: &str) -> Result<String, String> {
    if let Some(Membership { links, .. }) = &host.cluster {
        return links.link(grant).await;
    }
    let token = host.grants.authorize(grant).await.map_err(|error| error.to_string())?;
    Ok(format!("{base}?token={}&mode=watch", token.expose()))
}

fn power(action: PowerAction) -> Power {
    match action {
        PowerAction::Start => Power::Start,
        PowerAction::Stop => Power::Stop(Stop::default()),
        PowerAction::Reboot => Power::Reboot,
        PowerAction::Reset => Power::Reset,
        PowerAction::Nmi => Power::Nmi,
        PowerAction::Pause => Power::Pause,
        PowerAction::Resume => Power::Resume,
    }
}
