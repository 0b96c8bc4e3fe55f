//! A Nova's console tokens: what they stand for is asked of it, by the proxy in nova-serialproxy's place
//! and, where the compute role runs beside Nova's, once more by the host that has the server.

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use jiff::Timestamp;
use serialproxy_config::Config;
use serialproxy_limits::seldom;
use serialproxy_line::Keyboard;
use serialproxy_openstack as openstack;
use serialproxy_openstack::Nova;
use serialproxy_openstack::Unavailable;
use serialproxy_proto::close::Close;
use serialproxy_proto::close::CloseCode;
use serialproxy_proto::compute::ComputeError;
use serialproxy_proto::compute::LineBook;
use serialproxy_proto::id::ServerId;
use serialproxy_proto::refusal::Refusal;
use serialproxy_proto::token::ConsoleToken;
use serialproxy_proto::token::Mode;
use tokio::time::Instant;

use crate::console::Console;
use crate::console::Source;

/// How long Nova may take to say all that an attach needs to know, with its login at Keystone.
pub(crate) const ANSWER: Duration = Duration::from_secs(15);

/// How often Nova is asked whether a live session's token is still good, at most and at least.
const EXPIRY: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(60);

/// The console tokens of one Nova.
#[derive(Debug)]
pub struct NovaTokens {
    nova: Nova,
    /// How long a token is good at most.
    life: Duration,
    /// How often a session's token is asked about: it ends a tenth of its life late at most.
    expiry: Duration,
}

impl NovaTokens {
    /// Those of this Nova, as the configuration describes them.
    pub fn new(nova: Nova, config: &Config) -> Arc<Self> {
        let life = config.consoleauth.token_ttl;
        let expiry = (life / 10).clamp(*EXPIRY.start(), *EXPIRY.end());
        Arc::new(Self { nova, life, expiry })
    }

    /// Says in the log now what would else fail at the first attach.
    pub async fn log_in(self: Arc<Self>) {
        match self.nova.log_in().await {
            Ok(()) => tracing::info!("logged in at Keystone to ask Nova"),
            Err(error) => tracing::error!(
                %error,
                "cannot log in to use Nova: no console can be opened with its tokens"
            ),
        }
    }

    /// What a token stands for.
    pub(crate) async fn console(
        &self,
        token: &ConsoleToken,
    ) -> Result<openstack::Console, Refusal> {
        let console = self.nova.console(token).await.map_err(|error| unavailable(&error))?;
        console.ok_or(Refusal::Token)
    }

    /// A server, as Nova shows it.
    pub(crate) async fn server(
        &self,
        id: ServerId,
    ) -> Result<Option<openstack::Server>, Unavailable> {
        self.nova.server(id).await
    }

    /// What a token stands for, where the server is a guest of this host. Of the address that Nova names,
    /// the TCP port counts: it says which serial port is meant, and whether the token is of the guest's
    /// last start.
    pub(crate) async fn guest(
        &self,
        lines: &dyn LineBook,
        token: &ConsoleToken,
    ) -> Result<Console, Refusal> {
        let asked = Instant::now();
        let expires = Timestamp::now() + SignedDuration::try_from(self.life).unwrap_or_default();
        let found = async {
            let console = self.console(token).await?;
            let opened = lines.console_at(console.server, console.port).await;
            opened.map_err(|error| match error {
                ComputeError::NotFound(text) => Refusal::NoSuchLine(text),
                error => Refusal::Unavailable(error.to_string()),
            })
        };
        let opened = in_time(found).await?.ok_or(Refusal::Token)?;
        Ok(Console {
            line: opened.line,
            project: None,
            user: user(token),
            mode: Mode::Write,
            operator: false,
            wait: false,
            link: None,
            expires: Some(expires),
            source: Source::Guest(asked),
        })
    }

    /// Ends a session when Nova does not know its token any more. A Nova that does not answer ends
    /// nothing.
    pub(crate) async fn end_with(self: Arc<Self>, token: ConsoleToken, keyboard: Keyboard) {
        loop {
            tokio::time::sleep(self.expiry).await;
            if keyboard.is_over() {
                return;
            }
            match self.nova.console(&token).await {
                Ok(Some(_)) => {}
                Ok(None) => {
                    let reason = "the console URL has expired";
                    return keyboard.expire(&Close::new(CloseCode::SessionLimit, reason));
                }
                Err(error) if seldom::is_due("expiry") => {
                    tracing::warn!(%error, "cannot check in Nova whether a session's token is \
                             still valid");
                }
                Err(_) => {}
            }
        }
    }
}

/// An answer, unless it takes too long.
pub(crate) async fn in_time<T>(
    answer: impl Future<Output = Result<T, Refusal>>,
) -> Result<T, Refusal> {
    let answer = tokio::time::timeout(ANSWER, answer).await;
    answer.unwrap_or_else(|_| Err(unavailable(&"Nova and Keystone are slow")))
}

/// Nova does not say who asked for a token: a name by which two sessions can be told apart.
pub(crate) fn user(token: &ConsoleToken) -> String {
    let [a, b, c, d, ..] = token.digest().0;
    format!("token {a:02x}{b:02x}{c:02x}{d:02x}")
}

pub(crate) fn unavailable(error: &dyn std::fmt::Display) -> Refusal {
    if seldom::is_due("unavailable") {
        tracing::warn!(%error, "a console token cannot be looked up");
    }
    Refusal::Unavailable("cannot look up this console URL in Nova: try again later".into())
}
