//! What lists of lines say of a line.

use std::time::Duration;

use serialproxy_proto::bounds::LAST_LINE;
use tokio::io::AsyncWriteExt;

use crate::rig::Rig;
use crate::rig::eventually;
use crate::rig::writer;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_line_says_what_it_printed_last_and_when() {
    let rig = Rig::new().await;
    let mut guest = rig.boot().await;
    assert_eq!((rig.line.last_line(), rig.line.describe().idle), (None, None));
    guest.write_all(b"\x1b[1mStarting\x1b[0m\r\ndemo login: \x07").await.unwrap();
    eventually(|| rig.line.last_line().as_deref() == Some("demo login:")).await;
    assert!(rig.line.describe().idle.is_some_and(|idle| idle < 60));
    guest.write_all("\r\nä".repeat(300).as_bytes()).await.unwrap();
    eventually(|| rig.line.last_line().as_deref() == Some("ä")).await;
    guest.write_all(&[b'x'; 4000]).await.unwrap();
    let long = |line: String| line.starts_with("x") && line.len() == LAST_LINE;
    eventually(|| rig.line.last_line().is_some_and(long)).await;
}

#[tokio::test]
async fn another_boot_begins_without_a_last_line() {
    let rig = Rig::new().await;
    let mut guest = rig.boot().await;
    guest.write_all(b"reboot: Power down\r\n").await.unwrap();
    eventually(|| rig.line.last_line().as_deref() == Some("reboot: Power down")).await;
    drop(guest);
    rig.line.guest_stopped(serialproxy_proto::api::Status::Shutoff);
    assert_eq!(rig.line.last_line().as_deref(), Some("reboot: Power down"));
    let _guest = rig.boot().await;
    eventually(|| rig.line.last_line().is_none()).await;
}

#[tokio::test]
async fn output_and_sessions_are_changes_of_a_line_and_time_is_not() {
    let rig = Rig::new().await;
    let mut guest = rig.boot().await;
    let quiet = || !rig.line.changed_within(SECOND);
    assert!(!quiet());
    eventually(quiet).await;
    assert!(rig.line.changed_within(100 * SECOND));
    guest.write_all(b"x").await.unwrap();
    eventually(|| !quiet()).await;
    eventually(quiet).await;
    let alice = rig.attach(&writer("alice")).unwrap();
    assert!(!quiet());
    eventually(quiet).await;
    drop(alice);
    eventually(|| !quiet()).await;
}
