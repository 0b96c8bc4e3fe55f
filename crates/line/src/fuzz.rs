//! Entry points for `fuzz/`, and for tests that repeat its findings.

use crate::telnet::Decoder;
use crate::telnet::Encoder;

/// Telnet both ways: the first byte gives the size of the pieces into which the rest is cut. No
/// bytes may be lost or added.
pub fn telnet(data: &[u8]) {
    let [cuts, data @ ..] = data else { return };
    let cuts = usize::from(*cuts).max(1);
    let whole = Decoder::default().decode(data);
    let mut decoder = Decoder::default();
    let pieces: Vec<u8> = data.chunks(cuts).flat_map(|piece| decoder.decode(piece)).collect();
    assert!(pieces == whole && data.ends_with(&whole));

    let (mut encoder, mut sent, mut rest) = (Encoder::default(), Vec::new(), data);
    while !rest.is_empty() {
        let taken = encoder.write(rest, |encoded| {
            let piece = encoded.get(..cuts.min(encoded.len())).unwrap_or_default();
            sent.extend_from_slice(piece);
            Ok(piece.len())
        });
        rest = rest.get(taken.unwrap_or_default()..).unwrap_or_default();
    }
    let doubled = data.iter().filter(|byte| **byte == 0xff).count();
    assert_eq!(sent.len(), data.len() + doubled);
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_corpus_is_taken() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/telnet");
        let inputs: Vec<_> = std::fs::read_dir(corpus).unwrap().collect();
        assert!(!inputs.is_empty(), "telnet has no corpus");
        for input in inputs {
            telnet(&std::fs::read(input.unwrap().path()).unwrap());
        }
    }
}
