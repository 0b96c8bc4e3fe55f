//! `[compute] exclude = DOMAIN[:PORT]`.

use crate::refusal::Refusal;
use crate::values::Excluded;

/// Most excluded domains and ports.
const MOST: usize = 10_000;

/// Most characters of a domain's name.
const MAX_NAME: usize = 255;

/// Adds a domain or port.
pub(crate) fn add(excluded: &mut Vec<Excluded>, text: &str) -> Result<(), Refusal> {
    let text = text.trim();
    // A name may contain colons; the part after the last one is a port if it is a number.
    let (server, port) = match text.rsplit_once(':').map(|(server, port)| (server, port.parse())) {
        Some((server, Ok(port))) => (server, Some(port)),
        _ => (text, None),
    };
    if server.is_empty() || server.chars().count() > MAX_NAME {
        return Err("is not the name or UUID of a domain, optionally followed by :PORT".into());
    }
    if excluded.len() >= MOST {
        return Err(format!("exceeds the maximum of {MOST} entries").into());
    }
    excluded.push(Excluded { server: server.to_owned(), port });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_behind_the_last_colon_is_a_port_and_all_else_is_the_name() {
        let mut excluded = Vec::new();
        let id = "6f1c7a0e-0000-4000-8000-000000000001";
        for text in ["web 1", "db:1", "a:b:0", "a:b", "c:256", id] {
            add(&mut excluded, text).unwrap();
        }
        let seen: Vec<_> = excluded.iter().map(|one| (one.server.as_str(), one.port)).collect();
        let (some, none) = (|port| Some(port), None);
        let expected = [
            ("web 1", none),
            ("db", some(1)),
            ("a:b", some(0)),
            ("a:b", none),
            ("c:256", none),
            (id, none),
        ];
        assert_eq!(seen, expected);
        for text in ["", ":1", "  "] {
            assert!(add(&mut excluded, text).is_err(), "{text:?}");
        }
    }
}
