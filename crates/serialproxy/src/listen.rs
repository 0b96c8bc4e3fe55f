//! The listeners of the program. Names are resolved to addresses here, once, at the start.

use std::io;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use serialproxy_config::values::Api;
use serialproxy_config::values::AuthStrategy;
use serialproxy_config::values::Listen;
use serialproxy_config::values::SerialConsole;
use tokio::net::TcpListener;
use tokio::net::TcpSocket;

use crate::passed;
use crate::passed::Purpose;

/// The accept backlog; the kernel limits it to `net.core.somaxconn` (4096).
const BACKLOG: u32 = 4096;

/// How long a name server may take.
const RESOLVE: Duration = Duration::from_secs(10);

/// Which of a name's addresses come first.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Prefer {
    V4,
    V6,
}

/// Listens for users.
pub(crate) async fn listen_for_users(console: &SerialConsole) -> anyhow::Result<TcpListener> {
    let prefer = if console.source_is_ipv6 { Prefer::V6 } else { Prefer::V4 };
    listen(&console.listen, prefer, Purpose::Users).await
}

/// Listens for the API's callers. A socket unit may say another address than the configuration, which was
/// checked by itself.
pub(crate) async fn listen_for_api(api: &Api) -> anyhow::Result<TcpListener> {
    let listener = listen(&api.listen, Prefer::V4, Purpose::Api).await?;
    let address = listener.local_addr()?;
    anyhow::ensure!(
        api.auth_strategy != AuthStrategy::Noauth
            || api.noauth_anywhere
            || address.ip().to_canonical().is_loopback(),
        "[api] auth_strategy = noauth makes everyone who reaches {address} an administrator: listen on \
         127.0.0.1, choose another auth_strategy, or confirm it with noauth_anywhere = true"
    );
    Ok(listener)
}

/// Listens for who asks for health and metrics alone, where they have an address of their own.
pub(crate) async fn listen_for_metrics(api: &Api) -> anyhow::Result<Option<TcpListener>> {
    match &api.metrics_listen {
        Some(to) => listen(to, Prefer::V4, Purpose::Metrics).await.map(Some),
        None => passed_on(Purpose::Metrics),
    }
}

/// Listens where a socket unit says, if there is one for this purpose; else on the first address of a host that
/// can be bound, which the service manager keeps for the next process. `[::]` accepts IPv4 as well.
///
/// # Errors
///
/// In words, with the name of the option.
pub(crate) async fn listen(
    to: &Listen,
    prefer: Prefer,
    purpose: Purpose,
) -> anyhow::Result<TcpListener> {
    if let Some(listener) = passed_on(purpose)? {
        return Ok(listener);
    }
    let option = purpose.option();
    let addresses = resolve(to, prefer)
        .await
        .with_context(|| format!("cannot resolve {}, which {option} sets", to.host))?;
    if let Some(listener) = passed::take_kept(purpose, &addresses) {
        return Ok(TcpListener::from_std(listener)?);
    }
    let mut refused = anyhow::anyhow!("cannot resolve {}, which {option} sets", to.host);
    for address in addresses {
        match bind(address) {
            Ok(listener) => {
                passed::keep(purpose, &listener);
                return Ok(listener);
            }
            Err(error) => {
                let words = format!("cannot listen on {address}, which {option} sets");
                refused = anyhow::Error::new(error).context(words);
            }
        }
    }
    Err(refused)
}

/// The listener that the service manager passes for this purpose.
fn passed_on(purpose: Purpose) -> anyhow::Result<Option<TcpListener>> {
    let Some(listener) = passed::take(purpose) else { return Ok(None) };
    let address = listener.local_addr()?;
    let (name, unused) = (purpose.name(), purpose.option());
    tracing::info!(%address, name, unused, "the service manager passes this listener");
    Ok(Some(TcpListener::from_std(listener)?))
}

/// The addresses of a host, those of the preferred family first.
async fn resolve(Listen { host, port }: &Listen, prefer: Prefer) -> io::Result<Vec<SocketAddr>> {
    let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    if prefer == Prefer::V6 && host.parse() == Ok(any) {
        // The IPv6 wildcard also stands for all IPv4 addresses.
        return Ok(vec![(Ipv6Addr::UNSPECIFIED, *port).into()]);
    }
    let found = tokio::time::timeout(RESOLVE, tokio::net::lookup_host((host.as_str(), *port)));
    let found = found.await.map_err(|_| io::Error::other("the name server does not respond"))??;
    let mut found: Vec<_> = found.collect();
    sort(&mut found, prefer);
    Ok(found)
}

/// Within a family, the order stays.
fn sort(addresses: &mut [SocketAddr], prefer: Prefer) {
    addresses.sort_by_key(|address| address.is_ipv6() != (prefer == Prefer::V6));
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    if address.is_ipv6() {
        // Regardless of `net.ipv6.bindv6only`.
        rustix::net::sockopt::set_ipv6_v6only(&socket, !address.ip().is_unspecified())?;
    }
    // As `TcpListener::bind` does: connections of an earlier process may be in TIME_WAIT.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// The address by which this machine can reach a listener on it.
pub(crate) fn reachable(listener: SocketAddr) -> SocketAddr {
    let ip = match listener.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listener.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn address(host: &str, prefer: Prefer) -> SocketAddr {
        let to = Listen { host: host.into(), port: 0 };
        listen(&to, prefer, Purpose::Cluster).await.unwrap().local_addr().unwrap()
    }

    #[tokio::test]
    async fn an_address_is_listened_on_whatever_is_preferred() {
        for prefer in [Prefer::V4, Prefer::V6] {
            for host in ["127.0.0.1", "::1", "::"] {
                assert_eq!(address(host, prefer).await.ip().to_string(), host);
            }
        }
        assert_eq!(address("0.0.0.0", Prefer::V4).await.ip().to_string(), "0.0.0.0");
        assert_eq!(address("0.0.0.0", Prefer::V6).await.ip().to_string(), "::");
    }

    #[tokio::test]
    async fn a_name_is_listened_on() {
        assert_eq!(address("localhost", Prefer::V4).await.ip(), Ipv4Addr::LOCALHOST);
        assert!(address("localhost", Prefer::V6).await.ip().is_loopback());
    }

    #[tokio::test]
    async fn without_authentication_only_this_machine_reaches_the_api() {
        let mut api = serialproxy_config::values::Config::default().api;
        api.auth_strategy = AuthStrategy::Noauth;
        for (host, anywhere, allowed) in
            [("127.0.0.1", false, true), ("0.0.0.0", false, false), ("0.0.0.0", true, true)]
        {
            api.listen = Listen { host: host.into(), port: 0 };
            api.noauth_anywhere = anywhere;
            assert_eq!(listen_for_api(&api).await.is_ok(), allowed, "{host} {anywhere}");
        }
    }

    #[test]
    fn of_a_name_s_addresses_the_preferred_family_comes_first() {
        let [a, b, c] = ["1.1.1.1:1", "[::1]:1", "2.2.2.2:1"].map(|text| text.parse().unwrap());
        for (prefer, expected) in [(Prefer::V4, [a, c, b]), (Prefer::V6, [b, a, c])] {
            let mut addresses = [a, b, c];
            sort(&mut addresses, prefer);
            assert_eq!(addresses, expected, "{prefer:?}");
        }
    }

    #[tokio::test]
    async fn who_listens_on_all_of_ipv6_is_reached_by_ipv4() {
        let to = Listen { host: "::".into(), port: 0 };
        let listener = listen(&to, Prefer::V4, Purpose::Cluster).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        for host in ["127.0.0.1", "::1"] {
            let (made, accepted) =
                tokio::join!(tokio::net::TcpStream::connect((host, port)), listener.accept());
            made.unwrap();
            assert_eq!(accepted.unwrap().1.ip().to_canonical().to_string(), host);
        }
    }

    #[tokio::test]
    async fn a_name_without_an_address_is_an_error_in_words() {
        let to = Listen { host: "no.such.name.invalid".into(), port: 1 };
        let error = listen(&to, Prefer::V4, Purpose::Api).await.unwrap_err().to_string();
        assert_eq!(error, "cannot resolve no.such.name.invalid, which [api] listen sets");
        let taken = listen(&Listen { host: "::1".into(), port: 0 }, Prefer::V4, Purpose::Api)
            .await
            .unwrap();
        let port = taken.local_addr().unwrap().port();
        let to = Listen { host: "::1".into(), port };
        let error = listen(&to, Prefer::V4, Purpose::Api).await.unwrap_err().to_string();
        assert_eq!(error, format!("cannot listen on [::1]:{port}, which [api] listen sets"));
    }
}
