//! How a listener accepts connections: plain and with TLS on one port, distinguished by their first
//! byte, as in Nova's proxy.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::ServerConnection;
use rustls::SupportedProtocolVersion;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs;
use rustls::version::TLS12;
use rustls::version::TLS13;
use tokio::net::TcpStream;

use crate::certificate::Certificate;
use crate::handshakes::Handshakes;
use crate::stream::Stream;

/// How long a client may take for its first byte and the handshake.
const PATIENCE: Duration = Duration::from_secs(10);

/// First byte of a TLS connection: a handshake record (RFC 8446 section 5.1).
const HANDSHAKE: u8 = 0x16;

/// First byte of the hello of SSL 2, which is not in use any more.
const SSL2: u8 = 0x80;

/// The oldest supported version of TLS.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Version {
    /// TLS 1.2 and 1.3.
    Tls12,
    /// TLS 1.3 alone.
    Tls13,
}

/// The supported versions and ciphers of TLS.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Policy {
    /// The oldest version.
    pub minimum: Version,
    /// IANA's numbers of the cipher suites of TLS 1.2, the best first; none means all.
    pub ciphers: Option<Vec<u16>>,
}

/// How a listener accepts connections.
#[derive(Clone, Debug)]
pub struct Reception {
    tls: Option<(Arc<ServerConfig>, Handshakes)>,
    only: bool,
}

impl Reception {
    /// Without TLS.
    pub fn plain() -> Self {
        Self { tls: None, only: false }
    }

    /// With this certificate, and handshakes on these threads; with `only`, connections without TLS
    /// must be refused.
    ///
    /// # Errors
    ///
    /// When the policy allows no cipher.
    pub fn new(
        certificate: Arc<Certificate>,
        policy: &Policy,
        only: bool,
        handshakes: Handshakes,
    ) -> Result<Self, rustls::Error> {
        let mut config = ServerConfig::builder_with_provider(Arc::new(policy.provider()))
            .with_protocol_versions(policy.versions())?
            .with_no_client_auth()
            .with_cert_resolver(certificate);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // A configured list of ciphers also defines their order.
        config.ignore_client_order = policy.ciphers.is_some();
        Ok(Self { tls: Some((Arc::new(config), handshakes)), only })
    }

    /// Whether TLS is supported.
    pub fn speaks_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Whether a client without TLS is only told that TLS is required.
    pub fn refuses(&self, stream: &Stream) -> bool {
        self.only && matches!(stream, Stream::Plain(_))
    }

    /// Detects the client's protocol, and does the TLS handshake, within a limited time.
    ///
    /// # Errors
    ///
    /// When the client sends nothing in time, disconnects, or the handshake fails.
    pub async fn receive(&self, tcp: TcpStream) -> io::Result<Stream> {
        let Some((config, handshakes)) = &self.tls else { return Ok(Stream::Plain(tcp)) };
        let received = tokio::time::timeout(PATIENCE, receive(tcp, config, handshakes)).await;
        received.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }
}

async fn receive(
    tcp: TcpStream,
    config: &Arc<ServerConfig>,
    handshakes: &Handshakes,
) -> io::Result<Stream> {
    let mut first = [0];
    match (tcp.peek(&mut first).await?, first) {
        (0, _) => Err(io::ErrorKind::UnexpectedEof.into()),
        (_, [HANDSHAKE]) => {
            let tls = ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
            handshakes.shake_hands(tcp, tls).await
        }
        (_, [SSL2]) => Err(io::Error::new(io::ErrorKind::InvalidData, "a client uses SSL 2")),
        _ => Ok(Stream::Plain(tcp)),
    }
}

impl Policy {
    fn versions(&self) -> &'static [&'static SupportedProtocolVersion] {
        static FROM_1_2: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];
        static FROM_1_3: [&SupportedProtocolVersion; 1] = [&TLS13];
        match self.minimum {
            Version::Tls12 => &FROM_1_2,
            Version::Tls13 => &FROM_1_3,
        }
    }

    fn provider(&self) -> CryptoProvider {
        let mut provider = aws_lc_rs::default_provider();
        if let Some(ciphers) = &self.ciphers {
            let place = |number: u16| ciphers.iter().position(|cipher| *cipher == number);
            let number = |suite: &rustls::SupportedCipherSuite| u16::from(suite.suite());
            let is_1_3 = |suite: &rustls::SupportedCipherSuite| suite.tls13().is_some();
            provider.cipher_suites.retain(|suite| is_1_3(suite) || place(number(suite)).is_some());
            provider.cipher_suites.sort_by_key(|suite| place(number(suite)));
        }
        provider
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ECDHE_RSA_AES256: u16 = 0xC030;
    const ECDHE_ECDSA_AES128: u16 = 0xC02B;

    fn policy(minimum: Version, ciphers: Option<&[u16]>) -> Policy {
        Policy { minimum, ciphers: ciphers.map(<[u16]>::to_vec) }
    }

    fn suites(policy: &Policy) -> Vec<u16> {
        let suites = policy.provider().cipher_suites;
        let tls12 = suites.iter().filter(|suite| suite.tls13().is_none());
        tls12.map(|suite| suite.suite().into()).collect()
    }

    #[test]
    fn ciphers_of_tls_1_2_are_those_that_are_listed_in_their_order() {
        let listed = [ECDHE_RSA_AES256, ECDHE_ECDSA_AES128];
        let policy = policy(Version::Tls12, Some(&listed));
        assert_eq!(suites(&policy), listed);
        let all = policy.provider().cipher_suites.len();
        assert_eq!(all, listed.len() + 3, "those of TLS 1.3 stay");
    }

    #[test]
    fn without_a_list_all_are_spoken() {
        assert_eq!(suites(&policy(Version::Tls12, None)).len(), 6);
    }
}
