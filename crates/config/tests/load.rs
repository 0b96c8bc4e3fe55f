//! Loading whole configurations: sources, errors with their places, and showing the outcome.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use proptest::prelude::*;
use serialproxy_config::AllowedOrigin;
use serialproxy_config::Config;
use serialproxy_config::Loaded;
use serialproxy_config::Origin;
use serialproxy_config::ProxyProtocol;
use serialproxy_config::Role;
use serialproxy_config::Sources;
use serialproxy_config::load;
use serialproxy_config::options;
use serialproxy_config::show;
use serialproxy_config::values::ApiAddress;
use serialproxy_config::values::AuthStrategy;
use serialproxy_config::values::Backspace;
use serialproxy_config::values::Listen;
use serialproxy_config::values::PortRange;
use serialproxy_config::values::RawLag;
use serialproxy_config::values::StaticEndpoint;
use serialproxy_config::values::StaticLine;
use serialproxy_config::values::StaticTerminal;
use serialproxy_config::values::TlsVersion;
use serialproxy_config::values::Transport;
use serialproxy_config::values::VirtType;
use tempfile::TempDir;

/// A directory for a test's files, and sources that see nothing outside of it.
struct Place {
    dir: TempDir,
    sources: Sources,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let sources = Sources {
            default_file: dir.path().join("default.conf"),
            default_directory: dir.path().join("default.conf.d"),
            default_web: dir.path().join("web"),
            state_dir: Some("/state".into()),
            ..Sources::default()
        };
        Self { dir, sources }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn file(mut self, name: &str, text: impl AsRef<[u8]>) -> Self {
        let path = self.write(name, text);
        self.sources.files.push(path);
        self
    }

    fn flag(mut self, group: &str, option: &str, value: &str) -> Self {
        self.sources.flags.push((group.into(), option.into(), value.into()));
        self
    }

    fn load(&self) -> Loaded {
        load(&self.sources).unwrap()
    }

    /// The lines of the error, with the directory taken off the files' names.
    fn errors(&self) -> Vec<String> {
        let error = load(&self.sources).unwrap_err().to_string();
        let dir = format!("{}/", self.dir.path().display());
        error.lines().map(|line| line.replace(&dir, "")).collect()
    }
}

fn config(text: &str) -> Config {
    Place::new().file("a.conf", text).load().config
}

fn errors(text: &str) -> Vec<String> {
    Place::new().file("a.conf", text).errors()
}

/// The error of a file in which one option is set, in line 2.
fn error_of(group: &str, assignment: &str) -> String {
    let errors = errors(&format!("[{group}]\n{assignment}\n"));
    assert_eq!(errors.len(), 1, "{errors:?}");
    errors.concat()
}

fn listen(host: &str, port: u16) -> Listen {
    Listen { host: host.into(), port }
}

// Sources

#[test]
fn without_anything_the_defaults_hold() {
    let mut place = Place::new();
    place.sources.state_dir = None;
    let mut expected = Config::default();
    expected.serial_console.cert = std::path::absolute("self.pem").unwrap();
    expected.cluster.name = place.load().config.cluster.name;
    assert_eq!(place.load().config, expected);
    assert_eq!(Config::default().compute.images_path, Path::new("/var/lib/serialproxy/images"));
}

#[test]
fn later_files_override_earlier_ones_and_flags_override_all() {
    let place = Place::new()
        .file("a.conf", "[serial_console]\nserialproxy_port = 1\nproxyclient_address = a\n")
        .file("b.conf", "[consoleauth]\ntoken_ttl = 5\n[serial_console]\nserialproxy_port = 2\n")
        .flag("consoleauth", "token_ttl", "7")
        .flag("consoleauth", "token_ttl", "8");
    let config = place.load().config;
    assert_eq!(config.serial_console.listen.port, 2);
    assert_eq!(config.serial_console.proxyclient_address, "a");
    assert_eq!(config.consoleauth.token_ttl, Duration::from_secs(8));
}

#[test]
fn of_repeated_options_the_last_counts_and_only_that_is_checked() {
    let config = config("[serial_console]\nserialproxy_port = x\nserialproxy_port = 3\n");
    assert_eq!(config.serial_console.listen.port, 3);
}

#[test]
fn the_default_file_is_read_if_it_is_there_and_no_other_is_named() {
    let place = Place::new();
    assert!(!place.load().config.debug);
    place.write("default.conf", "[DEFAULT]\ndebug = yes\n");
    assert!(place.load().config.debug);
    let place = place.file("a.conf", "");
    assert!(!place.load().config.debug);
}

#[test]
fn the_files_beside_the_default_file_are_read_after_it_also_without_it() {
    let mut place = Place::new();
    std::fs::create_dir(place.path("default.conf.d")).unwrap();
    place.write("default.conf.d/cluster.conf", "[cluster]\netcd_endpoints = http://e:2379\n");
    place.sources.role = Role::Compute;
    let config = place.load().config;
    assert!(config.cluster.is_set() && config.serial_console.enabled);
    place.write("default.conf", "[cluster]\netcd_endpoints =\nname = h1\n");
    let config = place.load().config;
    assert!(config.cluster.is_set() && !config.serial_console.enabled);
    assert_eq!(config.cluster.name, "h1");
    assert!(!place.file("a.conf", "").load().config.cluster.is_set());
}

#[test]
fn the_files_of_a_directory_are_read_by_name_after_all_others() {
    let mut place = Place::new().file("z.conf", "[consoleauth]\ntoken_ttl = 1\n");
    let directory = place.path("conf.d");
    std::fs::create_dir(&directory).unwrap();
    place.write("conf.d/20.conf", "[consoleauth]\ntoken_ttl = 20\n");
    place.write("conf.d/10.conf", "[consoleauth]\ntoken_ttl = 10\n[DEFAULT]\ndebug = yes\n");
    place.write("conf.d/30.conf.bak", "nothing to read");
    place.sources.directories.push(directory);
    let config = place.load().config;
    assert_eq!(config.consoleauth.token_ttl, Duration::from_secs(20));
    assert!(config.debug);
    place.sources.directories.push(place.path("missing"));
    let [error] = &place.errors()[..] else { panic!("one error") };
    assert!(error.starts_with("missing: No such file"), "{error}");
}

#[test]
fn a_named_file_must_be_there() {
    let mut place = Place::new();
    place.sources.files.push(place.path("missing.conf"));
    assert_eq!(place.errors(), ["missing.conf: No such file or directory (os error 2)"]);
    place.sources.files = vec![place.dir.path().join("")];
    let error = load(&place.sources).unwrap_err();
    assert!(error.to_string().ends_with("Is a directory (os error 21)"), "{error}");
}

#[test]
fn a_file_is_bounded_and_text() {
    let large = Place::new().file("a.conf", "#".repeat(1024 * 1024 + 1));
    assert_eq!(
        large.errors(),
        ["a.conf: is larger than 1 MiB, the maximum size of a \
             configuration file"]
    );
    Place::new().file("a.conf", "#".repeat(1024 * 1024)).load();
    let binary = Place::new().file("a.conf", b"[DEFAULT]\ndebug = 1\n# \xff\n");
    assert_eq!(binary.errors(), ["a.conf: is not UTF-8 text in line 3"]);
}

#[test]
fn serve_without_any_file_hands_out_consoles() {
    let mut place = Place::new();
    assert!(!place.load().config.serial_console.enabled);
    place.sources.role = Role::Serve;
    assert!(place.load().config.serial_console.enabled);
    let flagged = Place::new().flag("serial_console", "enabled", "false");
    assert!(!flagged.load().config.serial_console.enabled);
    let place = place.file("a.conf", "");
    assert!(!place.load().config.serial_console.enabled);
}

#[test]
fn the_state_directory_is_absolute_and_images_follow_it() {
    let mut place = Place::new();
    assert_eq!(place.load().config.compute.images_path, Path::new("/state/images"));
    place.sources.state_dir = Some("here".into());
    let here = std::env::current_dir().unwrap().join("here");
    assert_eq!(place.load().config.state_dir, here);
    assert_eq!(place.load().config.compute.images_path, here.join("images"));
    let place = place.flag("compute", "images_path", "target/guest-image");
    let images = std::env::current_dir().unwrap().join("target/guest-image");
    assert_eq!(place.load().config.compute.images_path, images);
}

#[test]
fn a_state_directory_that_is_not_text_is_refused() {
    use std::os::unix::ffi::OsStringExt;
    let mut place = Place::new();
    place.sources.state_dir = Some(std::ffi::OsString::from_vec(b"/\xff".to_vec()).into());
    assert_eq!(place.errors(), ["flag --state-dir: is not UTF-8"]);
    place.sources.state_dir = Some("".into());
    let error = place.errors().concat();
    assert!(error.starts_with("flag --state-dir: is not a path: "), "{error}");
}

// Values

#[test]
fn every_option_that_works_reaches_its_value() {
    let place = Place::new();
    let web = place.dir.path().display().to_string();
    let text = format!(
        "[DEFAULT]\ndebug = true
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
    let tcp = StaticEndpoint::Tcp { host: "::1".into(), port: 7001 };
    let unix = StaticEndpoint::Unix("/run/a".into());
    let tls = StaticEndpoint::Tls { host: "h".into(), port: 1 };
    let none = StaticTerminal::default();
    let terminal = StaticTerminal { backspace: Some(Backspace::CtrlH), ..none };
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
         has token_ttl, enforce_session_timeout, single_use"
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

// Substitution

#[test]
fn dollars_stand_for_options_of_the_same_group_then_of_default() {
    let config = config(
        "[DEFAULT]\ndebug = 1\n[serial_console]\nproxyclient_address = 10.0.0.7\n\
         base_url = http://${proxyclient_address}:$serialproxy_port/$debug/$api.auth_strategy\n\
         enabled = $debug\n",
    );
    assert_eq!(config.serial_console.console_url(), "http://10.0.0.7:6083/1/token");
    assert!(config.serial_console.enabled);
}

#[test]
fn substitution_goes_through_files_and_flags() {
    let place = Place::new()
        .file("a.conf", "[api]\nlisten = $serial_console.listen:80\n")
        .flag("serial_console", "listen", "$serial_console.proxyclient_address")
        .flag("serial_console", "proxyclient_address", "10.1.1.1");
    assert_eq!(place.load().config.api.listen, listen("10.1.1.1", 80));
}

#[test]
fn an_option_that_is_not_set_stands_for_nothing() {
    let text = "[serial_console]\nlisten = 10.0.0.1$serialproxy_host\n";
    assert_eq!(config(text).serial_console.listen, listen("10.0.0.1", 6083));
}

#[test]
fn a_dollar_that_means_nothing_known_is_an_error_where_it_stands() {
    assert_eq!(
        errors("[compute]\nimages_path = /a/$b\n[session]\n"),
        ["a.conf:2: [compute] images_path: $b names no option; write $option, $group.option or \
          ${option}, and $$ for a dollar sign"]
    );
    assert_eq!(config("[compute]\nimages_path = /a/$$b\n").compute.images_path, Path::new("/a/$b"));
}

#[test]
fn a_circle_is_an_error_told_once_for_each_of_its_options() {
    let text = "[api]\nlisten = $libvirt.connection_uri\n[libvirt]\nconnection_uri = $api.listen\n";
    assert_eq!(
        errors(text),
        [
            "a.conf:4: [libvirt] connection_uri: its substitution is circular: [api] listen, \
             [libvirt] connection_uri",
            "a.conf:2: [api] listen: its substitution is circular: [libvirt] connection_uri, \
             [api] listen",
        ]
    );
    assert_eq!(
        error_of("serial_console", "base_url = http://$base_url"),
        "a.conf:2: [serial_console] base_url: its substitution is circular: [serial_console] \
         base_url"
    );
}

#[test]
fn a_repeatable_option_cannot_be_substituted() {
    assert_eq!(
        error_of("compute", "images_path = /$static.line"),
        "a.conf:2: [compute] images_path: $static.line is a repeatable option and cannot be used \
         in another value"
    );
}

#[test]
fn substitution_is_bounded() {
    let many =
        |count| format!("[compute]\nimages_path = /{}\n", "$api.auth_strategy".repeat(count));
    assert!(config(&many(64)).compute.images_path.as_os_str().len() > 64);
    assert_eq!(
        errors(&many(65)),
        ["a.conf:2: [compute] images_path: it needs more than 64 substitutions"]
    );
    // Each doubles the one before: a chain that would take 2^20 steps.
    let names: Vec<_> = options().filter(|o| !o.is_multi()).take(20).collect();
    let mut place = Place::new();
    for pair in names.windows(2) {
        let next = format!("${}.{}", pair[1].group, pair[1].name);
        place = place.flag(pair[0].group, pair[0].name, &format!("{next}{next}"));
    }
    assert!(place.errors().concat().contains("it needs more than 64 substitutions"));
}

// Errors

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
             consoleauth, api, oslo_middleware, proxy, libvirt, compute, line, session, limits, static, cluster, \
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
         listen, auth_strategy, noauth_anywhere, allowed_hosts, token_lifetime, cert, key, \
         ssl_only, compute_link_prefix, metrics_listen"
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

// Settings

fn origins(loaded: &Loaded, group: &str, option: &str) -> Vec<(Option<String>, String)> {
    let settings = loaded.settings.iter().filter(|s| (s.group, s.option) == (group, option));
    settings.map(|s| (s.value.clone(), s.origin.to_string())).collect()
}

#[test]
fn a_setting_says_where_its_value_comes_from() {
    let place = Place::new()
        .file("a.conf", "[api]\n# c\nlisten =\n  $serial_console.listen:1\n[static]\nline = a tcp://b:1\nline = b tcp://b:2\n")
        .flag("serial_console", "port_range", "1:2");
    let loaded = place.load();
    let file = place.path("a.conf").display().to_string();
    let set = |value: &str, origin: &str| (Some(value.to_owned()), origin.to_owned());
    assert_eq!(origins(&loaded, "api", "listen"), [set("0.0.0.0:1", &format!("{file}:3"))]);
    assert_eq!(
        origins(&loaded, "serial_console", "port_range"),
        [set("1:2", "flag --serial_console-port_range")]
    );
    assert_eq!(origins(&loaded, "session", "grace"), [set("60", "default")]);
    assert_eq!(origins(&loaded, "serial_console", "web"), [(None, "default".to_owned())]);
    assert_eq!(
        origins(&loaded, "static", "line"),
        [set("a tcp://b:1", &format!("{file}:6")), set("b tcp://b:2", &format!("{file}:7"))]
    );
}

#[test]
fn settings_are_the_options_in_the_tables_order() {
    let settings = Place::new().load().settings;
    let settings: Vec<_> = settings.iter().map(|s| (s.group, s.option)).collect();
    assert_eq!(settings, options().map(|o| (o.group, o.name)).collect::<Vec<_>>());
}

#[test]
fn the_flag_of_a_default_option_has_no_group() {
    let loaded = Place::new().flag("DEFAULT", "debug", "true").load();
    let debug = &loaded.settings[0];
    assert_eq!(debug.origin, Origin::Flag("debug".into()));
    assert_eq!(debug.origin.to_string(), "flag --debug");
}

#[test]
fn what_is_shown_says_where_each_value_comes_from() {
    let place = Place::new().file("a.conf", "[api]\nauth_strategy = noauth\n");
    let shown = show(&place.load());
    let file = place.path("a.conf").display().to_string();
    assert!(shown.starts_with(
        "# State directory (--state-dir): /state\n\n[DEFAULT]\n# default\ndebug = false\n\n\
         [serial_console]\n# default\nenabled = false\n"
    ));
    assert!(shown.contains(&format!(
        "\n[api]\n# default\nlisten = 127.0.0.1:8774\n# {file}:2\nauth_strategy = noauth\n"
    )));
    assert!(shown.contains("\n# serialproxy_host is not set\n"));
    assert!(shown.contains("\n# default\nframe_ancestors = \"'none'\"\n"));
}

/// Loads what is shown of a configuration, in the same surroundings.
fn shown_again(place: &Place, loaded: &Loaded) -> Config {
    let path = place.write("shown.conf", show(loaded));
    let sources = Sources { files: vec![path], flags: Vec::new(), ..place.sources.clone() };
    load(&sources).unwrap().config
}

#[test]
fn what_is_shown_reads_again_as_the_same_configuration() {
    let place = Place::new().file(
        "a.conf",
        "[console]\nallowed_origins =\n  a,\n  b\nframe_ancestors = 'self' https:\n\
         [compute]\nimages_path = \"/a b/\\$x$$y'\"\n[serial_console]\nweb =\n\
         [static]\nline = a tcp://b:1\nline = b tcp://b:2\n",
    );
    std::fs::create_dir(place.path("web")).unwrap();
    let loaded = place.load();
    assert_eq!(loaded.config.compute.images_path, Path::new("/a b/$x$y'"));
    assert_eq!(shown_again(&place, &loaded), loaded.config);
}

fn assignment() -> impl Strategy<Value = String> {
    let names = options().filter(|option| !option.is_secret());
    let names: Vec<_> = names.map(|option| (option.group, option.name)).collect();
    let value = prop_oneof![
        "[0-9]{1,5}(:[0-9]{1,5})?",
        "(true|no|self|token|static|libvirt,|'none'|a, b)",
        "(http|tcp|unix)://[a-z/.:0-9]{0,10}",
        "[a-z]{1,3}(:1)? tcp://h:[1-9]",
        "/[a-z$'\" ]{0,6}",
        "\\$\\{?[a-z_.]{1,12}\\}?",
    ];
    (proptest::sample::select(names), value)
        .prop_map(|((group, name), value)| format!("[{group}]\n{name} = {value}\n"))
}

proptest! {
    #[test]
    fn whatever_loads_is_shown_so_that_it_loads_the_same(
        assignments in proptest::collection::vec(assignment(), 0..4)
    ) {
        let place = Place::new().file("a.conf", assignments.concat());
        if let Ok(loaded) = load(&place.sources) {
            prop_assert_eq!(shown_again(&place, &loaded), loaded.config);
        }
    }

    #[test]
    fn no_file_and_no_flag_makes_it_panic(
        option in proptest::sample::select(options().collect::<Vec<_>>()),
        text in "(?s).{0,200}",
        value in "(?s).{0,40}",
    ) {
        let text = format!("[{}]\n{} = {value}\n{text}", option.group, option.name);
        let place = Place::new().file("a.conf", text).flag(option.group, option.name, &value);
        let _ = load(&place.sources).map(|loaded| shown_again(&place, &loaded));
    }
}
