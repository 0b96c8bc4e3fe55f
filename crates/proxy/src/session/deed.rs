//! What a session does to its guest beside typing: break, SysRq, power.

use std::sync::Arc;

use serialproxy_line::Keyboard;
use serialproxy_proto::api::Stop;
use serialproxy_proto::compute::Compute;
use serialproxy_proto::compute::Power;
use serialproxy_proto::console::PowerAction;
use serialproxy_proto::console::ServerMessage;
use tokio::sync::Semaphore;
use tokio::sync::mpsc;

use super::Note;

/// Deeds of one session at a time: a reset may overtake a stop that waits for its guest.
const AT_ONCE: usize = 2;

#[derive(Clone, Copy, Debug)]
pub(super) enum Deed {
    Break,
    Sysrq(char),
    Power(PowerAction),
}

/// Carries deeds out while the session types on.
pub(super) struct Deeds {
    compute: Arc<dyn Compute>,
    keyboard: Keyboard,
    notes: mpsc::Sender<Note>,
    room: Arc<Semaphore>,
}

impl Deeds {
    pub(super) fn new(
        compute: &Arc<dyn Compute>,
        keyboard: &Keyboard,
        notes: &mpsc::Sender<Note>,
    ) -> Self {
        Self {
            compute: Arc::clone(compute),
            keyboard: keyboard.clone(),
            notes: notes.clone(),
            room: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }

    /// Starts a deed; how it ends is said to the client only when it fails, since what it does
    /// shows on the console.
    ///
    /// # Errors
    ///
    /// In words, when the session may not, or others are still under way.
    pub(super) fn start(&self, deed: Deed) -> Result<(), String> {
        self.allow(deed)?;
        let place = Arc::clone(&self.room).try_acquire_owned();
        let place = place.map_err(|_| "wait until what you asked for before is done")?;
        tracing::info!(line = %self.keyboard.line(), session = %self.keyboard.session(),
            user = self.keyboard.user(), ?deed, "deed at the console");
        let (compute, notes) = (Arc::clone(&self.compute), self.notes.clone());
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
                let _ = notes.send(Note::Say(Box::new(ServerMessage::Error { message }))).await;
            }
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
    }
}
