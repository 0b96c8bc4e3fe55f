//! Secrets: console tokens and API tokens, and their stored digests.
//!
//! A token itself implements neither `Debug`, `Display` nor `Serialize`, so it cannot get into a
//! log line or an error by accident. Only its SHA-256 is stored.

use std::fmt;

use jiff::Timestamp;
use sha2::Digest;
use sha2::Sha256;
use uuid::Uuid;

use crate::id::LineKey;
use crate::id::LinkId;
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

    /// A token from a client. Any text is accepted, since only a stored digest decides.
    pub fn from_client(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The secret itself, for the URL that brings it to its user.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The digest, which is stored and looked up.
    pub fn digest(&self) -> TokenDigest {
        TokenDigest::of(&self.0)
    }
}

impl fmt::Debug for ConsoleToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ConsoleToken(***)")
    }
}

/// The key with which a session resumes. It is valid once, and only in the process that made it. It
/// names the session's line, which is not secret.
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

    /// A key from a client; none when the text cannot be a key.
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

    /// The secret itself, for the `hello` that brings it to its session.
    pub fn expose(&self) -> String {
        format!("{}.{}.{}", self.line.server, self.line.port, self.secret)
    }

    /// The digest, which is stored and compared.
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

/// The mode that a client asks for when it attaches.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AskedMode {
    /// This mode, or a refusal.
    Only(Mode),
    /// Typing if nobody else types, otherwise watching (`console.v1`).
    Auto,
}

impl AskedMode {
    /// The value of the parameter `mode`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Only(mode) => mode.as_str(),
            Self::Auto => "auto",
        }
    }
}

impl std::str::FromStr for AskedMode {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "auto" => Ok(Self::Auto),
            text => text.parse().map(Self::Only),
        }
    }
}

/// The grant of a console token: this user may attach to this line, in this mode, until it expires.
///
/// It never names a TCP port. The endpoint is resolved from the running guest for each connection,
/// so a token cannot reach a guest that took over another guest's port.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Grant {
    /// The line.
    pub line: LineKey,
    /// The project of the line's server when the token was made. If the server belongs to another
    /// project now, the token counts as unknown.
    pub project: String,
    /// The user who asked for the token.
    pub user: String,
    /// The greatest mode that the session may have.
    pub mode: Mode,
    /// Whether the user may take the pen from others and control the guest's power.
    pub operator: bool,
    /// Whether the session may wait for a stopped guest.
    pub wait: bool,
    /// When the token expires. An attached session goes on, unless `[consoleauth]
    /// enforce_session_timeout` is set.
    pub expires: Timestamp,
    /// The only host that accepts the token, if that host requested it.
    pub host: Option<String>,
    /// The shared link whose token it is, if any.
    pub link: Option<SharedLink>,
}

/// A link that a user shared: its token is good for many sessions, which end with it.
#[derive(Clone, Debug, Eq, PartialEq, serde::Deserialize, serde::Serialize)]
pub struct SharedLink {
    /// Its public id, with which it can be revoked.
    pub id: LinkId,
    /// Id of the user who made it.
    pub maker: String,
    /// When it was made.
    pub created: Timestamp,
}

impl SharedLink {
    /// The name of the sessions that it opens. It differs from its maker's and from that of other
    /// links, so that nobody is taken for another.
    pub fn user(&self, maker: &str) -> String {
        format!("{maker} (link {:.4})", self.id.to_string())
    }
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
