//! The roles of hosts in a cluster.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::Deserialize;
use serde::Serialize;

/// A role. Certificates, etcd and people use the same word for it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// REST API, tokens, enrolment.
    Api,
    /// A hypervisor: its lines and their sessions.
    Compute,
    /// The listener for users.
    Proxy,
}

/// The roles of a host: at least one.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "BTreeSet<Role>", into = "BTreeSet<Role>")]
pub struct Roles(BTreeSet<Role>);

impl Role {
    /// All roles, in the order in which they are written.
    pub const ALL: [Self; 3] = [Self::Api, Self::Compute, Self::Proxy];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Compute => "compute",
            Self::Proxy => "proxy",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|role| role.name() == text);
        found.ok_or_else(|| format!("`{text}` is not a role: use api, compute or proxy"))
    }
}

impl Roles {
    /// Whether the host has this role.
    pub fn has(&self, role: Role) -> bool {
        self.0.contains(&role)
    }

    /// These roles and one more.
    #[must_use]
    pub fn and(mut self, role: Role) -> Self {
        self.0.insert(role);
        self
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = Role> + '_ {
        self.0.iter().copied()
    }

    /// The common name of the host's certificate, which etcd uses as its user name.
    pub fn etcd_user(&self) -> String {
        self.iter().fold("serialproxy".to_owned(), |user, role| format!("{user}-{role}"))
    }
}

impl From<Role> for Roles {
    fn from(role: Role) -> Self {
        Self(BTreeSet::from([role]))
    }
}

impl TryFrom<BTreeSet<Role>> for Roles {
    type Error = &'static str;

    fn try_from(roles: BTreeSet<Role>) -> Result<Self, Self::Error> {
        if roles.is_empty() { Err("there is no role") } else { Ok(Self(roles)) }
    }
}

impl From<Roles> for BTreeSet<Role> {
    fn from(roles: Roles) -> Self {
        roles.0
    }
}

impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.iter().map(Role::name).collect();
        f.write_str(&names.join(","))
    }
}

/// Names of roles, separated by commas.
impl FromStr for Roles {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let roles: Result<_, _> = text.split(',').map(|role| role.trim().parse()).collect();
        Ok(Self(roles?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_written_in_one_order_and_name_the_user_of_etcd() {
        let roles: Roles = "proxy, api".parse().unwrap();
        assert_eq!(roles.to_string(), "api,proxy");
        assert_eq!(roles.etcd_user(), "serialproxy-api-proxy");
        assert_eq!(Roles::from(Role::Compute).etcd_user(), "serialproxy-compute");
    }

    #[test]
    fn nobody_is_without_a_role() {
        for text in ["", "api,", "root", "API"] {
            assert!(text.parse::<Roles>().is_err(), "{text}");
        }
    }
}
