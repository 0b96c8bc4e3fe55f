//! Tests of the terminal page: node drives Chromium against a running program.

use std::path::Path;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;

/// How long all tests of a file may take together, also on a busy machine.
const STORY: Duration = Duration::from_secs(600);

/// Runs a file of `web/e2e`. Its parameters are in one environment variable: they may contain
/// secrets, which must not be visible in the list of processes.
pub async fn tell(file: &str, story: Value) {
    let web = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../web");
    assert!(web.join("node_modules").exists(), "run `make web` first");
    // Without --test, which would run the file in a child process that is not killed with this one.
    let run = Command::new("node")
        .arg(PathBuf::from("e2e").join(file))
        .current_dir(&web)
        .env("SERIALPROXY_STORY", story.to_string())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output =
        tokio::time::timeout(STORY, run).await.expect("the stories took too long").unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{file}: {}\n{}{}",
        output.status,
        text(&output.stdout),
        text(&output.stderr)
    );
    // Shown with --nocapture.
    println!("{}", text(&output.stdout));
}
