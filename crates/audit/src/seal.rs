//! A line of the trail: an event, the hash of the line before, and its own.
//!
//! The hash is the SHA-256 of the line without its last member: of the bytes from `{` to the `"` that ends
//! the value of `prev`, followed by `}`.

use std::fmt::Write;

use serialproxy_proto::audit::Event;
use serialproxy_proto::bounds::brief;
use sha2::Digest;
use sha2::Sha256;

/// What the first line of all follows.
pub(crate) const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Characters of a value that somebody else chose.
const VALUE: usize = 255;

/// Bytes of a line at most: six values that somebody else chose, of which each character takes 12 bytes
/// in JSON, and the rest.
pub(crate) const LINE: usize = 32 * 1024;

const HASH: &str = r#","hash":""#;

/// The line of an event that follows the line with this hash, without its newline.
pub(crate) fn seal(event: &Event, prev: &str) -> Result<Event, serde_json::Error> {
    let sealed = Event { prev: prev.to_owned(), hash: String::new(), ..bounded(event) };
    let hash = hash(sealed.text()?.as_bytes());
    Ok(Event { hash, ..sealed })
}

/// Reads a line, whose hash has to be right.
pub(crate) fn open(line: &[u8]) -> Result<Event, &'static str> {
    let hash = own_hash(line).ok_or("is not an event with a hash")?;
    let rest = HASH.len() + hash.len() + "\"}".len();
    let body = line.get(..line.len().saturating_sub(rest)).unwrap_or_default();
    if self::hash(&[body, b"}"].concat()) != hash {
        return Err("was changed: its hash is wrong");
    }
    let event: Event = serde_json::from_slice(line).map_err(|_| "is not an event")?;
    // The last of several members of one name would count.
    if event.hash == hash { Ok(event) } else { Err("is not an event") }
}

/// The hash that a line names as its own, if it ends as a line of ours does.
pub(crate) fn own_hash(line: &[u8]) -> Option<&str> {
    let line = line.strip_suffix(b"\"}")?;
    let (head, hash) = line.split_at_checked(line.len().checked_sub(GENESIS.len())?)?;
    let hash = std::str::from_utf8(hash).ok().filter(|hash| is_hash(hash))?;
    head.ends_with(HASH.as_bytes()).then_some(hash)
}

/// Whether a text is a hash as we write it.
pub(crate) fn is_hash(text: &str) -> bool {
    let digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    text.len() == GENESIS.len() && text.bytes().all(digit)
}

fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn bounded(event: &Event) -> Event {
    let cut = |value: &Option<String>| value.as_ref().map(|text| brief(text, VALUE));
    Event {
        user: cut(&event.user),
        project: cut(&event.project),
        address: cut(&event.address),
        server_name: cut(&event.server_name),
        request: cut(&event.request),
        cause: cut(&event.cause),
        target: cut(&event.target),
        ..event.clone()
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use proptest::prelude::*;
    use serialproxy_proto::audit::EventName;

    use super::*;

    fn line(user: &str) -> String {
        let event = Event::new(EventName::LoginFailed, Timestamp::UNIX_EPOCH).user(user);
        seal(&event, GENESIS).unwrap().text().unwrap()
    }

    #[test]
    fn the_hash_is_of_the_line_without_the_member_hash() {
        let line = line("alice");
        let hash = own_hash(line.as_bytes()).unwrap();
        let without = line.replace(&format!(",\"hash\":\"{hash}\""), "");
        assert!(without.ends_with(&format!("\"prev\":\"{GENESIS}\"}}")));
        assert_eq!(super::hash(without.as_bytes()), hash);
    }

    #[test]
    fn every_change_of_a_byte_is_found() {
        let line = line("alice").into_bytes();
        for at in 0..line.len() {
            for byte in [line[at] ^ 1, line[at] ^ 0x20, b'"', b'\n', b' '] {
                let mut changed = line.clone();
                changed[at] = byte;
                assert_eq!(open(&changed).is_ok(), changed == line, "byte {at}");
            }
        }
    }

    #[test]
    fn the_longest_values_fit_into_a_line() {
        let long = "\u{1f600}".repeat(4096);
        let event = Event::new(EventName::UserChanged, Timestamp::UNIX_EPOCH).user(&*long);
        let event = event.project(Some(long.clone())).address(&*long).cause(&long).target(&*long);
        let event = Event { request: Some(long.clone()), server_name: Some(long), ..event };
        let line = seal(&event, GENESIS).unwrap().text().unwrap();
        assert!(line.len() < LINE, "{}", line.len());
        open(line.as_bytes()).unwrap();
    }

    proptest! {
        #[test]
        fn no_value_makes_another_line_or_member(user in any::<String>()) {
            let line = line(&user);
            prop_assert!(line.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
            let object: serde_json::Map<String, serde_json::Value> =
                serde_json::from_str(&line).unwrap();
            prop_assert_eq!(object.len(), 5);
            prop_assert_eq!(&object["user.id"], &serde_json::json!(brief(&user, VALUE)));
            prop_assert_eq!(open(line.as_bytes()).unwrap().user, Some(brief(&user, VALUE)));
        }

        #[test]
        fn no_line_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = open(&bytes);
        }
    }
}
