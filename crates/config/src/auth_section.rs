//! keystoneauth's `auth_section`: the group that has the login of another group.

use std::collections::BTreeMap;

use crate::ini::Entry;
use crate::ini::Section;
use crate::nova;
use crate::nova::LOGINS;
use crate::nova::Meaning;
use crate::options::known_group;

/// The option's name. It is in the group of the service user.
const AUTH_SECTION: &str = "auth_section";

/// The group that has the login of each group. As in keystoneauth, there is only one step.
#[derive(Debug)]
pub(crate) struct AuthSections(BTreeMap<&'static str, String>);

impl AuthSections {
    /// Reads the option from these sections; of repeated ones the last value counts.
    pub(crate) fn of<'a>(sections: impl Iterator<Item = &'a Section>) -> Self {
        let mut all = BTreeMap::new();
        for section in sections {
            let Some(group) = login_group(&section.name) else { continue };
            for entry in section.entries.iter().filter(|entry| leads(&section.name, entry)) {
                all.insert(group, entry.value.clone());
            }
        }
        all.retain(|_, section| !section.is_empty());
        Self(all)
    }

    /// The groups in which an entry of a section counts: its own group, unless that takes its login
    /// from elsewhere, and the groups that take their login from this one.
    pub(crate) fn groups<'a>(&'a self, section: &'a str, entry: &Entry) -> Vec<&'a str> {
        let led = self.0.iter().filter(|(_, from)| is_same(from, section));
        let mut groups: Vec<&str> =
            led.map(|(group, _)| *group).filter(|group| is_of_login(group, entry)).collect();
        let counts_here = match login_group(section) {
            Some(group) => !self.0.contains_key(group) || !is_of_login(group, entry),
            None => groups.is_empty(),
        };
        if counts_here {
            groups.push(section);
        }
        groups
    }
}

/// Whether an entry names the group of a login.
pub(crate) fn leads(section: &str, entry: &Entry) -> bool {
    entry.key == AUTH_SECTION && login_group(section).is_some()
}

fn login_group(section: &str) -> Option<&'static str> {
    known_group(section).filter(|group| LOGINS.contains(group))
}

/// As in oslo.config, case does not count.
fn is_same(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.to_lowercase()
}

fn is_of_login(group: &str, entry: &Entry) -> bool {
    match nova::meaning(group, &entry.key) {
        Meaning::Ours(option) => nova::is_of_login(option),
        Meaning::Elsewhere(_) => true,
        Meaning::Foreign | Meaning::Past(_) | Meaning::Unknown => false,
    }
}
