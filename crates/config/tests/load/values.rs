//! What the values of options mean.

use std::path::Path;
use std::time::Duration;

use serialproxy_config::AllowedOrigin;
use serialproxy_config::ProxyProtocol;
use serialproxy_config::values::ApiAddress;
use serialproxy_config::values::AuthStrategy;
use serialproxy_config::values::LogFormat;
use serialproxy_config::values::LogLevel;
use serialproxy_config::values::PortRange;
use serialproxy_config::values::RawLag;
use serialproxy_config::values::StaticLine;
use serialproxy_config::values::Transport;
use serialproxy_config::values::VirtType;
use serialproxy_proto::endpoint::Endpoint;
use serialproxy_proto::terminal::Backspace;
use serialproxy_proto::terminal::TerminalSettings;

use crate::Place;
use crate::config;
use crate::error_of;
use crate::errors;
use crate::listen;

#[test]
fn every_option_that_works_reaches_its_value() {
    let place = Place::new();
    let web = place.dir.path().display().to_string();
    let text = format!(
        "[DEFAULT]\ndebug = true\nlog_format = json\nlog_level = warn
         [serial_console]\nenabled = on\nbase_url = wss://c.example.com/\nlisten = ::
         serialproxy_port = 0\nproxyclient_address = [fd00::7]\nport_range = 1:65536\nweb = {web}
         [console]\nallowed_origins = A.example.com,\n  b.example.com\nframe_ancestors = self
         [consoleauth]\ntoken_ttl = 0\nenforce_session_timeout = yes\nsingle_use = 1
         [api]\nlisten = [::1]:0\nauth_strategy = noauth\nnoauth_anywhere = yes
         allowed_hosts = a.example.com, [::1]
         [proxy]\napi_url = http://api.example.com\nadmin_calls = on
         trusted_proxies = 127.0.0.1,\n  10.0.0.0/8\nproxy_protocol = accept
         [libvirt]\nconnection_uri = test:///default\nvirt_type = qemu
         [compute]\ndrivers = static\nimages_path = /images\nport_rest = 0\ntransport = unix
         [line]\nhistory_head = 1MiB\nhistory_tail = 4096\ninput_in_flight = 1
claims = /claims
         [session]\nping_interval = 1\ngrace = 2\npen_request_timeout = 3\nraw_lag = skip
         [static]\nline = a tcp://[::1]:7001 backspace=ctrl-h\nline = a:1 unix:///run/a\nline = b tls://h:1\n"
    )
    .replace("\n         ", "\n");
    let config = place.file("a.conf", text).load().config;
    assert!(config.debug);
    assert_eq!(config.log_format, LogFormat::Json);
    assert_eq!(config.log_level(), LogLevel::Warn);
    assert!(config.serial_console.enabled);
    assert_eq!(config.serial_console.base_url.as_deref(), Some("wss://c.example.com/"));
    assert_eq!(config.serial_console.listen, listen("::", 0));
    assert_eq!(config.serial_console.proxyclient_address, "fd00::7");
    assert_eq!(config.serial_console.port_range, PortRange { start: 1, end: 65536 });
    assert_eq!(config.serial_console.web, Some(web.into()));
    let hosts = ["a.example.com", "b.example.com"].map(|host| AllowedOrigin::Host(host.into()));
    assert_eq!(config.console.allowed_origins, hosts);
    assert_eq!(config.console.frame_ancestors, "'self'");
    assert_eq!(config.consoleauth.token_ttl, Duration::ZERO);
    assert!(config.consoleauth.enforce_session_timeout);
    assert!(config.consoleauth.single_use);
    assert_eq!(config.api.listen, listen("::1", 0));
    assert_eq!(config.api.auth_strategy, AuthStrategy::Noauth);
    assert!(config.api.noauth_anywhere && config.proxy.admin_calls);
    assert_eq!(config.api.allowed_hosts, ["a.example.com", "::1"]);
    let trusted = config.proxy.trusted_proxies;
    assert!(trusted.contain([10, 1, 2, 3].into()) && !trusted.contain([11, 1, 2, 3].into()));
    assert_eq!(config.proxy.proxy_protocol, ProxyProtocol::Accept);
    let api = ApiAddress { tls: false, authority: "api.example.com:80".into() };
    assert_eq!(config.proxy.api, Some(api));
    assert_eq!(config.libvirt.connection_uri, "test:///default");
    assert_eq!(config.libvirt.virt_type, VirtType::Qemu);
    assert_eq!((config.compute.libvirt, config.compute.statics), (false, true));
    assert_eq!(config.compute.images_path, Path::new("/images"));
    assert_eq!(config.compute.port_rest, Duration::ZERO);
    assert_eq!(config.compute.transport, Transport::Unix);
    assert_eq!((config.line.history_head, config.line.history_tail), (1024 * 1024, 4096));
    assert_eq!(config.line.input_in_flight, 1);
    assert_eq!(config.line.claims, Path::new("/claims"));
    assert_eq!(config.session.ping_interval, Duration::from_secs(1));
    assert_eq!(config.session.grace, Duration::from_secs(2));
    assert_eq!(config.session.pen_request_timeout, Duration::from_secs(3));
    assert_eq!(config.session.raw_lag, RawLag::Skip);
    let tcp = Endpoint::Tcp { host: "::1".into(), port: 7001 };
    let unix = Endpoint::Unix("/run/a".into());
    let tls = Endpoint::Tls { host: "h".into(), port: 1 };
    let none = TerminalSettings::default();
    let terminal = TerminalSettings { backspace: Some(Backspace::CtrlH), ..none };
    assert_eq!(
        config.static_lines,
        [
            StaticLine { name: "a".into(), port: 0, endpoint: tcp, terminal },
            StaticLine { name: "a".into(), port: 1, endpoint: unix, terminal: none },
            StaticLine { name: "b".into(), port: 0, endpoint: tls, terminal: none },
        ]
    );
}

#[test]
fn the_newer_name_of_the_address_wins_whatever_the_order() {
    let both = "[serial_console]\nserialproxy_host = 10.0.0.1\nlisten = 10.0.0.2\n";
    assert_eq!(config(both).serial_console.listen, listen("10.0.0.1", 6083));
    let empty = "[serial_console]\nserialproxy_host =\nlisten = 10.0.0.2\n";
    assert_eq!(config(empty).serial_console.listen, listen("10.0.0.2", 6083));
}

#[test]
fn console_urls_follow_where_the_proxy_listens_unless_they_are_set() {
    let url = |text: &str| config(text).serial_console.console_url();
    let group = "[serial_console]\n";
    assert_eq!(url(group), "http://127.0.0.1:6083/serial.html");
    let elsewhere = format!("{group}serialproxy_host = fd00::7\nserialproxy_port = 7083\n");
    assert_eq!(url(&elsewhere), "http://[fd00::7]:7083/serial.html");
    assert_eq!(
        url(&format!("{elsewhere}cert = /dev/null\n")),
        "https://[fd00::7]:7083/serial.html"
    );
    assert_eq!(url(&format!("{elsewhere}base_url = wss://a/\n")), "wss://a/");
}

#[test]
fn a_certificate_that_has_no_name_is_none() {
    assert_eq!(config("[serial_console]\ncert =\n").serial_console.cert, Path::new(""));
    let error = errors("[serial_console]\ncert =\nssl_only = true\n").concat();
    assert!(error.contains("SSL only and cert not found: set cert to a certificate"), "{error}");
}

#[test]
fn a_web_directory_must_exist_when_set_and_the_default_one_need_not() {
    let place = Place::new();
    assert_eq!(place.load().config.serial_console.web, None);
    std::fs::create_dir(place.path("web")).unwrap();
    assert_eq!(place.load().config.serial_console.web, Some(place.path("web")));
    let place = place.file("a.conf", "[serial_console]\nweb =\n");
    assert_eq!(place.load().config.serial_console.web, None);
    assert_eq!(
        error_of("serial_console", "web = /nowhere/at/all"),
        "a.conf:2: [serial_console] web: \"/nowhere/at/all\" is not a directory that can be \
         used: No such file or directory (os error 2); allowed: a directory that exists, or empty \
         for the built-in pages"
    );
}

#[test]
fn group_names_have_no_case_and_option_names_have() {
    assert_eq!(config("[ConsoleAuth]\ntoken_ttl = 1\n").consoleauth.token_ttl.as_secs(), 1);
    assert_eq!(
        error_of("consoleauth", "Token_TTL = 1"),
        "a.conf:2: [consoleauth] Token_TTL: unknown option; did you mean token_ttl? [consoleauth] \
         has token_ttl, link_ttl, enforce_session_timeout, single_use"
    );
    assert!(errors("[default]\ndebug = 1\n").concat().starts_with("a.conf:1: [default]: unknown"));
}

#[test]
fn static_lines_of_all_files_count_and_flags_replace_them() {
    let place = Place::new()
        .file("a.conf", "[static]\nline = a tcp://h:1\n")
        .file("b.conf", "[static]\nline = b tcp://h:2\nline = c tcp://h:3\n");
    let names = |place: &Place| -> Vec<String> {
        place.load().config.static_lines.into_iter().map(|line| line.name).collect()
    };
    assert_eq!(names(&place), ["a", "b", "c"]);
    let place = place.flag("static", "line", "d tcp://h:4").flag("static", "line", "e tcp://h:5");
    assert_eq!(names(&place), ["d", "e"]);
}

#[test]
fn a_static_line_is_defined_once() {
    let place = Place::new()
        .file("a.conf", "[static]\nline = a tcp://h:1\n")
        .file("b.conf", "[static]\n\nline = a:0 tcp://h:2\n");
    assert_eq!(
        place.errors(),
        ["b.conf:3: [static] line: \"a:0 tcp://h:2\" defines a port 0 a second time; allowed: \
          NAME[:PORT] and tcp://HOST:PORT, tls://HOST:PORT or unix:///PATH, optionally followed by \
          backspace=del or ctrl-h, newline=cr, lf or crlf, line_feed=down or new-line"]
    );
}
