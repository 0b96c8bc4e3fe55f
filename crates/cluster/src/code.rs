//! The code that lets one host join a cluster.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::Digest;
use sha2::Sha256;

/// The prefix of a code: its version, without characters that a shell or a flag could misread.
const PREFIX: &str = "sp1_";

const SECRET: usize = 16;
const FINGERPRINT: usize = 32;

/// A single-use secret, with the fingerprint of the cluster's CA. The new host recognizes the
/// cluster by the fingerprint before it sends the secret.
#[derive(Clone, Eq, PartialEq)]
pub struct Code {
    pub(crate) secret: Secret,
    pub(crate) fingerprint: [u8; FINGERPRINT],
}

/// The secret of a code; its debug form hides it.
#[derive(Clone, Eq, PartialEq)]
pub(crate) struct Secret([u8; SECRET]);

impl Code {
    /// A new code.
    pub(crate) fn new(fingerprint: [u8; FINGERPRINT]) -> Result<Self, getrandom::Error> {
        let mut secret = [0; SECRET];
        getrandom::fill(&mut secret)?;
        Ok(Self { secret: Secret(secret), fingerprint })
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [&self.secret.0[..], &self.fingerprint].concat();
        write!(f, "{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Code(***)")
    }
}

impl FromStr for Code {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = "this is not a code that `serialproxy enroll` printed";
        let bytes = text.strip_prefix(PREFIX).and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
        let bytes = bytes.ok_or(wrong)?;
        let (secret, fingerprint) = bytes.split_at_checked(SECRET).ok_or(wrong)?;
        let secret = Secret(secret.try_into().map_err(|_| wrong)?);
        Ok(Self { secret, fingerprint: fingerprint.try_into().map_err(|_| wrong)? })
    }
}

impl Secret {
    /// The form that etcd stores.
    pub(crate) fn digest(&self) -> String {
        Sha256::digest(self.0).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The form in requests.
    pub(crate) fn to_text(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    pub(crate) fn from_text(text: &str) -> Option<Self> {
        URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok().map(Self)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_one_word_that_reads_back() {
        let code = Code::new([7; 32]).unwrap();
        let text = code.to_string();
        assert_eq!(text.parse(), Ok(code.clone()));
        assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte)));
        assert!(!format!("{code:?}{:?}", code.secret).contains(&code.secret.to_text()));
        assert_eq!(Secret::from_text(&code.secret.to_text()), Some(code.secret.clone()));
        assert_ne!(code, Code::new([7; 32]).unwrap());
        for wrong in ["", "sp1_", &text[1..], &text[..67], &format!("{text}A"), "sp1_%%"] {
            assert!(wrong.parse::<Code>().is_err(), "{wrong}");
        }
    }
}
