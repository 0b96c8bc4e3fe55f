//! `[cluster]`: what its options mean together.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::Path;
use std::time::Duration;

use serialproxy_config::ConfigError;
use serialproxy_config::Loaded;
use serialproxy_config::Sources;
use serialproxy_config::load;
use serialproxy_config::show;
use serialproxy_config::values::Cluster;

/// What a file says of `[cluster]`; `DIR` stands for the directory of the file.
fn loaded(options: &str) -> Result<Loaded, ConfigError> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.conf");
    let options = options.replace("DIR", dir.path().to_str().unwrap());
    std::fs::write(dir.path().join("pem"), "").unwrap();
    std::fs::write(&file, format!("[cluster]\n{options}\n")).unwrap();
    load(&Sources { files: vec![file], state_dir: Some("/state".into()), ..Sources::default() })
}

fn cluster(options: &str) -> Cluster {
    loaded(options).unwrap().config.cluster
}

#[test]
fn the_files_of_the_host_are_in_its_state_directory_and_etcd_takes_them_too() {
    let cluster = cluster("name = H1\netcd_endpoints = https://e1:2379, https://e2:2379");
    assert_eq!(cluster.etcd_endpoints, ["https://e1:2379", "https://e2:2379"]);
    assert_eq!(cluster.name, "h1");
    assert_eq!(cluster.ca_file, Path::new("/state/cluster/ca.pem"));
    assert_eq!(cluster.ca_of_etcd(), cluster.ca_file);
    let (cert, key) = (Path::new("/state/cluster/cert.pem"), Path::new("/state/cluster/key.pem"));
    assert_eq!(cluster.certificate_for_etcd(), (cert, key));
    assert_eq!(cluster.certificate_life, Duration::from_secs(90 * 24 * 3600));
}

#[test]
fn etcd_may_have_certificates_and_a_user_of_its_own() {
    let cluster = cluster(
        "etcd_ca_file = DIR/pem\netcd_cert_file = DIR/pem\netcd_key_file = DIR/pem\n\
         etcd_username = u\netcd_password = p",
    );
    assert_ne!(cluster.ca_of_etcd(), cluster.ca_file);
    assert_ne!(cluster.certificate_for_etcd().1, cluster.key_file);
    assert_eq!(cluster.etcd_password.unwrap().expose(), "p");
}

#[test]
fn what_needs_something_else_says_so() {
    for (one, other) in [
        ("etcd_cert_file", "etcd_key_file"),
        ("etcd_key_file", "etcd_cert_file"),
        ("etcd_username", "etcd_password"),
    ] {
        let error = loaded(&format!("{one} = DIR/pem")).unwrap_err().to_string();
        assert!(error.contains(&format!("{one}: requires {other}: set it too")), "{error}");
    }
}

#[test]
fn the_password_of_etcd_is_not_shown() {
    let loaded = loaded("etcd_username = u\netcd_password = sesame").unwrap();
    let told = format!("{}{loaded:?}", show(&loaded));
    assert!(told.contains("etcd_password is set, and secret") && !told.contains("sesame"));
}

#[test]
fn others_reach_the_host_at_its_own_name_unless_another_address_is_set() {
    let own = cluster("listen = 10.0.0.1:6084").advertised(6084);
    assert!(own.ends_with(":6084") && own.len() > 5, "{own}");
    assert_eq!(cluster("advertise = h1.example:1").advertised(6084), "h1.example:1");
}
