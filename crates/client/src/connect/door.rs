//! The way in: from the API's URL to an attached connection.

use std::time::Duration;

use reqwest::Url;
use serialproxy_proto::close::CloseCode;
use serialproxy_proto::console::Action;
use serialproxy_proto::console::ClientMessage;
use serialproxy_proto::console::Hello;
use serialproxy_proto::console::PenAction;
use serialproxy_proto::console::ServerMessage;
use serialproxy_proto::token::Mode;
use tokio::time::timeout;
use uuid::Uuid;

use crate::api::Api;
use crate::api::ConsoleRequest;
use crate::connect::view::Seen;
use crate::connect::view::View;
use crate::connect::wire::Event;
use crate::connect::wire::Wire;
use crate::failure::Failure;
use crate::failure::known;

/// How long a proxy may take for its first message; it may have to ask the API about the token.
const HELLO_TIME: Duration = Duration::from_secs(10);

/// Opens connections to one console.
#[derive(Debug)]
pub(crate) struct Door<'a> {
    api: &'a Api,
    request: ConsoleRequest,
    mode: Mode,
    /// Take over from the writer, the first time only: not from who came in while we were away.
    force: bool,
    /// What the last connection was made with. Its token may have expired since.
    url: Option<Url>,
    /// Where the last connection left off.
    seen: Option<Seen>,
}

/// A connection whose console has introduced itself.
#[derive(Debug)]
pub(crate) struct Attached {
    pub(crate) wire: Wire,
    pub(crate) hello: Hello,
}

impl<'a> Door<'a> {
    pub(crate) fn new(api: &'a Api, request: ConsoleRequest, force: bool) -> Self {
        Self { api, request, mode: request.mode, force, url: None, seen: None }
    }

    /// The next connection is to go on where the last one, whose output was `view`, left off.
    pub(crate) fn go_on(&mut self, view: &View) {
        self.force = false;
        self.seen = Some(view.seen());
        if view.is_watching() {
            self.mode = Mode::Watch;
        }
    }

    /// Whether `line` is another than that of the last connection.
    pub(crate) fn is_news(&self, line: Uuid) -> bool {
        self.seen.is_some_and(|seen| seen.line != line)
    }

    /// Attaches, with the URL of the last time or else a new one.
    pub(crate) async fn attach(&mut self) -> Result<Attached, Failure> {
        if let Some(url) = &self.url {
            match self.enter(url).await {
                Err(Failure::Closed { code, .. }) if known(code) == Some(CloseCode::Token) => {}
                result => return result,
            }
        }
        let url = websocket_url(&self.api.console_url(self.request).await?)?;
        let attached = self.enter(&url).await;
        self.url = Some(url);
        attached
    }

    async fn enter(&self, url: &Url) -> Result<Attached, Failure> {
        let from = self.seen.map(|seen| seen.offset);
        let attached = match open(url, self.mode, from).await {
            Err(Failure::Closed { code, reason })
                if self.force && known(code) == Some(CloseCode::Busy) =>
            {
                return take_over(url, reason).await;
            }
            attached => attached?,
        };
        if self.is_news(attached.hello.line) && attached.hello.offset > 0 {
            // Nothing of this line was seen yet.
            attached.wire.close().await;
            return open(url, self.mode, Some(0)).await;
        }
        Ok(attached)
    }
}

/// Attaches as a watcher and takes the pen.
async fn take_over(url: &Url, busy: String) -> Result<Attached, Failure> {
    let Attached { mut wire, mut hello } = open(url, Mode::Watch, None).await?;
    if !hello.can.contains(&Action::Force) {
        wire.close().await;
        return Err(Failure::MayNotForce { busy, user: hello.user });
    }
    wire.send_control(&ClientMessage::Pen { action: PenAction::Force, reason: None });
    // What is typed from here on follows the message above.
    hello.mode = Mode::Write;
    Ok(Attached { wire, hello })
}

/// Attaches in a mode, to the output from an offset on or as the proxy shows it to newcomers.
async fn open(url: &Url, mode: Mode, from: Option<u64>) -> Result<Attached, Failure> {
    let mut url = url.clone();
    if mode == Mode::Watch {
        url.query_pairs_mut().append_pair("mode", mode.as_str());
    }
    if let Some(offset) = from {
        url.query_pairs_mut().append_pair("from", &offset.to_string());
    }
    let mut wire = Wire::open(&url).await?;
    let address = url.origin().ascii_serialization();
    let late = format!("it said nothing for {} s", HELLO_TIME.as_secs());
    let late = |_| Failure::Proxy { address: address.clone(), cause: late };
    let hello = timeout(HELLO_TIME, hello(&mut wire, &address)).await.map_err(late)??;
    Ok(Attached { wire, hello })
}

async fn hello(wire: &mut Wire, address: &str) -> Result<Hello, Failure> {
    loop {
        match wire.next(true).await {
            Event::Control(ServerMessage::Hello(hello)) => return Ok(hello),
            // A refusal may say more before it closes.
            Event::Control(_) | Event::SignOfLife => {}
            Event::Bytes(_) => return Err(Failure::Speech(address.to_owned())),
            Event::Closed { code, reason } => return Err(Failure::Closed { code, reason }),
            Event::Lost(cause) => return Err(Failure::Lost(cause)),
        }
    }
}

/// The `ws` form of the URL that the API gave, which also opens in a browser.
fn websocket_url(text: &str) -> Result<Url, Failure> {
    let mut url = Url::parse(text).map_err(|_| Failure::ConsoleUrl("it is no URL"))?;
    match url.scheme() {
        "ws" => {}
        "http" => url.set_scheme("ws").map_err(|()| Failure::ConsoleUrl("it is no http URL"))?,
        "https" | "wss" => {
            return Err(Failure::ConsoleUrl("it uses TLS, which this client does not support yet"));
        }
        _ => return Err(Failure::ConsoleUrl("it is neither http:// nor ws://")),
    }
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
    }

    #[test]
    fn a_url_that_cannot_be_used_is_refused_without_showing_its_token() {
        for text in ["https://h/?token=secret", "wss://h/?token=secret", "secret", "file:///secret"]
        {
            let failure = websocket_url(text).unwrap_err().to_string();
            assert!(!failure.contains("secret"), "{failure}");
        }
    }
}
