//! The program with one simulated port, whose line is connected.

use std::path::PathBuf;

use crate::address;
use crate::pki::Pki;
use crate::port::Guest;
use crate::port::Port;
use crate::server::Server;
use crate::socket::Refused;
use crate::socket::Socket;

/// A program with one line.
#[derive(Debug)]
pub struct Rig {
    /// The program.
    pub server: Server,
    /// The port.
    pub port: Port,
    /// The guest's end of it.
    pub guest: Guest,
    /// The certificates of the program, where it speaks TLS.
    pub pki: Option<Pki>,
}

impl Rig {
    /// Starts the program with these flags.
    pub async fn start(flags: &[&str]) -> Self {
        Self::start_with(None, flags).await
    }

    /// The same, with fixed addresses that stay after a restart, and console URLs that lead to its
    /// own proxy.
    pub async fn fixed() -> Self {
        let own = address::fixed();
        Self::start(&own.iter().map(String::as_str).collect::<Vec<_>>()).await
    }

    /// The same; with certificates, its ports speak TLS, too.
    pub async fn start_with(pki: Option<Pki>, flags: &[&str]) -> Self {
        let port = Port::new("switch").await;
        let tls = pki.iter().flat_map(Pki::flags);
        let own: Vec<String> = port.flag().into_iter().chain(tls).collect();
        let own = own.iter().map(String::as_str);
        let server = Server::start(&own.chain(flags.iter().copied()).collect::<Vec<_>>()).await;
        let guest = port.accept().await;
        Self { server, port, guest, pki }
    }

    /// The CA that verifies the program, where it speaks TLS.
    pub fn ca(&self) -> Option<PathBuf> {
        self.pki.as_ref().map(|pki| pki.file("ca-cert.pem"))
    }

    /// A console token of the line.
    pub async fn token(&self, query: &str) -> String {
        self.server.token(&self.port.server(), query).await
    }

    /// A path with a new token, followed by this query.
    pub async fn path(&self, query: &str) -> String {
        format!("/?token={}{query}", self.token("").await)
    }

    /// A raw session that writes; over TLS where the program speaks it.
    pub async fn raw(&self) -> Socket {
        let path = self.path("").await;
        Socket::over(self.ca().as_deref(), &self.server.proxy, &path, &[]).await
    }

    /// Status and reason of a handshake that is refused. It has a new token, this query after it,
    /// and these headers.
    pub async fn refused(&self, query: &str, headers: &[(&str, &str)]) -> (u16, String) {
        let path = self.path(query).await;
        let refused = Socket::refused(&self.server.proxy, &path, headers).await;
        let Refused { status, reason, body, .. } = refused;
        assert_eq!(body, 0, "a refusal has a body, which a client may take for output");
        (status, reason)
    }

    /// Waits until there are no sessions.
    pub async fn deserted(&self) {
        crate::eventually(async || {
            let sessions = self.server.get("/v1/sessions").await.json;
            sessions["sessions"].as_array().unwrap().is_empty().then_some(())
        })
        .await;
    }
}
