//! What a guest sets of the terminal ends with its boot, and with the command.

use std::process::Stdio;

use rustix::process::Signal;
use serde_json::json;

use crate::console::Console;
use crate::console::LINE;
use crate::console::Peer;
use crate::support::Terminal;

/// What a guest sets, and what sets it back.
const SETTINGS: [(&str, &str); 18] = [
    ("\x1b[?1049h", "\x1b[?1049l"),
    ("\x1b[?7l", "\x1b[?7h\x1b[?8h"),
    ("\x1b[5;10r", "\x1b[r"),
    ("\x1b[?69h", "\x1b[?69l"),
    ("\x1b[?6h", "\x1b[?6l"),
    ("\x1b[4h", "\x1b[2;4;20l"),
    ("\x1b[?5h", "\x1b[?5l"),
    ("\x1b(0", "\x1b(B"),
    ("\x1b)0\x0e", "\x0f"),
    ("\x1b[?1h", "\x1b[?1l"),
    ("\x1b=", "\x1b>"),
    ("\x1b[?1003h\x1b[?1006h", "\x1b[?1000;1001;1002;1003;1004;1005;1006;1015;1016;9l"),
    ("\x1b[?2004h", "\x1b[?2004;2026;2031;2048l"),
    ("\x1b[?25l", "\x1b[?25h"),
    ("\x1b[5 q", "\x1b[0 q"),
    ("\x1b]11;#400\x1b\\", "\x1b]111\x1b\\"),
    ("\x1b[31;1m", "\x1b[m"),
    ("\x1b]0;the guest's\x07", "\x1b[23;0t"),
];

async fn set(peer: &mut Peer, terminal: &mut Terminal) {
    let set: String = SETTINGS.iter().map(|(set, _)| *set).collect();
    peer.print(format!("{set}>").as_bytes()).await;
    terminal.wait_for(&format!("{set}>"));
}

fn is_set_back(shown: &str) {
    for (set, back) in SETTINGS {
        assert!(shown.contains(back), "{set:?} is left: {shown:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn however_the_command_ends_the_terminal_is_as_it_was() {
    type Way = fn(&mut Terminal);
    let ways: [(Way, bool); 4] = [
        (|terminal| terminal.keys("\r~."), false),
        (|terminal| terminal.kill(Signal::TERM), false),
        (|terminal| terminal.kill(Signal::HUP), false),
        (|_| (), true),
    ];
    for (leave, closes) in ways {
        let console = Console::start().await;
        let mut terminal = Terminal::run(console.client(&[]));
        let mut peer = console.welcome().await;
        terminal.wait_for("\x1b[22;0t");
        set(&mut peer, &mut terminal).await;
        leave(&mut terminal);
        let rest = tokio::spawn(async move {
            match closes {
                true => peer.close(4003, "the server is gone").await,
                false => drop(peer.rest().await),
            }
        });
        is_set_back(&terminal.end().1);
        rest.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_s_terminal_is_restored_too_and_is_asked_nothing_that_its_reader_would_get() {
    let console = Console::start().await;
    let mut terminal = Terminal::run_with(console.client(&[]), Some(Stdio::null()));
    let mut peer = console.welcome().await;
    peer.print(b"a\x1b[6nb").await;
    terminal.wait_for("ab");
    set(&mut peer, &mut terminal).await;
    peer.close(1000, "").await;
    is_set_back(&terminal.end().1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_terminal_is_set_back_where_the_next_boot_of_the_guest_begins() {
    let console = Console::start().await;
    let mut terminal = Terminal::run(console.client(&[]));
    let mut peer = console.welcome().await;
    terminal.wait_for("\x1b[22;0t");
    set(&mut peer, &mut terminal).await;
    let printed = SETTINGS.iter().map(|(set, _)| set.len()).sum::<usize>() + 1;
    // It is told before all that the last boot printed was read.
    peer.tell(json!({"type": "epoch", "epoch": 2, "offset": printed + 3})).await;
    peer.print(b"endLinux").await;
    terminal.wait_for("end\x1b\\");
    let shown = terminal.until("\x1b[22;0tLinux");
    is_set_back(&shown);
    // Missed, while the connection was away.
    drop(peer);
    let mut peer = console.accept().await;
    let fields = json!({"line": LINE, "offset": printed + 8, "epoch": 3});
    peer.hello_with(fields).await;
    terminal.wait_for("connection lost");
    assert!(terminal.until("connected to demo").contains("\x1b[!p"));
    terminal.keys("\r~.");
    peer.rest().await;
    assert_eq!(terminal.end().0, 0);
}
