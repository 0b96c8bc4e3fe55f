//! Entry points for `fuzz/`, and for tests that repeat its findings.

use serialproxy_proto::console::Size;

use crate::PAINTED;
use crate::READ;
use crate::Sight;
use crate::paint;

/// Paints a guest's output on a grid. Two bytes give the grid's size, and one whether the output is
/// repeated, since a bomb repeats one sequence many times.
pub fn screen(data: &[u8]) {
    let [rows, cols, times, output @ ..] = data else { return };
    let size = Size { rows: u16::from(*rows), cols: 2 * u16::from(*cols) };
    let mut output = output.repeat(1 + 512 * usize::from(times.saturating_sub(0xf0)));
    output.truncate(READ);
    let boots = &[output.len() / 3, output.len() / 2];
    let sight =
        Sight { output: &output, boots, viewer: Some(size), writer: None, begins_line: false };
    assert!(paint(&sight).bytes.len() <= PAINTED);
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_corpus_is_taken() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/screen");
        let inputs: Vec<_> = std::fs::read_dir(corpus).unwrap().collect();
        assert!(!inputs.is_empty(), "screen has no corpus");
        for input in inputs {
            screen(&std::fs::read(input.unwrap().path()).unwrap());
        }
    }
}
