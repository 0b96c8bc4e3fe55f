//! `$option` in values.

use std::path::Path;

use serialproxy_config::options;

use crate::Place;
use crate::config;
use crate::error_of;
use crate::errors;
use crate::listen;

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
