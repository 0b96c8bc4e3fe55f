//! A small Keystone and Nova on one port, for behavior that real ones do not show on demand: slow
//! answers, failures, forgotten tokens, nonsense.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;

use axum::Json;
use axum::Router;
use axum::extract::Path;
use axum::extract::Request;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::IntoResponse;
use axum::response::Response;
use axum::routing::get;
use axum::routing::post;
use jiff::SignedDuration;
use jiff::Timestamp;
use serde_json::Value;
use serde_json::json;
use tokio::net::TcpListener;
use uuid::Uuid;

/// Name and password of the service user.
pub const SERVICE_USER: (&str, &str) = ("nova", "a $ecret of the service");

/// Id, name and secret of an application credential of that user.
pub const CREDENTIAL: (&str, &str, &str) =
    ("21dced0fd20347869b93710d2b98aae0", "console", "s$cret");

/// A running cloud. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Cloud {
    address: SocketAddr,
    inside: Arc<Mutex<Inside>>,
}

#[derive(Debug)]
struct Inside {
    address: SocketAddr,
    fault: Option<(&'static str, Fault)>,
    /// The lifetime of the service user's tokens in seconds.
    life: i64,
    service_tokens: Vec<String>,
    user_tokens: BTreeMap<String, Value>,
    /// Users who log in with a password: name, password, project and roles.
    users: Vec<[String; 4]>,
    consoles: BTreeMap<String, Value>,
    servers: BTreeMap<String, Value>,
    changes: u64,
    calls: Vec<String>,
    logins: Vec<Value>,
}

/// A fault of the cloud.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// It answers with this status.
    Status(u16),
    /// It accepts the request and never answers.
    Silence,
    /// It answers 200 with a text that is not JSON.
    Nonsense,
}

impl Cloud {
    /// Starts one without users' tokens, consoles and servers.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let inside = Arc::new(Mutex::new(Inside {
            address,
            fault: None,
            life: 3600,
            service_tokens: Vec::new(),
            user_tokens: BTreeMap::new(),
            users: Vec::new(),
            consoles: BTreeMap::new(),
            servers: BTreeMap::new(),
            changes: 0,
            calls: Vec::new(),
            logins: Vec::new(),
        }));
        let router = Router::new()
            .route("/v3/auth/tokens", post(log_in).get(validate))
            .route("/v2.1/os-console-auth-tokens/{token}", get(console))
            .route("/v2.1/servers/{id}", get(server))
            .layer(axum::middleware::from_fn_with_state(Arc::clone(&inside), note))
            .with_state(Arc::clone(&inside));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, inside }
    }

    /// Keystone's URL.
    pub fn auth_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A configuration file's group with the service user's login.
    pub fn login(&self, group: &str) -> String {
        let (user, password) = SERVICE_USER;
        format!(
            "[{group}]\nauth_url = {}\nusername = {user}\npassword = {}\nproject_name = service\n",
            self.auth_url(),
            password.replace('$', "$$")
        )
    }

    /// The same with an application credential, by its id.
    pub fn credential_login(&self, group: &str) -> String {
        let (id, _, secret) = CREDENTIAL;
        format!(
            "[{group}]\nauth_type = v3applicationcredential\nauth_url = {}\n\
             application_credential_id = {id}\napplication_credential_secret = {}\n",
            self.auth_url(),
            secret.replace('$', "$$")
        )
    }

    /// A new token of a user, who has these roles in the project.
    pub fn user_token(&self, user: &str, project: &str, roles: &[&str]) -> String {
        self.inside().user_token(user, project, roles)
    }

    /// A user of the domain `Default` who logs in with a password for this project.
    pub fn add_user(&self, user: &str, password: &str, project: &str, role: &str) {
        self.inside().users.push([user, password, project, role].map(str::to_owned));
    }

    /// A new console token for a server's port at `host:port`. The server is active unless
    /// [`Self::set_state`] was called for it.
    pub fn console_token(&self, server: Uuid, port: SocketAddr) -> String {
        self.console_token_by(server, port, None)
    }

    /// The same, for a hypervisor that requires a request for this path first.
    pub fn console_token_by(&self, server: Uuid, port: SocketAddr, path: Option<&str>) -> String {
        let token = Uuid::new_v4().to_string();
        let console = json!({
            "instance_uuid": server,
            "host": port.ip(),
            "port": port.port(),
            "internal_access_path": path,
        });
        let mut inside = self.inside();
        inside.consoles.insert(token.clone(), json!({ "console": console }));
        inside.servers.entry(server.to_string()).or_insert_with(|| shown("active", None, 0));
        token
    }

    /// Sets the server's state from now on, and its time of change.
    pub fn set_state(&self, server: Uuid, vm_state: &str, task_state: Option<&str>) {
        let mut inside = self.inside();
        inside.changes += 1;
        let server_ = shown(vm_state, task_state, inside.changes);
        inside.servers.insert(server.to_string(), server_);
    }

    /// Deletes the server.
    pub fn delete(&self, server: Uuid) {
        self.inside().servers.remove(&server.to_string());
    }

    /// Makes a user's token or a console token invalid.
    pub fn expire(&self, token: &str) {
        let mut inside = self.inside();
        inside.consoles.remove(token);
        inside.user_tokens.remove(token);
    }

    /// Makes the service user's present tokens invalid.
    pub fn forget_service_tokens(&self) {
        self.inside().service_tokens.clear();
    }

    /// Sets the lifetime of the service user's further tokens.
    pub fn set_life(&self, seconds: i64) {
        self.inside().life = seconds;
    }

    /// From now on, all calls whose path begins with this prefix fail; with `None`, no call does.
    pub fn fail(&self, fault: Option<(&'static str, Fault)>) {
        self.inside().fault = fault;
    }

    /// The calls so far: method and path, with `***` for a console token, and the requested
    /// microversion, if any.
    pub fn calls(&self) -> Vec<String> {
        self.inside().calls.clone()
    }

    /// The bodies of all logins so far.
    pub fn logins(&self) -> Vec<Value> {
        self.inside().logins.clone()
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap()
    }
}

impl Inside {
    fn user_token(&mut self, user: &str, project: &str, roles: &[&str]) -> String {
        let roles: Vec<_> = roles.iter().map(|name| json!({ "id": name, "name": name })).collect();
        let token = json!({ "token": {
            "user": { "id": format!("id-of-{user}"), "name": user, "domain": { "id": "default" } },
            "project": { "id": project, "name": format!("name-of-{project}") },
            "roles": roles,
            "expires_at": "2099-01-01T00:00:00.000000Z",
        } });
        let name = format!("gAAAA{}", Uuid::new_v4());
        self.user_tokens.insert(name.clone(), token);
        name
    }

    /// A token for a user's right password and the name of their project.
    fn log_in(&mut self, auth: &Value) -> Option<String> {
        let user = &auth["identity"]["password"]["user"];
        let project = &auth["scope"]["project"];
        let domain = json!({ "name": "Default" });
        let is = |[name, password, own, _]: &&[String; 4]| {
            user["name"] == **name
                && user["password"] == **password
                && user["domain"] == domain
                && project["name"] == format!("name-of-{own}")
                && project["domain"] == domain
        };
        let [user, _, project, role] = self.users.iter().find(is)?.clone();
        Some(self.user_token(&user, &project, &[&role]))
    }
}

fn shown(vm_state: &str, task_state: Option<&str>, change: u64) -> Value {
    json!({ "server": {
        "name": "vm",
        "updated": format!("change {change}"),
        "status": if vm_state == "active" { "ACTIVE" } else { "SHUTOFF" },
        "OS-EXT-STS:vm_state": vm_state,
        "OS-EXT-STS:task_state": task_state,
        "OS-EXT-STS:power_state": 1,
    } })
}

type Shared = State<Arc<Mutex<Inside>>>;

/// Records the call, and applies the fault, if one is set.
async fn note(State(inside): Shared, request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let fault = {
        let mut inside = inside.lock().unwrap();
        let shown = match path.rsplit_once("os-console-auth-tokens/") {
            Some((before, _)) => format!("{before}os-console-auth-tokens/***"),
            None => path.clone(),
        };
        let version = request.headers().get("openstack-api-version");
        let version = version.map(|version| format!(" {}", version.to_str().unwrap()));
        let call = format!("{} {shown}{}", request.method(), version.unwrap_or_default());
        inside.calls.push(call);
        inside.fault.filter(|(prefix, _)| path.starts_with(prefix))
    };
    match fault {
        None => next.run(request).await,
        Some((_, Fault::Status(status))) => StatusCode::from_u16(status).unwrap().into_response(),
        Some((_, Fault::Silence)) => std::future::pending().await,
        Some((_, Fault::Nonsense)) => "<html>It works!</html>".into_response(),
    }
}

async fn log_in(State(inside): Shared, Json(body): Json<Value>) -> Response {
    let mut inside = inside.lock().unwrap();
    inside.logins.push(body.clone());
    if let Some(token) = inside.log_in(&body["auth"]) {
        let body = json!({ "token": { "expires_at": "2099-01-01T00:00:00.000000Z" } });
        return (StatusCode::CREATED, [("x-subject-token", token)], Json(body)).into_response();
    }
    if !is_password(&body["auth"]) && !is_credential(&body["auth"]) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let token = format!("service-{}", Uuid::new_v4());
    inside.service_tokens.push(token.clone());
    let expires = Timestamp::now() + SignedDuration::from_secs(inside.life);
    let url = format!("http://{}/v2.1", inside.address);
    let compute = json!({ "type": "compute", "name": "nova", "endpoints": [
        { "interface": "public", "region_id": "elsewhere", "url": "http://192.0.2.1/v2.1" },
        { "interface": "public", "region_id": "RegionOne", "url": url },
        { "interface": "admin", "region_id": "RegionOne", "url": "http://192.0.2.1/v2.1" },
    ] });
    let body = json!({ "token": { "expires_at": expires, "catalog": [compute] } });
    (StatusCode::CREATED, [("x-subject-token", token)], Json(body)).into_response()
}

fn is_password(auth: &Value) -> bool {
    let user = &auth["identity"]["password"]["user"];
    auth["identity"]["methods"] == json!(["password"])
        && (user["name"].as_str(), user["password"].as_str())
            == (Some(SERVICE_USER.0), Some(SERVICE_USER.1))
        && auth["scope"]["project"]["name"] == "service"
}

/// Keystone refuses an application credential with a scope, because it has its own.
fn is_credential(auth: &Value) -> bool {
    let (id, name, secret) = CREDENTIAL;
    let credential = &auth["identity"]["application_credential"];
    let is_named = credential["name"] == name && credential["user"]["name"] == SERVICE_USER.0;
    auth["identity"]["methods"] == json!(["application_credential"])
        && auth.get("scope").is_none()
        && credential["secret"] == secret
        && (credential["id"] == id || is_named)
}

async fn validate(State(inside): Shared, headers: HeaderMap) -> Response {
    let inside = inside.lock().unwrap();
    let subject = headers.get("x-subject-token").unwrap().to_str().unwrap();
    let token = || found(inside.user_tokens.get(subject), "error");
    allowed(&inside, &headers).unwrap_or_else(token)
}

async fn console(State(inside): Shared, Path(token): Path<String>, headers: HeaderMap) -> Response {
    let inside = inside.lock().unwrap();
    allowed(&inside, &headers).unwrap_or_else(|| found(inside.consoles.get(&token), "itemNotFound"))
}

async fn server(State(inside): Shared, Path(id): Path<String>, headers: HeaderMap) -> Response {
    let inside = inside.lock().unwrap();
    allowed(&inside, &headers).unwrap_or_else(|| found(inside.servers.get(&id), "itemNotFound"))
}

/// The refusal of a caller without a valid token.
fn allowed(inside: &Inside, headers: &HeaderMap) -> Option<Response> {
    let token = headers.get("x-auth-token").and_then(|token| token.to_str().ok());
    let known = token.is_some_and(|token| inside.service_tokens.iter().any(|own| own == token));
    (!known).then(|| StatusCode::UNAUTHORIZED.into_response())
}

/// The body, or a 404 with this name.
fn found(body: Option<&Value>, fault: &str) -> Response {
    match body {
        Some(body) => Json(body.clone()).into_response(),
        None => (StatusCode::NOT_FOUND, Json(json!({ fault: { "code": 404 } }))).into_response(),
    }
}
