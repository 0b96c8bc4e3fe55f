//! Random secrets.

use std::fmt::Write as _;
use std::io;

/// The size of a secret in bytes.
const STRENGTH: usize = 32;

/// A new secret: 64 hexadecimal digits from the operating system's random numbers.
pub(crate) fn random() -> io::Result<String> {
    let mut secret = [0; STRENGTH];
    getrandom::fill(&mut secret).map_err(|error| io::Error::other(error.to_string()))?;
    let mut text = String::with_capacity(2 * STRENGTH);
    for byte in secret {
        let _ = write!(text, "{byte:02x}");
    }
    Ok(text)
}
