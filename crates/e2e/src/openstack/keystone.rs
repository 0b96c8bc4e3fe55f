//! Keystone, with users whose passwords are their names.

use http::Method;
use http::StatusCode;
use serde_json::Value;
use serde_json::json;
use uuid::Uuid;

use super::Process;
use super::login::Login;
use super::prepared;
use crate::address::free_port;
use crate::within;

const PROGRAM: &str = "keystone_service.py";

/// A member of the project `demo`.
pub const ALICE: User = User { name: "alice", project: "demo" };
/// Another member of `demo`.
pub const BOB: User = User { name: "bob", project: "demo" };
/// A reader of the project `demo`.
pub const RITA: User = User { name: "rita", project: "demo" };
/// A member of the project `other`.
pub const OSCAR: User = User { name: "oscar", project: "other" };
/// The user of Nova's services.
pub const NOVA: User = User { name: "nova", project: "service" };
/// An administrator.
pub const ADAM: User = User { name: "adam", project: "demo" };

/// A user, in the one project where they have a role.
#[derive(Clone, Copy, Debug)]
pub struct User {
    /// Name and password.
    pub name: &'static str,
    /// The project's name.
    pub project: &'static str,
}

/// A running Keystone; killed when it is dropped.
#[derive(Debug)]
pub struct Keystone {
    /// `http://127.0.0.1:P/v3`.
    pub url: String,
    process: Process,
    http: reqwest::Client,
}

impl Keystone {
    /// Starts one with this URL of the compute service in its catalog.
    pub async fn start(compute: &str) -> Self {
        let port = free_port();
        let url = format!("http://127.0.0.1:{port}/v3");
        let endpoints = [format!("identity={url}"), format!("compute={compute}")];
        let arguments = ["serve", &port.to_string(), &endpoints[0], &endpoints[1]];
        let process = Process::start(PROGRAM, &arguments, prepared(PROGRAM)).await;
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { url, process, http }
    }

    /// The credentials of a user, for a client.
    pub fn login(&self, user: User) -> Login {
        Login::password(&self.url, user.name, user.name, user.project)
    }

    /// The configuration with which `serialproxy serve` uses this Keystone.
    pub fn config(&self) -> String {
        format!(
            "[keystone_authtoken]\nauth_url = {}\nusername = serialproxy\n\
             password = serialproxy\nproject_name = service\n",
            self.url
        )
    }

    /// A fresh token.
    pub async fn token(&self, user: User) -> String {
        self.log_in(user).await.0
    }

    /// Id and secret of a new application credential of the user, in their project.
    pub async fn application_credential(&self, user: User) -> (String, String) {
        let (token, id) = self.log_in(user).await;
        let secret = "the secret of an application";
        let body = json!({"application_credential": {"name": "console", "secret": secret}});
        let request = self
            .http
            .post(format!("{}/users/{id}/application_credentials", self.url))
            .header("X-Auth-Token", token)
            .header("Content-Type", "application/json")
            .body(body.to_string());
        let answer = within(request.send()).await.unwrap();
        assert_eq!(answer.status(), StatusCode::CREATED);
        let made: Value = serde_json::from_str(&within(answer.text()).await.unwrap()).unwrap();
        let id = made["application_credential"]["id"].as_str().unwrap();
        (id.to_owned(), secret.to_owned())
    }

    /// A fresh token, and the user's id.
    async fn log_in(&self, user: User) -> (String, String) {
        let domain = json!({"id": "default"});
        let identity = json!({
            "methods": ["password"],
            "password": {"user": {"name": user.name, "password": user.name, "domain": domain}},
        });
        let scope = json!({"project": {"name": user.project, "domain": domain}});
        let body = json!({"auth": {"identity": identity, "scope": scope}});
        let request = self
            .http
            .post(format!("{}/auth/tokens", self.url))
            .header("Content-Type", "application/json")
            .body(body.to_string());
        let answer = within(request.send()).await.unwrap();
        assert_eq!(answer.status(), StatusCode::CREATED);
        let token = answer.headers()["X-Subject-Token"].to_str().unwrap().to_owned();
        let body: Value = serde_json::from_str(&within(answer.text()).await.unwrap()).unwrap();
        (token, body["token"]["user"]["id"].as_str().unwrap().to_owned())
    }

    /// Revokes a token.
    pub async fn revoke(&self, token: &str) {
        let url = format!("{}/auth/tokens", self.url);
        let request = self
            .http
            .request(Method::DELETE, url)
            .header("X-Auth-Token", token)
            .header("X-Subject-Token", token);
        assert_eq!(within(request.send()).await.unwrap().status(), StatusCode::NO_CONTENT);
    }

    /// Kills it.
    pub async fn kill(&mut self) {
        self.process.kill().await;
    }
}

/// The id of a project of this name.
pub fn project_id(name: &str) -> String {
    Uuid::new_v5(&Uuid::NAMESPACE_DNS, name.as_bytes()).simple().to_string()
}
