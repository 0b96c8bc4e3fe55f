//! Generated streams.

use std::sync::Mutex;

use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::RngSeed;
use serialproxy_proto::console::Size;

use crate::other::Other;

const GRIDS: [(u16, u16); 4] = [(10, 40), (5, 20), (50, 132), (3, 7)];

/// Text with characters of one column and of two, combining characters, and invalid UTF-8.
fn text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => "[ -~]{1,30}".prop_map(String::into_bytes),
        2 => "[a-q]{60,100}".prop_map(String::into_bytes),
        2 => "[ab\u{e9}\u{4e2d}\u{1f600}\u{301}\u{200d}\u{2500}\u{fe0f}]{1,8}".prop_map(String::into_bytes),
        1 => proptest::collection::vec(0x80..=0xff_u8, 1..4),
        1 => proptest::collection::vec(any::<u8>(), 1..4),
    ]
}

fn control() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => Just(b"\r\n".to_vec()),
        3 => select(b"\r\n\x08\t\x0b\x0c\x0e\x0f\x18\x07\x7f".to_vec()).prop_map(|byte| vec![byte]),
        2 => Just(b"\n\n\n\n\n\n".to_vec()),
    ]
}

fn numbers() -> impl Strategy<Value = String> {
    let number = prop_oneof![8 => 0..8u32, 4 => 0..30u32, 1 => 0..140u32, 1 => Just(70_000)];
    proptest::collection::vec(number, 0..3)
        .prop_map(|numbers| numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(";"))
}

fn colors() -> impl Strategy<Value = String> {
    let one = prop_oneof![
        select(vec![
            0u32, 1, 2, 3, 4, 5, 7, 8, 9, 21, 22, 23, 24, 25, 27, 28, 29, 39, 49, 53, 55, 59
        ])
        .prop_map(|number| number.to_string()),
        (30..38u32, select(vec![0u32, 10, 60, 70]))
            .prop_map(|(color, base)| (color + base).to_string()),
        (select(vec![38, 48, 58]), any::<u8>())
            .prop_map(|(which, color)| format!("{which};5;{color}")),
        (select(vec![38, 48]), any::<u8>(), any::<u8>(), any::<u8>())
            .prop_map(|(which, r, g, b)| format!("{which};2;{r};{g};{b}")),
        (select(vec![38, 48, 58]), any::<u8>())
            .prop_map(|(which, r)| format!("{which}:2::{r}:1:2")),
        (0..6u32).prop_map(|style| format!("4:{style}")),
    ];
    proptest::collection::vec(one, 0..4).prop_map(|parts| parts.join(";"))
}

fn sequence() -> impl Strategy<Value = String> {
    let modes = select(vec![
        1, 5, 6, 7, 12, 25, 45, 66, 9, 1000, 1002, 1003, 1004, 1006, 1016, 2004, 47, 1047, 1048,
        1049,
    ]);
    prop_oneof![
        8 => (numbers(), select("@ABCDEFGHIJKLMPSTXZ`adefgsu".chars().collect::<Vec<_>>()))
            .prop_map(|(numbers, last)| format!("\x1b[{numbers}{last}")),
        4 => (1..26u32, 1..85u32).prop_map(|(row, col)| format!("\x1b[{row};{col}H")),
        4 => colors().prop_map(|colors| format!("\x1b[{colors}m")),
        2 => (modes, select(vec!['h', 'l'])).prop_map(|(mode, last)| format!("\x1b[?{mode}{last}")),
        1 => (select(vec![4, 20]), select(vec!['h', 'l'])).prop_map(|(mode, last)| format!("\x1b[{mode}{last}")),
        2 => (1..25u32, 1..26u32).prop_map(|(top, bottom)| format!("\x1b[{top};{bottom}r")),
        1 => Just("\x1b[r".to_owned()),
        2 => "\x1b[()*+][0AB]",
        2 => select(vec!["\x1b7", "\x1b8", "\x1bD", "\x1bE", "\x1bH", "\x1bM", "\x1b=", "\x1b>", "\x1bn", "\x1bo", "\x1b[m\x1b#8", "\x1b%G", "\x1b[!p"])
            .prop_map(str::to_owned),
        1 => select(vec!["\x1bc", "\x1b[2J", "\x1b[3J", "\x1b[H\x1b[J", "\x1b[3g", "\x1b[?6h", "\x1b[?7l", "\x1b[4h"]).prop_map(str::to_owned),
        1 => (0..7u32).prop_map(|style| format!("\x1b[{style} q")),
        1 => select(vec!["\x1b]0;title\x07", "\x1b]0;title\x1b\\", "\x1bP$qm\x1b\\", "\x1b[6n", "\x1b[c", "\x1b_ignored\x1b\\"])
            .prop_map(str::to_owned),
        1 => ("[a-z]", 1..200u32).prop_map(|(c, count)| format!("{c}\x1b[{count}b")),
    ]
}

fn stream() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        5 => text(),
        3 => control(),
        6 => sequence().prop_map(String::into_bytes),
    ];
    proptest::collection::vec(piece, 1..60).prop_map(|pieces| pieces.concat())
}

#[test]
fn what_is_painted_of_any_output_is_what_the_other_terminal_shows_now_and_later() {
    let other = Mutex::new(Other::start());
    // The same streams each time, so that a test never fails because of an unrelated change.
    // Thousands more were tried.
    let config = ProptestConfig {
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(11),
        ..ProptestConfig::with_cases(200)
    };
    let grid = select(GRIDS.to_vec());
    proptest!(config, |(output in stream(), cut in any::<proptest::sample::Index>(), grid in grid)| {
        let cut = cut.index(output.len() + 1);
        for (rows, cols) in [(24, 80), grid] {
            let size = Size { rows, cols };
            let found = other.lock().unwrap().differences(&output, cut, size);
            prop_assert!(
                found.is_empty(),
                "{rows} × {cols}: {}\nthen: {}\n{}",
                output[..cut].escape_ascii(), output[cut..].escape_ascii(), found.join("\n"),
            );
        }
    });
}

#[test]
fn every_character_takes_as_many_columns_as_on_the_other_terminal() {
    let runs = Other::start().ask(&serde_json::json!({"widths": true}));
    let runs: Vec<(u32, u64)> = serde_json::from_value(runs).unwrap();
    assert!(runs.len() > 500, "{} runs", runs.len());
    for pair in runs.windows(2) {
        let ((first, width), (next, _)) = (pair[0], pair[1]);
        for c in (first..next).filter_map(char::from_u32) {
            assert_eq!(u64::from(serialproxy_screen::width(c)), width, "U+{:04X}", u32::from(c));
        }
    }
}
