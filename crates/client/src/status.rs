//! What serialproxy serves, and how to come in: as `status` prints it, and `serve` on a terminal.

use std::fmt::Write;
use std::path::Path;

use reqwest::Method;
use serde::Serialize;
use serialproxy_proto::api::Server;
use serialproxy_proto::api::Servers;
use serialproxy_proto::api::Status;
use serialproxy_proto::identity::LoginLink;
use serialproxy_proto::times::rfc3339;

use crate::api::Api;
use crate::api::ServerRow;
use crate::command::API_URL;
use crate::command::ClientArgs;
use crate::command::Format;
use crate::command::STATE_DIR;
use crate::failure::Failure;
use crate::queries::json;
use crate::text::is_plain;
use crate::text::printable;
use crate::text::word;

/// Names that are listed at most.
const NAMES: usize = 8;

/// What a person is told at the start, and by `status`.
#[derive(Debug, Serialize)]
pub struct Welcome {
    /// Number of servers.
    servers: usize,
    /// Names of those that run.
    running: Vec<String>,
    /// Names of the others.
    other: Vec<String>,
    /// How to open the servers page, if the caller may know.
    #[serde(flatten)]
    link: Option<LoginLink>,
    /// What commands need to reach this API: begins with a space where there is something.
    #[serde(skip)]
    options: String,
}

/// `status`.
pub(crate) async fn status(api: &Api, args: &ClientArgs) -> Result<String, Failure> {
    let answer = api.servers(None).await?;
    let servers = api.read::<Servers<ServerRow>>(answer)?.servers;
    let link = match api.call(Method::POST, "/v1/login-links", &[], None).await {
        Ok(answer) => Some(api.read::<LoginLink>(answer)?),
        // It is for the administrator at the host of the API.
        Err(_) => None,
    };
    let servers = servers.into_iter().map(|row| (row.status == Status::Active.as_str(), row.name));
    let welcome = Welcome::new(servers, link, options(&args.api_url, &args.state_dir));
    Ok(match args.format {
        Format::Json => json(&welcome),
        Format::Table => welcome.text(),
    })
}

impl Welcome {
    /// Of an API with these servers, at this URL and with the admin token in this state directory.
    pub fn of(
        servers: Vec<Server>,
        link: Option<LoginLink>,
        api_url: &str,
        state_dir: &Path,
    ) -> Self {
        let servers = servers.into_iter().map(|it| (it.status == Status::Active, it.name));
        Self::new(servers, link, options(api_url, state_dir))
    }

    fn new(
        servers: impl Iterator<Item = (bool, String)>,
        link: Option<LoginLink>,
        options: String,
    ) -> Self {
        let (mut running, mut other) = (Vec::new(), Vec::new());
        for (runs, name) in servers {
            if runs { running.push(name) } else { other.push(name) }
        }
        Self { servers: running.len() + other.len(), running, other, link, options }
    }

    /// For people: some lines, with an end of line each.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let mut say = |what: &str, how: &str| {
            let _ = writeln!(text, "  {what:<14}  {how}");
        };
        match self.servers {
            0 => say("servers", "none yet; libvirt guests appear by themselves"),
            _ => {
                say("running", &listed(&self.running));
                if !self.other.is_empty() {
                    say("not running", &listed(&self.other));
                }
            }
        }
        if let Some(LoginLink { url, expires }) = &self.link {
            say("servers page", url);
            if let Some(expires) = expires {
                let until = rfc3339(*expires);
                say("", &format!("the link logs in once, until {until}"));
            }
        }
        let options = &self.options;
        match self.running.iter().chain(&self.other).find(|name| is_plain(name)) {
            Some(name) => say("console", &format!("serialproxy connect {name}{options}")),
            None if self.servers == 0 => {
                say("first guest", &format!("serialproxy boot NAME --image IMAGE{options}"));
            }
            None => say("console", &format!("serialproxy connect NAME{options}")),
        }
        say("this again", &format!("serialproxy status{options}"));
        text
    }
}

/// The options of commands that use another API or state directory than by default.
fn options(api_url: &str, state_dir: &Path) -> String {
    let mut options = String::new();
    if api_url != API_URL {
        let _ = write!(options, " --api-url {}", word(api_url));
    }
    if state_dir != Path::new(STATE_DIR) {
        let _ = write!(options, " --state-dir {}", word(&state_dir.display().to_string()));
    }
    options
}

/// Names, of which the last are only counted.
fn listed(names: &[String]) -> String {
    let shown = names.iter().take(NAMES).map(|name| printable(name));
    let text = shown.collect::<Vec<_>>().join(", ");
    match names.len() {
        0 => "none".to_owned(),
        count if count > NAMES => format!("{text} and {} more", count - NAMES),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn welcome(running: &[&str], other: &[&str]) -> Welcome {
        let servers = running.iter().map(|name| (true, (*name).to_owned()));
        let servers = servers.chain(other.iter().map(|name| (false, (*name).to_owned())));
        Welcome::new(servers, None, String::new())
    }

    #[test]
    fn it_names_what_runs_and_the_next_command() {
        let text = welcome(&["demo", "db"], &["old"]).text();
        assert!(text.contains("running         demo, db\n"), "{text}");
        assert!(text.contains("not running     old\n"), "{text}");
        assert!(text.contains("serialproxy connect demo\n"), "{text}");
    }

    #[test]
    fn a_name_is_never_a_command_of_the_shell() {
        let text = welcome(&["$(reboot)", "-x"], &[]).text();
        assert!(text.contains("serialproxy connect NAME\n"), "{text}");
    }

    #[test]
    fn of_many_servers_some_are_named() {
        let names: Vec<_> = (0..1000).map(|number| format!("vm{number}")).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        let text = welcome(&names, &[]).text();
        assert!(text.contains("vm7 and 992 more\n") && text.len() < 400, "{text}");
    }

    #[test]
    fn commands_name_what_is_not_the_default() {
        assert_eq!(options(API_URL, Path::new(STATE_DIR)), "");
        let options = options("http://127.0.0.1:1", Path::new("/a b"));
        assert_eq!(options, " --api-url 'http://127.0.0.1:1' --state-dir '/a b'");
    }

    #[test]
    fn without_servers_it_says_how_to_get_one() {
        assert!(welcome(&[], &[]).text().contains("serialproxy boot"));
    }
}
