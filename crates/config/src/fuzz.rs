//! Entry points for `fuzz/`, and for tests that repeat its findings.

use crate::Sources;
use crate::load;

/// A configuration file, read with all its options.
pub fn config(data: &[u8]) {
    let Ok(directory) = tempfile::tempdir() else { return };
    let file = directory.path().join("serialproxy.conf");
    if std::fs::write(&file, data).is_ok() {
        let sources = Sources { files: vec![file], ..Sources::default() };
        let _ = load(&sources).map_err(|error| error.to_string());
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_corpus_is_taken() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
        for (target, take) in [("config", config as fn(&[u8]))] {
            let inputs: Vec<_> = std::fs::read_dir(corpus.join(target)).unwrap().collect();
            assert!(!inputs.is_empty(), "{target} has no corpus");
            for input in inputs {
                take(&std::fs::read(input.unwrap().path()).unwrap());
            }
        }
    }
}
