//! Completion of server names and of their ports in a shell: the API is asked as the command would
//! ask it, for a second at most, and the answer is kept for half a minute.

mod cache;

use std::ffi::OsStr;
use std::ffi::OsString;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use clap::ArgMatches;
use clap::FromArgMatches;
use clap_complete::ArgValueCompleter;
use clap_complete::CompletionCandidate;
use reqwest::Method;
use serde::Deserialize;
use serialproxy_proto::api::Lines;
use serialproxy_proto::api::Servers;
use serialproxy_proto::text::is_hidden;

use self::cache::Cache;
use self::cache::Kept;
use crate::api::Api;
use crate::command::ClientArgs;
use crate::failure::Failure;

/// How long somebody who pressed Tab waits.
const PATIENCE: Duration = Duration::from_secs(1);

/// The longest name that is completed, in bytes.
const NAME: usize = 255;

/// The most names that are completed, as many as a page of the API has.
const NAMES: usize = 1000;

/// The most characters of a typed beginning that the API is asked for: its patterns have a bound.
const TYPED: usize = 60;

/// The program's command line, whose servers and ports are completed behind these words.
pub fn completing(command: clap::Command, words: &[OsString]) -> clap::Command {
    let parsed = command.clone().ignore_errors(true).try_get_matches_from(words);
    let Some((name, matches)) = parsed.as_ref().ok().and_then(ArgMatches::subcommand) else {
        return command;
    };
    let text = |argument| matches.try_get_one::<String>(argument).ok().flatten();
    // The commands of the client have it, and no other.
    if text("api_url").is_none() {
        return command;
    }
    let Ok(client) = ClientArgs::from_arg_matches(matches) else { return command };
    let (client, server) = (Arc::new(client), text("server"));
    command.mut_subcommand(name, |command| {
        command.mut_args(|argument| {
            let wanted = match (argument.get_id().as_str(), server) {
                ("server" | "domain", _) => Wanted::Names,
                ("port", Some(server)) => Wanted::Ports { server: server.clone() },
                _ => return argument,
            };
            let (client, wanted) = (Arc::clone(&client), Arc::new(wanted));
            argument.add(ArgValueCompleter::new(move |typed: &OsStr| {
                candidates(&client, &wanted, typed)
            }))
        })
    })
}

/// What is completed.
#[derive(Debug)]
enum Wanted {
    Names,
    Ports { server: String },
}

/// The candidates that begin with what is typed; none where they are not there in time.
fn candidates(
    client: &Arc<ClientArgs>,
    wanted: &Arc<Wanted>,
    typed: &OsStr,
) -> Vec<CompletionCandidate> {
    // An option may stand in the place of a name.
    let Some(typed) = typed.to_str().filter(|typed| !typed.starts_with('-')) else {
        return Vec::new();
    };
    let (sender, receiver) = mpsc::sync_channel(1);
    let (client, wanted, begin) = (Arc::clone(client), Arc::clone(wanted), typed.to_owned());
    // Name lookup and files can hang where no timer ends them. The thread ends with the process.
    let asking = std::thread::Builder::new().spawn(move || {
        let _ = sender.send(wanted.answers(&client, &begin));
    });
    let answers = asking.ok().and_then(|_| receiver.recv_timeout(PATIENCE).ok()).flatten();
    let answers = answers.unwrap_or_default().into_iter();
    answers.filter(|answer| answer.starts_with(typed)).map(CompletionCandidate::new).collect()
}

impl Wanted {
    /// The answers that are kept, or else the API's.
    fn answers(&self, client: &ClientArgs, typed: &str) -> Option<Vec<String>> {
        let api = Api::new(client, std::env::var("SERIALPROXY_TOKEN").ok()).ok()?;
        let account = api.account();
        let cache = Cache::open();
        let kept = cache.as_ref().and_then(|cache| cache.get(self.file()));
        if let Some(kept) = kept.filter(|kept| kept.account == account && self.is_in(kept, typed)) {
            return kept.answers;
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
        let (question, answers) = match self {
            Self::Names => (typed, runtime.block_on(names(&api, typed))),
            Self::Ports { server } => (server.as_str(), runtime.block_on(ports(&api, server))),
        };
        let kept = Kept { account, question: question.to_owned(), answers: answers.ok()? };
        if let Some(cache) = cache {
            cache.keep(self.file(), &kept);
        }
        kept.answers
    }

    fn file(&self) -> &'static str {
        match self {
            Self::Names => "names.json",
            Self::Ports { .. } => "ports.json",
        }
    }

    fn is_in(&self, kept: &Kept, typed: &str) -> bool {
        match self {
            // Of too many names there may be few that begin with more.
            Self::Names if kept.answers.is_none() => typed == kept.question,
            Self::Names => typed.starts_with(&kept.question),
            Self::Ports { server } => *server == kept.question,
        }
    }
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

/// The names that begin with what is typed; none where they are more than a page.
async fn names(api: &Api, typed: &str) -> Result<Option<Vec<String>>, Failure> {
    let pattern = beginning(typed);
    let query = [("name", pattern.as_str())];
    let query = if typed.is_empty() { &[] } else { &query[..] };
    let answer = api.call(Method::GET, "/v2.1/servers", query, None).await?;
    let has_more = answer.get("servers_links").is_some();
    let servers = api.read::<Servers<Named>>(answer)?.servers;
    if has_more || servers.len() > NAMES {
        return Ok(None);
    }
    let mut names: Vec<_> = servers.into_iter().map(|server| server.name).collect();
    names.retain(|name| name.starts_with(typed) && is_completed(name));
    names.sort();
    // Of two servers with one name, the command says so.
    names.dedup();
    Ok(Some(names))
}

/// A pattern of the API for names that begin like this, and a few others.
fn beginning(typed: &str) -> String {
    let literal = |c: char| if c.is_alphanumeric() || "-_".contains(c) { c } else { '.' };
    std::iter::once('^').chain(typed.chars().take(TYPED).map(literal)).collect()
}

/// Whether a name may stand in a command line: it is seen as it is, and is no option.
fn is_completed(name: &str) -> bool {
    (1..=NAME).contains(&name.len()) && !name.starts_with('-') && !name.chars().any(is_hidden)
}

async fn ports(api: &Api, server: &str) -> Result<Option<Vec<String>>, Failure> {
    let id = api.find(server).await?;
    let query = [("of_server", &*id.to_string()), ("limit", "256")];
    let answer = api.call(Method::GET, "/v1/lines", &query, None).await?;
    let lines = api.read::<Lines>(answer)?.lines.into_iter();
    let own = lines.filter(|line| line.server.id == id);
    Ok(Some(own.map(|line| line.port.to_string()).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_api_is_asked_for_names_by_how_they_begin() {
        for (typed, pattern) in [
            ("db-1", "^db-1"),
            ("a.b", "^a.b"),
            ("a (1)*", "^a..1.."),
            ("é", "^é"),
            (&"x".repeat(300), &format!("^{}", "x".repeat(60))),
        ] {
            assert_eq!(beginning(typed), pattern);
        }
    }

    #[test]
    fn a_name_that_is_not_seen_as_it_is_or_is_an_option_is_left_out() {
        for name in ["db-1", "a b", "it's", "$(id)", "host:0", "日本", "~", "*"] {
            assert!(is_completed(name), "{name}");
        }
        for name in ["", "--force", "-f", "a\nb", "a\tb", "a\u{1b}[2J", "a\u{202e}b", "a\u{200b}"] {
            assert!(!is_completed(name), "{name:?}");
        }
        assert!(!is_completed(&"x".repeat(256)));
    }

    #[test]
    fn kept_names_answer_for_longer_beginnings_and_kept_ports_for_their_server_alone() {
        let kept =
            |question: &str, answers| Kept { account: [0; 32], question: question.into(), answers };
        let some = Some(vec!["db".into()]);
        assert!(Wanted::Names.is_in(&kept("", some.clone()), "db"));
        assert!(Wanted::Names.is_in(&kept("d", some.clone()), "db"));
        assert!(!Wanted::Names.is_in(&kept("db", some.clone()), "d"));
        assert!(Wanted::Names.is_in(&kept("", None), ""));
        assert!(!Wanted::Names.is_in(&kept("", None), "d"));
        let ports = Wanted::Ports { server: "db".into() };
        assert!(ports.is_in(&kept("db", some.clone()), ""));
        assert!(!ports.is_in(&kept("d", some), ""));
    }
}
