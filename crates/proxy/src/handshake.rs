//! The WebSocket handshake (RFC 6455 section 4.2) and everything that is checked in it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::HeaderMap;
use http::HeaderValue;
use http::Request;
use http::Response;
use http::StatusCode;
use http::header;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use serialproxy_line::Attachment;
use serialproxy_line::Keyboard;
use serialproxy_line::Start;
use serialproxy_line::Visitor;
use serialproxy_proto::api::Protocol;
use serialproxy_proto::console::SUBPROTOCOL;
use serialproxy_proto::refusal::Refusal;
use serialproxy_proto::token::ConsoleToken;
use serialproxy_proto::token::Mode;
use serialproxy_tls::Stream;
use tokio::runtime;
use tokio::runtime::Handle;

use crate::Backing;
use crate::Proxy;
use crate::backing::Console;
use crate::http::Answer;
use crate::origin;
use crate::session;
use crate::session::Session;
use crate::session::Socket;
use crate::ticket::Admission;
use crate::ticket::Ticket;

/// How long a line that is just being connected is waited for.
const CONNECTING: Duration = Duration::from_secs(2);

/// How long a raw client waits for a port that Nova named, and that may have been made a moment ago:
/// an ironic node's console takes seconds.
const SLOW: Duration = Duration::from_secs(5);

/// How long a user's own session that writes is waited for: who closes a connection and opens the
/// next may be here before the end of the first is noticed. A refusal takes 100 ms at most.
const OWN_LEAVES: Duration = Duration::from_millis(30);

/// How long to wait for hyper to hand the connection over once the 101 is written.
const UPGRADE: Duration = Duration::from_secs(10);

/// Appended to the client's key before hashing (RFC 6455 section 1.3).
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

pub(crate) fn is_upgrade<B>(request: &Request<B>) -> bool {
    request
        .headers()
        .get(header::UPGRADE)
        .is_some_and(|upgrade| upgrade.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// What follows on a connection once the 101 is written.
pub(crate) struct Upgrade {
    connection: OnUpgrade,
    /// The runtime that serves the connection until then.
    runtime: runtime::Id,
    admitted: Result<Admitted, Refusal>,
    proxy: Arc<Proxy>,
}

struct Admitted {
    attachment: Attachment,
    keyboard: Keyboard,
    protocol: Protocol,
}

pub(crate) async fn answer(
    proxy: &Arc<Proxy>,
    peer: SocketAddr,
    request: Request<Incoming>,
) -> (Answer, Option<Upgrade>) {
    let (accept, offer) = match read_handshake(request.headers()) {
        Ok(handshake) => handshake,
        Err(why) => return (refuse(&Refusal::BadRequest(why.into())), None),
    };
    let (subprotocol, protocol) = match offer {
        Some((name, protocol)) => (Some(name), protocol),
        None => (None, Protocol::Raw),
    };
    let admitted = admit(proxy, peer, protocol, &request).await;
    if let Err(refusal) = &admitted {
        tracing::info!(%peer, reason = %refusal, "attach refused");
        // A browser hides the status of a failed handshake: there, accept first.
        if protocol == Protocol::Raw {
            return (refuse(refusal), None);
        }
    }
    let answer = switching_protocols(&accept, subprotocol);
    let connection = hyper::upgrade::on(request);
    let (runtime, proxy) = (Handle::current().id(), Arc::clone(proxy));
    (answer, Some(Upgrade { connection, runtime, admitted, proxy }))
}

impl Upgrade {
    /// Where it is to run: a session runs where its line does.
    pub(crate) fn runtime(&self) -> Handle {
        match &self.admitted {
            Ok(admitted) => admitted.attachment.runtime().clone(),
            Err(_) => Handle::current(),
        }
    }

    /// The session, or none and the client is told why.
    pub(crate) async fn begin(self) -> Option<Box<Session>> {
        let upgraded = tokio::time::timeout(UPGRADE, self.connection).await.ok()?.ok()?;
        let parts = upgraded.downcast::<TokioIo<Stream>>().ok()?;
        let moved = match Handle::current().id() == self.runtime {
            true => Ok(parts.io.into_inner()),
            false => parts.io.into_inner().moved(),
        };
        let socket = Socket::new(moved.ok()?, &parts.read_buf);
        match self.admitted {
            Ok(Admitted { attachment, keyboard, protocol }) => {
                let proxy = self.proxy;
                let recording = proxy.recorder.as_ref().map(|recorder| recorder.begin(&keyboard));
                let session = Session { socket, attachment, keyboard, protocol, recording, proxy };
                Some(Box::new(session))
            }
            Err(refusal) => {
                session::refuse(socket, &refusal).await;
                None
            }
        }
    }
}

/// Everything that decides whether this client may attach, in Nova's order: token, Origin, line.
async fn admit(
    proxy: &Arc<Proxy>,
    peer: SocketAddr,
    protocol: Protocol,
    request: &Request<Incoming>,
) -> Result<Admitted, Refusal> {
    if proxy.lines.is_draining() {
        return Err(Refusal::Draining);
    }
    let query = request.uri().query().unwrap_or_default();
    let Ticket { admission, mode, start } = Ticket::read(query, request.headers(), protocol)?;
    let console = &proxy.config.serial_console;
    let check_origin = || {
        let allowed = &proxy.config.console.allowed_origins;
        origin::check(request.headers(), &console.base_url, allowed).map_err(Refusal::Origin)
    };
    let address = peer.to_string();
    let (attachment, keyboard) = match admission {
        Admission::Token(token) => {
            let console = proxy.backing.look_up(&token).await?;
            check_origin()?;
            attach(proxy, &token, &console, Wish { mode, start, protocol, address }).await?
        }
        Admission::Resume(key) => {
            check_origin()?;
            let line = proxy.lines.get(key.line()).ok_or(Refusal::Resume)?;
            line.resume(&key, start, &address)?
        }
    };
    Ok(Admitted { attachment, keyboard, protocol })
}

/// What a client with a token wants.
struct Wish {
    mode: Option<Mode>,
    start: Start,
    protocol: Protocol,
    address: String,
}

async fn attach(
    proxy: &Arc<Proxy>,
    token: &ConsoleToken,
    console: &Console,
    Wish { mode, start, protocol, address }: Wish,
) -> Result<(Attachment, Keyboard), Refusal> {
    let mode = mode.unwrap_or(console.mode);
    if mode == Mode::Write && console.mode == Mode::Watch {
        return Err(Refusal::Mode);
    }
    let line = proxy.backing.line(proxy, console)?;
    match &proxy.backing {
        Backing::Nova(_) if protocol == Protocol::Raw => line.connected(SLOW).await,
        _ => line.is_connecting() && line.connected(CONNECTING).await,
    };
    let consoleauth = &proxy.config.consoleauth;
    let visitor = Visitor {
        user: console.user.clone(),
        mode,
        may: console.mode,
        operator: console.operator,
        wait: console.wait,
        limit: console.expires.filter(|_| consoleauth.enforce_session_timeout),
        protocol,
        address,
        start,
        now: Timestamp::now(),
    };
    let attached = match line.attach(&visitor) {
        Err(Refusal::Busy { user, .. }) if user == visitor.user => {
            line.pen_free(OWN_LEAVES).await;
            line.attach(&visitor)?
        }
        attached => attached?,
    };
    if consoleauth.single_use {
        proxy.backing.spend(token).await?;
    }
    if consoleauth.enforce_session_timeout {
        proxy.backing.watch_over(token, &attached.1);
    }
    Ok(attached)
}

type Offer = (HeaderValue, Protocol);

/// Checks the handshake's headers: the value for `Sec-WebSocket-Accept`, and the subprotocol that
/// is chosen among those that the client offers.
fn read_handshake(headers: &HeaderMap) -> Result<(String, Option<Offer>), &'static str> {
    match headers.get(header::SEC_WEBSOCKET_VERSION) {
        None => return Err("Missing Sec-WebSocket-Version header"),
        // 7 and 8 are drafts of 13 with the same frames; old clients of Nova's proxy say so.
        Some(version) if ["7", "8", "13"].iter().any(|known| version == known) => {}
        Some(_) => return Err("Unsupported protocol version: 13 is spoken here"),
    }
    let key = headers.get(header::SEC_WEBSOCKET_KEY).ok_or("Missing Sec-WebSocket-Key header")?;
    let mut hash = sha1_smol::Sha1::new();
    hash.update(key.as_bytes());
    hash.update(GUID.as_bytes());
    Ok((BASE64_STANDARD.encode(hash.digest().bytes()), choose_subprotocol(headers)?))
}

fn choose_subprotocol(headers: &HeaderMap) -> Result<Option<Offer>, &'static str> {
    let offered: Vec<&str> = headers
        .get_all(header::SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .collect();
    if offered.contains(&SUBPROTOCOL) {
        Ok(Some((HeaderValue::from_static(SUBPROTOCOL), Protocol::ConsoleV1)))
    } else if offered.contains(&"binary") {
        Ok(Some((HeaderValue::from_static("binary"), Protocol::Raw)))
    } else if offered.is_empty() {
        Ok(None)
    } else {
        Err("Invalid protocol selected: binary and console.v1 are spoken here")
    }
}

fn switching_protocols(accept: &str, subprotocol: Option<HeaderValue>) -> Answer {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = answer.headers_mut();
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    if let Ok(accept) = HeaderValue::from_str(accept) {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    if let Some(subprotocol) = subprotocol {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, subprotocol);
    }
    answer
}

fn refuse(refusal: &Refusal) -> Answer {
    let status = match refusal {
        Refusal::BadRequest(_) => StatusCode::BAD_REQUEST,
        Refusal::Token | Refusal::Resume => StatusCode::UNAUTHORIZED,
        Refusal::Origin(_) | Refusal::Mode => StatusCode::FORBIDDEN,
        Refusal::NoSuchLine(_) => StatusCode::NOT_FOUND,
        Refusal::Busy { .. } | Refusal::Stopped { .. } => StatusCode::CONFLICT,
        Refusal::Unreachable(_) => StatusCode::BAD_GATEWAY,
        Refusal::Unavailable(_) | Refusal::TooMany(_) | Refusal::Draining => {
            StatusCode::SERVICE_UNAVAILABLE
        }
    };
    refused(status, &refusal.to_string())
}

/// A refusal before the upgrade: a status, an empty body, and the reason in a header, so that a
/// client that takes everything after the head for console output sees none.
pub(crate) fn refused(status: StatusCode, reason: &str) -> Answer {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = status;
    let reason: String =
        reason.chars().map(|c| if c.is_ascii_graphic() { c } else { ' ' }).collect();
    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    if let Ok(reason) = HeaderValue::from_str(&reason) {
        answer.headers_mut().insert("x-console-reason", reason);
    }
    answer
}

#[cfg(test)]
mod tests {
    use serialproxy_proto::id::SessionId;

    use super::*;

    fn chosen(offers: &[&str]) -> Result<Option<String>, &'static str> {
        let mut headers = HeaderMap::new();
        for offer in offers {
            headers.append(header::SEC_WEBSOCKET_PROTOCOL, offer.parse().unwrap());
        }
        let chosen = choose_subprotocol(&headers)?;
        Ok(chosen.map(|(name, _)| name.to_str().unwrap().to_owned()))
    }

    #[test]
    fn every_offer_seen_in_the_wild_gets_binary_or_nothing() {
        assert_eq!(chosen(&[]), Ok(None));
        for offer in ["binary", "binary, base64", "binary,base64", "base64, binary"] {
            assert_eq!(chosen(&[offer]), Ok(Some("binary".into())), "{offer}");
        }
        assert!(chosen(&["base64"]).is_err());
    }

    #[test]
    fn console_v1_is_preferred() {
        assert_eq!(chosen(&["binary", "console.v1"]), Ok(Some("console.v1".into())));
    }

    #[test]
    fn the_accept_value_is_that_of_the_rfc_s_example() {
        let mut headers = HeaderMap::new();
        headers.insert(header::SEC_WEBSOCKET_VERSION, "13".parse().unwrap());
        headers.insert(header::SEC_WEBSOCKET_KEY, "dGhlIHNhbXBsZSBub25jZQ==".parse().unwrap());
        let (accept, _) = read_handshake(&headers).unwrap();
        assert_eq!(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn a_refusal_has_an_empty_body_and_its_reason_in_a_header() {
        let (session, since) = (SessionId::new(), Timestamp::UNIX_EPOCH);
        let answer = refuse(&Refusal::Busy { session, user: "ali\nce".into(), since });
        assert_eq!(answer.status(), 409);
        assert_eq!(answer.headers()["x-console-reason"], "busy: ali ce since 1970-01-01T00:00:00Z");
    }
}
