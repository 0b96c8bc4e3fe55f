//! What a session does to its guest beside typing: break, SysRq, power.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;

use jiff::SignedDuration;
use jiff::Timestamp;
use serialproxy_limits::seldom;
use serialproxy_line::Keyboard;
use serialproxy_proto::api::Stop;
use serialproxy_proto::compute::Power;
use serialproxy_proto::console::PowerAction;
use serialproxy_proto::console::ServerMessage;
use serialproxy_proto::token::Grant;
use serialproxy_proto::token::Mode;
use tokio::sync::Semaphore;
use tokio::sync::mpsc;

use crate::Consoles;
use crate::Host;

/// Deeds of one session at a time: a reset may overtake a stop that waits for its guest.
const AT_ONCE: usize = 2;

/// Watch links that one connection makes at most.
const LINKS: u32 = 100;

#[derive(Clone, Copy, Debug)]
pub(crate) enum Deed {
    Break,
    Sysrq(char),
    Power(PowerAction),
}

/// Carries deeds out while the session types on.
pub(crate) struct Deeds {
    consoles: Arc<Consoles>,
    keyboard: Keyboard,
    answers: mpsc::Sender<Box<ServerMessage>>,
    room: Arc<Semaphore>,
    links: AtomicU32,
}

impl Deeds {
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

    /// Starts a deed; how it ends is said to the client only when it fails, since what it does
    /// shows on the console.
    ///
    /// # Errors
    ///
    /// In words, when the session may not, or others are still under way.
    pub(crate) fn start(&self, deed: Deed) -> Result<(), String> {
        self.allow(deed)?;
        let Some(Host { compute, .. }) = &self.consoles.host else {
            return Err("this proxy has the server's port alone: ask Nova to do it".into());
        };
        let place = Arc::clone(&self.room).try_acquire_owned();
        let place = place.map_err(|_| "wait until what you asked for before is done")?;
        tracing::info!(line = self.keyboard.line_name(),
            server = %self.keyboard.line().server, session = %self.keyboard.session(),
            user = self.keyboard.user(), ?deed, "deed at the console");
        let (compute, answers) = (Arc::clone(compute), self.answers.clone());
        let line = self.keyboard.line();
        tokio::spawn(async move {
            let done = match deed {
                Deed::Break => compute.send_break(line).await,
                Deed::Sysrq(key) => compute.sysrq(line, key).await,
                Deed::Power(action) => compute.power(line.server, power(action)).await,
            };
            drop(place);
            if let Err(error) = done {
                let message = error.to_string();
                let _ = answers.send(Box::new(ServerMessage::Error { message })).await;
            }
        });
        Ok(())
    }

    /// Makes a URL with which someone else can watch, and nothing more.
    ///
    /// # Errors
    ///
    /// In words, when the session may only watch itself, or has made many.
    pub(crate) fn link(&self) -> Result<(), String> {
        if !self.keyboard.may_write() {
            return Err("only someone who may write can let others watch".into());
        }
        if self.links.fetch_add(1, Ordering::Relaxed) >= LINKS {
            return Err("many links were made already, use one of them".into());
        }
        let Some(Host { grants, .. }) = &self.consoles.host else {
            return Err("Nova makes the URLs here: with &mode=watch behind it, one lets others \
                        watch"
                .into());
        };
        let now = Timestamp::now();
        let ttl = self.consoles.token_ttl.as_secs();
        let expires = now + SignedDuration::from_secs(ttl.cast_signed());
        // Nobody watches for longer by a link of a session whose time is limited.
        let expires = self.keyboard.limit().map_or(expires, |limit| limit.min(expires));
        let seconds = now.duration_until(expires).as_secs().max(0).cast_unsigned();
        let grant = Grant {
            line: self.keyboard.line(),
            // The session's, whosever the server is by now.
            project: self.keyboard.project().unwrap_or_default().to_owned(),
            user: self.keyboard.user().to_owned(),
            mode: Mode::Watch,
            operator: false,
            wait: true,
            expires,
        };
        let (grants, answers) = (grants.clone(), self.answers.clone());
        let base = self.consoles.console_url.clone();
        let keyboard = self.keyboard.clone();
        tokio::spawn(async move {
            let answer = match grants.authorize(grant).await {
                Ok(token) => {
                    tracing::info!(line = keyboard.line_name(),
                        server = %keyboard.line().server, session = %keyboard.session(),
                        user = keyboard.user(), "watch link made");
                    let url = format!("{base}?token={}&mode=watch", token.expose());
                    ServerMessage::Link { url, seconds }
                }
                Err(error) => {
                    if seldom::is_due("link") {
                        tracing::error!(%error, "watch links cannot be made");
                    }
                    let message = "links cannot be made now, try again".into();
                    ServerMessage::Error { message }
                }
            };
            let _ = answers.send(Box::new(answer)).await;
        });
        Ok(())
    }

    fn allow(&self, deed: Deed) -> Result<(), String> {
        let typed = matches!(deed, Deed::Break | Deed::Sysrq(_));
        if typed && !self.keyboard.writes() {
            return Err("only the one who writes can send this".into());
        }
        if !matches!(deed, Deed::Break) && !self.keyboard.may_power() {
            return Err("this needs a console URL of someone who may control the server".into());
        }
        Ok(())
    }
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
