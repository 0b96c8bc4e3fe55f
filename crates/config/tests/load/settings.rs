//! Where values come from, and how they are shown.

use std::path::Path;

use proptest::prelude::*;
use serialproxy_config::Config;
use serialproxy_config::Loaded;
use serialproxy_config::Origin;
use serialproxy_config::Sources;
use serialproxy_config::load;
use serialproxy_config::options;
use serialproxy_config::show;

use crate::Place;

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
        "# State directory (--state-dir): /state\n\n[DEFAULT]\n# default\ndebug = false\n# default\n\
         log_format = text\n# log_level is not set\n\n\
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
