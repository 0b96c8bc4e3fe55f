//! Loading whole configurations: sources, errors with their places, and showing the outcome.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod errors;
mod settings;
mod substitution;
mod values;

use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use serialproxy_config::Config;
use serialproxy_config::Loaded;
use serialproxy_config::Role;
use serialproxy_config::Sources;
use serialproxy_config::load;
use serialproxy_config::values::Listen;
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
    assert!(error.starts_with("missing: cannot be read: No such file"), "{error}");
}

#[test]
fn a_named_file_must_be_there() {
    let mut place = Place::new();
    place.sources.files.push(place.path("missing.conf"));
    let reason = "missing.conf: cannot be read: No such file or directory (os error 2)";
    assert_eq!(place.errors(), [reason]);
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
