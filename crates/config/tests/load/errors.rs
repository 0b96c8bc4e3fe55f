//! What is refused, and in which words.

use std::path::Path;

use serialproxy_config::options;
use serialproxy_config::values::TlsVersion;

use crate::Place;
use crate::config;
use crate::error_of;
use crate::errors;

#[test]
fn all_errors_of_all_sources_are_told_together() {
    let place = Place::new()
        .file("a.conf", "stray = 1\n[api]\nlisten = x\n[nope]\nx = 1\n")
        .file("b.conf", "[line]\n\nhistory_tail = 1\njust words\n")
        .flag("session", "grace", "soon");
    assert_eq!(
        place.errors(),
        [
            "a.conf:1: an option comes before the first `[group]`",
            "a.conf:4: [nope]: unknown group; known groups: DEFAULT, serial_console, console, \
             consoleauth, api, oslo_middleware, proxy, libvirt, compute, line, session, limits, static, cluster, audit, \
             keystone_authtoken, service_user, nova",
            "b.conf:4: is neither `[group]`, `key = value` nor a comment",
            "a.conf:3: [api] listen: \"x\" has no port; allowed: HOST:PORT; an IPv6 address in \
             brackets; port 0 means any free port",
            "b.conf:3: [line] history_tail: \"1\" is not within 4 KiB and 1 GiB; allowed: bytes, \
             4 KiB to 1 GiB; units K, KiB, M, MiB, G, GiB",
            "flag --session-grace: [session] grace: \"soon\" is not a whole number; allowed: \
             seconds, more than ping_interval, up to 315360000",
        ]
    );
}

#[test]
fn an_api_without_authentication_that_others_reach_has_to_be_meant() {
    for host in ["0.0.0.0", "[::]", "192.0.2.7", "api.example.com"] {
        let text = format!("[api]\nlisten = {host}:8774\nauth_strategy = noauth\n");
        let refused = errors(&text).concat();
        assert!(refused.starts_with("a.conf:3: [api] auth_strategy: "), "{refused}");
        assert!(refused.contains("noauth_anywhere = true"), "{refused}");
        assert!(config(&(text + "noauth_anywhere = true\n")).api.noauth_anywhere);
        config(&format!("[api]\nlisten = {host}:8774\n"));
    }
    for host in ["127.0.0.1", "127.9.9.9", "[::1]", "localhost", "[::ffff:127.0.0.1]"] {
        config(&format!("[api]\nlisten = {host}:8774\nauth_strategy = noauth\n"));
    }
}

#[test]
fn a_hint_names_the_group_or_option_that_was_meant() {
    let group = errors("[serial-console]\n").concat();
    assert!(
        group.contains("unknown group; did you mean [serial_console]? known groups: DEFAULT, ")
    );
    assert_eq!(
        error_of("api", "token_ttl = 1"),
        "a.conf:2: [api] token_ttl: unknown option; it belongs in [consoleauth]; [api] has \
         listen, auth_strategy, noauth_anywhere, allowed_hosts, token_lifetime, page_lifetime, \
         cert, key, ssl_only, compute_link_prefix, metrics_listen"
    );
    assert_eq!(
        error_of("libvirt", "colour = 1"),
        "a.conf:2: [libvirt] colour: unknown option; [libvirt] has connection_uri, virt_type"
    );
}

#[test]
fn unknown_flags_are_told_like_unknown_options() {
    let place = Place::new().flag("libvirt", "virt-type", "kvm").flag("nope", "x", "1");
    let errors = place.errors();
    assert_eq!(
        errors[0],
        "flag --libvirt-virt-type: [libvirt] virt-type: unknown option; did you mean virt_type? \
         [libvirt] has connection_uri, virt_type"
    );
    assert!(errors[1].starts_with("flag --nope-x: [nope]: unknown group; known groups: DEFAULT, "));
}

#[test]
fn a_comment_behind_a_value_is_explained() {
    assert_eq!(
        error_of("serial_console", "port_range = 1:2 # mine"),
        "a.conf:2: [serial_console] port_range: \"1:2 # mine\" does not have the form START:END; \
         allowed: START:END, both within 1 and 65536; END is the first port after the range (a \
         comment needs a line of its own)"
    );
}

#[test]
fn bad_values_of_every_kind_name_what_is_allowed() {
    for (group, assignment, reason) in [
        ("DEFAULT", "debug = maybe", "is not a boolean; allowed: true, 1, yes, on, false"),
        ("serial_console", "enabled =", "is not a boolean; allowed: true, 1, yes, on, false"),
        ("serial_console", "listen = a b", "is neither an IP address nor a host name; allowed: an"),
        ("serial_console", "serialproxy_port = 65536", "is not within 0 and 65535; allowed: a"),
        ("proxy", "api_url = wss://a", "does not begin with http:// or https://; allowed: http"),
        ("serial_console", "base_url = x", "does not begin with http://, https://, ws://"),
        ("serial_console", "proxyclient_address = a b", "is neither an IP address nor a host"),
        ("serial_console", "port_range = 2:1", "ends before it starts; allowed: START:END"),
        (
            "console",
            "allowed_origins = a,http://b/",
            "contains `http://b/`: an origin is SCHEME://HOST",
        ),
        ("console", "frame_ancestors = a;b", "contains something that is neither a scheme nor a"),
        ("console", "ssl_ciphers = HIGH:!aNUL", "contains aNUL, which OpenSSL knows neither as"),
        ("consoleauth", "token_ttl = -1", "is not a whole number; allowed: seconds, 0 to"),
        ("api", "listen = 8774", "has no port; allowed: HOST:PORT"),
        ("api", "auth_strategy = none", "is not one of the choices; allowed: token, http_basic,"),
        ("libvirt", "virt_type = xen", "is not one of the choices; allowed: auto, kvm or qemu"),
        ("libvirt", "connection_uri = qemu", "is not a URI; allowed: a libvirt URI"),
        ("compute", "drivers = kvm", "is not one of the choices; allowed: libvirt, static or"),
        ("compute", "drivers =", "names no driver; allowed: libvirt, static or both"),
        ("compute", "images_path =", "is not a path: "),
        ("compute", "transport = pty", "is not one of the choices; allowed: tcp or unix"),
        ("serial_console", "tls_ca_certs = /", "is a directory; allowed: a PEM file that exists"),
        ("serial_console", "tls_ca_certs = /nope", "is not a file that can be used: No such"),
        ("line", "input_in_flight = 0", "is not within 1 and 65536; allowed: bytes, 1 to 65536"),
        ("session", "raw_lag = wait", "is not one of the choices; allowed: close or skip"),
        ("session", "ping_interval = 0", "is not within 1 and 315360000; allowed: seconds, 1"),
        ("static", "line =", "is not a name and an endpoint; allowed: NAME[:PORT] and tcp://"),
    ] {
        let (option, value) = assignment.split_once('=').unwrap();
        let (option, value) = (option.trim(), value.trim());
        let start = format!("a.conf:2: [{group}] {option}: \"{value}\" {reason}");
        let error = error_of(group, assignment);
        assert!(error.starts_with(&start), "{error}");
    }
}

#[test]
fn control_characters_are_refused_and_not_repeated() {
    assert_eq!(
        error_of("compute", "images_path = /a\u{1b}[2Jb"),
        "a.conf:2: [compute] images_path: \"/a\\u{1b}[2Jb\" contains a control character"
    );
}

#[test]
fn a_session_must_live_longer_than_between_two_pings() {
    assert_eq!(
        error_of("session", "ping_interval = 60"),
        "a.conf:2: [session] ping_interval: sessions would end before they answer: grace (60 s) \
         must be more than ping_interval (60 s)"
    );
    assert_eq!(
        error_of("session", "grace = 5"),
        "a.conf:2: [session] grace: sessions would end before they answer: grace (5 s) must be \
         more than ping_interval (20 s)"
    );
}

#[test]
fn tls_to_hypervisors_is_set_up_as_a_whole_or_not_at_all() {
    let directory = tempfile::tempdir().unwrap();
    let pem = directory.path().join("a.pem");
    std::fs::write(&pem, "").unwrap();
    let pem = pem.display().to_string();
    let all = format!(
        "[serial_console]\ntls_required = true\ntls_ca_certs = {pem}\ntls_client_cert = {pem}\n\
         tls_client_key = {pem}\n"
    );
    let console = config(&all).serial_console;
    assert!(console.tls_required);
    for path in [console.tls_ca_certs, console.tls_client_cert, console.tls_client_key] {
        assert_eq!(path, Some(Path::new(&pem).into()));
    }
    for (assignment, other) in [
        ("tls_required = true".to_owned(), "tls_ca_certs"),
        (format!("tls_client_cert = {pem}"), "tls_client_key"),
        (format!("tls_client_key = {pem}"), "tls_client_cert"),
    ] {
        let option = assignment.split(' ').next().unwrap();
        assert_eq!(
            error_of("serial_console", &assignment),
            format!("a.conf:2: [serial_console] {option}: requires {other}: set it too")
        );
    }
    assert!(
        config("[serial_console]\ntls_required = false\n").serial_console.tls_ca_certs.is_none()
    );
}

#[test]
fn ssl_only_without_cert_exits() {
    let directory = tempfile::tempdir().unwrap();
    let cert = directory.path().join("self.pem");
    let text = format!("[serial_console]\nssl_only = true\ncert = {}\n", cert.display());
    let error = errors(&text).concat();
    let expected = format!("ssl_only: SSL only and {} not found: set cert to", cert.display());
    assert!(error.contains(&expected), "{error}");
    std::fs::write(&cert, "").unwrap();
    assert!(config(&text).serial_console.ssl_only);
    let error = error_of("proxy", "proxy_protocol = require");
    assert!(error.ends_with("requires trusted_proxies: set it too"), "{error}");
    for assignment in ["ssl_only = true", &format!("key = {}", cert.display())] {
        let error = error_of("api", assignment);
        assert!(error.ends_with("requires cert: set it too"), "{error}");
    }
}

#[test]
fn versions_of_tls_are_those_of_nova_that_are_not_broken() {
    let version = |text: &str| {
        config(&format!("[console]\nssl_minimum_version = {text}\n")).console.ssl_minimum_version
    };
    assert_eq!(version("default"), TlsVersion::Tls12);
    assert_eq!(version("tlsv1_2"), TlsVersion::Tls12);
    assert_eq!(version("tlsv1_3"), TlsVersion::Tls13);
    let error = error_of("console", "ssl_minimum_version = tlsv1_1");
    assert!(error.contains("\"tlsv1_1\" is not supported: RFC 8996"), "{error}");
}

#[test]
fn endless_errors_are_counted() {
    let error = errors(&format!("[api]\n{}", "x\n".repeat(500_000)));
    assert_eq!(error.len(), 101);
    assert_eq!(error[100], "and 499900 more");
}

#[test]
fn every_option_may_be_set_to_its_default() {
    for option in options() {
        let text = match option.name {
            "enabled" => "false",
            // Once it is set, it does not follow any more.
            "base_url" => continue,
            "web" => "",
            "images_path" => "/state/images",
            "ca_file" => "/state/cluster/ca.pem",
            "cert_file" => "/state/cluster/cert.pem",
            "key_file" => "/state/cluster/key.pem",
            // They are the machine's.
            "name" | "advertise" => continue,
            _ if option.is_multi() => continue,
            _ => option.default_text(),
        };
        let place = Place::new().flag(option.group, option.name, text);
        assert_eq!(place.load().config, Place::new().load().config, "{option:?}");
    }
    config("[serial_console]\nrecord = off\ndaemon = No\nssl_only = 0\nsource_is_ipv6 = False\n");
}
