//! All options; [`crate::table`] contains them.

use crate::option::Opt;
use crate::table::OPTIONS;

/// All options, ordered by group.
pub fn options() -> impl Iterator<Item = &'static Opt> {
    OPTIONS.iter().copied().flatten().copied().flatten()
}

/// The names of the groups, each once, in the table's order.
pub(crate) fn groups() -> Vec<&'static str> {
    let mut groups: Vec<_> = options().map(|option| option.group).collect();
    groups.dedup();
    groups
}

pub(crate) fn find(group: &str, name: &str) -> Option<&'static Opt> {
    options().find(|option| option.group == group && option.name == name)
}

/// The group of that name. As in oslo.config, case counts only for `DEFAULT`.
pub(crate) fn known_group(name: &str) -> Option<&'static str> {
    let lower = name.to_lowercase();
    groups().into_iter().find(|group| *group == name || *group == lower)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_group_stands_together_and_a_name_is_used_once() {
        let groups = groups();
        assert_eq!(groups.len(), groups.iter().collect::<HashSet<_>>().len());
        let names: HashSet<_> = options().map(|option| (option.group, option.name)).collect();
        assert_eq!(names.len(), options().count());
    }

    #[test]
    fn flags_are_named_as_oslo_names_them_and_unique() {
        assert_eq!(
            find("serial_console", "port_range").unwrap().flag(),
            "serial_console-port_range"
        );
        assert_eq!(find("DEFAULT", "debug").unwrap().flag(), "debug");
        assert_eq!(find("DEFAULT", "debug").unwrap().flag_off().unwrap(), "nodebug");
        let off = find("serial_console", "enabled").unwrap().flag_off();
        assert_eq!(off.unwrap(), "serial_console-noenabled");
        assert_eq!(find("serial_console", "port_range").unwrap().flag_off(), None);
        let flags: Vec<_> = options()
            .flat_map(|option| [Some(option.flag()), option.flag_off()])
            .flatten()
            .collect();
        assert_eq!(flags.iter().collect::<HashSet<_>>().len(), flags.len());
    }

    #[test]
    fn every_option_of_the_blueprint_is_there() {
        for name in [
            "enabled",
            "base_url",
            "listen",
            "proxyclient_address",
            "port_range",
            "record",
            "daemon",
            "ssl_only",
            "source_is_ipv6",
            "cert",
            "key",
            "web",
        ] {
            assert!(find("serial_console", name).is_some(), "{name}");
        }
    }

    #[test]
    fn only_static_lines_projects_and_exclusions_are_repeatable() {
        let multi: Vec<_> = options().filter(|option| option.is_multi()).map(Opt::flag).collect();
        assert_eq!(multi, ["compute-project", "compute-exclude", "static-line"]);
    }
}
