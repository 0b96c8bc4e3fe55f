//! The program and one simulated port, whose line is connected.

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
}

impl Rig {
    /// Starts the program with these flags.
    pub async fn start(flags: &[&str]) -> Self {
        let port = Port::new("switch").await;
        let [flag, line] = port.flag();
        let server = Server::start(&[&[flag.as_str(), line.as_str()], flags].concat()).await;
        let guest = port.accept().await;
        Self { server, port, guest }
    }

    /// A console token of the line.
    pub async fn token(&self, query: &str) -> String {
        self.server.token(&self.port.server(), query).await
    }

    /// A raw session that writes.
    pub async fn raw(&self) -> Socket {
        Socket::raw(&self.server.proxy, &self.token("").await).await
    }

    /// Status and reason of a handshake that is refused, with a fresh token, this query behind it and
    /// these headers.
    pub async fn refused(&self, query: &str, headers: &[(&str, &str)]) -> (u16, String) {
        let path = format!("/?token={}{query}", self.token("").await);
        let refused = Socket::refused(&self.server.proxy, &path, headers).await;
        let Refused { status, reason, body } = refused;
        assert_eq!(body, 0, "a refusal has a body, which a client may take for output");
        (status, reason)
    }

    /// Waits until no session is left.
    pub async fn deserted(&self) {
        crate::eventually(async || {
            let sessions = self.server.get("/v1/sessions").await.json;
            sessions["sessions"].as_array().unwrap().is_empty().then_some(())
        })
        .await;
    }
}
