//! `openstack`, `nova` and the SDK, run as by their users.

use serde_json::Value;
use serde_json::json;

use super::Process;
use super::directory;
use super::login::Login;

/// The clients, loaded and ready to run.
#[derive(Debug)]
pub struct Clients(Process);

/// A command that has ended.
#[derive(Debug)]
pub struct Ran {
    /// Its exit code.
    pub status: i64,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Ran {
    /// The output of a successful command with `-f json`.
    pub fn json(&self) -> Value {
        serde_json::from_str(self.text()).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The output of a successful command.
    pub fn text(&self) -> &str {
        assert_eq!(self.status, 0, "{self:?}");
        self.stdout.trim()
    }
}

impl Clients {
    /// Loads them.
    pub async fn start() -> Self {
        Self(Process::start("clients.py", &[], directory()).await)
    }

    /// Runs `openstack`.
    pub async fn openstack(&mut self, login: &Login, arguments: &[&str]) -> Ran {
        self.run("openstack", login, arguments).await
    }

    /// Runs `nova`.
    pub async fn nova(&mut self, login: &Login, arguments: &[&str]) -> Ran {
        self.run("nova", login, arguments).await
    }

    /// Calls a method of the SDK's compute proxy. Its first argument is the name of a server,
    /// except for `validate_console_auth_token`, where it is a token.
    pub async fn sdk(&mut self, login: &Login, arguments: &[&str]) -> Ran {
        self.run("sdk", login, arguments).await
    }

    async fn run(&mut self, program: &str, login: &Login, arguments: &[&str]) -> Ran {
        let environment: serde_json::Map<String, Value> =
            login.0.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        let command =
            json!({"program": program, "arguments": arguments, "environment": environment});
        let answer = self.0.ask(&command).await;
        let text = |name: &str| answer[name].as_str().unwrap().to_owned();
        Ran {
            status: answer["status"].as_i64().unwrap(),
            stdout: text("stdout"),
            stderr: text("stderr"),
        }
    }
}
