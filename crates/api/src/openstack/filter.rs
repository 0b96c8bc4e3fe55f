//! The filter of lists of servers, which the query parameters describe.

use regex_lite::Regex;
use regex_lite::RegexBuilder;
use serialproxy_proto::api::ADMIN_PROJECT;
use serialproxy_proto::api::Server;

use crate::auth::Caller;
use crate::auth::Role;
use crate::fault::Fault;
use crate::fault::echo;
use crate::query::Query;

/// Longest pattern in bytes, and its largest compiled size in bytes, which bounds the time that
/// matching takes for each byte of a name.
const PATTERN: usize = 255;
const PATTERN_SIZE: usize = 16 * 1024;

/// The filter. Parameters that do not apply to our servers are ignored.
#[derive(Debug)]
pub(super) struct Filter {
    name: Option<Name>,
    /// Accepted statuses, in any case; an empty list accepts all.
    statuses: Vec<String>,
    /// Whether only deleted servers are wanted. The list is then empty, since deleted servers are
    /// not kept.
    deleted: bool,
    project: Option<String>,
}

/// A part of a name, literally or as a pattern.
#[derive(Debug)]
struct Name {
    text: String,
    pattern: Option<Regex>,
}

impl Filter {
    /// `policy` is the policy for the servers of all projects, for `list` or a similar call.
    pub(super) fn new(query: &Query, caller: &Caller, policy: &str) -> Result<Self, Fault> {
        Ok(Self {
            name: query.text("name").map(Name::new).transpose()?,
            statuses: query.texts("status").map(str::to_owned).collect(),
            deleted: caller.role == Role::Admin && boolean(query.text("deleted")) == Some(true),
            project: project(query, caller, policy)?,
        })
    }

    pub(super) fn takes(&self, server: &Server) -> bool {
        let status = server.status.in_nova();
        !self.deleted
            && self.name.as_ref().is_none_or(|name| name.is_in(&server.name))
            && self.project.as_ref().is_none_or(|project| *project == server.project)
            && (self.statuses.is_empty()
                || self.statuses.iter().any(|wanted| wanted.eq_ignore_ascii_case(status)))
    }
}

impl Name {
    fn new(text: &str) -> Result<Self, Fault> {
        let plain = regex_lite::escape(text) == text;
        let pattern = (!plain).then(|| pattern(text)).transpose()?;
        Ok(Self { text: text.to_owned(), pattern })
    }

    /// The text matches literally, too: a client that searches for an exact name finds it, whatever
    /// its characters mean in a pattern.
    fn is_in(&self, name: &str) -> bool {
        let matches = |pattern: &Regex| pattern.is_match(name);
        name.contains(&self.text) || self.pattern.as_ref().is_some_and(matches)
    }
}

fn pattern(text: &str) -> Result<Regex, Fault> {
    let refused = |why: &str| {
        let text = echo(text);
        Fault::BadRequest(format!("name: '{text}' is not a supported regular expression: {why}"))
    };
    if text.len() > PATTERN {
        return Err(refused(&format!("it is longer than {PATTERN} bytes")));
    }
    let pattern = RegexBuilder::new(text).size_limit(PATTERN_SIZE).build();
    pattern.map_err(|error| refused(&error.to_string()))
}

/// The project whose servers are requested; none is every project. As in Nova, administrators, too,
/// see their own project's servers unless they ask for `all_tenants`. Administrators of the whole
/// machine see all.
fn project(query: &Query, caller: &Caller, policy: &str) -> Result<Option<String>, Fault> {
    if all_tenants(query)? {
        caller.require(Role::Admin, &format!("{policy}:get_all_tenants"))?;
    } else if caller.role != Role::Admin || caller.project != ADMIN_PROJECT {
        return Ok(Some(caller.project.clone()));
    }
    Ok(query.text("project_id").or_else(|| query.text("tenant_id")).map(str::to_owned))
}

fn all_tenants(query: &Query) -> Result<bool, Fault> {
    match query.text("all_tenants") {
        None => Ok(false),
        Some("") => Ok(true),
        Some(text) => boolean(Some(text)).ok_or_else(|| {
            Fault::BadRequest(format!("all_tenants: '{}' is neither true nor false", echo(text)))
        }),
    }
}

/// A boolean as OpenStack reads it.
fn boolean(text: Option<&str>) -> Option<bool> {
    match text?.trim().to_ascii_lowercase().as_str() {
        "1" | "t" | "true" | "on" | "y" | "yes" => Some(true),
        "0" | "f" | "false" | "off" | "n" | "no" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_as_it_is_and_as_a_pattern() {
        for (wanted, name, found) in [
            ("web", "a-web-1", true),
            ("^web", "a-web-1", false),
            ("^web-[0-9]+$", "web-17", true),
            ("w.b", "web", true),
            ("web (1)", "web (1)", true),
            ("web (1)", "web 1", true),
            ("WEB", "web", false),
            ("", "web", true),
        ] {
            assert_eq!(Name::new(wanted).unwrap().is_in(name), found, "{wanted} {name}");
        }
    }

    #[test]
    fn a_pattern_that_is_none_or_takes_too_much_is_refused() {
        for text in ["[", "(a", "a{1000}{1000}", &".".repeat(256), "(?=a)"] {
            let fault = Name::new(text).unwrap_err().to_string();
            assert!(fault.starts_with("name: '"), "{fault}");
        }
    }
}
