//! Reading a `nova.conf` in place of nova-serialproxy. Where Nova reads a value differently, or
//! does not read it at all, the value is taken as Nova takes it, and a warning says so.

use std::net::UdpSocket;

use serialproxy_proto::address::host;

use crate::machine;
use crate::option::Opt;
use crate::scalar::boolean;

/// Nova asks the kernel for the address that it would use to send to this one (RFC 5737); it sends
/// nothing.
const ELSEWHERE: (&str, u16) = ("192.0.2.0", 80);

/// The `state_path` of Nova's packages. Nova's own default is the directory of its Python modules.
const STATE_PATH: &str = "/var/lib/nova";

/// Whether Nova's proxy never reads the option, so that no value of it may keep the proxy from
/// starting.
pub(crate) fn is_unread(option: &Opt) -> bool {
    matches!(
        (option.group, option.name),
        ("serial_console", "base_url")
            | ("consoleauth", "token_ttl")
            | ("keystone_authtoken" | "service_user" | "nova", _)
    )
}

/// The value in our form, and warnings about differences.
pub(crate) fn translated(option: &Opt, text: String) -> (String, Vec<String>) {
    match (option.group, option.name) {
        ("console", "allowed_origins") => hosts(&text),
        ("console", "ssl_minimum_version") if text == "tlsv1_1" => {
            let warning = "tlsv1_1 is read as tlsv1_2: RFC 8996 forbids TLS 1.1";
            ("tlsv1_2".into(), vec![warning.into()])
        }
        // In Nova, any word is the name of a file.
        ("serial_console", "record") if is_bare_name(&text) => (format!("./{text}"), Vec::new()),
        _ => (text, Vec::new()),
    }
}

/// Nova compares each entry with the host of a page's `Origin`, so only hosts have an effect.
fn hosts(text: &str) -> (String, Vec<String>) {
    let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    let (hosts, others): (Vec<_>, Vec<_>) =
        entries.partition(|entry| host(entry).is_ok() && !entry.starts_with('['));
    let warnings = others.into_iter().map(|entry| {
        format!(
            "`{}` matches no page, because Nova compares it with the page's host: write the host \
             alone",
            crate::error::shown(entry)
        )
    });
    (hosts.join(","), warnings.collect())
}

fn is_bare_name(text: &str) -> bool {
    !text.is_empty() && !text.contains(['/', '\n']) && boolean(text).is_err()
}

/// The default of one of Nova's own options of `[DEFAULT]`.
pub(crate) fn default_of(name: &str) -> Option<String> {
    match name {
        "my_ip" | "my_block_storage_ip" | "my_shared_fs_storage_ip" => Some(my_ip()),
        "host" => machine::host_name(),
        "state_path" => Some(STATE_PATH.to_owned()),
        _ => None,
    }
}

/// The address of this machine, as `oslo_utils.netutils.get_my_ipv4` finds it.
fn my_ip() -> String {
    let address = UdpSocket::bind(("0.0.0.0", 0)).and_then(|socket| {
        socket.connect(ELSEWHERE)?;
        socket.local_addr()
    });
    address.map_or_else(|_| "127.0.0.1".to_owned(), |address| address.ip().to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::options::find;

    fn translate(group: &str, name: &str, text: &str) -> (String, usize) {
        let (text, warnings) = translated(find(group, name).unwrap(), text.to_owned());
        (text, warnings.len())
    }

    #[test]
    fn of_allowed_origins_only_hosts_allow_anything() {
        let origins = |text| translate("console", "allowed_origins", text);
        assert_eq!(origins("a.example, ::1,\n192.0.2.1,"), ("a.example,::1,192.0.2.1".into(), 0));
        assert_eq!(origins("https://a, a:80, *, [::1], b,,"), ("b".into(), 4));
        assert_eq!(origins(""), (String::new(), 0));
    }

    #[test]
    fn a_recording_may_have_any_name() {
        let record = |text| translate("serial_console", "record", text).0;
        assert_eq!(record("console"), "./console");
        for text in ["", "true", "/var/log/console", "a/b"] {
            assert_eq!(record(text), text);
        }
    }

    #[test]
    fn this_machine_has_an_address_and_a_name() {
        assert!(default_of("my_ip").unwrap().parse::<std::net::Ipv4Addr>().is_ok());
        assert!(!default_of("host").unwrap().is_empty());
        assert_eq!(default_of("pybasedir"), None);
    }

    proptest! {
        #[test]
        fn what_is_left_of_origins_is_read(text in "[a-z0-9.:,/*\\[\\] \n-]{0,60}") {
            let (left, _) = translate("console", "allowed_origins", &text);
            for entry in left.split(',').filter(|entry| !entry.is_empty()) {
                prop_assert!(crate::page_origin::AllowedOrigin::read(entry).is_ok());
            }
        }
    }
}
