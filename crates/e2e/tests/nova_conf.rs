//! A nova.conf has the same meaning as in Nova: many files, read with Nova's own options and by the
//! program.

#![allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "that is how a test fails")]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::Path;
use std::path::PathBuf;
use std::process::Output;

use serde_json::Value;
use serialproxy_e2e::cloud::Cloud;
use serialproxy_e2e::drop_in::DropIn;
use serialproxy_e2e::drop_in::Rig;
use serialproxy_e2e::eventually;
use serialproxy_e2e::openstack::python;
use serialproxy_e2e::server::program;
use serialproxy_e2e::within;
use tokio::process::Command;

/// The beginning of each file, before one of [`BODIES`], which may continue with a group of its
/// own.
const HEAD: &str = "[DEFAULT]\ntransport_url = rabbit://openstack:secret@controller\n";

const BODIES: &[&str] = &[
    "",
    "my_ip = 10.0.0.11\n[serial_console]\nserialproxy_host = $my_ip\n",
    "my_ip = $my_block_storage_ip\nmy_block_storage_ip = 10.0.0.12\n[serial_console]\nserialproxy_host = ${my_ip}\n",
    "[serial_console]\nserialproxy_host = $my_ip\n",
    "[serial_console]\nserialproxy_host = $nothing\n",
    "[serial_console]\nlisten = 127.0.0.1\n",
    "[serial_console]\nlisten = 192.0.2.31\nserialproxy_host = 127.0.0.2\nserialproxy_port = 6084\n",
    "[serial_console]\nlisten = not a host\n",
    "[serial_console]\nserialproxy_prot = 1\nvendor = x\n",
    "[serial_console]\nserialproxy_port = 65536\n",
    "[serial_console]\nserialproxy_port = x\n",
    "[serial_console]\nserialproxy_port = 007083\n",
    "[serial_console]\nserialproxy_host = \"::1\"\n",
    "[serial_console]\nserialproxy_port: 1\nserialproxy_port = 2\n[serial_console]\nserialproxy_port = 3\n",
    "[Serial_Console]\nserialproxy_port = 7083\n",
    "[serial_console]\nbase_url =\n",
    "[serial_console]\nbase_url = console.example\nport_range = 20000:10000\nenabled = perhaps\n",
    "[serial_console]\nproxyclient_address = $my_other_ip\n",
    "cert =\n",
    "cert =\nssl_only = true\n",
    "cert = $state_path/cert.pem\nkey = $cert\nstate_path = /srv/nova\n",
    "cert = /nonexistent/\\$cert$$.pem\nkey =\n",
    "cert = '/nonexistent/cert.pem'\nkey = \"/nonexistent/key.pem\"\n",
    "ssl_only = true\n",
    "ssl_only = maybe\n",
    "daemon = On\nsource_is_ipv6 = YES\ndebug = 1\n",
    "debug = 2\n",
    "daemon =\n",
    "record =\n",
    "record = console\n",
    "record = /var/log/console\n",
    "web =\n",
    "web = /nonexistent\n",
    "web = /tmp\n",
    "[console]\nallowed_origins = a.example, b.example,\n",
    "[console]\nallowed_origins = a.example,\n   b.example\n",
    "[console]\nallowed_origins = https://a.example, b.example\n",
    "[console]\nallowed_origins = https://a.example:8443/, a.example:443, *, ::1, [::1], 192.0.2.1\n",
    "[console]\nallowed_origins = *\n",
    "[console]\nallowed_origins =\n",
    "[console]\nallowed_origins = ,a.example,, b_c.example\n",
    "[console]\nallowed_origins = a.example b.example\n",
    "console_allowed_origins = a.example\n",
    "console_allowed_origins = a.example\n[console]\nallowed_origins = b.example\n",
    "[console]\nssl_minimum_version = tlsv1_3\n",
    "[console]\nssl_minimum_version = tlsv1_1\n",
    "[console]\nssl_minimum_version = tlsv1_0\n",
    "[console]\nssl_minimum_version = TLSv1_2\n",
    "[consoleauth]\ntoken_ttl =\nenforce_session_timeout = true\n",
    "[consoleauth]\ntoken_ttl = -5\n",
    "[consoleauth]\ntoken_ttl = soon\nenforce_session_timeout = soon\n",
    "[keystone_authtoken]\nauth_type = v3kerberos\nauth_url = keystone\ncafile = /none\n",
    "[service_user]\nauth_type = v3oidcpassword\npassword = a$b\n[nova]\nvalid_interfaces = inside\n",
    "just words\n",
    "  indented = 1\n[serial_console]\n",
    "[serial_console\nserialproxy_port = 1\n",
    "= 1\n",
    "# comment\n; comment\n[neutron]\nurl = $nothing\nurl = $neutron.nothing\n",
];

/// Hosts in the form of browsers; the files above list some of them.
const HOSTS: [&str; 7] =
    ["a.example", "b.example", "b_c.example", "::1", "192.0.2.1", "a.example b.example", "*"];

/// The groups that Nova's proxy reads.
const GROUPS: [&str; 4] = ["DEFAULT", "serial_console", "console", "consoleauth"];

/// The boolean options, by name.
const SWITCHES: [&str; 5] =
    ["ssl_only", "daemon", "source_is_ipv6", "debug", "enforce_session_timeout"];

/// Options that are a text or not set.
const TEXTS: [&str; 4] = ["cert", "key", "web", "record"];

/// Each file in a directory of its own.
fn written(directory: &Path) -> Vec<PathBuf> {
    let write = |(number, body): (usize, &&str)| {
        let place = directory.join(number.to_string());
        std::fs::create_dir(&place).unwrap();
        let file = place.join("nova.conf");
        std::fs::write(&file, format!("{HEAD}{body}")).unwrap();
        file
    };
    BODIES.iter().enumerate().map(write).collect()
}

async fn nova(arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Vec<Value> {
    let reader = Path::new(env!("CARGO_MANIFEST_DIR")).join("openstack/nova_conf.py");
    let mut command = Command::new(python());
    let Output { status, stdout, stderr } =
        within(command.arg(reader).args(arguments).output()).await.unwrap();
    assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    let lines = String::from_utf8(stdout).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The values that the program takes from a file; none where it refuses the file.
async fn ours(file: &Path) -> (Option<BTreeMap<String, String>>, String) {
    let mut command = Command::new(program());
    command.args(["config", "show", "--config-file"]).arg(file).current_dir("/");
    let output = within(command.output()).await.unwrap();
    let says = String::from_utf8(output.stderr).unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    let groups = shown
        .split("\n[")
        .filter(|group| GROUPS.iter().any(|name| group.starts_with(&format!("{name}]"))));
    let options = groups.flat_map(str::lines).filter_map(|line| line.split_once(" ="));
    let options = options.map(|(name, value)| (name.to_owned(), value.trim().to_owned()));
    (output.status.success().then(|| options.collect()), says)
}

fn is_true(value: &str) -> bool {
    ["true", "1", "yes", "on"].contains(&value.to_lowercase().as_str())
}

/// The differences between the two, where both accept the file.
fn differences(nova: &Value, ours: &BTreeMap<String, String>) -> Vec<String> {
    let own = |name: &str| ours.get(name).map_or("", String::as_str);
    let mut pairs: Vec<(&str, String, String)> = Vec::new();
    for name in SWITCHES {
        pairs.push((name, nova[name].to_string(), is_true(own(name)).to_string()));
    }
    for name in TEXTS {
        let text = nova[name].as_str().unwrap_or_default().to_owned();
        let own = own(name).trim_start_matches("./").replace("\\$", "$");
        pairs.push((name, text, if own == "false" { String::new() } else { own }));
    }
    let host = ours.get("serialproxy_host").or_else(|| ours.get("listen")).unwrap();
    pairs.push(("serialproxy_host", nova["serialproxy_host"].to_string(), format!("\"{host}\"")));
    let port: u16 = own("serialproxy_port").parse().unwrap();
    pairs.push(("serialproxy_port", nova["serialproxy_port"].to_string(), port.to_string()));
    let listed: Vec<&str> = own("allowed_origins").split(',').collect();
    for host in HOSTS {
        let allows = nova["allowed_origins"].as_array().unwrap().iter().any(|one| one == host);
        // A text that is not a host allows no page.
        let allows = allows && !host.contains([' ', '*']);
        pairs.push((host, allows.to_string(), listed.contains(&host).to_string()));
    }
    // An older version is not supported.
    let oldest = nova["ssl_minimum_version"].as_str().unwrap().replace("tlsv1_1", "tlsv1_2");
    pairs.push(("ssl_minimum_version", oldest, own("ssl_minimum_version").to_owned()));
    let different = pairs.into_iter().filter(|(_, nova, own)| nova != own);
    different.map(|(what, nova, own)| format!("{what}: {nova} of Nova, {own} of ours")).collect()
}

#[tokio::test]
async fn every_nova_conf_means_what_it_means_to_nova() {
    let directory = tempfile::tempdir().unwrap();
    let files = written(directory.path());
    let answers = nova(&files).await;
    assert_eq!(answers.len(), files.len());
    let mut wrong = Vec::new();
    for ((file, body), mut nova) in files.iter().zip(BODIES).zip(answers) {
        // Nova's proxy refuses these only when it starts.
        let is_missing = |name: &str| {
            nova[name].as_str().is_some_and(|path| !Path::new("/").join(path).exists())
        };
        if nova["ssl_only"] == true && (nova["cert"] == "" || is_missing("cert"))
            || is_missing("web")
        {
            nova = serde_json::json!({ "error": "a file is missing" });
        }
        let (ours, says) = ours(file).await;
        match (nova.get("error"), &ours) {
            (None, Some(ours)) => {
                let differences = differences(&nova, ours);
                wrong.extend(differences.into_iter().map(|text| format!("{body}{text}")));
            }
            (Some(_), None) => {}
            (error, _) => wrong.push(format!("{body}Nova: {error:?}, ours: {says}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n---\n"));
}

#[tokio::test]
async fn what_is_not_as_it_is_written_is_said_once_at_the_start() {
    let more = "[serial_console]\nlisten = 192.0.2.31\n[console]\nallowed_origins = https://a, *\n\
                [service_user]\nauth_type = v3oidcpassword\n";
    let rig = Rig::with(more, &[]).await;
    let _attached = rig.attached().await;
    for words in [
        "[serial_console] listen is ignored: Nova removed this option in 14.0.",
        "[console] allowed_origins: `https://a` matches no page",
        "[console] allowed_origins: `*` matches no page",
        "[service_user] auth_type: \"v3oidcpassword\" is not one of the choices",
    ] {
        let said = |log: &str| {
            log.lines().filter(|line| line.contains(words) && line.contains("WARN")).count()
        };
        // The log is written asynchronously.
        eventually(async || (said(&rig.drop_in.log()) == 1).then_some(())).await;
    }
}

/// Credentials of `[service_user]`; the URL of its Keystone is put before them.
const CREDENTIALS: [&str; 18] = [
    "auth_type = password\nusername = nova\npassword = p$$\nproject_name = service\n\
     user_domain_name = Default\nproject_domain_id = default\n",
    "auth_type = v3password\nusername = nova\npassword = p\nuser_domain_id = default\n",
    "auth_type = v3password\nusername = nova\npassword = p\nuser_domain_id = default\n\
     project_name = service\nproject_domain_name = Default\n\
     application_credential_id = i\napplication_credential_secret = s\n",
    "auth_type = v3applicationcredential\napplication_credential_id = i\n\
     application_credential_secret = s$$\n",
    "auth_type = v3applicationcredential\napplication_credential_name = console\n\
     application_credential_secret = s\nusername = nova\nuser_domain_name = Default\n",
    "auth_type = v3applicationcredential\napplication_credential_name = console\n\
     application_credential_secret = s\nusername = nova\nuser_domain_id = default\n",
    "auth_type = v3applicationcredential\napplication_credential_name = console\n\
     application_credential_id = i\napplication_credential_secret = s\nusername = nova\n\
     user_domain_name = Default\n",
    "auth_type = v3applicationcredential\napplication_credential_id = i\n\
     application_credential_secret = s\nusername = nova\npassword = p\n\
     user_domain_id = default\n",
    "auth_type = password\nuser_id = u\nusername = nova\npassword = p\nproject_id = i\n\
     project_name = service\nproject_domain_name = Default\n",
    "auth_type = password\nusername = nova\npassword = p\nuser_domain_name = Default\n\
     user_domain_id = u\nproject_name = service\nproject_domain_id = i\n\
     project_domain_name = Default\n",
    "auth_plugin = v3password\nuser_name = nova\npassword = p\nuser_domain_id = default\n\
     user-id = not read\n",
    "auth_type = password\nuser-name = nova\npassword = p\ntenant_name = service\n\
     default_domain_id = d\n",
    "auth_type = password\nusername = nova\nuser_name = old\npassword = p\ntenant-id = i\n\
     tenant_name = service\ndefault_domain_name = Default\n",
    "auth_type = password\nusername = nova\npassword = p\nuser_domain_name = Own\n\
     default_domain_id = d\nproject_name = service\nproject_domain_id = own\n",
    "auth_type = v3applicationcredential\napplication_credential_name = console\n\
     application_credential_secret = s\nuser_id = u\n",
    "auth_section = creds\nusername = not read\n[creds]\nauth_url = $URL\nauth_type = password\n\
     username = nova\npassword = p\nuser_domain_id = default\ntenant_id = i\n",
    "auth_section = keystone_authtoken\npassword = not read\n[Keystone_Authtoken]\n\
     auth_url = $URL\nauth_type = password\nuser_id = u\npassword = p\n\
     auth_section = nova\n[nova]\nusername = not read\n",
    "auth_section =\nauth_type = password\nuser_id = u\npassword = p\n[creds]\nuser_id = x\n",
];

#[tokio::test]
async fn a_service_user_logs_in_as_keystoneauth_logs_it_in() {
    let cloud = Cloud::start().await;
    let directory = tempfile::tempdir().unwrap();
    let mut arguments = vec![PathBuf::from("login")];
    let url = format!("{}/v3", cloud.auth_url());
    for (number, credentials) in CREDENTIALS.iter().enumerate() {
        let credentials = credentials.replace("$URL", &url);
        let text = format!("{HEAD}[service_user]\nauth_url = {url}\n{credentials}");
        arguments.push(directory.path().join(number.to_string()));
        std::fs::write(arguments.last().unwrap(), text).unwrap();
    }
    let sent = nova(&arguments).await;
    for ((file, credentials), wanted) in arguments.iter().skip(1).zip(CREDENTIALS).zip(sent) {
        let before = cloud.logins().len();
        let text = std::fs::read_to_string(file).unwrap();
        let _proxy = DropIn::start(&text, &[]).await;
        let login = eventually(async || cloud.logins().get(before).cloned()).await;
        assert_eq!(login, wanted, "{credentials}");
    }
}

/// States with a running guest, and tasks that keep it.
const RUNS: [&str; 5] = ["active", "paused", "rescued", "resized", "error"];
const HARMLESS: [&str; 20] = [
    "image_snapshot",
    "image_snapshot_pending",
    "image_pending_upload",
    "image_uploading",
    "image_backup",
    "updating_password",
    "rebooting",
    "reboot_pending",
    "reboot_started",
    "rebooting_hard",
    "reboot_pending_hard",
    "reboot_started_hard",
    "pausing",
    "unpausing",
    "suspending",
    "powering-off",
    "rescuing",
    "unrescuing",
    "resize_prep",
    "resize_confirming",
];

/// The status and reason of a watcher's handshake with a server in this state.
async fn answer(rig: &Rig, vm_state: &str, task: Option<&str>) -> (u16, String) {
    rig.cloud.set_state(rig.server, vm_state, task);
    let watch = format!("{}&mode=watch", rig.token());
    let serve = async {
        let mut guests = Vec::new();
        loop {
            guests.push(rig.port.accept().await);
        }
    };
    tokio::select! {
        answer = rig.refused(&watch, &[]) => (answer.status, answer.reason),
        () = serve => unreachable!("it has no end"),
    }
}

#[tokio::test]
async fn a_console_is_reached_in_every_state_of_novas_in_which_its_guest_runs() {
    let names = nova(["states"]).await.remove(0);
    let names = |kind: usize| -> Vec<String> {
        let names = names[kind].as_array().unwrap().iter();
        names.map(|name| name.as_str().unwrap().to_owned()).collect()
    };
    let (states, tasks) = (names(0), names(1));
    for task in HARMLESS {
        assert!(tasks.iter().any(|name| name == task), "{task} is none of Nova's");
    }
    let rig = Rig::new().await;
    let mut wanted: Vec<(&str, Option<&str>, bool)> = Vec::new();
    for state in &states {
        wanted.push((state, None, RUNS.contains(&&**state)));
    }
    for task in &tasks {
        wanted.push(("active", Some(task), HARMLESS.contains(&&**task)));
    }
    for (state, task, runs) in wanted {
        let (status, reason) = answer(&rig, state, task).await;
        assert_eq!(status, if runs { 101 } else { 409 }, "{state} {task:?}: {reason}");
        let is_stopped = state == "stopped";
        assert!(runs || reason.starts_with("stopped: ") == is_stopped, "{state}: {reason}");
    }
}
