//! `log`: what a line printed, in pieces that an API made by hand answers.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use crate::fake_api::ID;
use crate::fake_api::ask;
use crate::fake_api::fault;
use crate::support::Api;

const LINE: &str = "b7a1e0de-0000-4000-8000-00000000000a";
const NEW_LINE: &str = "b7a1e0de-0000-4000-8000-00000000000b";

/// A piece of a line's output, as the API answers it.
fn piece(line: &str, offset: usize, bytes: &str) -> (u16, String, String) {
    let headers = format!("X-Console-Line: {line}\r\nX-Console-Offset: {offset}\r\n");
    (200, headers, bytes.to_owned())
}

fn gone(status: u16) -> (u16, String, String) {
    let (status, body) = fault("computeFault", status, "no longer kept, or yet to come");
    (status, String::new(), body)
}

/// Where the output is asked for from; `None` for its first byte.
fn asked(line: &str) -> Option<&str> {
    assert!(line.starts_with(&format!("GET /v1/lines/{ID}/1/output")), "{line}");
    line.split_once("?from=").map(|(_, from)| from)
}

#[test]
fn a_log_is_printed_page_by_page_from_the_first_byte_kept() {
    let api = Api::with_headers(|line| match asked(line) {
        None => piece(LINE, 100, "login: "),
        Some("107") => piece(LINE, 107, "root\r\n"),
        Some("113") => piece(LINE, 113, ""),
        from => panic!("{from:?}"),
    });
    let ended = ask(&api, &["log", ID, "--port", "1"]);
    assert_eq!((ended.code, ended.text()), (0, "login: root\r\n"));
    assert_eq!(ended.stderr, "");
}

#[test]
fn what_a_log_no_longer_has_is_said_once_wherever_it_is_missing() {
    let api = Api::with_headers(|line| match asked(line) {
        Some("10") => piece(LINE, 50, "head|"),
        Some("55") => piece(LINE, 2055, "middle|"),
        Some("2062") => piece(LINE, 3000, "tail"),
        Some("3004") => piece(LINE, 3004, ""),
        from => panic!("{from:?}"),
    });
    let ended = ask(&api, &["log", ID, "--port", "1", "--from", "10"]);
    assert_eq!((ended.code, ended.text()), (0, "head|middle|tail"), "{ended:?}");
    let gap = |size| {
        format!("serialproxy: {size} bytes of output are missing here: they are no longer kept\n")
    };
    assert_eq!(ended.stderr, gap("40") + &gap("2 000") + &gap("938"));
}

#[test]
fn a_log_ends_where_the_output_ended_when_it_began_though_the_guest_prints_on() {
    let api = Api::with_headers(|line| {
        let from = asked(line).map_or(0, |from| from.parse().unwrap());
        let (status, headers, body) = piece(LINE, from, "round and ");
        (status, format!("{headers}X-Console-End: {}\r\n", from + 25), body)
    });
    let ended = ask(&api, &["log", ID, "--port", "1"]);
    assert_eq!((ended.code, ended.text()), (0, "round and round and round and "), "{ended:?}");
}

#[test]
fn an_api_that_goes_back_in_a_log_is_not_followed() {
    let api = Api::with_headers(|_| piece(LINE, 0, "head"));
    let ended = ask(&api, &["log", ID, "--port", "1"]);
    assert_eq!((ended.code, ended.text()), (1, "head"), "{ended:?}");
}

#[test]
fn a_log_that_is_followed_goes_on_with_a_new_line() {
    let polls = AtomicUsize::new(0);
    let api = Api::with_headers(move |line| match asked(line) {
        None if polls.load(Ordering::Relaxed) == 0 => piece(LINE, 0, "old line|"),
        Some("9") => match polls.fetch_add(1, Ordering::Relaxed) {
            0 => piece(LINE, 9, ""),
            1 => gone(400),
            _ => gone(404),
        },
        None => piece(NEW_LINE, 0, "new|"),
        Some("4") => piece(NEW_LINE, 4, "more|"),
        Some(_) => gone(404),
    });
    let ended = ask(&api, &["log", ID, "--port", "1", "--follow"]);
    assert_eq!((ended.code, ended.text()), (3, "old line|new|more|"), "{ended:?}");
    assert!(ended.stderr.contains("the server started a new history"), "{ended:?}");
}

#[test]
fn a_log_of_a_server_that_is_not_there_is_exit_code_3() {
    let api = Api::with_headers(|_| gone(404));
    assert_eq!(ask(&api, &["log", ID]).code, 3);
}
