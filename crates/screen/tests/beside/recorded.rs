//! Recorded streams: the output of programs on a terminal of 24 rows and 80 columns.

use std::fs;
use std::path::Path;

use serialproxy_proto::console::Size;

use crate::other::Other;

/// The recordings, with their names.
pub(crate) fn streams() -> Vec<(String, Vec<u8>)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/beside/streams");
    let files = fs::read_dir(directory).unwrap().map(|file| file.unwrap().path());
    let mut streams: Vec<_> = files
        .filter(|file| file.extension().is_some_and(|extension| extension == "raw"))
        .map(|file| {
            (file.file_stem().unwrap().to_string_lossy().into_owned(), fs::read(&file).unwrap())
        })
        .collect();
    streams.sort();
    streams
}

/// Compares at some positions of each recording.
fn assert_painted(grids: &[(u16, u16)], places: usize) {
    let mut other = Other::start();
    let streams = streams();
    assert!(streams.len() >= 12, "{} recordings", streams.len());
    for (name, stream) in &streams {
        for place in 1..=places {
            // Also at positions within sequences and characters.
            let cut = stream.len() * place / places;
            for &(rows, cols) in grids {
                let found = other.differences(stream, cut, Size { rows, cols });
                assert!(
                    found.is_empty(),
                    "{name} at {cut}, {rows} × {cols}:\n{}",
                    found.join("\n")
                );
            }
        }
    }
}

#[test]
fn a_recorded_session_is_painted_as_the_other_terminal_shows_it_at_any_time() {
    assert_painted(&[(24, 80)], 23);
}

#[test]
fn a_recorded_session_is_painted_on_other_grids_as_a_terminal_of_that_grid_shows_it() {
    assert_painted(&[(10, 40), (24, 60), (16, 80), (50, 132)], 5);
}
