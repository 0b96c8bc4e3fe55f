//! The events that the proxy records in the audit trail: refused attaches.

use jiff::Timestamp;
use serialproxy_audit::Event;
use serialproxy_audit::EventName;
use serialproxy_proto::cause::Cause;
use serialproxy_proto::id::LineKey;
use serialproxy_proto::refusal::Refusal;

use crate::Proxy;
use crate::client::Client;
use crate::console::Console;

/// What is known about a client that attaches.
#[derive(Debug, Default)]
pub(crate) struct Known {
    grant: Option<(LineKey, String, Option<String>)>,
    /// Whether another process refused it and recorded that.
    pub(crate) refused_elsewhere: bool,
}

impl Known {
    /// Sets the console of its token.
    pub(crate) fn set(&mut self, console: &Console) {
        self.grant = Some((console.line, console.user.clone(), console.project.clone()));
    }
}

/// Records that a client is refused.
pub(crate) fn refused(proxy: &Proxy, client: Client, known: Known, refusal: &Refusal) {
    if known.refused_elsewhere {
        return;
    }
    let name = match refusal {
        Refusal::Token | Refusal::Resume => EventName::TokenRefused,
        _ => EventName::SessionRefused,
    };
    let event = event(name, client, refusal.cause());
    proxy.lines.audit().record(match known.grant {
        None => event,
        Some((line, user, project)) => {
            let server = proxy.lines.get(line).map(|line| line.server_name());
            event.line(line).server_name(server).user(user).project(project)
        }
    });
}

/// Records that a handshake is not valid.
pub(crate) fn broken(proxy: &Proxy, client: Client) {
    proxy.lines.audit().record(event(EventName::SessionRefused, client, Cause::Handshake));
}

fn event(name: EventName, client: Client, cause: Cause) -> Event {
    Event::new(name, Timestamp::now()).address(client.name()).cause(cause.as_str())
}
