//! Requests to the API that its OpenAPI document allows, and others that it does not allow.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::openstack::python;

/// How long a run of the usual size may take.
const RUN: Duration = Duration::from_secs(400);

/// Runs schemathesis against the API at `http://H:P`, with the same requests as long as the
/// document is the same, and every other one to that server. With `SERIALPROXY_TEST_EXAMPLES`, it
/// makes more than 30 of each call.
pub async fn fuzz(api: &str, token: &str, server: &str, arguments: &[&str]) {
    let examples = std::env::var("SERIALPROXY_TEST_EXAMPLES").ok();
    let time = if examples.is_some() { RUN * 20 } else { RUN };
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("openstack");
    let directory = tempfile::tempdir().unwrap();
    let run = Command::new(python())
        .args(["-m", "schemathesis.cli", "--no-color", "--config-file"])
        .arg(own.join("schemathesis.toml"))
        .args(["run", &format!("{api}/v1/openapi.json"), "--seed", "5", "--max-examples"])
        .arg(examples.as_deref().unwrap_or("30"))
        .args(arguments)
        .env("SERIALPROXY_FUZZ_TOKEN", token)
        .env("SERIALPROXY_FUZZ_SERVER", server)
        .env("SCHEMATHESIS_HOOKS", "fuzz_hooks")
        .env("PYTHONPATH", own)
        .env("no_proxy", "*")
        // It writes files to its working directory.
        .current_dir(directory.path())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let run = tokio::time::timeout(time, run).await.expect("it took too long").unwrap();
    let report = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success(), "{report}{}", String::from_utf8_lossy(&run.stderr));
    // Checks that every call was made.
    let tested = report.lines().find_map(|line| line.trim().strip_prefix("Tested: "));
    let selected = report.lines().find_map(|line| line.trim().strip_prefix("Selected: "));
    let all = selected.and_then(|counts| counts.split_once('/')).map(|(_, all)| all);
    assert!(tested.is_some() && tested == all, "{report}");
    // Shown with --nocapture.
    println!("{report}");
}
