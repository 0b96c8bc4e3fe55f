//! Entry points for `fuzz/`, and for tests that repeat its findings.

use crate::domain::Facts;
use crate::image::Manifest;

/// A domain's XML from libvirt.
pub fn domain(data: &[u8]) {
    if let Ok(xml) = std::str::from_utf8(data) {
        let _ = Facts::read(xml);
    }
}

/// An image's `image.toml`.
pub fn image(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = Manifest::parse("fuzz", text);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_corpus_is_taken() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
        for (target, take) in [("domain", domain as fn(&[u8])), ("image", image as fn(&[u8]))] {
            let inputs: Vec<_> = std::fs::read_dir(corpus.join(target)).unwrap().collect();
            assert!(!inputs.is_empty(), "{target} has no corpus");
            for input in inputs {
                take(&std::fs::read(input.unwrap().path()).unwrap());
            }
        }
    }
}
