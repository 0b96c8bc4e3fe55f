//! The calls of Nova's compute API that a console proxy needs.

use reqwest::Method;
use reqwest::StatusCode;
use serde::Deserialize;
use serialproxy_config::Config;
use serialproxy_proto::health::Health;
use serialproxy_proto::id::ServerId;
use serialproxy_proto::token::ConsoleToken;

use crate::http::Answer;
use crate::session::CatalogService;
use crate::session::Own;
use crate::session::Session;
use crate::unavailable::Service;
use crate::unavailable::Unavailable;

/// The first microversion that looks up tokens of every console type.
const MICROVERSION: &str = "2.31";

/// Longest console token in bytes; Nova's own are UUIDs of 36.
const MAX_TOKEN: usize = 128;

/// Nova, called as a service user.
#[derive(Debug)]
pub struct Nova {
    session: Session,
    /// The group that names the user, for error texts.
    group: &'static str,
    interfaces: Vec<String>,
    region: Option<String>,
    endpoint: Option<String>,
}

/// The console of a token of Nova's.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
pub struct Console {
    /// The server.
    #[serde(rename = "instance_uuid")]
    pub server: ServerId,
    /// Name or address of the hypervisor.
    pub host: Option<String>,
    /// TCP port there.
    pub port: u16,
    /// The path that must be requested first (`CONNECT`), if any.
    pub internal_access_path: Option<String>,
}

/// A server as `GET /servers/{id}` shows it to administrators.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
pub struct Server {
    /// The name that people use.
    pub name: String,
    /// Nova's status, such as `ACTIVE`.
    pub status: String,
    /// Its state, such as `active`.
    #[serde(rename = "OS-EXT-STS:vm_state")]
    pub vm_state: Option<String>,
    /// The task in progress, such as `rebooting`.
    #[serde(rename = "OS-EXT-STS:task_state")]
    pub task_state: Option<String>,
    /// The hypervisor's last report about the guest, as Nova's number.
    #[serde(rename = "OS-EXT-STS:power_state")]
    pub power_state: Option<i64>,
    /// When anything about it changed last, including every start, stop and reboot.
    pub updated: Option<String>,
}

#[derive(Deserialize)]
struct ConsoleAnswer {
    console: Console,
}

#[derive(Deserialize)]
struct ServerAnswer {
    server: Server,
}

impl Nova {
    /// Nova as the configuration names it; none where it names no service user. This makes no
    /// request.
    ///
    /// # Errors
    ///
    /// When `cafile` cannot be used.
    pub fn new(config: &Config) -> Result<Option<Self>, Unavailable> {
        let Some((group, auth)) = config.nova_user() else { return Ok(None) };
        let region = [&config.nova.auth, auth, &config.keystone_authtoken];
        Ok(Some(Self {
            session: Session::new(auth)?,
            group,
            interfaces: config.nova.valid_interfaces.clone(),
            region: region.into_iter().find_map(|auth| auth.region_name.clone()),
            endpoint: config.nova.endpoint_override.clone(),
        }))
    }

    /// Says there whether Nova and Keystone respond.
    #[must_use]
    pub fn with_health(mut self, health: Health) -> Self {
        self.session.note_at(health);
        self
    }

    /// Logs in, and finds Nova's URL.
    ///
    /// # Errors
    ///
    /// When Keystone refuses the service user, or its catalog has no Nova.
    pub async fn log_in(&self) -> Result<(), Unavailable> {
        let own = self.session.own().await?;
        self.endpoint(&own.catalog).map(|_| ())
    }

    /// The console of a token; none where Nova does not know the token (any more). A text that
    /// cannot be a token is not looked up.
    ///
    /// # Errors
    ///
    /// When Nova or Keystone gives no valid answer; then the token may be valid or not.
    pub async fn console(&self, token: &ConsoleToken) -> Result<Option<Console>, Unavailable> {
        let token = token.expose();
        if !looks_like_a_token(token) {
            return Ok(None);
        }
        let answer = self.get(&format!("/os-console-auth-tokens/{token}")).await?;
        match answer.status {
            StatusCode::OK => Ok(Some(answer.read::<ConsoleAnswer>()?.console)),
            _ if answer.is_not_found() => Ok(None),
            _ => Err(self.refused(&answer)),
        }
    }

    /// A server; none where it does not exist (any more).
    ///
    /// # Errors
    ///
    /// When Nova or Keystone gives no valid answer.
    pub async fn server(&self, id: ServerId) -> Result<Option<Server>, Unavailable> {
        let answer = self.get(&format!("/servers/{id}")).await?;
        match answer.status {
            StatusCode::OK => Ok(Some(answer.read::<ServerAnswer>()?.server)),
            _ if answer.is_not_found() => Ok(None),
            _ => Err(self.refused(&answer)),
        }
    }

    async fn get(&self, path: &str) -> Result<Answer, Unavailable> {
        let request = |own: &Own| {
            let url = format!("{}{path}", self.endpoint(&own.catalog)?);
            let request = self.session.request(Method::GET, &url);
            let request =
                request.header("openstack-api-version", format!("compute {MICROVERSION}"));
            Ok(request.header("x-openstack-nova-api-version", MICROVERSION))
        };
        self.session.call(Service::Nova, request).await
    }

    /// Nova's URL, without a trailing slash.
    fn endpoint(&self, catalog: &[CatalogService]) -> Result<String, Unavailable> {
        if let Some(endpoint) = &self.endpoint {
            return Ok(endpoint.clone());
        }
        let endpoints =
            || catalog.iter().filter(|s| s.kind == "compute").flat_map(|s| &s.endpoints);
        let here = |region: &Option<String>| self.region.is_none() || *region == self.region;
        let found = self.interfaces.iter().find_map(|interface| {
            endpoints().find(|e| e.interface == *interface && here(&e.region_id))
        });
        match found {
            Some(endpoint) => Ok(versioned(&endpoint.url)),
            None => Err(Service::Nova.failed(format!(
                "is not in Keystone's catalog (interfaces {}, region {}): set [nova] \
                 endpoint_override, valid_interfaces or region_name",
                self.interfaces.join(", "),
                self.region.as_deref().unwrap_or("any"),
            ))),
        }
    }

    fn refused(&self, answer: &Answer) -> Unavailable {
        match answer.status {
            StatusCode::FORBIDDEN => Service::Nova.failed(format!(
                "does not let the service user of [{}] look up console tokens: give the user the \
                 role admin in its project",
                self.group
            )),
            _ => answer.strange(),
        }
    }
}

/// A URL of the catalog with the version that has microversions; some name the one before, or none.
fn versioned(url: &str) -> String {
    let url = url.trim_end_matches('/');
    let parts: Vec<&str> = url.split('/').map(|p| if p == "v2" { "v2.1" } else { p }).collect();
    let url = parts.join("/");
    if parts.contains(&"v2.1") { url } else { url + "/v2.1" }
}

/// Whether it can be a token, and does not change the path of a URL.
fn looks_like_a_token(text: &str) -> bool {
    (1..=MAX_TOKEN).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_catalog_s_url_leads_to_microversions() {
        for (url, expected) in [
            ("http://h:8774/v2.1", "http://h:8774/v2.1"),
            ("http://h:8774/v2.1/", "http://h:8774/v2.1"),
            ("http://h/compute/v2.1/1a2b", "http://h/compute/v2.1/1a2b"),
            ("http://h:8774/v2/1a2b", "http://h:8774/v2.1/1a2b"),
            ("http://h:8774/", "http://h:8774/v2.1"),
            ("http://h/compute", "http://h/compute/v2.1"),
        ] {
            assert_eq!(versioned(url), expected);
        }
    }
}
