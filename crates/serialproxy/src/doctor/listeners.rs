//! The ports that the service listens on: free, or held by the service itself.

use std::io;
use std::net::SocketAddr;

use serialproxy_config::values::Listen;
use tokio::net::TcpSocket;
use tokio::net::lookup_host;

use super::Role;
use super::Subject;
use super::finding::Check;
use super::finding::Finding;
use super::service;
use super::sockets;
use super::sockets::Listening;

/// Where the service listens, and what says so.
struct Wanted<'a> {
    option: &'static str,
    listen: &'a Listen,
}

/// Who has a port.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Holder {
    Nobody,
    /// The service, or systemd for it.
    Service(String),
    /// Another program.
    Another(String),
    /// A program that this user may not see.
    Unseen,
}

/// Each port by itself, and each against the others.
pub(super) async fn check(subject: &Subject) -> Vec<Finding> {
    let wanted = wanted(subject);
    let mut findings = Vec::new();
    for (at, one) in wanted.iter().enumerate() {
        let same =
            wanted.iter().take(at).find(|other| other.listen == one.listen && one.listen.port != 0);
        findings.push(match same {
            Some(other) => Finding::problem(
                Check::Listeners,
                format!(
                    "{} and {} are the same address, {}",
                    other.option,
                    one.option,
                    shown(one.listen)
                ),
                "choose another port for one of them",
            ),
            None => one.examine(subject).await,
        });
    }
    findings
}

fn wanted(subject: &Subject) -> Vec<Wanted<'_>> {
    let config = subject.config();
    let mut wanted = Vec::new();
    if subject.has_users() {
        let option = "[serial_console] serialproxy_host and serialproxy_port";
        wanted.push(Wanted { option, listen: &config.serial_console.listen });
    }
    if subject.has_api() {
        wanted.push(Wanted { option: "[api] listen", listen: &config.api.listen });
    }
    if let Some(listen) = &config.api.metrics_listen {
        wanted.push(Wanted { option: "[api] metrics_listen", listen });
    }
    // The proxy of a cluster is no host that others connect to.
    let front = subject.role == Role::Proxy && !subject.is_drop_in();
    if subject.in_cluster() && !front {
        wanted.push(Wanted { option: "[cluster] listen", listen: &config.cluster.listen });
    }
    wanted
}

impl Wanted<'_> {
    async fn examine(&self, subject: &Subject) -> Finding {
        let (option, address) = (self.option, shown(self.listen));
        let problem = |text: String, fix: &str| Finding::problem(Check::Listeners, text, fix);
        let addresses = match lookup_host((self.listen.host.as_str(), self.listen.port)).await {
            Ok(found) => found.collect::<Vec<_>>(),
            Err(error) => {
                return problem(
                    format!("{option}: {} cannot be resolved: {error}", self.listen.host),
                    "set an IP address of this host, or 0.0.0.0 for all of them",
                );
            }
        };
        match holder(subject, &addresses).await {
            Holder::Service(who) => {
                Finding::ok(Check::Listeners, format!("{option}: {who} listens on {address}"))
            }
            Holder::Another(who) => problem(
                format!("{option}: {address} is in use by {who}"),
                "stop that program, or set another port",
            ),
            Holder::Unseen => Finding::warning(
                Check::Listeners,
                format!("{option}: {address} is in use by a program that this user cannot see"),
                "run the doctor as root to see whether it is the service",
            ),
            Holder::Nobody => match addresses.iter().try_for_each(|address| try_bind(*address)) {
                Ok(()) => Finding::ok(Check::Listeners, format!("{option}: {address} is free")),
                Err(error) => {
                    let text = format!("{option}: nobody can listen on {address}: {error}");
                    problem(text, remedy(&error))
                }
            },
        }
    }
}

/// Who listens where connections to one of these addresses arrive.
pub(super) async fn holder(subject: &Subject, addresses: &[SocketAddr]) -> Holder {
    let sockets = tokio::task::spawn_blocking(sockets::listening).await.unwrap_or_default();
    let takes = |socket: &Listening| {
        addresses.iter().any(|address| address.port() != 0 && socket.takes(*address))
    };
    let sockets: Vec<_> = sockets.into_iter().filter(takes).collect();
    if sockets.is_empty() {
        return Holder::Nobody;
    }
    let programs = sockets::programs(&sockets).await;
    let own = service::pids(&subject.config().state_dir);
    // The proxy in front of a Nova keeps no state, and so has no lock by which it is known.
    let has_locks = !subject.is_drop_in() || subject.in_cluster();
    let mut holder = Holder::Unseen;
    for program in programs.values() {
        let is_own = own.contains(&program.pid)
            || (!has_locks && service::is_serialproxy(program.pid))
            || (program.pid == 1 && program.name == "systemd");
        if !is_own {
            let beside = if service::is_serialproxy(program.pid) {
                ", with another state directory"
            } else {
                ""
            };
            return Holder::Another(format!("{program}{beside}"));
        }
        holder = Holder::Service(program.to_string());
    }
    holder
}

/// Binds as the service does, and lets go at once. It never listens, so nobody can connect, and a service
/// that starts at this moment can bind too.
pub(super) fn try_bind(address: SocketAddr) -> io::Result<()> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)
}

fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrNotAvailable => {
            "set an address of this host (`ip address` lists them), or 0.0.0.0 for all of them"
        }
        io::ErrorKind::PermissionDenied => {
            "set a port above 1023, or give the service the capability CAP_NET_BIND_SERVICE"
        }
        _ => "set another address or port",
    }
}

fn shown(Listen { host, port }: &Listen) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_of_another_host_cannot_be_bound_and_a_port_of_this_one_can() {
        try_bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let error = try_bind("192.0.2.77:0".parse().unwrap()).unwrap_err();
        assert!(remedy(&error).contains("address of this host"), "{error}");
    }
}
