//! Entry points for `fuzz/`, and for tests that repeat its findings.

use crate::console::ClientMessage;
use crate::console::ServerMessage;
use crate::token::ResumeKey;

/// Messages of `console.v1`, as server and client read them, and a key for resuming.
pub fn messages(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(message) = serde_json::from_str::<ClientMessage>(text) {
        assert!(format!("{message:?}").len() < 1000 + 10 * text.len());
    }
    if let Ok(message) = serde_json::from_str::<ServerMessage>(text) {
        let again = serde_json::to_string(&message);
        assert!(again.is_ok_and(|again| serde_json::from_str::<ServerMessage>(&again).is_ok()));
    }
    let _ = ResumeKey::from_client(text);
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_corpus_is_taken() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
        for (target, take) in [("messages", messages as fn(&[u8]))] {
            let inputs: Vec<_> = std::fs::read_dir(corpus.join(target)).unwrap().collect();
            assert!(!inputs.is_empty(), "{target} has no corpus");
            for input in inputs {
                take(&std::fs::read(input.unwrap().path()).unwrap());
            }
        }
    }
}
