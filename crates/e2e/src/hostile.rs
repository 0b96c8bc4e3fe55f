//! Clients and guests that mean harm, each of one kind and at a bounded rate, for a process of their
//! own beside the program: `tests/hold.rs` runs them.

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

/// What is attacked.
#[derive(Clone, Debug)]
pub struct Target {
    /// `127.0.0.1:P` of the proxy.
    pub proxy: String,
    /// `127.0.0.1:P` of the API.
    pub api: String,
    /// The CA that vouches for the proxy.
    pub ca: PathBuf,
    /// The admin token: some of those who mean harm may do everything.
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

/// Serves the hostile guests, prints where (`NAME=ADDRESS …`), reads from stdin what is to be attacked,
/// and attacks it by these kinds, or all, until it is killed.
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
    // Nothing else is to be done until it comes.
    std::io::stdin().lock().read_line(&mut line).unwrap();
    let target = Arc::new(Target::from_line(&line));
    for (name, start) in clients::KINDS {
        if kinds.is_empty() || kinds.iter().any(|kind| kind == name) {
            start(&mut tasks, &target);
        }
    }
    while tasks.join_next().await.is_some() {}
}
