//! The options for requests to OpenStack, with the names of its own configuration files: the same
//! login in three groups.

use crate::network::service_url;
use crate::option::Fallback::Text;
use crate::option::Fallback::Unset;
use crate::option::Kind::Bool;
use crate::option::Kind::Secret;
use crate::option::Kind::Single;
use crate::option::Opt;
use crate::option::works;
use crate::readers::set;
use crate::readers::set_some;
use crate::refusal::Refusal;
use crate::scalar::boolean;
use crate::scalar::choice;
use crate::scalar::file;
use crate::scalar::list;
use crate::scalar::one_line;
use crate::values;
use crate::values::AuthType;
use crate::values::Domain;

/// The rows, a slice for each group.
pub(crate) static OPTIONS: &[&[Opt]] = &[
    &login!("keystone_authtoken", keystone_authtoken;
        works(
            "keystone_authtoken",
            "www_authenticate_uri",
            Unset,
            Single("an http or https URL"),
            "Keystone URL for users, sent in `WWW-Authenticate` with a 401 response. Default: \
             `auth_url`.",
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
            "Which of Nova's endpoints in Keystone's catalog is used: the first of these \
             interfaces that exists.",
            |c, v| set(&mut c.nova.valid_interfaces, interfaces(v)),
        ),
        works(
            "nova",
            "endpoint_override",
            Unset,
            Single("an http or https URL"),
            "Nova's URL, used instead of the catalog's, for example \
             http://nova.example.com:8774/v2.1.",
            |c, v| set_some(&mut c.nova.endpoint_override, service_url(v)),
        )
    ),
];

/// The options of a service user's login, and others of its group.
macro_rules! login {
    ($group:literal, $($auth:ident).+; $($more:expr),*) => {
        [
            works(
                $group,
                "auth_type",
                Text("password"),
                Single("password, v3password or v3applicationcredential"),
                "Authentication plugin of the service user.",
                |c, v| set(&mut c.$($auth).+.auth_type, auth_type(v)),
            ),
            works(
                $group,
                "auth_url",
                Unset,
                Single("an http or https URL"),
                "URL of Keystone.",
                |c, v| set_some(&mut c.$($auth).+.auth_url, service_url(v)),
            ),
            works($group, "user_id", Unset, NAME, "Id of the service user, instead of its name and domain.", |c, v| {
                set_some(&mut c.$($auth).+.user_id, text(v))
            }),
            works($group, "username", Unset, NAME, "Name of the service user.", |c, v| {
                set_some(&mut c.$($auth).+.username, text(v))
            }),
            works($group, "password", Unset, Secret, "Password of the service user.", |c, v| {
                set_some(&mut c.$($auth).+.password, text(v).map(values::Secret))
            }),
            works(
                $group,
                "user_domain_name",
                Unset,
                NAME,
                "Name of the user's domain. Without it and `user_domain_id`, the domain with the \
                 id `default` is used.",
                |c, v| set(&mut c.$($auth).+.user_domain, text(v).map(Domain::Name)),
            ),
            works($group, "user_domain_id", Unset, NAME, "Id of the user's domain, instead of its name.", |c, v| {
                set(&mut c.$($auth).+.user_domain, text(v).map(Domain::Id))
            }),
            works($group, "project_id", Unset, NAME, "Id of the project to log in to, instead of its name and domain.", |c, v| {
                set_some(&mut c.$($auth).+.project_id, text(v))
            }),
            works($group, "project_name", Unset, NAME, "Name of the project to log in to.", |c, v| {
                set_some(&mut c.$($auth).+.project_name, text(v))
            }),
            works(
                $group,
                "project_domain_name",
                Unset,
                NAME,
                "Name of the project's domain. Without it and `project_domain_id`, the domain \
                 with the id `default` is used.",
                |c, v| set(&mut c.$($auth).+.project_domain, text(v).map(Domain::Name)),
            ),
            works($group, "project_domain_id", Unset, NAME, "Id of the project's domain, instead of its name.", |c, v| {
                set(&mut c.$($auth).+.project_domain, text(v).map(Domain::Id))
            }),
            works(
                $group,
                "application_credential_id",
                Unset,
                NAME,
                "Id of the application credential, for `v3applicationcredential`.",
                |c, v| set_some(&mut c.$($auth).+.application_credential_id, text(v)),
            ),
            works(
                $group,
                "application_credential_name",
                Unset,
                NAME,
                "Name of the application credential, instead of its id. Requires `username` or `user_id`.",
                |c, v| set_some(&mut c.$($auth).+.application_credential_name, text(v)),
            ),
            works(
                $group,
                "application_credential_secret",
                Unset,
                Secret,
                "Secret of the application credential.",
                |c, v| {
                    let secret = text(v).map(values::Secret);
                    set_some(&mut c.$($auth).+.application_credential_secret, secret)
                },
            ),
            works($group, "region_name", Unset, NAME, "Region whose endpoints are used.", |c, v| {
                set_some(&mut c.$($auth).+.region_name, text(v))
            }),
            works(
                $group,
                "cafile",
                Unset,
                Single("a PEM file that exists"),
                "CA bundle that verifies Keystone and Nova. Default: the system's CA store.",
                |c, v| set_some(&mut c.$($auth).+.cafile, file(v)),
            ),
            works($group, "insecure", Text("false"), Bool, "Do not verify certificates.", |c, v| {
                set(&mut c.$($auth).+.insecure, boolean(v))
            }),
            $($more),*
        ]
    };
}
use login;

const NAME: crate::option::Kind = Single("a single line of text");

fn text(text: &str) -> Result<String, String> {
    one_line(text).map(str::to_owned)
}

fn auth_type(text: &str) -> Result<AuthType, Refusal> {
    let choices = [
        ("password", AuthType::Password),
        ("v3password", AuthType::Password),
        ("v3applicationcredential", AuthType::ApplicationCredential),
    ];
    choice(text, &choices)
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
