//! One bounded call over HTTP.

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use reqwest::Certificate;
use reqwest::Client;
use reqwest::Method;
use reqwest::RequestBuilder;
use reqwest::Response;
use reqwest::StatusCode;
use reqwest::header::ACCEPT;
use reqwest::header::HeaderMap;
use reqwest::redirect::Policy;
use serde::de::DeserializeOwned;
use serialproxy_config::values::KeystoneAuth;
use tokio::sync::Semaphore;

use crate::reach::Reach;
use crate::unavailable::Service;
use crate::unavailable::Unavailable;

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(5);

/// How long a whole answer may take, including the wait for a free place.
const ANSWER: Duration = Duration::from_secs(10);

/// Simultaneous calls; further ones wait.
const CALLS: usize = 64;

/// 4 MiB: the catalog of a cloud with thousands of endpoints.
const BODY: usize = 4 << 20;

#[derive(Debug)]
pub(crate) struct Http {
    client: Client,
    room: Semaphore,
    pub(crate) reach: Reach,
}

/// A complete answer.
pub(crate) struct Answer {
    pub(crate) service: Service,
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    body: Vec<u8>,
}

impl Http {
    /// A client with the CA bundle of the options, and with the proxies of the environment.
    pub(crate) fn new(auth: &KeystoneAuth) -> Result<Self, Unavailable> {
        let client = || {
            Client::builder()
                .connect_timeout(CONNECT)
                .redirect(Policy::none())
                .tls_danger_accept_invalid_certs(auth.insecure)
        };
        let built = match &auth.cafile {
            Some(cafile) => client().tls_certs_only(certificates(cafile)?).build(),
            // A system without certificates can still speak http.
            None => client().build().or_else(|_| client().tls_certs_only([]).build()),
        };
        let client = built.map_err(|error| {
            Service::Keystone.failed(format!("cannot be reached: {}", root_cause(&error)))
        })?;
        Ok(Self { client, room: Semaphore::new(CALLS), reach: Reach::default() })
    }

    pub(crate) fn request(&self, method: Method, url: &str) -> RequestBuilder {
        self.client.request(method, url).header(ACCEPT, "application/json")
    }

    /// Sends a call; returns the answer, whatever its status.
    pub(crate) async fn send(
        &self,
        service: Service,
        request: RequestBuilder,
    ) -> Result<Answer, Unavailable> {
        let answer = async {
            let _place = self.room.acquire().await;
            let response = request.send().await.map_err(|error| unreachable(service, &error))?;
            let (status, headers) = (response.status(), response.headers().clone());
            let body = read(service, response).await?;
            Ok(Answer { service, status, headers, body })
        };
        let answer = match tokio::time::timeout(ANSWER, answer).await {
            Ok(answer) => answer,
            Err(_) => Err(service.failed(format!("did not respond within {} s", ANSWER.as_secs()))),
        };
        let failure = match &answer {
            Ok(answer) if answer.status.is_server_error() => Some(answer.strange()),
            Ok(_) => None,
            Err(failure) => Some(failure.clone()),
        };
        self.reach.note(service, failure.as_ref());
        answer
    }
}

impl Answer {
    /// The body, parsed as JSON.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<T, Unavailable> {
        // The parser's error text may repeat a part of the answer.
        serde_json::from_slice(&self.body)
            .map_err(|_| self.service.failed("sent an invalid response"))
    }

    /// Whether the service itself says, in its own form, that the object does not exist. A proxy in
    /// front of it, or another service at a wrong URL, answers differently.
    pub(crate) fn is_not_found(&self) -> bool {
        let name = match self.service {
            Service::Keystone => "error",
            Service::Nova => "itemNotFound",
        };
        let fault = || serde_json::from_slice::<serde_json::Value>(&self.body).ok();
        self.status == StatusCode::NOT_FOUND && fault().is_some_and(|f| f.get(name).is_some())
    }

    /// The error for a status that has no meaning here.
    pub(crate) fn strange(&self) -> Unavailable {
        self.service.failed(format!("responded with status {}", self.status.as_u16()))
    }
}

async fn read(service: Service, mut response: Response) -> Result<Vec<u8>, Unavailable> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| unreachable(service, &error))? {
        if body.len() + chunk.len() > BODY {
            return Err(service.failed(format!("sent a response of more than {BODY} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn certificates(cafile: &Path) -> Result<Vec<Certificate>, Unavailable> {
    let bad = |what: &dyn std::fmt::Display| {
        let file = cafile.display();
        Service::Keystone.failed(format!("cannot be reached: cafile {file}: {what}"))
    };
    let pem = std::fs::read(cafile).map_err(|error| bad(&error))?;
    match Certificate::from_pem_bundle(&pem) {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(bad(&"it contains no certificate")),
    }
}

/// The text of the innermost cause, since the outer ones contain the URL.
fn unreachable(service: Service, error: &reqwest::Error) -> Unavailable {
    service.failed(format!("cannot be reached: {}", root_cause(error)))
}

fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    if cause.is::<reqwest::Error>() { "the request failed".into() } else { cause.to_string() }
}
