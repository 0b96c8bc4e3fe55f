//! `serialproxy doctor` says nothing on a healthy host, and finds each thing that is broken: the
//! configuration, the host itself, certificates, listeners.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "that is how a test fails"
)]

use std::fs::File;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;
use std::time::SystemTime;

use rcgen::CertificateParams;
use rcgen::Issuer;
use rcgen::KeyPair;
use rustix::process::Signal;
use serialproxy_e2e::cluster::Cluster;
use serialproxy_e2e::doctor::Patient;
use serialproxy_e2e::pki::Pki;
use serialproxy_e2e::server::Server;
use serialproxy_e2e::stdout;

/// Runs a script of openssl in a PKI's directory.
fn openssl(pki: &Pki, script: &str) {
    let made = Command::new("bash").args(["-ec", script]).current_dir(pki.directory()).output();
    let made = made.unwrap();
    assert!(made.status.success(), "{made:?}");
}

#[tokio::test]
async fn a_healthy_host_has_no_warning_and_no_problem_and_stays_as_it_is() {
    let patient = Patient::new();
    patient.examine(&[]).await.is_healthy();
    assert_eq!(std::fs::read_dir(patient.state()).unwrap().count(), 0);
    std::fs::remove_dir(patient.state()).unwrap();
    patient.examine(&[]).await.is_healthy();
    for made in [patient.state(), patient.file("claims")] {
        assert!(!made.exists(), "{}", made.display());
    }
}

#[tokio::test]
async fn people_get_a_line_for_each_finding() {
    let patient = Patient::new();
    let taken = TcpListener::bind(patient.value("api-listen")).unwrap();
    let output = patient.run(&[]).await;
    let text = stdout(&output);
    assert!(text.lines().any(|line| line.starts_with("ok       state-directory: ")), "{text}");
    let line = text.lines().find(|line| line.starts_with("problem  listeners: ")).unwrap();
    assert!(line.contains(" Fix: stop that program"), "{line}");
    assert_eq!(output.status.code(), Some(1));
    drop(taken);
    assert_eq!(patient.run(&[]).await.status.code(), Some(0));
}

#[tokio::test]
async fn a_bad_configuration_is_a_problem_for_each_mistake() {
    let text = "[serial_console]\nport_range = 1\nno_such_option = 1\n[api]\nlisten = nonsense\n";
    let said = Patient::bare().configured("a.conf", text).examine(&[]).await;
    said.has("problem", "configuration", "a.conf:2: [serial_console] port_range");
    said.has("problem", "configuration", "a.conf:3: [serial_console] no_such_option");
    said.has("problem", "configuration", "a.conf:5: [api] listen");
    let missing = Patient::bare().with("config-file", "/nonexistent.conf");
    missing.has("problem", "configuration", "/nonexistent.conf").await;
}

#[tokio::test]
async fn a_role_without_what_it_needs_is_a_problem() {
    let patient = Patient::new();
    for role in ["api", "compute"] {
        let said = patient.examine(&["--role", role]).await;
        said.has("problem", "configuration", "[cluster] etcd_endpoints is not set");
    }
    let said = patient.examine(&["--role", "proxy"]).await;
    said.has("problem", "configuration", "the proxy role needs a cluster or a Nova");
    let said = patient.examine(&["--cluster-etcd_endpoints", "http://127.0.0.1:1"]).await;
    said.has("warning", "configuration", "belongs to no cluster");
}

#[tokio::test]
async fn too_few_open_files_are_found() {
    let patient = Patient::new().run_by(&["prlimit", "--nofile=600:600"]);
    patient.has("problem", "open-files", "600 files").await;
    let patient = patient.run_by(&["prlimit", "--nofile=2000:2000"]);
    patient.has("warning", "open-files", "2000 files").await;
}

#[tokio::test]
async fn a_clock_that_was_set_back_or_that_nobody_keeps_is_found() {
    let patient = Patient::new().keeping("serialproxy.sqlite", 0o600);
    let file = File::options().write(true).open(patient.state().join("serialproxy.sqlite"));
    file.unwrap().set_modified(SystemTime::now() + Duration::from_secs(3600)).unwrap();
    patient.has("problem", "clock", "set back").await;

    let patient = Patient::new();
    let tool = patient.file("timedatectl");
    std::fs::write(&tool, "#!/bin/sh\necho no\n").unwrap();
    std::fs::set_permissions(&tool, PermissionsExt::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/bin:/bin", tool.parent().unwrap().display());
    patient.env("PATH", &path).has("warning", "clock", "not synchronized").await;
}

#[tokio::test]
async fn a_state_directory_that_others_can_change_or_that_cannot_be_used_is_found() {
    let patient = Patient::new();
    patient.set_mode(0o777);
    patient.has("problem", "state-directory", "every user of this host").await;
    patient.set_mode(0o711);
    let patient = patient.run_by_nobody();
    std::os::unix::fs::chown(patient.state(), Some(0), None).unwrap();
    patient.has("problem", "state-directory", "this user cannot write").await;
    let outside = patient.with("state-dir", "/srv/serialproxy-of-nobody");
    outside.has("problem", "state-directory", "cannot be created").await;
    let below_a_file = Patient::new().with("state-dir", "/dev/null/state");
    below_a_file.has("problem", "state-directory", "cannot be looked at").await;

    let patient = Patient::new();
    std::fs::remove_dir(patient.state()).unwrap();
    std::fs::write(patient.state(), "").unwrap();
    patient.has("problem", "state-directory", "is not a directory").await;
}

#[tokio::test]
async fn files_of_root_in_the_service_s_directory_are_found() {
    let patient = of_nobody(Patient::new().keeping("serialproxy.sqlite", 0o600));
    patient.has("problem", "state-directory", "belongs to another user").await;
    let trail = of_nobody(Patient::new());
    std::fs::create_dir(trail.state().join("audit")).unwrap();
    trail.has("problem", "state-directory", "audit belongs to another user").await;
    std::os::unix::fs::chown(trail.state().join("audit"), Some(65534), Some(65534)).unwrap();
    let trail = trail.keeping("audit/audit.jsonl", 0o600);
    trail.has("problem", "state-directory", "audit.jsonl belongs to another user").await;
}

#[tokio::test]
async fn a_database_that_the_service_cannot_use_is_found() {
    let mut server = Server::start(&[]).await;
    server.signal(Signal::TERM);
    server.ended().await;
    let patient = Patient::new();
    let path = patient.state().join("serialproxy.sqlite");
    std::fs::copy(server.state().join("serialproxy.sqlite"), &path).unwrap();
    patient.has("ok", "database", "can be read").await;
    let mut newer = std::fs::read(&path).unwrap();
    // `user_version` (sqlite.org/fileformat.html).
    newer[60..64].copy_from_slice(&1_000_u32.to_be_bytes());
    std::fs::write(&path, newer).unwrap();
    patient.has("problem", "database", "has schema version 1000").await;
    std::fs::write(&path, "something else").unwrap();
    patient.has("problem", "database", "not a database").await;
}

/// A host on which the service runs as a user that has nothing but its directories.
fn of_nobody(patient: Patient) -> Patient {
    std::fs::set_permissions(patient.file(""), PermissionsExt::from_mode(0o755)).unwrap();
    std::fs::create_dir_all(patient.file("claims")).unwrap();
    for own in [patient.state(), patient.file("claims")] {
        std::os::unix::fs::chown(own, Some(65534), Some(65534)).unwrap();
    }
    patient
}

#[tokio::test]
async fn root_is_told_what_the_service_s_user_cannot_use() {
    let patient = || of_nobody(Patient::new());
    patient().examine(&[]).await.is_healthy();

    let closed = tempfile::tempdir().unwrap();
    let inside = |name: &str| closed.path().join(name).to_str().unwrap().to_owned();
    let claims = patient().with("line-claims", &inside("claims"));
    claims.has("warning", "claims", "Permission denied").await;
    let records = patient().with("serial_console-record", &inside("a"));
    records.has("problem", "recordings", "Permission denied").await;
    let with_secrets = patient().keeping("cluster/key.pem", 0o600);
    with_secrets.has("problem", "state-directory", "cluster/key.pem belongs to another").await;
    std::fs::set_permissions(
        with_secrets.state().join("cluster"),
        PermissionsExt::from_mode(0o700),
    )
    .unwrap();
    with_secrets.has("problem", "state-directory", "cluster/key.pem cannot be looked at").await;

    let configured = patient().configured("a.conf", "[DEFAULT]\ndebug = false\n");
    configured.examine(&[]).await.is_healthy();
    let file = configured.file("a.conf");
    std::fs::set_permissions(file, PermissionsExt::from_mode(0o600)).unwrap();
    let said = configured.examine(&[]).await;
    said.has("problem", "configuration", "the service's user nobody cannot read");

    let pki = Pki::new();
    openssl(&pki, "chmod 755 .; chmod 600 server-key.pem");
    let tls = || patient().with_certificate(&pki, "server");
    tls().has("problem", "certificate", "server-key.pem cannot be read").await;
    openssl(&pki, "chown nobody server-key.pem; chmod 700 .");
    tls().has("problem", "certificate", "server-cert.pem cannot be read").await;
    openssl(&pki, "chmod 755 .");
    tls().examine(&[]).await.is_healthy();
}

#[tokio::test]
async fn images_that_qemu_s_user_cannot_reach_are_found() {
    let patient = Patient::new().with("compute-drivers", "libvirt");
    patient.set_mode(0o700);
    let said = patient.examine(&["--compute-transport", "unix"]).await;
    said.has("warning", "state-directory", "QEMU's user cannot enter");
}

#[tokio::test]
async fn secrets_that_others_can_read_are_found() {
    for name in ["admin-token", "serialproxy.sqlite", "cluster/ca-key.pem"] {
        let patient = Patient::new().keeping(name, 0o644);
        patient.has("problem", "secrets", name).await;
    }
}

#[tokio::test]
async fn a_file_system_that_is_full_or_read_only_is_found() {
    let mounted = |options: &str| {
        let patient = Patient::new();
        let mount =
            format!("mount -t tmpfs -o {options} tmpfs {}; exec \"$@\"", patient.state().display());
        patient.run_by(&["unshare", "--mount", "bash", "-ec", &mount, "bash"])
    };
    mounted("size=1m,mode=711").has("problem", "disk-space", "MiB free").await;
    mounted("size=512m,mode=711").has("warning", "disk-space", "512 MiB free").await;
    mounted("nr_inodes=1,size=2g,mode=711").has("problem", "disk-space", "no free inode").await;
    mounted("ro,size=2g,mode=711").has("problem", "state-directory", "read-only").await;
}

#[tokio::test]
async fn directories_that_cannot_be_made_are_found() {
    let patient = Patient::new().with("line-claims", "/dev/null/lines");
    patient.has("warning", "claims", "/dev/null/lines").await;
    let patient = Patient::new().with("serial_console-record", "/dev/null/records/a");
    patient.has("problem", "recordings", "/dev/null/records").await;
}

#[tokio::test]
async fn a_host_with_certificates_of_a_ca_that_it_trusts_is_healthy() {
    let pki = Pki::new();
    let file = |name: &str| pki.file(name).display().to_string();
    let patient = Patient::new().with_certificate(&pki, "server");
    let patient =
        patient.with("api-cert", &file("server-cert.pem")).with("api-key", &file("server-key.pem"));
    let said = patient.examine(&[]).await;
    said.has("ok", "certificate-chain", "[api] cert");
    said.has("ok", "certificate-name", "127.0.0.1");
    said.is_healthy();
}

#[tokio::test]
async fn certificate_files_of_no_use_are_found() {
    let pki = Pki::new();
    let patient = || Patient::new().with_certificate(&pki, "server");
    let other = pki.file("next-key.pem");
    let patient_with = |flag: &str, file: &str| patient().with(flag, file);
    patient_with("serial_console-key", other.to_str().unwrap())
        .has("problem", "certificate", "cannot be used")
        .await;
    patient_with("serial_console-cert", "/nonexistent.pem")
        .has("problem", "certificate", "/nonexistent.pem cannot be read")
        .await;
    let no_certificate = pki.file("server-key.pem");
    for flag in ["serial_console-tls_ca_certs", "proxy-cafile"] {
        patient_with(flag, no_certificate.to_str().unwrap())
            .has("problem", "certificate", "contains no certificate")
            .await;
    }
    openssl(&pki, "chmod 644 server-key.pem");
    patient().has("problem", "secrets", "private key").await;
}

#[tokio::test]
async fn a_certificate_for_another_name_is_found() {
    let pki = Pki::new();
    let patient = Patient::new().with_certificate(&pki, "server");
    let port = patient.value("serial_console-serialproxy_port").to_owned();
    let url = format!("https://127.0.0.2:{port}/serial.html");
    let patient = patient.with("serial_console-base_url", &url);
    patient.has("problem", "certificate-name", "not valid for 127.0.0.2").await;
}

/// Issues a certificate for these days of January of two years.
fn issue(pki: &Pki, name: &str, from: i32, until: i32) {
    let read = |name: &str| std::fs::read_to_string(pki.file(name)).unwrap();
    let ca = KeyPair::from_pem(&read("ca-key.pem")).unwrap();
    let issuer = Issuer::from_ca_cert_pem(&read("ca-cert.pem"), ca).unwrap();
    let mut params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(from, 1, 1);
    params.not_after = rcgen::date_time_ymd(until, 1, 1);
    let key = KeyPair::generate().unwrap();
    let made = params.signed_by(&key, &issuer).unwrap();
    std::fs::write(pki.file(&format!("{name}-cert.pem")), made.pem()).unwrap();
    let file = pki.file(&format!("{name}-key.pem"));
    std::fs::write(&file, key.serialize_pem()).unwrap();
    std::fs::set_permissions(file, PermissionsExt::from_mode(0o600)).unwrap();
}

#[tokio::test]
async fn a_certificate_that_is_over_not_valid_yet_or_not_for_long_is_found() {
    let pki = Pki::new();
    issue(&pki, "over", 2020, 2021);
    issue(&pki, "early", 2090, 2091);
    openssl(
        &pki,
        "openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=soon \
             -keyout soon-key.pem -out soon.csr
         printf '%s\\n' extendedKeyUsage=serverAuth subjectAltName=IP:127.0.0.1 >soon.ext
         openssl x509 -req -in soon.csr -CA ca-cert.pem -CAkey ca-key.pem -CAcreateserial \
             -extfile soon.ext -days 3 -out soon-cert.pem",
    );
    let patient = |name: &str| Patient::new().with_certificate(&pki, name);
    patient("over").has("problem", "certificate-life", "has expired at 2021").await;
    patient("early").has("problem", "certificate-life", "not valid before 2090").await;
    patient("soon").has("warning", "certificate-life", "expires in").await;
}

#[tokio::test]
async fn a_certificate_whose_issuers_are_missing_wrong_or_itself_is_found() {
    let pki = Pki::new();
    let patient = Patient::new().with_certificate(&pki, "server").env("SSL_CERT_FILE", "/dev/null");
    patient.has("warning", "certificate-chain", "does not lead to the issuer").await;

    openssl(
        &pki,
        "cat server-cert.pem client-cert.pem >mixed-cert.pem; cp -p server-key.pem mixed-key.pem",
    );
    let patient = Patient::new().with_certificate(&pki, "mixed");
    patient.has("problem", "certificate-chain", "not a chain").await;

    openssl(
        &pki,
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 90 -subj /CN=own \
             -addext subjectAltName=IP:127.0.0.1 -keyout own-key.pem -out own-cert.pem",
    );
    let patient = Patient::new().with_certificate(&pki, "own");
    patient.has("warning", "certificate-chain", "self-signed").await;
}

#[tokio::test]
async fn the_ports_of_the_running_service_are_not_taken() {
    let patient = Patient::new();
    let server = Server::start(&patient.service()).await;
    let said = patient.examine_at(server.state()).await;
    said.has("ok", "listeners", "serialproxy (pid");
    said.is_healthy();
    // Another state directory is another service's.
    patient.examine(&[]).await.has("problem", "listeners", "with another state directory");
}

#[tokio::test]
async fn ports_and_addresses_that_cannot_be_listened_on_are_found() {
    let patient = Patient::new();
    let taken = TcpListener::bind(patient.value("api-listen")).unwrap();
    patient.has("problem", "listeners", "is in use by").await;
    drop(taken);
    let api = patient.value("api-listen").to_owned();
    let patient = patient.with("api-metrics_listen", &api);
    patient.has("problem", "listeners", "are the same address").await;
    let other_host = Patient::new().with("api-listen", "198.51.100.1:8774");
    let said = other_host.examine(&[]).await;
    said.has("problem", "listeners", "nobody can listen on 198.51.100.1:8774");
    let unknown = Patient::new().with("api-listen", "no.such.name.invalid:8774");
    unknown.examine(&[]).await.has("problem", "listeners", "cannot be resolved");
}

#[tokio::test]
async fn what_only_root_may_listen_on_or_see_is_found() {
    let nobody = Patient::new().run_by_nobody();
    nobody.examine(&[]).await.is_healthy();
    let taken = TcpListener::bind(nobody.value("api-listen")).unwrap();
    nobody.has("warning", "listeners", "by a program that this user cannot see").await;
    drop(taken);
    let low = nobody.with("api-listen", "127.0.0.1:987");
    low.has("problem", "listeners", "nobody can listen on 127.0.0.1:987: Permission denied").await;
}

#[tokio::test]
async fn a_certificate_that_does_not_fit_the_cluster_is_found() {
    let cluster = Cluster::new(1).await;
    cluster.certify("h1", &["compute"]);
    let file = |name: &str| cluster.file(name).display().to_string();
    let patient = |name: &str| {
        Patient::new()
            .with("role", "compute")
            .with("cluster-etcd_endpoints", &cluster.etcd.endpoints().join(","))
            .with("cluster-listen", "127.0.0.1:0")
            .with("cluster-name", name)
            .with("cluster-ca_file", &file("ca.pem"))
            .with("cluster-cert_file", &file("h1.pem"))
            .with("cluster-key_file", &file("h1-key.pem"))
    };
    patient("h1").examine(&[]).await.is_healthy();
    patient("h2").has("problem", "certificate", "is that of host h1").await;
    patient("h1").with("role", "api").examine(&[]).await.has(
        "problem",
        "certificate",
        "has the role compute",
    );
    patient("h1").with("cluster-ca_file", "/nonexistent.pem").examine(&[]).await.has(
        "problem",
        "certificate",
        "/nonexistent.pem",
    );
}
