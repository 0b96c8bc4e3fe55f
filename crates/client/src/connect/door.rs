//! Attaching: from the API's URL to an attached connection.

use std::net::SocketAddr;
use std::time::Duration;

use reqwest::Url;
use serialproxy_proto::close::CloseCode;
use serialproxy_proto::console::Action;
use serialproxy_proto::console::ClientMessage;
use serialproxy_proto::console::Hello;
use serialproxy_proto::console::PenAction;
use serialproxy_proto::console::ServerMessage;
use serialproxy_proto::console::Size;
use serialproxy_proto::id::SessionId;
use serialproxy_proto::token::AskedMode;
use serialproxy_proto::token::Mode;
use tokio::time::Instant;
use tokio::time::timeout;
use uuid::Uuid;

use crate::api::Api;
use crate::api::ConsoleRequest;
use crate::command::Begin;
use crate::connect::addresses::Addresses;
use crate::connect::terminal::grid;
use crate::connect::view::Seen;
use crate::connect::wire::Event;
use crate::connect::wire::Wire;
use crate::failure::Failure;
use crate::failure::known;
use crate::failure::root_cause;

/// How long a proxy may take for its first message; it may have to look the token up at the API.
const HELLO_TIME: Duration = Duration::from_secs(10);

/// How long to try the addresses of the host name, one after the other. The rest is tried the next
/// time.
const ROUND_TIME: Duration = Duration::from_secs(30);

/// Opens connections to one console.
#[derive(Debug)]
pub(crate) struct Door<'a> {
    api: &'a Api,
    addresses: Addresses,
    /// The address of the last connection.
    address: Option<SocketAddr>,
    request: ConsoleRequest,
    mode: AskedMode,
    /// Whether the server is too old for [`AskedMode::Auto`].
    is_old: bool,
    /// How to claim the pen from its holder, only at the first attempt: a later holder came while
    /// this client was disconnected.
    claim: Option<Claim>,
    /// Where the output begins, at the first attempt.
    from: Option<Begin>,
    /// The URL of the last connection. Its token may have expired since.
    url: Option<Url>,
    /// The key for resuming the last connection's session; valid once.
    key: Option<Key>,
    /// The session of the last connection.
    session: Option<SessionId>,
    /// The same, if it was typing.
    typed: Option<SessionId>,
    /// The position at the end of the last connection.
    seen: Option<Seen>,
}

/// How to claim the pen from its holder, with the reason for the holder.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    pub(crate) by_force: bool,
    pub(crate) reason: Option<String>,
}

/// The claim of a returning client on its own lost session, which is granted at once.
const TAKE_BACK: Claim = Claim { by_force: false, reason: None };

#[derive(Debug)]
struct Key {
    session: SessionId,
    secret: String,
}

/// A connection that has received its `hello`.
#[derive(Debug)]
pub(crate) struct Attached {
    pub(crate) wire: Wire,
    pub(crate) hello: Hello,
    /// Whether the session of the last connection was resumed.
    pub(crate) resumed: bool,
    /// Whether the session's count of input continues: serialproxy was not restarted.
    pub(crate) counts_on: bool,
    /// Whether the pen was requested by force, and input follows the request.
    pub(crate) taking: bool,
    /// The requested offset of this line's output.
    pub(crate) asked: Option<u64>,
    /// The session of the last connection, if it was typing.
    pub(crate) typed: Option<SessionId>,
    /// Whether the output begins with what was printed before: the current screen, or history.
    pub(crate) painted: bool,
    /// The address of the console, without a secret.
    pub(crate) address: String,
}

impl<'a> Door<'a> {
    pub(crate) fn new(
        api: &'a Api,
        request: ConsoleRequest,
        mode: AskedMode,
        claim: Option<Claim>,
        from: Option<Begin>,
    ) -> Self {
        Self {
            api,
            addresses: Addresses::default(),
            address: None,
            request,
            mode,
            is_old: false,
            claim,
            from,
            url: None,
            key: None,
            session: None,
            typed: None,
            seen: None,
        }
    }

    /// Makes the next connection continue where the last one, which did not watch unless `mode` is to
    /// watch, ended; at another address if there is one.
    pub(crate) fn go_on(&mut self, seen: Seen, mode: AskedMode) {
        if let Some(address) = self.address.take() {
            self.addresses.postpone(address);
        }
        self.claim = None;
        self.seen = Some(seen);
        self.typed = self.session.filter(|_| mode != AskedMode::Only(Mode::Watch));
        self.mode = mode;
    }

    /// Whether `line` is another than the line of the last connection.
    pub(crate) fn is_news(&self, line: Uuid) -> bool {
        self.seen.is_some_and(|seen| seen.line != line)
    }

    /// Attaches: resumes the last connection's session while the proxy knows it; otherwise uses the
    /// last URL, or else a new one.
    pub(crate) async fn attach(&mut self) -> Result<Attached, Failure> {
        let attached = match self.come_back().await {
            Some(attached) => attached?,
            None => self.come_new().await?,
        };
        Ok(self.entered(attached))
    }

    /// Resumes the last connection's session; `None` where the proxy does not know it any more.
    pub(crate) async fn resume(&mut self) -> Option<Result<Attached, Failure>> {
        let attached = self.come_back().await?;
        Some(attached.map(|attached| self.entered(attached)))
    }

    fn entered(&mut self, mut attached: Attached) -> Attached {
        let session = attached.hello.session;
        attached.resumed = self.key.as_ref().is_some_and(|key| key.session == session);
        attached.counts_on = attached.resumed && !self.is_news(attached.hello.line);
        attached.typed = self.typed;
        attached.address =
            self.url.as_ref().map_or_else(String::new, |url| page(url, &attached.hello));
        self.session = Some(session);
        self.key = attached.hello.resume.clone().map(|secret| Key { session, secret });
        if !self.is_news(attached.hello.line) {
            attached.asked = self.seen.map(|seen| seen.offset);
        }
        attached
    }

    /// `None` where there is no session to resume.
    async fn come_back(&mut self) -> Option<Result<Attached, Failure>> {
        let url = resume_url(self.url.as_ref()?, &self.key.as_ref()?.secret);
        match self.open(url, None).await {
            Err(Failure::Closed { code, .. }) if known(code) == Some(CloseCode::Token) => {
                self.key = None;
                None
            }
            result => Some(result),
        }
    }

    async fn come_new(&mut self) -> Result<Attached, Failure> {
        if let Some(url) = self.url.clone() {
            match self.enter(&url).await {
                Err(Failure::Closed { code, .. }) if known(code) == Some(CloseCode::Token) => {}
                result => return result,
            }
        }
        let url = websocket_url(&self.api.console_url(self.request).await?)?;
        let attached = self.enter(&url).await;
        self.url = Some(url);
        attached
    }

    async fn enter(&mut self, url: &Url) -> Result<Attached, Failure> {
        let attached = match self.mode {
            AskedMode::Auto => self.yielding(url).await,
            mode => self.open(url.clone(), Some(mode)).await,
        };
        match attached {
            Err(Failure::Closed { code, reason, own }) if known(code) == Some(CloseCode::Busy) => {
                let back = (own && self.seen.is_some()).then_some(TAKE_BACK);
                match self.claim.clone().or(back) {
                    Some(claim) => self.claim(url, claim, reason).await,
                    None => Err(Failure::Closed { code, reason, own }),
                }
            }
            attached => attached,
        }
    }

    /// Attaches as a watcher if somebody else types.
    async fn yielding(&mut self, url: &Url) -> Result<Attached, Failure> {
        let is = |failure: &Failure, wanted| matches!(failure, Failure::Closed { code, .. } if known(*code) == Some(wanted));
        if !self.is_old {
            match self.open(url.clone(), Some(AskedMode::Auto)).await {
                Err(failure) if is(&failure, CloseCode::ProtocolError) => self.is_old = true,
                attached => return attached,
            }
        }
        match self.open(url.clone(), None).await {
            Err(failure) if is(&failure, CloseCode::Busy) => {
                self.open(url.clone(), Some(AskedMode::Only(Mode::Watch))).await
            }
            attached => attached,
        }
    }

    /// Attaches as a watcher, and claims the pen.
    async fn claim(&mut self, url: &Url, claim: Claim, busy: String) -> Result<Attached, Failure> {
        let watching = AskedMode::Only(Mode::Watch);
        let mut attached = self.open(url.clone(), Some(watching)).await?;
        let Claim { by_force, reason } = claim;
        let action = if by_force { PenAction::Force } else { PenAction::Request };
        if by_force && !attached.hello.can.contains(&Action::Force) {
            attached.wire.close().await;
            return Err(Failure::MayNotForce { busy, user: attached.hello.user });
        }
        attached.wire.send_control(&ClientMessage::Pen { action, reason });
        if by_force {
            // Input from here on follows the message above.
            attached.hello.mode = Mode::Write;
            attached.taking = true;
        }
        Ok(attached)
    }

    /// Attaches at the first of the host name's addresses that succeeds.
    async fn open(&mut self, mut url: Url, mode: Option<AskedMode>) -> Result<Attached, Failure> {
        let painted = self.ask(&mut url, mode);
        let unreachable =
            |cause| Failure::Proxy { address: url.origin().ascii_serialization(), cause };
        let addresses = self.addresses.look_up(&url).await;
        let addresses = addresses.map_err(|error| unreachable(root_cause(&error)))?;
        let mut failure = unreachable("its name has no address".to_owned());
        let start = Instant::now();
        for address in &addresses {
            let is_last = addresses.last() == Some(address);
            match open_at(self.api, &url, *address, is_last).await {
                Ok((wire, hello)) => {
                    self.address = Some(*address);
                    let resumed = false;
                    return Ok(Attached {
                        wire,
                        hello,
                        resumed,
                        counts_on: false,
                        taking: false,
                        asked: None,
                        typed: None,
                        painted,
                        address: String::new(),
                    });
                }
                // The answer of a proxy is more useful than a failure to reach another one.
                Err(now) if passes(&now) => match failure {
                    Failure::Proxy { .. } | Failure::Lost(_) => failure = now,
                    _ => {}
                },
                Err(failure) => return Err(failure),
            }
            self.addresses.postpone(*address);
            if start.elapsed() > ROUND_TIME {
                break;
            }
        }
        Err(failure)
    }

    /// Adds parameters to the URL; returns whether they request what was printed before this client
    /// came for the first time.
    fn ask(&self, url: &mut Url, mode: Option<AskedMode>) -> bool {
        // Without a mode, as the token says.
        if let Some(mode) = mode.filter(|mode| *mode != AskedMode::Only(Mode::Write)) {
            url.query_pairs_mut().append_pair("mode", mode.as_str());
        }
        let start = self.start();
        if !start.is_empty() {
            url.query_pairs_mut().extend_pairs(start);
        } else if let Some(Size { rows, cols }) = grid().map(Size::clamped) {
            let grid = [("rows", rows.to_string()), ("cols", cols.to_string())];
            url.query_pairs_mut().extend_pairs(grid);
        }
        self.seen.is_none() && self.from != Some(Begin::Live)
    }

    /// Where the output begins; without parameters the proxy sends the current screen.
    fn start(&self) -> Vec<(&'static str, String)> {
        match (self.seen, self.from) {
            (Some(Seen { line, offset }), _) => {
                vec![("from", offset.to_string()), ("line", line.to_string())]
            }
            (None, Some(from)) => vec![("from", from.to_string())],
            (None, None) => vec![],
        }
    }
}

/// The URL for resuming a session: without the token, which may have expired.
fn resume_url(url: &Url, secret: &str) -> Url {
    let mut resume = url.clone();
    let others = url.query_pairs().filter(|(name, _)| name != "token");
    resume.query_pairs_mut().clear().extend_pairs(others).append_pair("resume", secret);
    resume
}

/// The address of a console for browsers that are logged in. In front of a Nova there is none, and the
/// address is that of the proxy.
fn page(url: &Url, hello: &Hello) -> String {
    let mut page = url.clone();
    let scheme = if url.scheme() == "wss" { "https" } else { "http" };
    if hello.nova || page.set_scheme(scheme).is_err() {
        return url.origin().ascii_serialization();
    }
    page.set_query(None);
    if let Ok(mut path) = page.path_segments_mut() {
        path.pop().extend(["console", &hello.server.name, &hello.port.to_string()]);
    }
    page.into()
}

/// Attaches at one address of the URL's host name.
async fn open_at(
    api: &Api,
    url: &Url,
    address: SocketAddr,
    is_last: bool,
) -> Result<(Wire, Hello), Failure> {
    let mut wire = Wire::open(api, url, address, is_last).await?;
    let address = url.origin().ascii_serialization();
    let late = format!("it sent nothing for {} s", HELLO_TIME.as_secs());
    let late = |_| Failure::Proxy { address: address.clone(), cause: late };
    let hello = timeout(HELLO_TIME, hello(&mut wire, &address)).await.map_err(late)??;
    Ok((wire, hello))
}

/// Whether attaching may succeed later, or at another proxy now: the proxy cannot be reached, it is
/// stopping, or a service that it needs is away.
pub(crate) fn passes(failure: &Failure) -> bool {
    match failure {
        Failure::Proxy { .. } | Failure::Lost(_) => true,
        Failure::Refused { status, .. } => *status >= 500,
        Failure::Closed { code, .. } => matches!(
            known(*code),
            Some(CloseCode::Draining | CloseCode::InternalError | CloseCode::HostLost)
        ),
        _ => false,
    }
}

async fn hello(wire: &mut Wire, address: &str) -> Result<Hello, Failure> {
    let mut lost = false;
    loop {
        match wire.next(true).await {
            Event::Control(ServerMessage::Hello(hello)) => return Ok(hello),
            // A refusal sends details before it closes the connection.
            Event::Control(ServerMessage::Pen { own, free_in, .. }) => {
                lost = own && free_in.is_some();
            }
            Event::Control(_) | Event::SignOfLife => {}
            Event::Bytes(_) => return Err(Failure::Speech(address.to_owned())),
            Event::Closed { code, reason } => {
                return Err(Failure::Closed { code, reason, own: lost });
            }
            Event::Lost(cause) => return Err(Failure::Lost(cause)),
        }
    }
}

/// The `ws` or `wss` form of the API's URL, which can also be opened in a browser.
fn websocket_url(text: &str) -> Result<Url, Failure> {
    let mut url = Url::parse(text).map_err(|_| Failure::ConsoleUrl("it is no URL"))?;
    let scheme = match url.scheme() {
        "ws" | "http" => "ws",
        "wss" | "https" => "wss",
        _ => return Err(Failure::ConsoleUrl("it must begin with http, https, ws or wss")),
    };
    url.set_scheme(scheme).map_err(|()| Failure::ConsoleUrl("it has no host"))?;
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_browsers_url_is_the_clients_too() {
        let url = websocket_url("http://127.0.0.1:6083/serial.html?token=t").unwrap();
        assert_eq!(url.as_str(), "ws://127.0.0.1:6083/serial.html?token=t");
        let url = websocket_url("ws://[::1]:6083/?token=t").unwrap();
        assert_eq!(url.as_str(), "ws://[::1]:6083/?token=t");
        let url = websocket_url("https://h/serial.html?token=t").unwrap();
        assert_eq!(url.as_str(), "wss://h/serial.html?token=t");
    }

    #[test]
    fn coming_back_needs_no_token() {
        let url = Url::parse("ws://h:6083/serial.html?token=t&x=1").unwrap();
        assert_eq!(resume_url(&url, "k").as_str(), "ws://h:6083/serial.html?x=1&resume=k");
    }

    #[test]
    fn a_url_that_cannot_be_used_is_refused_without_showing_its_token() {
        for text in ["ftp://h/?token=secret", "secret", "file:///secret"] {
            let failure = websocket_url(text).unwrap_err().to_string();
            assert!(!failure.contains("secret"), "{failure}");
        }
    }
}
