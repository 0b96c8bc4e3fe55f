//! What `fuzz/` drives with bytes of its own, and the tests with those that it found.

use serialproxy_proto::console::Size;

use crate::screen;

/// A guest's output on a grid: two bytes say of what size, and one whether it is repeated, since a bomb is
/// one sequence many times.
pub fn screen(data: &[u8]) {
    let [rows, cols, times, output @ ..] = data else { return };
    let size = Size { rows: u16::from(*rows), cols: 2 * u16::from(*cols) };
    let mut output = output.repeat(1 + 512 * usize::from(times.saturating_sub(0xf0)));
    output.truncate(screen::READ);
    let painted = screen::paint(&output, Some(size));
    assert!(painted.len() <= screen::PAINTED);
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_corpus_is_taken() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
        for (target, take) in [("screen", screen as fn(&[u8]))] {
            let inputs: Vec<_> = std::fs::read_dir(corpus.join(target)).unwrap().collect();
            assert!(!inputs.is_empty(), "{target} has no corpus");
            for input in inputs {
                take(&std::fs::read(input.unwrap().path()).unwrap());
            }
        }
    }
}
