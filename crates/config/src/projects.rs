//! `[compute] project = SERVER PROJECT` and `default_project`.

use crate::refusal::Refusal;
use crate::values::ServerProject;

/// Most servers with a project.
const MAX_SERVERS: usize = 10_000;

const MAX_NAME: usize = 64;

/// Adds a server.
pub(crate) fn add(servers: &mut Vec<ServerProject>, text: &str) -> Result<(), Refusal> {
    // The name of a guest may have blanks.
    let Some((server, name)) = text.trim().rsplit_once(char::is_whitespace) else {
        return Err("is not a server and a project".into());
    };
    let (server, project) = (server.trim_end().to_owned(), project(name)?);
    if servers.iter().any(|other| other.server == server) {
        return Err(format!("sets a second project for {server}").into());
    }
    if servers.len() >= MAX_SERVERS {
        return Err(format!("exceeds the maximum of {MAX_SERVERS} servers").into());
    }
    servers.push(ServerProject { server, project });
    Ok(())
}

/// The id of a project, with the characters that Keystone, API tokens and local users use.
pub(crate) fn project(text: &str) -> Result<String, String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._@-".contains(&byte);
    if (1..=MAX_NAME).contains(&text.len()) && text.bytes().all(allowed) {
        return Ok(text.to_owned());
    }
    Err(format!("has a project that is not 1 to {MAX_NAME} of A-Z a-z 0-9 . _ @ -"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_is_the_project_and_the_rest_the_server() {
        let mut servers = Vec::new();
        add(&mut servers, "web 1  team-a").unwrap();
        add(&mut servers, "6f1c7a0e-0000-4000-8000-000000000001\tb").unwrap();
        let seen: Vec<_> =
            servers.iter().map(|s| (s.server.as_str(), s.project.as_str())).collect();
        assert_eq!(seen, [("web 1", "team-a"), ("6f1c7a0e-0000-4000-8000-000000000001", "b")]);
    }

    #[test]
    fn what_is_no_pair_or_stands_twice_is_refused() {
        let mut servers = Vec::new();
        add(&mut servers, "web team-a").unwrap();
        for (text, reason) in [
            ("web", "is not a server and a project"),
            ("", "is not a server and a project"),
            ("web team-b", "sets a second project for web"),
            ("db team/b", "has a project that is not 1 to 64 of A-Z a-z 0-9 . _ @ -"),
        ] {
            assert_eq!(add(&mut servers, text), Err(reason.into()), "{text}");
        }
    }
}
