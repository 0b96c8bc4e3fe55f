//! The response to a WebSocket handshake, and the decision whether and where its client may attach.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use http::HeaderValue;
use http::Request;
use http::Response;
use http::StatusCode;
use http::header;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use serialproxy_console::Consoles;
use serialproxy_console::Session;
use serialproxy_console::Socket;
use serialproxy_limits::Source;
use serialproxy_limits::seldom;
use serialproxy_line::Attachment;
use serialproxy_line::Keyboard;
use serialproxy_metrics as metrics;
use serialproxy_proto::api::Protocol;
use serialproxy_proto::bounds::logged;
use serialproxy_proto::cause::Cause;
use serialproxy_proto::console::SUBPROTOCOL;
use serialproxy_proto::refusal::Refusal;
use serialproxy_tls::Stream;
use serialproxy_tls::Timed;
use tokio::runtime;
use tokio::runtime::Handle;

use crate::Backing;
use crate::Proxy;
use crate::admission;
use crate::admission::Wish;
use crate::answer::Answer;
use crate::answer::CAUSE;
use crate::answer::closing;
use crate::answer::refuse;
use crate::answer::refused;
use crate::client::Client;
use crate::evidence;
use crate::evidence::Known;
use crate::hosts;
use crate::hosts::Reach;
use crate::origin;
use crate::passing;
use crate::passing::Host;
use crate::passing::Passed;
use crate::ticket::Admission;
use crate::ticket::Ticket;
use crate::tunnel::Leaving;
use crate::tunnel::Tunnel;
use crate::upgrade;
use crate::upgrade::Offer;
use crate::upgrade::Violation;
use crate::wrong_tokens::count_wrong;
use crate::wrong_tokens::may_show_key;

/// How long to wait until hyper hands the connection over after the 101.
const UPGRADE: Duration = Duration::from_secs(10);

/// Maximum length of a refusal in the log, in bytes.
const REFUSAL: usize = 300;

/// What follows on a connection after the 101.
pub(crate) struct Upgrade {
    connection: OnUpgrade,
    /// The runtime that serves the connection until the 101.
    runtime: runtime::Id,
    then: Then,
}

/// The kinds of [`Upgrade`].
enum Then {
    /// A session at a line of this process.
    Session(Admitted, Arc<Consoles>),
    /// A session on another host.
    Tunnel(Box<Host>, Leaving),
    /// No session: the client is told why.
    Refusal(Refusal),
}

/// An upgraded connection that is ready to run.
pub(crate) enum Running {
    Session(Box<Session>),
    Tunnel(Box<Tunnel>),
}

struct Admitted {
    attachment: Attachment,
    keyboard: Keyboard,
    protocol: Protocol,
}

/// Where a client may attach.
enum Place {
    Here(Admitted),
    Elsewhere(Passed),
}

pub(crate) async fn answer(
    proxy: &Arc<Proxy>,
    client: Client,
    request: Request<Incoming>,
) -> (Answer, Option<Upgrade>) {
    let began = Instant::now();
    let answered = attend(proxy, client, request).await;
    // Who passed the request on counts it.
    if !client.passed_on {
        count(&answered.0, began);
    }
    answered
}

/// Counts what became of a request for a session.
fn count(answer: &Answer, began: Instant) {
    let word = |name| answer.headers().get(name).and_then(|value| value.to_str().ok());
    match word(CAUSE).map(Cause::of) {
        Some(cause) => metrics::REFUSALS.of(cause).inc(),
        None if answer.status() == StatusCode::SWITCHING_PROTOCOLS => {
            let is_v1 = word(header::SEC_WEBSOCKET_PROTOCOL) == Some(SUBPROTOCOL);
            let protocol = if is_v1 { Protocol::ConsoleV1 } else { Protocol::Raw };
            metrics::HANDSHAKES.of(protocol).inc();
            metrics::ATTACH_SECONDS.observe(began.elapsed());
        }
        // Of a host that names no cause.
        None => metrics::REFUSALS.of(Cause::Unknown).inc(),
    }
}

async fn attend(
    proxy: &Arc<Proxy>,
    client: Client,
    request: Request<Incoming>,
) -> (Answer, Option<Upgrade>) {
    let offer = match upgrade::read(&request) {
        Ok(offer) => offer,
        Err(violation) => {
            // The operator has to correct the reverse proxy, and clients often do not show the reason.
            if violation.stripped && seldom::is_due("upgrade") {
                let (address, reason) = (client.address, violation.reason);
                tracing::warn!(%address, reason, "a WebSocket is refused");
            }
            evidence::broken(proxy, client);
            return (not_a_handshake(&violation), None);
        }
    };
    let protocol = offer.protocol;
    let mut known = Known::default();
    let admitted = tokio::select! {
        biased;
        // First, so that no pending look-up delays it.
        () = draining(proxy, client) => Err(Refusal::Draining),
        admitted = admit(proxy, client, protocol, &request, &mut known) => admitted,
    };
    let (answer, then) = match admitted {
        Ok(Place::Here(admitted)) => {
            let then = Then::Session(admitted, Arc::clone(&proxy.consoles));
            (switching_protocols(&offer), then)
        }
        Ok(Place::Elsewhere(Passed { answer, host: Some(host) })) => {
            (answer, Then::Tunnel(Box::new(host), Leaving::of(proxy)))
        }
        Ok(Place::Elsewhere(Passed { answer, host: None })) => {
            if passing::is_wrong(&answer) {
                count_wrong(proxy, client).await;
            }
            return (closing(answer), None);
        }
        Err(refusal) => {
            if matches!(refusal, Refusal::Token | Refusal::Resume) {
                count_wrong(proxy, client).await;
            }
            log_refusal(proxy, client, &refusal);
            evidence::refused(proxy, client, known, &refusal);
            // A browser hides the status of a failed handshake, so console.v1 is accepted first.
            if protocol == Protocol::Raw {
                return (refuse(&refusal), None);
            }
            let mut answer = switching_protocols(&offer);
            // Tells a proxy that passed the request on.
            answer.headers_mut().insert(CAUSE, cause_of(&refusal));
            (answer, Then::Refusal(refusal))
        }
    };
    let connection = hyper::upgrade::on(request);
    (answer, Some(Upgrade { connection, runtime: Handle::current().id(), then }))
}

/// Waits until this process accepts no more sessions for this client.
async fn draining(proxy: &Proxy, client: Client) {
    let drained = async {
        match proxy.backing {
            // The other proxies reach a port that this process owns only through it.
            Backing::Cluster(_) | Backing::Nova(_) if !client.passed_on => {
                proxy.drain.wanted().await;
            }
            _ => pending().await,
        }
    };
    tokio::select! {
        () = proxy.lines.draining() => {}
        () = drained => {}
    }
}

/// Waits until the lines of this host accept no new sessions. Sessions can still resume.
async fn host_drained(proxy: &Proxy) {
    match proxy.backing {
        Backing::Own(..) => proxy.drain.wanted().await,
        Backing::Cluster(_) | Backing::Nova(_) => pending().await,
    }
}

/// Logs a refusal. Anyone can cause refusals, so the line is short, and the lines of an address are limited.
fn log_refusal(proxy: &Proxy, client: Client, refusal: &Refusal) {
    let address = Source::from(client.address.ip());
    if proxy.refusals.count(&address, Instant::now()).is_zero() {
        let reason = logged(&refusal.to_string(), REFUSAL);
        tracing::warn!(peer = %client.name(), %reason, "attach refused");
    }
}

impl Upgrade {
    /// The runtime on which it runs: for a session, the runtime of its line.
    pub(crate) fn runtime(&self) -> Handle {
        match &self.then {
            Then::Session(admitted, _) => admitted.attachment.runtime().clone(),
            Then::Tunnel(..) | Then::Refusal(_) => Handle::current(),
        }
    }

    /// Takes the connection over. Returns none if it failed, or if the client was only told why it is refused.
    pub(crate) async fn begin(self) -> Option<Running> {
        let upgraded = tokio::time::timeout(UPGRADE, self.connection).await.ok()?.ok()?;
        let parts = upgraded.downcast::<TokioIo<Timed<Stream>>>().ok()?;
        let stream = parts.io.into_inner().into_inner();
        let moved = match Handle::current().id() == self.runtime {
            true => Ok(stream),
            false => stream.moved(),
        };
        let stream = moved.ok()?;
        stream.forget_reader();
        let early = &parts.read_buf;
        match self.then {
            Then::Session(Admitted { attachment, keyboard, protocol }, consoles) => {
                let socket = Socket::new(stream, early);
                let attached = (attachment, keyboard);
                Some(Running::Session(Session::new(consoles, socket, attached, protocol)))
            }
            Then::Tunnel(host, leaving) => {
                Some(Running::Tunnel(Tunnel::new(stream, early, *host, leaving)))
            }
            Then::Refusal(refusal) => {
                serialproxy_console::refuse(Socket::new(stream, early), &refusal).await;
                None
            }
        }
    }
}

/// Decides whether and where this client may attach. The order is Nova's: token, Origin, line.
async fn admit(
    proxy: &Arc<Proxy>,
    client: Client,
    protocol: Protocol,
    request: &Request<Incoming>,
    known: &mut Known,
) -> Result<Place, Refusal> {
    let query = request.uri().query().unwrap_or_default();
    let Ticket { admission, mode, start } = Ticket::read(query, request.headers(), protocol)?;
    let rule = match proxy.backing {
        Backing::Own(..) | Backing::Cluster(_) => origin::Rule::Own { tls: client.secure },
        // Nova's proxy trusts these headers from every client. So does this one, unless trusted_proxies is set.
        Backing::Nova(_) => origin::Rule::Nova {
            believes: client.trusted || proxy.config.proxy.trusted_proxies.is_empty(),
        },
    };
    let check_origin = || match client.passed_on {
        // The first proxy checked it, because only that one has the address that the page used.
        true => Ok(()),
        false => origin::check(request.headers(), &proxy.config, rule).map_err(Refusal::Origin),
    };
    let wrong = match admission {
        Admission::Token(_) => Refusal::Token,
        Admission::Resume(_) => Refusal::Resume,
    };
    let pass_on = async |hosts: &dyn Reach, host: &str| {
        let passed = passing::attach(proxy, (hosts, host), client, request).await?;
        // On console.v1, a host answers 101 before it refuses. Its connection is closed before the user is told.
        match passed.host.is_some() && passing::is_wrong(&passed.answer) {
            true => Err(wrong.clone()),
            false => Ok(Place::Elsewhere(passed)),
        }
    };
    let here = |(attachment, keyboard)| Place::Here(Admitted { attachment, keyboard, protocol });
    if let Backing::Cluster(hosts) = &proxy.backing {
        check_origin()?;
        if wrong == Refusal::Resume {
            may_show_key(proxy, client).await?;
        }
        let host = hosts::find(&**hosts, admission.sought()).await?;
        known.refused_elsewhere = true;
        return pass_on(&**hosts, &host).await;
    }
    match admission {
        Admission::Token(token) => {
            let attached = async {
                let mut console = proxy.backing.look_up(&token, client.of_nova).await?;
                known.set(&console);
                check_origin()?;
                if let Some((others, host)) = proxy.backing.elsewhere(&mut console).await? {
                    if client.passed_on {
                        let text = "another host serves this console now, try again";
                        return Err(Refusal::HostLost(text.into()));
                    }
                    return pass_on(others, &host).await;
                }
                let wish = Wish { mode, start, protocol, client };
                Ok(here(admission::attach(proxy, &token, console, wish).await?))
            };
            tokio::select! {
                biased;
                // First, so that no pending look-up delays it.
                () = host_drained(proxy) => Err(Refusal::HostDraining),
                attached = attached => attached,
            }
        }
        Admission::Resume(key) => {
            check_origin()?;
            let line = proxy.lines.of_key(&key).await;
            let known = line.as_ref().ok();
            let elsewhere = proxy.backing.resumed_elsewhere(client, known, &key).await?;
            if let Some((others, host)) = elsewhere {
                may_show_key(proxy, client).await?;
                return pass_on(others, &host).await;
            }
            Ok(here(line?.resume(&key, start, &client.name())?))
        }
    }
}

fn cause_of(refusal: &Refusal) -> HeaderValue {
    HeaderValue::from_static(refusal.cause().as_str())
}

fn switching_protocols(offer: &Offer) -> Answer {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = answer.headers_mut();
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    if let Ok(accept) = HeaderValue::from_str(&offer.accept) {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    if let Some(subprotocol) = offer.subprotocol {
        let subprotocol = HeaderValue::from_static(subprotocol);
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, subprotocol);
    }
    answer
}

fn not_a_handshake(violation: &Violation) -> Answer {
    let mut answer = refused(violation.status, Cause::Handshake, violation.reason);
    if let Some((name, value)) = &violation.instead {
        answer.headers_mut().insert(name.clone(), HeaderValue::from_static(value));
    }
    answer
}
