//! `connect`: this terminal at a serial console, over any number of connections.

mod addresses;
pub(crate) mod door;
mod escape;
mod guest;
mod keyboard;
pub(crate) mod ledger;
mod menu;
pub(crate) mod muting;
mod notices;
mod overheard;
mod paste;
mod reports;
pub(crate) mod reset;
pub(crate) mod screen;
mod session;
mod status;
pub(crate) mod terminal;
mod typing;
pub(crate) mod view;
pub(crate) mod wire;

use std::time::Duration;

use rustix::termios::isatty;
use serialproxy_proto::close::CloseCode;
use serialproxy_proto::token::AskedMode;
use serialproxy_proto::token::Mode;
use tokio::time::Instant;
use tokio::time::sleep;

use crate::api::Api;
use crate::api::ConsoleRequest;
use crate::command::Begin;
use crate::command::Connect;
use crate::connect::door::Attached;
use crate::connect::door::Claim;
use crate::connect::door::Door;
use crate::connect::session::Session;
use crate::connect::terminal::Terminal;
use crate::failure::Failure;
use crate::failure::known;

/// How long to try to reconnect, unless the proxy keeps a session for longer.
const RECONNECT_TIME: Duration = Duration::from_secs(60);
pub(crate) const FIRST_PAUSE: Duration = Duration::from_millis(300);
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_secs(8);

/// Why a connection, or the command, ended.
#[derive(Debug)]
pub(crate) enum End {
    /// The person left, or all piped input was answered.
    Left,
    Failed(Failure),
}

impl From<Failure> for End {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// Attaches the terminal and stays until the person leaves or the console ends.
pub(crate) async fn connect(api: &Api, command: &Connect) -> Result<(), Failure> {
    let settings = command.settings.with_file()?;
    let is_interactive = isatty(rustix::stdio::stdin());
    let claims = command.force || command.ask;
    let mode = if command.watch { Mode::Watch } else { Mode::Write };
    // A script that cannot type has to know; a person watches meanwhile.
    let asked = match command.watch || command.types || claims || !is_interactive {
        true => AskedMode::Only(mode),
        false => AskedMode::Auto,
    };
    let server = api.find(&command.server).await?;
    let request = ConsoleRequest { server, port: command.port, mode, wait: true };
    let claim = claims.then(|| Claim { by_force: command.force, reason: command.reason.clone() });
    // A script needs the answer to its input, not the screen from before.
    let live = (!is_interactive).then_some(Begin::Live);
    let mut door = Door::new(api, request, asked, claim, command.from.or(live));
    let attached = door.attach().await?;
    // The terminal's mode is changed only when there is something to show.
    let mut terminal = Terminal::open(!command.no_pace, settings)?;
    let end = stay(&mut terminal, &mut door, attached).await;
    terminal.close().await;
    match end {
        End::Left => Ok(()),
        End::Failed(failure) => Err(failure),
    }
}

async fn stay(terminal: &mut Terminal, door: &mut Door<'_>, mut attached: Attached) -> End {
    for connection in 1.. {
        let user = attached.hello.user.clone();
        let grace = Duration::from_secs(attached.hello.grace);
        // One more attempt after the grace time, when an old session of our own cannot block the
        // pen any more.
        let limit = RECONNECT_TIME.max(grace + 2 * LONGEST_PAUSE);
        if door.is_news(attached.hello.line) {
            terminal.screen.say(notices::NEW_LINE);
        }
        let session = match Session::begin(terminal, attached, connection).await {
            Ok(session) => session,
            Err(failure) => return End::Failed(failure),
        };
        let (end, view) = session.run().await;
        // A script that cannot type any more fails, and a person watches.
        let mode = match (view.is_watching(), terminal.is_interactive()) {
            (true, _) => AskedMode::Only(Mode::Watch),
            (false, true) => AskedMode::Auto,
            (false, false) => AskedMode::Only(Mode::Write),
        };
        door.go_on(view.seen(), mode);
        let failure = match end {
            End::Left => break,
            End::Failed(failure) => failure,
        };
        let interactive = terminal.is_interactive();
        let pause = match &failure {
            Failure::Lost(cause) => {
                terminal.screen.say(&notices::lost(cause, limit, interactive));
                FIRST_PAUSE
            }
            Failure::Closed { code, reason, .. } => match known(*code) {
                Some(CloseCode::Draining) => {
                    terminal.screen.say(notices::DRAINING);
                    Duration::ZERO
                }
                // The other end has heard nothing from this machine for too long, perhaps because
                // it slept. Or the server's host is away.
                Some(CloseCode::Idle | CloseCode::HostLost) => {
                    terminal.screen.say(&notices::lost(reason, limit, interactive));
                    FIRST_PAUSE
                }
                Some(CloseCode::Normal) => {
                    terminal.screen.say(&notices::ended(reason));
                    break;
                }
                _ => return End::Failed(failure),
            },
            _ => return End::Failed(failure),
        };
        attached = match reconnect(terminal, door, &user, pause, limit).await {
            Ok(attached) => attached,
            Err(end) => return end,
        };
    }
    End::Left
}

async fn reconnect(
    terminal: &mut Terminal,
    door: &mut Door<'_>,
    user: &str,
    mut pause: Duration,
    limit: Duration,
) -> Result<Attached, End> {
    let start = Instant::now();
    loop {
        terminal.unless_left(sleep(pause)).await?;
        pause = (pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
        match terminal.unless_left(door.attach()).await? {
            Ok(attached) => return Ok(attached),
            Err(failure) if start.elapsed() + pause < limit && passes(&failure, user) => {
                terminal.screen.say(&notices::again(&failure, pause));
            }
            Err(failure) => return Err(failure.into()),
        }
    }
}

/// Whether a later attempt may succeed: the proxy restarts, or our own lost session still holds the
/// pen.
fn passes(failure: &Failure, user: &str) -> bool {
    match failure {
        Failure::Api { .. } => true,
        Failure::Fault { status, .. } => *status >= 500,
        Failure::Closed { code, reason, .. } if known(*code) == Some(CloseCode::Busy) => {
            reason.starts_with(&format!("busy: {user} since "))
        }
        failure => door::passes(failure),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coming_back_waits_for_our_own_lost_session_and_not_for_anothers() {
        let busy = |user: &str| Failure::Closed {
            code: CloseCode::Busy.number(),
            reason: format!("busy: {user} since 2026-11-22T09:00:00Z"),
            own: false,
        };
        assert!(passes(&busy("alice"), "alice"));
        assert!(!passes(&busy("alice2"), "alice"));
        assert!(!passes(&busy("bob"), "alice"));
    }

    #[test]
    fn coming_back_waits_for_a_host_that_does_not_respond_and_not_for_a_server_that_is_gone() {
        let closed = |code: CloseCode| {
            passes(&Failure::Closed { code: code.number(), reason: String::new(), own: false }, "")
        };
        assert!(closed(CloseCode::HostLost));
        assert!(!closed(CloseCode::NoSuchLine));
    }
}
