//! Entry points for `fuzz/`, and for tests that repeat its findings.

use serialproxy_proto::close::Close;

use crate::wire::Decoder;
use crate::wire::Item;

/// A client's frames: their meaning must not depend on the pieces in which they arrive.
pub fn frames(data: &[u8]) {
    let [size, bytes @ ..] = data else { return };
    let (whole, pieces) = (decode(bytes, usize::MAX), decode(bytes, 1 + usize::from(*size)));
    assert_eq!(whole, pieces);
}

/// Payloads of binary frames, other items, and the close, if any.
fn decode(bytes: &[u8], size: usize) -> (Vec<u8>, Vec<String>, Option<Close>) {
    let mut decoder = Decoder::default();
    let (mut binary, mut others) = (Vec::new(), Vec::new());
    for piece in bytes.chunks(size.min(bytes.len().max(1))) {
        let mut piece = piece.to_vec();
        let mut input = piece.as_mut_slice();
        loop {
            match decoder.next(&mut input) {
                Ok(Some(Item::Binary(bytes))) => binary.extend_from_slice(bytes),
                Ok(Some(item)) => others.push(format!("{item:?}")),
                Ok(None) => break,
                Err(close) => return (binary, others, Some(close)),
            }
        }
    }
    (binary, others, None)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_corpus_is_taken() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/frames");
        let inputs: Vec<_> = std::fs::read_dir(corpus).unwrap().collect();
        assert!(!inputs.is_empty(), "there is no corpus");
        for input in inputs {
            frames(&std::fs::read(input.unwrap().path()).unwrap());
        }
    }
}
