//! What is said of sessions that lost their connection, of guests that do not go on, and of ports that others
//! hold.

use serde_json::json;

use crate::console::BOB;
use crate::console::Console;
use crate::console::ME;
use crate::console::beside;
use crate::support::Terminal;
use crate::support::run;

#[tokio::test(flavor = "multi_thread")]
async fn who_meets_their_own_lost_session_is_told_how_to_take_it_back() {
    let console = Console::start().await;
    let terminal = Terminal::run(console.client(&["--type"]));
    let mut peer = console.accept().await;
    peer.tell(json!({"type": "pen", "state": "held", "session": BOB, "holder": "alice",
        "cause": "busy", "own": true, "free_in": 40}))
        .await;
    let reason = "busy: alice since 2026-11-22T09:00:00Z (lost the connection, free in 40 s)";
    peer.close(4004, reason).await;
    let (code, screen) = terminal.end();
    assert_eq!(code, 4);
    let told = format!("{reason}. That is your own session: --ask takes over from it at once");
    assert!(screen.contains(&told), "{screen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_comes_back_takes_the_console_from_its_own_earlier_session() {
    let console = Console::start().await;
    let mut terminal = Terminal::run(console.client(&[]));
    drop(console.welcome().await);
    let mut peer = console.accept().await;
    assert!(peer.query().contains("mode=auto"), "{}", peer.query());
    peer.hello_with(json!({"session": BOB, "mode": "watch"})).await;
    peer.tell(
        json!({"type": "pen", "state": "held", "session": ME, "holder": "alice", "own": true}),
    )
    .await;
    assert_eq!(peer.control().await, json!({"type": "pen", "do": "take", "reason": null}));
    peer.pen("held", BOB, "alice").await;
    terminal.wait_for("you are typing now");
    terminal.keys("x");
    assert_eq!(peer.input(1).await, "x");
    terminal.keys("\r~.");
    peer.rest().await;
    let (code, screen) = terminal.end();
    assert_eq!(code, 0);
    assert!(!screen.contains("another window"), "{screen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_who_comes_back_to_a_busy_console_watches_and_a_script_fails() {
    let console = Console::start().await;
    let mut terminal = Terminal::run(console.client(&["--type"]));
    drop(console.welcome().await);
    let mut peer = console.accept().await;
    assert!(peer.query().contains("mode=auto"), "{}", peer.query());
    let carol = "5e551000-0000-4000-8000-000000000003";
    peer.hello_with(json!({"session": BOB, "mode": "watch"})).await;
    peer.pen("held", carol, "carol").await;
    terminal.wait_for("carol is typing. You are watching: ~p asks to type, ~f takes over");
    terminal.keys("~.");
    assert_eq!(peer.rest().await, b"");
    assert_eq!(terminal.end().0, 0);

    let command = console.client(&[]);
    let ended = tokio::spawn(beside(|| run(command, b"reboot\n")));
    let mut peer = console.welcome().await;
    assert_eq!(peer.input(7).await, "reboot\n");
    drop(peer);
    let mut peer = console.accept().await;
    assert!(!peer.query().contains("mode="), "{}", peer.query());
    peer.tell(json!({"type": "pen", "state": "held", "session": ME, "holder": "alice",
        "cause": "busy", "own": true, "free_in": 40}))
        .await;
    peer.close(4004, "busy: alice since 2026-11-22T09:00:00Z (lost the connection, free in 40 s)")
        .await;
    let peer = console.accept().await;
    assert!(peer.query().contains("mode=watch"), "{}", peer.query());
    peer.close(4004, "busy: carol since 2026-11-22T09:00:00Z").await;
    assert_eq!(ended.await.unwrap().code, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_watches_learns_that_the_one_who_types_lost_the_connection_and_came_back() {
    let console = Console::start().await;
    let mut terminal = Terminal::run(console.client(&["--watch"]));
    let mut peer = console.welcome().await;
    let pen = |own: bool| {
        json!({"type": "pen", "state": "held", "session": BOB, "holder": "bob",
            "reason": "lost the connection, free in 40 s", "cause": "detached", "own": own,
            "free_in": 40})
    };
    peer.tell(pen(false)).await;
    terminal.wait_for(
        "bob lost the connection; the console is free in 40 s. You are watching: ~p asks to type",
    );
    peer.tell(json!({"type": "pen", "state": "held", "session": BOB, "holder": "bob",
        "cause": "resumed"}))
        .await;
    terminal.wait_for("bob has reconnected");
    peer.tell(pen(true)).await;
    terminal.wait_for("You have this console open in another window, which lost its connection.");
    terminal.wait_for("~p uses it here");
    let who = json!([{"session": BOB, "user": "bob", "mode": "write", "detached": true}]);
    peer.tell(json!({"type": "viewers", "count": 1, "who": who})).await;
    peer.print(b"here").await;
    terminal.wait_for("here");
    terminal.keys("~w");
    terminal.wait_for("attached: bob (typing, lost the connection)");
    terminal.keys("~.");
    peer.rest().await;
    assert_eq!(terminal.end().0, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_host_is_said_to_be_and_waited_for() {
    let console = Console::start().await;
    let mut terminal = Terminal::run(console.client(&[]));
    let mut peer = console.accept().await;
    peer.hello_with(json!({"resume": "k1", "grace": 60})).await;
    terminal.wait_for("connected to demo");
    let reason = "host lost: the host of this server does not respond, try again";
    peer.close(4014, reason).await;
    terminal.wait_for(reason);
    for _ in 0..2 {
        console.accept().await.close(4014, reason).await;
        terminal.wait_for(reason);
    }
    let mut peer = console.accept().await;
    peer.hello_with(json!({"resume": "k2"})).await;
    terminal.wait_for("the session continues");
    terminal.keys("\r~.");
    peer.rest().await;
    assert_eq!(terminal.end().0, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_guest_is_said_to_be_and_that_what_is_typed_waits() {
    let console = Console::start().await;
    let mut terminal = Terminal::run(console.client(&[]));
    let mut peer = console.accept().await;
    let reason = "connected; earlier output of the guest is not available; the guest is paused: \
             what is typed waits until it resumes";
    let paused = json!({"reason": reason, "cause": "paused"});
    peer.hello_with(paused).await;
    let told = "the guest is paused: what is typed waits until it resumes; to resume it: \
             serialproxy resume demo";
    terminal.wait_for(&format!("serialproxy: {told}"));
    terminal.keys("x");
    assert_eq!(peer.input(1).await, "x");
    terminal.wait_for("what you type now is delivered when the guest resumes");
    let runs = json!({"type": "state", "state": "connected", "reason": "connected"});
    peer.tell(runs).await;
    terminal.wait_for("serialproxy: the guest was resumed");
    let why = "the guest crashed: it does not read what is typed until it is started again";
    let reason = format!("connected; {why}");
    let crashed =
        json!({"type": "state", "state": "connected", "reason": reason, "cause": "crashed"});
    peer.tell(crashed).await;
    terminal.wait_for(&format!("{why}; to reset it: serialproxy reset demo"));
    terminal.keys("\r~.");
    peer.rest().await;
    assert_eq!(terminal.end().0, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_fails_where_another_program_holds_the_port_and_a_person_waits() {
    let console = Console::start().await;
    let reason = "another program holds 127.0.0.1:10000: socat (pid 4711)";
    let held = json!({"state": "failed", "reason": reason, "cause": "held"});
    let command = console.client(&[]);
    let ended = tokio::spawn(beside(|| run(command, b"reboot\n")));
    let mut peer = console.accept().await;
    peer.hello_with(held.clone()).await;
    assert_eq!(peer.rest().await, b"");
    let ended = ended.await.unwrap();
    assert_eq!(ended.code, 1);
    let told = format!("serialproxy: {reason}: not all of stdin was sent\n");
    assert!(ended.stderr.ends_with(&told), "{ended:?}");

    let mut terminal = Terminal::run(console.client(&[]));
    let mut peer = console.accept().await;
    peer.hello_with(held).await;
    terminal.wait_for(&format!("the guest cannot be reached, retrying: {reason}"));
    peer.tell(json!({"type": "state", "state": "connected", "reason": "connected"})).await;
    terminal.wait_for("the guest is connected");
    terminal.keys("~.");
    peer.rest().await;
    assert_eq!(terminal.end().0, 0);
}
