//! Hostile clients and guests, each of one kind and at a limited rate. They run in a process of
//! their own beside the program: `tests/hold.rs` starts it.

mod clients;
mod guests;
mod wire;

use std::io::BufRead;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value;
use serde_json::json;
use tokio::task::JoinSet;

pub use self::guests::GUESTS;

/// The program to attack.
#[derive(Clone, Debug)]
pub struct Target {
    /// `127.0.0.1:P` of the proxy.
    pub proxy: String,
    /// `127.0.0.1:P` of the API.
    pub api: String,
    /// The CA that verifies the proxy.
    pub ca: PathBuf,
    /// The admin token: some hostile clients may do everything.
    pub token: String,
}

impl Target {
    /// As a line of JSON.
    pub fn to_line(&self) -> String {
        let Self { proxy, api, ca, token } = self;
        json!({"proxy": proxy, "api": api, "ca": ca, "token": token}).to_string() + "\n"
    }

    fn from_line(line: &str) -> Self {
        let json: Value = serde_json::from_str(line).unwrap();
        let text = |name: &str| json[name].as_str().unwrap().to_owned();
        Self { proxy: text("proxy"), api: text("api"), ca: text("ca").into(), token: text("token") }
    }
}

/// Serves the hostile guests, prints their addresses (`NAME=ADDRESS …`), reads the target from
/// stdin, and attacks it with these kinds, or all, until the process is killed.
pub async fn attack(kinds: &[String]) {
    let mut tasks = JoinSet::new();
    let mut places = Vec::new();
    for (name, guest) in GUESTS {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        places.push(format!("{name}={address}"));
        tasks.spawn(guests::serve(listener, guest));
    }
    println!("\nguests {}", places.join(" "));
    let mut line = String::new();
    // Blocking is fine: there is nothing else to do.
    std::io::stdin().lock().read_line(&mut line).unwrap();
    let target = Arc::new(Target::from_line(&line));
    for (name, start) in clients::KINDS {
        if kinds.is_empty() || kinds.iter().any(|kind| kind == name) {
            start(&mut tasks, &target);
        }
    }
    while tasks.join_next().await.is_some() {}
}
