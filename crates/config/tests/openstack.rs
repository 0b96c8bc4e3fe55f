//! The options with which we ask OpenStack.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::Path;

use serialproxy_config::AllowedOrigin;
use serialproxy_config::Config;
use serialproxy_config::ConfigError;
use serialproxy_config::Loaded;
use serialproxy_config::Role;
use serialproxy_config::Sources;
use serialproxy_config::load;
use serialproxy_config::show;
use serialproxy_config::values::AuthType;
use serialproxy_config::values::Domain;

fn host(name: &str) -> AllowedOrigin {
    AllowedOrigin::Host(name.into())
}

fn loaded(text: &str) -> Result<Loaded, ConfigError> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("a.conf");
    std::fs::write(&file, text).unwrap();
    load(&Sources { files: vec![file], ..Sources::default() })
}

#[test]
fn a_service_user_is_read_in_keystones_own_names() {
    let config = loaded(
        "[keystone_authtoken]\nwww_authenticate_uri = http://public:5000/\n\
         auth_url = http://keystone:5000/v3\nauth_type = password\nusername = nova\n\
         password = a$$b\nuser_domain_name = Default\nproject_domain_id = d1\n\
         project_name = service\nregion_name = RegionOne\ninsecure = true\n",
    );
    let auth = config.unwrap().config.keystone_authtoken;
    assert_eq!(auth.www_authenticate_uri.as_deref(), Some("http://public:5000"));
    assert_eq!(auth.auth_url.as_deref(), Some("http://keystone:5000/v3"));
    assert_eq!(auth.password.unwrap().expose(), "a$b");
    assert_eq!(auth.user_domain, Domain::Name("Default".into()));
    assert_eq!(auth.project_domain, Domain::Id("d1".into()));
    assert_eq!(auth.project_name.as_deref(), Some("service"));
    assert!(auth.insecure);
}

#[test]
fn a_domain_that_nobody_names_is_the_default_one() {
    let auth = loaded("[nova]\nusername = nova\n").unwrap().config.nova.auth;
    assert_eq!(auth.user_domain, Domain::Id("default".into()));
}

#[test]
fn who_asks_nova_is_the_first_group_that_names_a_user() {
    let user = |text: &str| {
        let config = loaded(text).unwrap().config;
        config.nova_user().map(|(group, auth)| (group, auth.username.clone().unwrap()))
    };
    let (token, service, nova) = (
        "[keystone_authtoken]\nusername = a\n",
        "[service_user]\nusername = b\n",
        "[nova]\nusername = c\n",
    );
    assert_eq!(user(""), None);
    assert_eq!(user(token), Some(("keystone_authtoken", "a".into())));
    assert_eq!(user(&format!("{token}{service}")), Some(("service_user", "b".into())));
    assert_eq!(user(&format!("{token}{service}{nova}")), Some(("nova", "c".into())));
}

#[test]
fn a_password_is_never_shown() {
    let loaded_ = loaded("[nova]\npassword = hunter2\n").unwrap();
    assert!(!format!("{loaded_:?}").contains("hunter2"));
    let text = show(&loaded_);
    assert!(text.contains("a.conf:2\n# password is set, and secret\n"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
    for text in [
        "[nova]\npassword = hunter2$x\n",
        "[nova]\npassword = hunter2\u{1}\n",
        "[nova]\npassword = hunter2\n  b\n",
        "[nova]\npassword = hunter2\nusername = $password\n",
    ] {
        let error = loaded(text).unwrap_err().to_string();
        assert!(error.contains("[nova]") && !error.contains("hunter2"), "{error}");
    }
}

#[test]
fn a_login_that_is_not_spoken_is_refused() {
    let error = loaded("[nova]\nauth_type = v3oidcpassword\n").unwrap_err().to_string();
    assert!(error.contains("allowed: password, v3password or v3applicationcredential"), "{error}");
    let error = loaded("[nova]\nvalid_interfaces = inside\n").unwrap_err().to_string();
    assert!(error.contains("allowed: internal, public and admin"), "{error}");
}

/// A file of Nova's as installers write it.
const NOVA: &str = "\
[DEFAULT]
debug = true
transport_url = rabbit://openstack:secret@controller:5672/
my_ip = 10.0.0.11
cert = /etc/nova/cert.pem
record = /var/log/consoles/c
console_allowed_origins = dashboard.example.com
[api]
auth_strategy = keystone
[libvirt]
virt_type = lxc
[vnc]
server_listen = $my_ip
[neutron]
password = hunter2
[keystone_authtoken]
auth_url = http://controller:5000/
memcached_servers = controller:11211
username = nova
password = hunter2
project_name = service
[serial_console]
enabled = true
port_range = 20000:10000
proxyclient_address = $my_other_ip
serialproxy_host = $my_ip
serialproxy_port = 6084
";

/// Loads a file of that name as the proxy does, or as `serve`.
fn named(name: &str, text: &str, role: Role) -> Result<Loaded, ConfigError> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join(name);
    std::fs::write(&file, text).unwrap();
    load(&Sources { files: vec![file], role, ..Sources::default() })
}

#[test]
fn a_nova_conf_is_read_by_the_proxy_and_what_only_nova_has_is_listed() {
    for name in ["nova.conf", "other.conf"] {
        let loaded = named(name, NOVA, Role::Proxy).unwrap();
        let config = loaded.config;
        assert!(config.debug);
        assert_eq!(config.serial_console.base_url, None);
        let listen = &config.serial_console.listen;
        assert_eq!((&*listen.host, listen.port), ("10.0.0.11", 6084));
        assert_eq!(config.serial_console.cert, Path::new("/etc/nova/cert.pem"));
        assert_ne!(config.serial_console.record, Config::default().serial_console.record);
        assert_eq!(config.console.allowed_origins, [host("dashboard.example.com")]);
        assert_eq!(config.nova_user().unwrap().0, "keystone_authtoken");
        assert_eq!(
            loaded.passed_over,
            [
                "[DEFAULT] my_ip",
                "[DEFAULT] transport_url",
                "[api] auth_strategy",
                "[keystone_authtoken] memcached_servers",
                "[libvirt] virt_type",
                "[neutron]",
                "[serial_console] enabled",
                "[serial_console] port_range",
                "[serial_console] proxyclient_address",
                "[vnc]",
            ]
        );
    }
}

#[test]
fn no_other_role_reads_a_nova_conf() {
    let error = named("nova.conf", NOVA, Role::Serve).unwrap_err().to_string();
    assert!(error.contains("[neutron]: unknown group"), "{error}");
}

#[test]
fn a_file_of_ours_is_held_to_its_options_by_the_proxy_too() {
    let error = named("a.conf", "[neutron]\n", Role::Proxy).unwrap_err().to_string();
    assert!(error.contains("[neutron]: unknown group"), "{error}");
    let loaded = named("a.conf", "[DEFAULT]\ndebug = on\n", Role::Proxy).unwrap();
    assert_eq!(loaded.config.serial_console.console_url(), "http://127.0.0.1:6083/serial.html");
}

/// What is said of a nova.conf that is taken, without the directory that it is in.
fn warnings(text: &str) -> Vec<String> {
    let loaded = named("nova.conf", text, Role::Proxy).unwrap();
    let file = |text: String| text.split_once("/nova.conf").map(|(_, rest)| rest.to_owned());
    loaded.warnings.into_iter().map(|text| file(text).unwrap()).collect()
}

#[test]
fn a_slip_of_the_fingers_in_serial_console_is_told_in_a_nova_conf_too() {
    let [slip] = &warnings("[serial_console]\nserialproxy_prot = 1\n")[..] else { panic!("one") };
    assert!(slip.contains("did you mean serialproxy_port?"), "{slip}");
    assert!(slip.ends_with("; it is ignored"), "{slip}");
    let error = named("nova.conf", "[limits]\nx = 1\n", Role::Proxy).unwrap_err().to_string();
    assert!(error.contains("unknown option"), "nobody but us has that group: {error}");
}

#[test]
fn listen_was_nova_s_and_does_not_say_where_the_proxy_listens() {
    let text = "[serial_console]\nlisten = 192.0.2.31\nserialproxy_port = 1\n";
    let listen = named("nova.conf", text, Role::Proxy).unwrap().config.serial_console.listen;
    assert_eq!((&*listen.host, listen.port), ("0.0.0.0", 1));
    let [past] = &warnings(text)[..] else { panic!("it is said once") };
    assert!(past.starts_with(":2: [serial_console] listen is ignored: Nova removed"), "{past}");
    let ours = named("a.conf", text, Role::Proxy).unwrap().config.serial_console.listen;
    assert_eq!(ours.host, "192.0.2.31", "it is the blueprint's in a file of ours");
}

#[test]
fn what_novas_proxy_never_reads_keeps_none_from_starting() {
    for (group, value) in [
        ("serial_console", "base_url ="),
        ("serial_console", "base_url = console.example"),
        ("consoleauth", "token_ttl ="),
        ("keystone_authtoken", "auth_type = v3oidcpassword"),
        ("service_user", "auth_url = keystone"),
        ("keystone_authtoken", "cafile = /nonexistent.pem"),
        ("keystone_authtoken", "password = a$nothing"),
    ] {
        let text = format!("[{group}]\n{value}\n");
        let [warning] = &warnings(&text)[..] else { panic!("one for {value}") };
        let name = value.split(' ').next().unwrap();
        assert!(warning.starts_with(&format!(":2: [{group}] {name}: ")), "{warning}");
        assert!(!warning.contains("a$nothing"), "{warning}");
        named("a.conf", &text, Role::Proxy).unwrap_err();
    }
    let flag = ("serial_console".into(), "base_url".into(), "x".into());
    load(&Sources { flags: vec![flag], ..Sources::default() }).unwrap_err();
}

#[test]
fn an_application_credential_counts_where_it_is_complete() {
    let text = "[service_user]\nauth_type = v3applicationcredential\n\
                application_credential_id = i\napplication_credential_secret = s\n\
                [keystone_authtoken]\nusername = nova\npassword = p\n";
    let user = |text: &str| {
        let config = named("nova.conf", text, Role::Proxy).unwrap().config;
        config.nova_user().map(|(group, auth)| (group, auth.auth_type, auth.missing()))
    };
    let (credential, password) = (AuthType::ApplicationCredential, AuthType::Password);
    let lacks_url = Some("auth_url");
    assert_eq!(user(text), Some(("service_user", credential, lacks_url)));
    let without_secret = text.replace("application_credential_secret = s\n", "");
    assert_eq!(user(&without_secret), Some(("keystone_authtoken", password, lacks_url)));
    let named = text.replace("credential_id", "credential_name");
    assert_eq!(user(&named), Some(("keystone_authtoken", password, lacks_url)), "whose is it?");
    let of_user = named.replace("credential_name = i", "credential_name = i\nusername = nova");
    assert_eq!(user(&of_user), Some(("service_user", credential, lacks_url)));
}

#[test]
fn of_two_kinds_of_credentials_in_a_group_auth_type_decides_and_a_warning_names_the_other() {
    let both = "[nova]\nusername = nova\npassword = p\nproject_name = service\n\
                application_credential_id = i\napplication_credential_secret = s\nauth_type = ";
    for (auth_type, used, ignored) in [
        (
            "password",
            AuthType::Password,
            ["application_credential_id", "application_credential_secret"],
        ),
        ("v3applicationcredential", AuthType::ApplicationCredential, ["password", "project_name"]),
    ] {
        let text = format!("{both}{auth_type}\n");
        let loaded = named("nova.conf", &text, Role::Proxy).unwrap();
        assert_eq!(loaded.config.nova_user().unwrap().1.auth_type, used);
        assert_eq!(loaded.warnings.len(), 2, "{:?}", loaded.warnings);
        for (warning, option) in loaded.warnings.iter().zip(ignored) {
            let wanted = format!("[nova] {option} is ignored, because auth_type is {auth_type}");
            assert!(warning.ends_with(&wanted), "{warning}");
        }
    }
}

#[test]
fn of_the_oldest_tls_that_nova_names_the_oldest_that_is_spoken_is_taken() {
    let text = "[console]\nssl_minimum_version = tlsv1_1\n";
    assert_eq!(warnings(text).len(), 1);
    named("a.conf", text, Role::Proxy).unwrap_err();
}

#[test]
fn what_the_proxies_share_counts_where_serial_console_has_none() {
    let origins =
        |text: &str| named("nova.conf", text, Role::Proxy).unwrap().config.console.allowed_origins;
    let shared = "[DEFAULT]\nconsole_allowed_origins = a\n";
    assert_eq!(origins(shared), [host("a")]);
    assert_eq!(origins(&format!("[console]\nallowed_origins = b\n{shared}")), [host("b")]);
}

#[test]
fn what_nova_has_a_default_for_is_taken_and_told() {
    let listens = |text: &str| {
        named("nova.conf", text, Role::Proxy).unwrap().config.serial_console.listen.host
    };
    let text = "[serial_console]\nserialproxy_host = $my_ip\n";
    assert!(listens(text).parse::<std::net::Ipv4Addr>().is_ok());
    let [taken] = &warnings(text)[..] else { panic!("it is said") };
    assert!(taken.contains("$my_ip is not set: "), "{taken}");
    let set = format!("[DEFAULT]\nmy_ip = $host_ip\nhost_ip = 10.0.0.7\n{text}");
    assert_eq!(listens(&set), "10.0.0.7");
    assert!(warnings(&set).is_empty());
    let path = "[DEFAULT]\ncert = $state_path/cert.pem\n";
    assert!(
        !named("nova.conf", path, Role::Proxy).unwrap().config.serial_console.has_certificate()
    );
    let cert =
        |text: &str| named("nova.conf", text, Role::Proxy).unwrap().config.serial_console.cert;
    assert_eq!(cert(path), Path::new("/var/lib/nova/cert.pem"));
    assert_eq!(cert(&format!("{path}state_path = /srv\n")), Path::new("/srv/cert.pem"));
    for circle in ["my_ip = $my_ip\n", "my_ip = $a\na = $my_ip$my_ip\n"] {
        let text = format!("[DEFAULT]\n{circle}{text}");
        let error = named("nova.conf", &text, Role::Proxy).unwrap_err().to_string();
        assert!(error.contains("more than 64 substitutions"), "{error}");
    }
    for name in ["$nothing", "$my_ip.x"] {
        let text = text.replace("$my_ip", name);
        let error = named("nova.conf", &text, Role::Proxy).unwrap_err().to_string();
        assert!(error.contains(" names no option"), "{error}");
    }
}
