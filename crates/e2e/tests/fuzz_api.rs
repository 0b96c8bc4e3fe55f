//! Requests that the OpenAPI document allows, and others: none causes an internal error, or an
//! answer that the document does not contain.

use serialproxy_e2e::fuzz::fuzz;
use serialproxy_e2e::port::Guest;
use serialproxy_e2e::port::Port;
use serialproxy_e2e::server::Server;

/// Two lines; one of them has printed output.
async fn rig(flags: &[&str]) -> (Server, Port, Guest) {
    let (port, silent) = (Port::new("switch").await, Port::new("silent").await);
    let ([flag, line], [_, other]) = (port.flag(), silent.flag());
    let lines = [flag.as_str(), line.as_str(), flag.as_str(), other.as_str()];
    let server = Server::start(&[&lines[..], flags].concat()).await;
    let mut guest = port.accept().await;
    guest.print(b"login:").await;
    (server, port, guest)
}

#[tokio::test]
async fn no_request_of_an_administrator_breaks_the_api() {
    // The test tries many wrong tokens, all from one address.
    let (server, port, _guest) = rig(&["--limits-failures_per_minute", "0"]).await;
    fuzz(&server.api, &server.admin_token(), &port.server(), &[]).await;
}

#[tokio::test]
async fn no_request_breaks_an_api_that_asks_nobody() {
    let (server, port, _guest) = rig(&["--api-auth_strategy", "noauth"]).await;
    // The document always requires authentication.
    fuzz(&server.api, "unused", &port.server(), &["--exclude-checks", "ignored_auth"]).await;
}
