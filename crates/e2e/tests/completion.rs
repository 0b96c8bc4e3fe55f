//! Completion in shells, against the real program: in an interactive bash, with the names and ports
//! of its API, and with the names that hostile tenants choose.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "the helpers of tests fail as tests do"
)]

use std::fmt::Write;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;
use std::time::Instant;

use axum::Json;
use axum::Router;
use axum::extract::RawQuery;
use axum::extract::State;
use axum::routing::get;
use serde_json::Value;
use serde_json::json;
use serialproxy_e2e::eventually;
use serialproxy_e2e::server::Server;
use serialproxy_e2e::server::program;
use serialproxy_e2e::stdout;
use serialproxy_e2e::terminal::Terminal;
use serialproxy_e2e::within;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// An interactive bash with the completion of the program. Its command `show` is completed as the
/// program is, and prints its words.
struct Bash {
    home: TempDir,
    terminal: Terminal,
    shown: usize,
}

impl Bash {
    async fn start(api: &str, token: &str) -> Self {
        Self::at(tempfile::tempdir().unwrap(), api, token).await
    }

    /// The same with the home directory of an earlier one.
    async fn at(home: TempDir, api: &str, token: &str) -> Self {
        let script = within(Command::new(program()).args(["completions", "bash"]).output()).await;
        let mut start = stdout(&script.unwrap());
        // Nothing but the words that are shown has square brackets.
        start.push_str(
            "complete -F _serialproxy show\n\
             shown=0\n\
             show() { printf '[%s]' $((++shown)) \"${@@Q}\"; printf '[end]'; }\n\
             PS1='$ '\n",
        );
        std::fs::write(home.path().join("start"), start).unwrap();
        let programs = home.path().join("bin");
        if std::fs::create_dir(&programs).is_ok() {
            symlink(program(), programs.join("serialproxy")).unwrap();
        }
        let mut bash = Command::new("bash");
        let paths = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
        bash.args(["--noprofile", "--rcfile", "start", "-i"])
            .current_dir(home.path())
            .env("PATH", paths)
            .env("HOME", home.path())
            .env_remove("XDG_CACHE_HOME")
            .env("INPUTRC", "/dev/null")
            .env("LC_ALL", "C.UTF-8")
            .env("TERM", "dumb")
            .env("SERIALPROXY_API_URL", api)
            .env("SERIALPROXY_TOKEN", token);
        let mut terminal = Terminal::run(bash);
        terminal.shows("$ ").await;
        Self { home, terminal, shown: 0 }
    }

    /// The words of `show` after Tab behind this, each as bash quotes it.
    async fn words(&mut self, typed: &str) -> String {
        self.shown += 1;
        self.terminal.keys(&format!("show {typed}\t\r"));
        let begin = format!("[{}]", self.shown);
        let shown = eventually(async || {
            let shown = self.terminal.shown();
            let (_, words) = shown.split_once(&begin)?;
            Some(words.split_once("[end]")?.0.to_owned())
        });
        shown.await
    }

    /// Waits until Tab behind `typed` makes these words of it. An API that answers late on a busy
    /// machine is asked again.
    async fn completes(&mut self, typed: &str, words: &[&str]) {
        let mut wanted = String::new();
        for word in words {
            let _ = write!(wanted, "['{word}']");
        }
        let asked = Instant::now();
        loop {
            let words = self.words(typed).await;
            if words == wanted {
                return;
            }
            assert!(asked.elapsed() < Duration::from_secs(60), "{typed}: {words}, not {wanted}");
        }
    }

    /// Nobody has complained since the first prompt.
    fn printed_no_error(&self) {
        let shown = self.terminal.shown();
        let (_, shown) = shown.split_once("$ ").unwrap();
        for error in ["serialproxy:", "bash:", "error"] {
            assert!(!shown.contains(error), "{shown}");
        }
    }

    fn cache(&self) -> std::path::PathBuf {
        self.home.path().join(".cache/serialproxy")
    }
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().mode() & 0o777
}

#[tokio::test]
async fn bash_completes_the_servers_of_the_api_and_their_ports() {
    let lines = ["db-1", "db-2", "web:2"].map(|line| format!("{line} tcp://127.0.0.1:9"));
    let flags: Vec<_> = lines.iter().flat_map(|line| ["--static-line", line]).collect();
    let server = Server::start(&flags).await;
    let mut bash = Bash::start(&server.api, &server.admin_token()).await;
    for command in [
        "adopt",
        "break",
        "connect",
        "delete",
        "disconnect",
        "expect",
        "get-serial-console",
        "log",
        "nmi",
        "pause",
        "reboot",
        "reset",
        "resume",
        "run",
        "send",
        "start",
        "stop",
        "sysrq",
    ] {
        bash.completes(&format!("{command} w"), &[command, "web"]).await;
    }
    bash.completes("audit --server w", &["audit", "--server", "web"]).await;
    // As far as the names have in common.
    bash.completes("connect d", &["connect", "db-"]).await;
    bash.completes("connect x", &["connect", "x"]).await;
    bash.completes("conn", &["connect"]).await;
    bash.completes("connect web --por", &["connect", "web", "--port"]).await;
    bash.completes("connect web --port ", &["connect", "web", "--port", "2"]).await;
    bash.completes("log --port=0 db-1 --port=", &["log", "--port=0", "db-1", "--port=0"]).await;
    bash.completes("log --port ", &["log", "--port"]).await;
    // A file is bash's to complete.
    bash.completes("serve --config-file sta", &["serve", "--config-file", "start"]).await;
    bash.completes("connect web --cacert=sta", &["connect", "web", "--cacert=start"]).await;
    bash.completes("connect web <sta", &["connect", "web"]).await;
    bash.completes("connect w", &["connect", "web"]).await;
    bash.printed_no_error();
    assert_eq!(mode(&bash.cache()), 0o700);
    assert_eq!(mode(&bash.cache().join("names.json")), 0o600);

    // The same machine with another token: nothing of what the first one was answered.
    let mut other = Bash::at(bash.home, &server.api, "wrong").await;
    assert_eq!(other.words("connect w").await, "['connect']['w']");
    other.printed_no_error();
    // The options of the command count.
    let flag = format!("connect --api-url {} d", server.api);
    let mut far = Bash::at(other.home, "http://127.0.0.1:9", &server.admin_token()).await;
    far.completes(&flag, &["connect", "--api-url", &server.api, "db-"]).await;
    assert_eq!(far.words("connect d").await, "['connect']['d']");
    far.printed_no_error();
}

/// An API with these names, which remembers what it is asked.
#[derive(Clone)]
struct Names {
    names: Vec<&'static str>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Names {
    /// Its address.
    async fn serve(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/v2.1/servers", get(list)).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        format!("http://{address}")
    }

    fn of(names: &[&'static str]) -> Self {
        Self { names: names.to_vec(), asked: Arc::default() }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

async fn list(State(api): State<Names>, RawQuery(query): RawQuery) -> Json<Value> {
    api.asked.lock().unwrap().push(query.unwrap_or_default());
    let servers: Vec<_> = api.names.iter().map(|name| json!({"name": name})).collect();
    let more = json!([{"rel": "next", "href": "/v2.1/servers?marker=x"}]);
    Json(match servers.len() {
        1000.. => json!({"servers": servers, "servers_links": more}),
        _ => json!({"servers": servers}),
    })
}

#[tokio::test]
async fn a_name_is_one_word_of_bash_whatever_a_tenant_calls_a_server() {
    let api = Names::of(&[
        "two words",
        "two weeks",
        "it's",
        "\"quoted\"",
        "$(touch harm)",
        "`touch harm`",
        "a;touch harm",
        "host:0",
        "back\\slash",
        "bang!!",
        "*",
        "~root",
        "#hash",
        "日本",
        "--force",
        "clear\u{1b}[2J",
        "line\ntouch harm",
        "tab\tharm",
        "hidden\u{202e}",
    ]);
    let mut bash = Bash::start(&api.serve().await, "t0ken").await;
    for (typed, word) in [
        ("two", "two w"),
        (r"two\ wo", "two words"),
        ("\"two wo", "two words"),
        ("'two wo", "two words"),
        ("it", r"it'\''s"),
        ("\"it", r"it'\''s"),
        ("\\\"", "\"quoted\""),
        ("'\"", "\"quoted\""),
        (r"\$", "$(touch harm)"),
        ("'$", "$(touch harm)"),
        (r"\`", "`touch harm`"),
        ("\"\\`", "`touch harm`"),
        ("a", "a;touch harm"),
        ("ho", "host:0"),
        ("host:", "host:0"),
        ("bac", r"back\slash"),
        ("'bac", r"back\slash"),
        ("ban", "bang!!"),
        ("'ban", "bang!!"),
        (r"\*", "*"),
        ("~r", "~root"),
        (r"\#", "#hash"),
        ("日", "日本"),
    ] {
        bash.completes(&format!("connect {typed}"), &["connect", word]).await;
    }
    // Those that are not seen as they are, and that are options.
    for typed in ["cle", "lin", "tab", "hid"] {
        assert_eq!(
            bash.words(&format!("connect {typed}")).await,
            format!("['connect']['{typed}']")
        );
    }
    bash.completes("disconnect --fo", &["disconnect", "--format"]).await;
    assert!(!bash.home.path().join("harm").exists());
    bash.printed_no_error();
}

#[tokio::test]
async fn the_api_is_asked_once_for_half_a_minute() {
    let api = Names::of(&["demo", "other"]);
    let mut bash = Bash::start(&api.serve().await, "t0ken").await;
    bash.completes("connect d", &["connect", "demo"]).await;
    let asked = api.asked();
    assert_eq!(asked.last().unwrap(), "name=%5Ed");
    bash.completes("log de", &["log", "demo"]).await;
    bash.completes("send dem", &["send", "demo"]).await;
    assert_eq!(api.asked(), asked);
    // It was not asked for these.
    bash.completes("connect o", &["connect", "other"]).await;
    let asked = api.asked();
    assert_eq!(asked.last().unwrap(), "name=%5Eo");
    bash.completes("log o", &["log", "other"]).await;
    assert_eq!(api.asked(), asked);
    let names = std::fs::File::options().append(true).open(bash.cache().join("names.json"));
    let past = std::time::SystemTime::now() - Duration::from_secs(31);
    names.unwrap().set_modified(past).unwrap();
    bash.completes("connect o", &["connect", "other"]).await;
    assert!(api.asked().len() > asked.len());
}

#[tokio::test]
async fn of_more_names_than_a_page_none_is_completed() {
    let api = Names::of(&["demo"; 1000]);
    let mut bash = Bash::start(&api.serve().await, "t0ken").await;
    eventually(async || {
        assert_eq!(bash.words("connect d").await, "['connect']['d']");
        (!api.asked().is_empty() && bash.cache().join("names.json").exists()).then_some(())
    })
    .await;
    let asked = api.asked().len();
    assert_eq!(bash.words("log d").await, "['log']['d']");
    assert_eq!(api.asked().len(), asked);
    assert_eq!(bash.words("log de").await, "['log']['de']");
    assert_eq!(api.asked().last().unwrap(), "name=%5Ede");
}

#[tokio::test]
async fn an_api_that_does_not_answer_is_not_waited_for() {
    // It accepts, and says nothing.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let api = format!("http://{}", silent.local_addr().unwrap());
    let mut bash = Bash::start(&api, "t0ken").await;
    let asked = Instant::now();
    assert_eq!(bash.words("connect d").await, "['connect']['d']");
    let took = asked.elapsed();
    // A command waits for a minute.
    assert!(took > Duration::from_millis(900) && took < Duration::from_secs(30), "{took:?}");
    bash.printed_no_error();
}

#[tokio::test]
async fn each_shell_has_a_script_that_it_understands() {
    for (shell, words) in [
        ("bash", "complete -F _serialproxy serialproxy"),
        ("zsh", "#compdef serialproxy"),
        ("fish", "complete --command serialproxy"),
        ("elvish", "get-serial-console"),
        ("powershell", "get-serial-console"),
    ] {
        let output = within(Command::new(program()).args(["completions", shell]).output()).await;
        let output = output.unwrap();
        assert!(output.status.success() && stdout(&output).contains(words), "{shell}");
        if !["bash", "zsh", "fish"].contains(&shell) {
            continue;
        }
        let mut check = match Command::new(shell).arg("-n").stdin(Stdio::piped()).spawn() {
            Ok(check) => check,
            // Only bash is on every machine.
            Err(error) if error.kind() == ErrorKind::NotFound && shell != "bash" => continue,
            Err(error) => panic!("{shell}: {error}"),
        };
        check.stdin.take().unwrap().write_all(&output.stdout).await.unwrap();
        assert!(within(check.wait()).await.unwrap().success(), "{shell}");
    }
}
