//! The options with which we ask OpenStack.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use serialproxy_config::ConfigError;
use serialproxy_config::Loaded;
use serialproxy_config::Sources;
use serialproxy_config::load;
use serialproxy_config::show;
use serialproxy_config::values::Domain;

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
    assert!(error.contains("allowed: password or v3password"), "{error}");
    let error = loaded("[nova]\nvalid_interfaces = inside\n").unwrap_err().to_string();
    assert!(error.contains("allowed: internal, public and admin"), "{error}");
}
