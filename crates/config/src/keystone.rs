//! The options of those who ask OpenStack, in the names of its own configuration files: the same
//! login in three groups.

use crate::network::service_url;
use crate::options::Fallback::Text;
use crate::options::Fallback::Unset;
use crate::options::Kind::Bool;
use crate::options::Kind::Secret;
use crate::options::Kind::Single;
use crate::options::Opt;
use crate::options::works;
use crate::readers::set;
use crate::readers::set_some;
use crate::refusal::Refusal;
use crate::scalar::boolean;
use crate::scalar::choice;
use crate::scalar::file;
use crate::scalar::list;
use crate::scalar::one_line;
use crate::values;
use crate::values::Domain;

/// The rows, a slice for each group.
pub(crate) static OPTIONS: &[&[Opt]] = &[
    &login!("keystone_authtoken", keystone_authtoken;
        works(
            "keystone_authtoken",
            "www_authenticate_uri",
            Unset,
            Single("an http or https URL"),
            "Where users find Keystone: told to who comes without a token; else `auth_url` is.",
            |c, v| set_some(&mut c.keystone_authtoken.www_authenticate_uri, service_url(v)),
        )
    ),
    &login!("service_user", service_user;),
    &login!("nova", nova.auth;
        works(
            "nova",
            "valid_interfaces",
            Text("internal,public"),
            Single("internal, public and admin, separated by commas"),
            "Which of Nova's URLs in Keystone's catalog is taken: the first of these there is.",
            |c, v| set(&mut c.nova.valid_interfaces, interfaces(v)),
        ),
        works(
            "nova",
            "endpoint_override",
            Unset,
            Single("an http or https URL"),
            "Nova's URL, such as http://nova.example.com:8774/v2.1, instead of the catalog's.",
            |c, v| set_some(&mut c.nova.endpoint_override, service_url(v)),
        )
    ),
];

/// The options with which a service user logs in, and others of their group.
macro_rules! login {
    ($group:literal, $($auth:ident).+; $($more:expr),*) => {
        [
            works(
                $group,
                "auth_type",
                Text("password"),
                Single("password or v3password"),
                "How the service user logs in.",
                |_, v| auth_type(v),
            ),
            works(
                $group,
                "auth_url",
                Unset,
                Single("an http or https URL"),
                "Keystone's URL.",
                |c, v| set_some(&mut c.$($auth).+.auth_url, service_url(v)),
            ),
            works($group, "username", Unset, NAME, "The service user.", |c, v| {
                set_some(&mut c.$($auth).+.username, text(v))
            }),
            works($group, "password", Unset, Secret, "Their password.", |c, v| {
                set_some(&mut c.$($auth).+.password, text(v).map(values::Secret))
            }),
            works(
                $group,
                "user_domain_name",
                Unset,
                NAME,
                "The domain of the user; without it and `user_domain_id`, the one of the id \
                 `default`.",
                |c, v| set(&mut c.$($auth).+.user_domain, text(v).map(Domain::Name)),
            ),
            works($group, "user_domain_id", Unset, NAME, "The same, by its id.", |c, v| {
                set(&mut c.$($auth).+.user_domain, text(v).map(Domain::Id))
            }),
            works($group, "project_name", Unset, NAME, "The user's project.", |c, v| {
                set_some(&mut c.$($auth).+.project_name, text(v))
            }),
            works(
                $group,
                "project_domain_name",
                Unset,
                NAME,
                "The domain of the project; without it and `project_domain_id`, the one of the id \
                 `default`.",
                |c, v| set(&mut c.$($auth).+.project_domain, text(v).map(Domain::Name)),
            ),
            works($group, "project_domain_id", Unset, NAME, "The same, by its id.", |c, v| {
                set(&mut c.$($auth).+.project_domain, text(v).map(Domain::Id))
            }),
            works($group, "region_name", Unset, NAME, "The region whose services are asked.", |c, v| {
                set_some(&mut c.$($auth).+.region_name, text(v))
            }),
            works(
                $group,
                "cafile",
                Unset,
                Single("a PEM file that exists"),
                "Certificates of those who may vouch for the services; else the system's.",
                |c, v| set_some(&mut c.$($auth).+.cafile, file(v)),
            ),
            works($group, "insecure", Text("false"), Bool, "Check no certificates.", |c, v| {
                set(&mut c.$($auth).+.insecure, boolean(v))
            }),
            $($more),*
        ]
    };
}
use login;

const NAME: crate::options::Kind = Single("text of one line");

fn text(text: &str) -> Result<String, String> {
    one_line(text).map(str::to_owned)
}

fn auth_type(text: &str) -> Result<(), Refusal> {
    choice(text, &[("password", ()), ("v3password", ())])
}

fn interfaces(text: &str) -> Result<Vec<String>, Refusal> {
    let interfaces = list(text)?;
    if interfaces.is_empty() {
        return Err("names no interface".into());
    }
    for interface in &interfaces {
        choice(interface, &[("internal", ()), ("public", ()), ("admin", ())])?;
    }
    Ok(interfaces.into_iter().map(str::to_owned).collect())
}
