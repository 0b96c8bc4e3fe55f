//! What keys send: options, and the person's file.

use std::fs;

use serde_json::json;

use crate::console::Console;
use crate::console::beside;
use crate::support::Terminal;
use crate::support::run;

/// Types Backspace, Enter, and what leaves.
async fn keys(console: &Console, mut terminal: Terminal, leave: &str) -> Vec<u8> {
    let peer = console.welcome().await;
    terminal.wait_for(&format!("as alice. {leave}. leaves, {leave}? shows help"));
    terminal.keys("a\x7f\r~.\r\x1d.");
    let typed = peer.rest().await;
    assert_eq!(terminal.end().0, 0);
    typed
}

#[tokio::test(flavor = "multi_thread")]
async fn backspace_enter_and_the_escape_character_are_those_of_the_options() {
    let console = Console::start().await;
    let options = ["--backspace", "ctrl-h", "--newline", "crlf", "--escape", "^]"];
    let terminal = Terminal::run(console.client(&options));
    assert_eq!(keys(&console, terminal, "^]").await, b"a\x08\r\n~.\r\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_file_says_what_the_options_do_not() {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir_all(home.path().join("serialproxy")).unwrap();
    let file = home.path().join("serialproxy/client.toml");
    fs::write(&file, "backspace = \"ctrl-h\"\nnewline = \"lf\"\nescape = \"^]\"\n").unwrap();
    let console = Console::start().await;
    let mut command = console.client(&["--newline", "cr"]);
    command.env("XDG_CONFIG_HOME", home.path());
    let terminal = Terminal::run(command);
    assert_eq!(keys(&console, terminal, "^]").await, b"a\x08\r~.\r");

    fs::write(&file, "escape = \"^]\"\nbackspce = \"ctrl-h\"\n").unwrap();
    let mut command = console.client(&[]);
    command.env("XDG_CONFIG_HOME", home.path());
    let ended = beside(|| run(command, b"")).await;
    let wrong = format!("serialproxy: {}, line 2: unknown field `backspce`", file.display());
    assert!(ended.code == 2 && ended.stderr.starts_with(&wrong), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_line_wants_holds_where_the_person_says_nothing() {
    let console = Console::start().await;
    let mut terminal = Terminal::run(console.client(&["--newline", "cr"]));
    let mut peer = console.accept().await;
    let wants = json!({"backspace": "ctrl-h", "newline": "lf", "line_feed": "new-line"});
    peer.hello_with(json!({ "terminal": wants })).await;
    terminal.wait_for("as alice");
    peer.print(b"one\ntwo").await;
    terminal.wait_for("one\r\ntwo");
    terminal.keys("\x7f\r~.");
    assert_eq!(peer.rest().await, b"\x08\r");
    assert_eq!(terminal.end().0, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_escape_character_all_reaches_the_guest_and_nothing_is_promised() {
    let console = Console::start().await;
    let mut terminal = Terminal::run(console.client(&["--escape", "none"]));
    let mut peer = console.welcome().await;
    terminal.wait_for("connected to demo, port 0, as alice\r\n");
    terminal.keys("~.\r~.");
    assert_eq!(peer.input(5).await, "~.\r~.");
    peer.close(1000, "").await;
    assert_eq!(terminal.end().0, 0);
}
