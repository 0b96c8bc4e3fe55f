use proptest::prelude::*;

use super::*;
use crate::grid::Text;

const SIZE: Size = USUAL;

fn paint_alone(output: &[u8], size: Size) -> Vec<u8> {
    paint(&Sight { output, boots: &[], viewer: Some(size), writer: None, begins_line: false }).bytes
}

/// The rows, the cursor, and whether the alternate screen is shown. A cursor behind the last column
/// counts as in it.
fn shown(bytes: &[u8]) -> (Vec<String>, (usize, usize), bool) {
    let mut terminal = Terminal::new(SIZE.rows.into(), SIZE.cols.into(), false);
    terminal.feed(bytes);
    terminal.flush();
    let rows = terminal.shown().rows().map(|row| {
        let text = row.cells().iter().map(|cell| match cell.text {
            Text::Nothing => " ".to_owned(),
            Text::Char(c) => c.into(),
            Text::Combined(place) => terminal.combined[place].clone(),
        });
        text.collect::<String>().trim_end().to_owned()
    });
    (rows.collect(), (terminal.y, terminal.x.min(79)), terminal.on_alternate)
}

fn assert_painted(output: &[u8]) {
    assert_eq!(shown(&paint_alone(output, SIZE)), shown(output), "{}", output.escape_ascii());
}

#[test]
fn a_shell_with_its_scrollback_is_painted_as_it_stands() {
    let mut output = Vec::new();
    for line in 0..200 {
        output.extend(format!("\x1b[3{}mline {line}\x1b[0m\r\n", line % 8).bytes());
    }
    output.extend(b"~ # ls\x1b[D");
    assert_painted(&output);
    let text = String::from_utf8(paint_alone(&output, SIZE)).unwrap();
    assert!(text.contains("line 0\r\n") && text.contains("line 199\r\n"), "{text}");
}

#[test]
fn a_full_screen_program_is_painted_from_what_it_drew_long_ago() {
    let mut output = b"before\r\n\x1b[?1049h\x1b[2J\x1b[1;1Htitle\x1b[24;1Hstatus".to_vec();
    for step in 0..1000 {
        output.extend(format!("\x1b[10;10H{step:4}").bytes());
    }
    assert_painted(&output);
}

#[test]
fn what_a_smaller_terminal_does_not_show_is_above_it() {
    let viewer = Size { rows: 10, cols: 40 };
    let shell: String = (0..30).map(|line| format!("line {line}\r\n")).collect();
    let title = format!("{shell}\x1b[1;1H\x1b[Ktitle\x1b[24;1H$ ");
    let text = String::from_utf8(paint_alone(title.as_bytes(), viewer)).unwrap();
    assert!(text.contains("line 0\r\n") && text.contains("title\r\n"), "{text}");
    // The screen that returns when the program ends is the part with its prompt.
    let program = format!("{shell}$ vi\x1b[?1049h\x1b[2J\x1b[24;1H:w\x1b[1;1H");
    let text = String::from_utf8(paint_alone(program.as_bytes(), viewer)).unwrap();
    let (before, after) = text.split_once("\x1b[?1049h").unwrap();
    assert!(before.contains("line 0\r\n") && before.contains("$ vi\x1b[10;5H"), "{text}");
    assert!(!after.contains("line"), "{text}");
}

#[test]
fn text_behind_a_sequence_that_was_cancelled_is_painted_once() {
    assert_painted(b"\x1b]0;title\x18once");
    assert_painted(b"\x1b[3\x1aonce");
}

#[test]
fn what_is_painted_holds_no_query() {
    let queries = b"\x1b[c\x1b[6n\x1b[?2026$p\x1b]11;?\x07\x05\x1b[>c\x1bZ$ ";
    let painted = paint_alone(queries, SIZE);
    let text = painted.escape_ascii().to_string();
    for query in ["[6n", "[c", "$p", "]11", "\\x05", "[>c", "Z"] {
        assert!(!text.contains(query), "{text} holds {query}");
    }
}

#[test]
fn a_sequence_or_character_that_is_cut_off_goes_on_in_the_live_bytes() {
    let cases: [(&[u8], &[u8]); 5] = [
        (b"a\x1b[3", b"1mred"),
        (b"a\x1b", b"[1mbold"),
        (b"a\xe2\x82", b"\xac b"),
        (b"a\x1b]0;ti", b"tle\x07b"),
        (b"a\x1b(", b"Bb"),
    ];
    for (before, after) in cases {
        let whole = [before, after].concat();
        let painted = [&paint_alone(before, SIZE), after].concat();
        assert_eq!(shown(&painted), shown(&whole), "{}", whole.escape_ascii());
    }
}

proptest! {
    #[test]
    fn any_bytes_are_painted(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        paint_alone(&bytes, SIZE);
    }
}

/// Output of a guest for which a small amount is expensive.
const BOMBS: [&str; 22] = [
    "x\x1b[65535b",
    "\u{10348}\x1b[65535b",
    "\x1b[2J\x1b[24S",
    "\x1b#8\x1b[24S",
    "\x1b[65535S",
    "\x1b[65535T",
    "\x1b[H\x1b[65535L",
    "\x1b[H\x1b[65535M",
    "\x1b[H\x1b[J",
    "\x1b[7m\x1b[2J\x1b[65535S",
    "\x1b[K",
    "\x1b[65535@",
    "\x1b[H\x1b[65535X",
    "\x1bM",
    "\x1bc",
    "\x1bc\x1b[?47h",
    "\x1b[?1049h\x1b[2J\x1b[?1049l",
    "\n",
    "\x1b[9999CX",
    "\x1b[8;8;8;8;8;8;8;8;8;8;8;8;8;8;8;8;8;8;8;8;8;8;8;8;8;8;8;8;8;8;8m",
    // Many attributes for each cell.
    "\x1b8\x1b[2@X\x1b[mY",
    "\x1b[1<\n0000000",
];

const GRIDS: [(u16, u16); 5] = [(24, 80), (200, 500), (200, 1), (1, 500), (2, 2)];

/// Whether every painted sequence is complete.
fn is_whole(painted: &str) -> bool {
    let mut sequences = painted.split('\x1b').skip(1);
    sequences.all(|sequence| match sequence.strip_prefix('[') {
        Some(parameters) => parameters.contains(|c| ('\x40'..='\x7e').contains(&c)),
        None => sequence.starts_with(['=', '7', 'H', 'n', 'o', '(', ')', '*', '+']),
    })
}

#[test]
fn a_character_that_becomes_wide_has_room_on_a_grid_of_one_column() {
    paint_alone("0\u{fe0f}".as_bytes(), Size { rows: 200, cols: 1 });
}

/// Checks the guarantees for a painting of any output.
fn assert_bounded(output: &[u8], rows: u16, cols: u16) -> Vec<u8> {
    let size = Size { rows, cols };
    let painted = paint_alone(output, size);
    assert!(painted.len() <= PAINTED, "{} bytes at {rows} × {cols}", painted.len());
    let sight = Sight { output, boots: &[], viewer: Some(size), writer: None, begins_line: false };
    let (_, open) = model(&sight, sight.grid(), work::BUDGET);
    let text = painted.strip_suffix(open.as_slice()).unwrap();
    let text = std::str::from_utf8(text).unwrap();
    assert!(is_whole(text), "a sequence of what is painted is cut");
    assert!(text.matches('\n').count() <= 10_000 + usize::from(rows));
    painted
}

#[test]
fn no_output_is_painted_as_more_than_a_mebibyte_of_whole_sequences() {
    for bomb in BOMBS {
        let before = "\x1b[38;2;210;211;212;48;2;220;221;222;1;3;4;7m\x1b7";
        let output = before.to_owned() + &bomb.repeat(READ / bomb.len());
        for (rows, cols) in GRIDS {
            assert_bounded(output.as_bytes(), rows, cols);
        }
    }
}

#[test]
fn what_came_after_a_bomb_is_on_the_screen() {
    for bomb in BOMBS {
        let output = bomb.repeat(READ / bomb.len()) + "\x1bc\x1b[31mlogin: ";
        let (rows, cursor, _) = shown(&paint_alone(output.as_bytes(), SIZE));
        assert_eq!((rows[0].as_str(), cursor), ("login:", (0, 7)), "{}", bomb.escape_debug());
    }
}

#[test]
fn the_newest_rows_above_the_screen_are_painted() {
    let mut output = String::new();
    for row in 0..20_000 {
        output += &format!("\x1b[3{}mrow {row}\r\n", row % 8);
    }
    let painted = String::from_utf8(assert_bounded(output.as_bytes(), 24, 80)).unwrap();
    let rows: Vec<_> = painted.lines().filter_map(|row| row.split_once("row ")).collect();
    let numbers: Vec<usize> = rows.iter().map(|(_, number)| number.parse().unwrap()).collect();
    assert_eq!(numbers.last(), Some(&19_999));
    assert!(numbers.is_sorted() && numbers.len() > 9000, "{} rows", numbers.len());
    assert_eq!(numbers.len(), 20_000 - numbers[0], "rows are missing in between");
    for (before, number) in rows {
        let number: usize = number.parse().unwrap();
        let color = format!("3{}m", number % 8);
        assert!(number == numbers[0] || before.ends_with(&color), "row {number}: {before:?}");
    }
}

#[test]
fn one_operation_is_always_affordable() {
    for cols in 2..=usize::from(MOST_COLS) {
        for last in ["x\x1b[65535b", "\u{4e2d}\x1b[65535b", "\x1bc", "\x1b[?1049h"] {
            let output = format!("\x1b[2J{last}");
            let grid = Grid { rows: MOST_ROWS.into(), cols };
            assert_eq!(
                work::affordable(output.as_bytes(), grid, work::BUDGET),
                0,
                "{last:?} at {cols}"
            );
        }
    }
}

/// Hostile output: large and small counts, incomplete sequences, text.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let count = prop_oneof![0..4u32, 0..600u32, Just(65535), Just(u32::MAX)];
    let counts = proptest::collection::vec(count, 0..4)
        .prop_map(|counts| counts.iter().map(u32::to_string).collect::<Vec<_>>().join(";"));
    let lasts = "@ABCDEFGHJKLMPSTXZ`abcdefghlmnrstu".chars().collect::<Vec<_>>();
    let sequence = ("[?<! ]{0,1}", counts, proptest::sample::select(lasts))
        .prop_map(|(private, counts, last)| format!("\x1b[{private}{counts}{last}").into_bytes());
    let piece = prop_oneof![
        8 => sequence,
        2 => proptest::sample::select(BOMBS.to_vec()).prop_map(|bomb| bomb.as_bytes().to_vec()),
        2 => "\x1b[78cM()#=>]{1,2}[ -~]{0,3}".prop_map(String::into_bytes),
        2 => "[a-z\u{e9}\u{4e2d}\u{1f600}\u{301}\u{fe0f}\r\n\t\x08\x18]{1,12}".prop_map(String::into_bytes),
        1 => proptest::collection::vec(any::<u8>(), 1..8),
    ];
    (proptest::collection::vec(piece, 1..40), 1..3000usize).prop_map(|(pieces, times)| {
        let mut output = pieces.concat().repeat(times);
        output.truncate(READ);
        output
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_is_modeled_and_painted_of_hostile_output_is_bounded(
        output in hostile(),
        grid in proptest::sample::select(GRIDS.to_vec()),
    ) {
        let (rows, cols) = grid;
        assert_bounded(&output, rows, cols);
        let grid = Grid::of(Size { rows, cols });
        let modeled = &output[work::affordable(&output, grid, work::BUDGET)..];
        prop_assert!(work::Work::of(modeled, grid).done <= work::BUDGET);
    }
}

#[test]
fn a_line_feed_begins_a_line_where_the_line_is_set_up_so() {
    let paint = |output: &[u8], begins_line| {
        let (viewer, writer) = (Some(SIZE), None);
        String::from_utf8(paint(&Sight { output, boots: &[], viewer, writer, begins_line }).bytes)
            .unwrap()
    };
    let switch = b"login: admin\npassword:\n> ";
    assert_eq!(paint(switch, true), "\x1b[0mlogin: admin\r\npassword:\r\n> ");
    assert!(paint(switch, false).contains("password:\r\n                     >"));
    // If the guest changes the mode, that counts until it resets the terminal.
    assert_eq!(paint(b"\x1b[20la\nb", true), "\x1b[0ma\r\n\r\x1b[1C\x1b[0m\x1b[20lb");
    assert_eq!(paint(b"\x1b[20l\x1bca\nb", true), "\x1b[0ma\r\nb");
}

#[test]
fn a_boot_leaves_nothing_of_the_state_before_it() {
    let before = b"\x1b[?1049h\x1b[2;5r\x1b(0\x1b[41m\x1b[?1003h\x1b[?2004h\x1b[4hqqq\x1b[";
    let output = [before.as_slice(), b"boot"].concat();
    let sight = Sight {
        output: &output,
        boots: &[before.len()],
        viewer: Some(SIZE),
        writer: None,
        begins_line: false,
    };
    let painted = String::from_utf8(paint(&sight).bytes).unwrap();
    assert_eq!(painted, "\x1b[0mboot");
}

#[test]
fn each_boot_begins_where_its_rows_are_painted_also_one_that_printed_nothing() {
    let (first, second) = (b"\x1b[31mone\r\n".repeat(40), b"two\r\n".repeat(3));
    let output = [first.as_slice(), &second].concat();
    let boots = &[0, first.len(), first.len(), output.len()];
    let size = Size { rows: 24, cols: 80 };
    let painted = paint(&Sight {
        output: &output,
        boots,
        viewer: Some(size),
        writer: None,
        begins_line: false,
    });
    let after = |boot: usize| std::str::from_utf8(&painted.bytes[painted.boots[boot]..]).unwrap();
    assert_eq!(painted.boots[0], 0);
    assert!(after(1).starts_with("\x1b[0mtwo\r\ntwo\r\ntwo\r\n"), "{}", after(1));
    assert_eq!(painted.boots[1], painted.boots[2]);
    assert!(!after(3).contains("two"), "{}", after(3));
    let before = &painted.bytes[..painted.boots[1]];
    assert!(before.ends_with(b"one\r\n"), "{}", before.escape_ascii());
}

#[test]
fn of_boots_whose_rows_were_erased_or_are_too_many_the_last_are_painted() {
    let output = b"row\r\n".repeat(20_000);
    let boots: Vec<usize> = (0..100).map(|boot| boot * 1000).collect();
    let sight =
        Sight { output: &output, boots: &boots, viewer: None, writer: None, begins_line: false };
    let painted = paint(&sight);
    assert!((1..=100).contains(&painted.boots.len()), "{}", painted.boots.len());
    assert!(painted.boots.is_sorted());
    let erased = Sight { output: b"a\r\n\x1b[3J\r\nb", boots: &[0], ..sight };
    assert!(paint(&erased).boots.len() <= 1);
}
