//! A configuration file of Nova's, as the proxy in place of nova-serialproxy reads it. Options that
//! only Nova has are ignored.

use crate::ini::Section;
use crate::option::Opt;
use crate::options::find;
use crate::options::known_group;

/// Our groups that also contain options of Nova.
const COMMON: [&str; 6] =
    ["DEFAULT", "console", "consoleauth", "keystone_authtoken", "service_user", "nova"];

/// Groups that contain only our options, so that misspelled names are reported.
const OURS: [&str; 7] =
    ["serial_console", "proxy", "line", "session", "limits", "cluster", "audit"];

/// Earlier options of Nova that are still in use, with the reason why they have no effect.
const PAST: [(&str, &str, &str); 1] = [(
    "serial_console",
    "listen",
    "is ignored: Nova removed this option in 14.0. The proxy listens on serialproxy_host \
     (default 0.0.0.0)",
)];

/// Options of `[serial_console]` that concern compute hosts, but not a proxy.
const OF_COMPUTE: [&str; 3] = ["enabled", "port_range", "proxyclient_address"];

/// Options of `[DEFAULT]` that count where the group after them does not have the option after
/// that. Nova's console proxies share some of them, and others were moved.
const ELSEWHERE: [(&str, &str, &str); 9] = [
    ("cert", "serial_console", "cert"),
    ("key", "serial_console", "key"),
    ("ssl_only", "serial_console", "ssl_only"),
    ("web", "serial_console", "web"),
    ("daemon", "serial_console", "daemon"),
    ("record", "serial_console", "record"),
    ("source_is_ipv6", "serial_console", "source_is_ipv6"),
    ("console_allowed_origins", "console", "allowed_origins"),
    ("console_token_ttl", "consoleauth", "token_ttl"),
];

/// Groups with a login of keystoneauth.
pub(crate) const LOGINS: [&str; 3] = ["keystone_authtoken", "service_user", "nova"];

/// Options of these groups that are not part of the login: keystoneauth always reads them in the
/// group itself.
const BESIDE_LOGIN: [&str; 6] = [
    "www_authenticate_uri",
    "region_name",
    "cafile",
    "insecure",
    "valid_interfaces",
    "endpoint_override",
];

/// keystoneauth's other names for options of a login, each with the options that it sets where they
/// are not set themselves.
const OTHER_NAMES: [(&str, &[&str]); 9] = [
    ("auth_plugin", &["auth_type"]),
    ("user_name", &["username"]),
    ("user-name", &["username"]),
    ("tenant_name", &["project_name"]),
    ("tenant-name", &["project_name"]),
    ("tenant_id", &["project_id"]),
    ("tenant-id", &["project_id"]),
    ("default_domain_id", &["user_domain_id", "project_domain_id"]),
    ("default_domain_name", &["user_domain_name", "project_domain_name"]),
];

/// Options by which a file with another name is recognized as Nova's.
const MARKS: [(&str, &[&str]); 2] = [
    (
        "DEFAULT",
        &[
            "compute_driver",
            "enabled_apis",
            "instances_path",
            "my_ip",
            "osapi_compute_listen",
            "osapi_compute_workers",
            "rootwrap_config",
            "state_path",
            "transport_url",
        ],
    ),
    ("api", &["dhcp_domain", "local_metadata_per_cell", "max_limit", "vendordata_providers"]),
];

/// The meaning of an option in such a file.
pub(crate) enum Meaning {
    /// One of our options.
    Ours(&'static Opt),
    /// One or more of our options under another name, where they are not set themselves.
    Elsewhere(Vec<&'static Opt>),
    /// An option that only Nova has.
    Foreign,
    /// An earlier option of Nova; the text continues after its name.
    Past(&'static str),
    /// Unknown.
    Unknown,
}

/// Whether Nova has this group, too, and people may have written it for Nova.
pub(crate) fn shares(group: &str) -> bool {
    known_group(group) == Some("serial_console")
}

/// Whether only Nova's files have this section.
pub(crate) fn marks(section: &Section) -> bool {
    let named = MARKS.iter().filter(|(group, _)| *group == section.name);
    named
        .flat_map(|(_, options)| *options)
        .any(|name| section.entries.iter().any(|e| e.key == *name))
}

/// Whether an option is part of a login, which `auth_section` takes from another group.
pub(crate) fn is_of_login(option: &Opt) -> bool {
    LOGINS.contains(&option.group) && !BESIDE_LOGIN.contains(&option.name)
}

/// The meaning of an option in such a file.
pub(crate) fn meaning(group: &str, name: &str) -> Meaning {
    let group = match known_group(group) {
        Some(group) if COMMON.contains(&group) || OURS.contains(&group) => group,
        _ => return Meaning::Foreign,
    };
    let elsewhere = ELSEWHERE.iter().find(|(from, ..)| group == "DEFAULT" && *from == name);
    if let Some(option) = elsewhere.and_then(|(_, group, name)| find(group, name)) {
        return Meaning::Elsewhere(vec![option]);
    }
    let other = OTHER_NAMES.iter().find(|(from, _)| LOGINS.contains(&group) && *from == name);
    if let Some((_, names)) = other {
        return Meaning::Elsewhere(names.iter().filter_map(|name| find(group, name)).collect());
    }
    if let Some((.., fate)) = PAST.iter().find(|(g, n, _)| (*g, *n) == (group, name)) {
        return Meaning::Past(fate);
    }
    match find(group, name) {
        Some(_) if group == "serial_console" && OF_COMPUTE.contains(&name) => Meaning::Foreign,
        Some(option) => Meaning::Ours(option),
        None if OURS.contains(&group) => Meaning::Unknown,
        None => Meaning::Foreign,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::groups;

    #[test]
    fn every_name_of_ours_that_is_listed_exists() {
        for group in COMMON.iter().chain(&OURS) {
            assert!(groups().contains(group), "{group}");
        }
        for (_, group, name) in ELSEWHERE {
            assert!(find(group, name).is_some(), "[{group}] {name}");
        }
        for group in LOGINS {
            for name in OTHER_NAMES.iter().flat_map(|(_, names)| *names) {
                assert!(is_of_login(find(group, name).unwrap()), "[{group}] {name}");
            }
        }
        for name in BESIDE_LOGIN {
            assert!(LOGINS.iter().any(|group| find(group, name).is_some()), "{name}");
        }
        for name in OF_COMPUTE {
            assert!(find("serial_console", name).is_some(), "{name}");
        }
        for (group, name, _) in PAST {
            assert!(find(group, name).is_some(), "[{group}] {name}");
        }
    }

    #[test]
    fn no_option_of_ours_makes_a_file_nova_s() {
        for (group, names) in MARKS {
            for name in names {
                assert!(find(group, name).is_none(), "[{group}] {name}");
            }
        }
    }
}
