//! Secrets: console tokens and API tokens, and the digests that are kept of them.
//!
//! A token itself implements neither `Debug`, `Display` nor `Serialize`, so it cannot end up in
//! a log line or an error by accident. What is stored is its SHA-256.

use std::fmt;

use jiff::Timestamp;
use sha2::Digest;
use sha2::Sha256;
use uuid::Uuid;

use crate::id::LineKey;
use crate::id::ServerId;

/// A console token: a random UUID4 in its usual form with dashes, as Nova makes them.
#[derive(Clone)]
pub struct ConsoleToken(String);

impl ConsoleToken {
    /// A new random token with 122 bits from the operating system.
    #[allow(clippy::new_without_default, reason = "each call gives another secret")]
    pub fn new() -> Self {
        Self(Uuid::new_v4().to_string())
    }

    /// Takes what a client sent; any text is accepted, since only a stored digest decides.
    pub fn from_client(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The secret itself, for the one URL that carries it to its user.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What is stored and looked up.
    pub fn digest(&self) -> TokenDigest {
        TokenDigest::of(&self.0)
    }
}

impl fmt::Debug for ConsoleToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ConsoleToken(***)")
    }
}

/// The key with which a dropped session comes back: good once, and only in the process that made
/// it. It names the line that the session is attached to, which is no secret.
#[derive(Clone)]
pub struct ResumeKey {
    line: LineKey,
    secret: String,
}

impl ResumeKey {
    /// A new random key with 122 bits from the operating system.
    pub fn new(line: LineKey) -> Self {
        Self { line, secret: Uuid::new_v4().to_string() }
    }

    /// Takes what a client sent; none when it cannot be a key.
    pub fn from_client(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '.');
        let server = Uuid::parse_str(parts.next()?).ok()?;
        let port = parts.next()?.parse().ok()?;
        let secret = parts.next()?.to_owned();
        Some(Self { line: LineKey { server: ServerId(server), port }, secret })
    }

    /// The line of its session.
    pub fn line(&self) -> LineKey {
        self.line
    }

    /// The secret itself, for the one `hello` that carries it to its session.
    pub fn expose(&self) -> String {
        format!("{}.{}.{}", self.line.server, self.line.port, self.secret)
    }

    /// What is kept and compared.
    pub fn digest(&self) -> TokenDigest {
        TokenDigest::of(&self.secret)
    }
}

impl fmt::Debug for ResumeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResumeKey(***)")
    }
}

/// SHA-256 of a token.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct TokenDigest(pub [u8; 32]);

impl TokenDigest {
    /// The digest of a token's text.
    pub fn of(text: &str) -> Self {
        Self(Sha256::digest(text.as_bytes()).into())
    }
}

/// What a session may do with the bytes of a line.
#[derive(Clone, Copy, Debug, Eq, PartialEq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Reads, never types.
    Watch,
    /// Reads and types while it holds the pen.
    Write,
}

impl Mode {
    /// `watch` or `write`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Watch => "watch",
            Self::Write => "write",
        }
    }
}

impl std::str::FromStr for Mode {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "watch" => Ok(Self::Watch),
            "write" => Ok(Self::Write),
            _ => Err(()),
        }
    }
}

/// What a console token stands for: this user may attach to this line, in this mode, until then.
///
/// It never names a TCP port: the endpoint is resolved from the running guest at each connect, so
/// a token cannot reach a guest that took over another guest's port.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Grant {
    /// The line that may be attached to.
    pub line: LineKey,
    /// The project of the line's server when the token was made. Once the server is another
    /// project's, the token is as good as unknown.
    pub project: String,
    /// Who asked for the token.
    pub user: String,
    /// The most that the session may do.
    pub mode: Mode,
    /// Whether the user may throw the writer off and control the guest's power.
    pub operator: bool,
    /// Whether a stopped guest may be attached to.
    pub wait: bool,
    /// When it ends. A session that is attached by then goes on, unless
    /// `[consoleauth] enforce_session_timeout` is set.
    pub expires: Timestamp,
    /// The only host of a cluster that takes the token, for one that a host asked for.
    pub host: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_a_uuid4_and_its_debug_form_hides_it() {
        let token = ConsoleToken::new();
        let parsed = Uuid::parse_str(token.expose()).unwrap();
        assert_eq!(parsed.get_version_num(), 4);
        assert!(!format!("{token:?}").contains(token.expose()));
    }

    #[test]
    fn a_resume_key_comes_back_as_it_was_and_its_debug_form_hides_it() {
        let line = LineKey { server: ServerId::of_static("a"), port: 3 };
        let key = ResumeKey::new(line);
        let back = ResumeKey::from_client(&key.expose()).unwrap();
        assert_eq!((back.line(), back.digest()), (line, key.digest()));
        assert!(!format!("{key:?}").contains(&key.secret));
        for text in ["", "a.b.c", "1", &key.secret, &format!("{}.9999.x", line.server)] {
            assert!(ResumeKey::from_client(text).is_none(), "{text}");
        }
    }

    #[test]
    fn the_digest_is_sha256_of_the_text() {
        let digest = ConsoleToken::from_client("abc").digest();
        assert_eq!(digest.0[..4], [0xba, 0x78, 0x16, 0xbf]);
    }
}
