//! Nova's API with its own database, for the servers and tokens of a test.

use std::net::SocketAddr;

use serde_json::Value;
use serde_json::json;

use super::Process;
use super::keystone::Keystone;
use super::keystone::User;
use super::keystone::project_id;
use super::prepared;
use crate::address::free_port;

const PROGRAM: &str = "nova_service.py";

/// A running Nova, and its Keystone; killed when they are dropped.
#[derive(Debug)]
pub struct Nova {
    /// `http://127.0.0.1:P/v2.1`.
    pub url: String,
    /// The Keystone of its users.
    pub keystone: Keystone,
    process: Process,
}

impl Nova {
    /// Starts both.
    pub async fn start() -> Self {
        let port = free_port();
        let url = format!("http://127.0.0.1:{port}/v2.1");
        let keystone = Keystone::start(&url).await;
        let arguments = ["serve", &port.to_string(), &keystone.url];
        let process = Process::start(PROGRAM, &arguments, prepared(PROGRAM)).await;
        Self { url, keystone, process }
    }

    /// Its `nova.conf`, which a console proxy reads too.
    pub fn config(&self) -> String {
        std::fs::read_to_string(self.process.directory.path().join("nova.conf")).unwrap()
    }

    /// Adds a running server of this user, in their project; returns its UUID.
    pub async fn server(&mut self, name: &str, owner: User) -> String {
        let project = project_id(owner.project);
        let command =
            json!({"do": "instance", "name": name, "project": project, "user": owner.name});
        self.process.ask(&command).await.as_str().unwrap().to_owned()
    }

    /// Sets the server's state, such as `active` and no task.
    pub async fn state(&mut self, server: &str, vm_state: &str, task_state: Option<&str>) {
        let command = json!({"do": "state", "server": server, "vm_state": vm_state,
            "task_state": task_state});
        self.process.ask(&command).await;
    }

    /// Deletes the server.
    pub async fn delete(&mut self, server: &str) {
        self.process.ask(&json!({"do": "delete", "server": server})).await;
    }

    /// A console token for a server's port, valid for this many seconds.
    pub async fn authorize(&mut self, server: &str, port: SocketAddr, seconds: i64) -> String {
        self.authorize_with(server, port, seconds, json!({})).await
    }

    /// The same with other values for `path`, `base` or `kind`.
    pub async fn authorize_with(
        &mut self,
        server: &str,
        port: SocketAddr,
        seconds: i64,
        different: Value,
    ) -> String {
        let mut command = json!({
            "do": "authorize",
            "server": server,
            "host": port.ip().to_string(),
            "port": port.port(),
            "ttl": seconds,
            "path": null,
            "base": "ws://127.0.0.1:6083/",
            "kind": "serial",
        });
        command.as_object_mut().unwrap().extend(different.as_object().unwrap().clone());
        self.process.ask(&command).await.as_str().unwrap().to_owned()
    }

    /// Kills Nova, but not Keystone.
    pub async fn kill(&mut self) {
        self.process.kill().await;
    }
}
