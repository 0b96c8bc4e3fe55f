//! Users whose requests another proxy of the cluster passes on, over mutual TLS. That proxy checks the Origin,
//! and counts connections and wrong tokens. This host decides everything else, as for users who connect
//! directly.

use std::io;
use std::sync::Arc;

use http::HeaderMap;
use http::Request;
use http::StatusCode;
use serialproxy_limits::seldom;
use serialproxy_proto::cause::Cause;
use serialproxy_proto::compute::BoxFuture;
use serialproxy_proto::relayed::RELAYED_ISSUER;
use serialproxy_proto::relayed::RELAYED_USER;
use serialproxy_proto::relayed::RelayedUser;
use serialproxy_tls::Stream;

use crate::Proxy;
use crate::answer::Answer;
use crate::answer::refused;
use crate::client::Client;
use crate::hosts::tend;
use crate::http::serve;

impl Proxy {
    /// Serves the requests that a peer passes on, until its connection ends or is upgraded to a session, which
    /// runs in its own task. `forwards` says that the peer's certificate is a proxy's; requests of other peers
    /// are refused. The session is cut off when `cut` is done. The caller limits the number of connections.
    pub async fn serve_peer(
        self: Arc<Self>,
        stream: Stream,
        forwards: bool,
        cut: BoxFuture<'static, ()>,
    ) {
        let connections = self.connections.clone();
        let served = connections.track_future(self.serve_forwarded(stream, forwards, cut));
        if let Err(error) = served.await {
            tracing::debug!(%error, "a peer's connection failed before its first request");
        }
    }

    async fn serve_forwarded(
        self: Arc<Self>,
        stream: Stream,
        forwards: bool,
        cut: BoxFuture<'static, ()>,
    ) -> io::Result<()> {
        let from = (stream.tcp().peer_addr()?, self.arriving.token());
        tend(stream.tcp(), self.config.session.grace)?;
        if !forwards && seldom::is_due("forwards") {
            tracing::warn!(peer = %from.0, "a peer that is no proxy asks for a console");
        }
        let who = |request: &Request<_>| user(request.headers(), forwards);
        if let Some((upgrade, _)) = serve(&self, stream, from, who).await {
            self.follow(upgrade, (), cut);
        }
        Ok(())
    }
}

/// The user of a request that was passed on.
fn user(headers: &HeaderMap, forwards: bool) -> Result<(Client, ()), Box<Answer>> {
    let no = |status, reason| Box::new(refused(status, Cause::Handshake, reason));
    if !forwards {
        return Err(no(StatusCode::FORBIDDEN, "only a proxy may pass requests of users on"));
    }
    let mut values = headers.get_all(RELAYED_USER).iter();
    let only = values.next().filter(|_| values.next().is_none());
    let user = only.and_then(|value| RelayedUser::read(value.to_str().ok()?));
    let user = user.ok_or_else(|| {
        no(StatusCode::BAD_REQUEST, "the header Serialproxy-Client is missing or not valid")
    })?;
    let RelayedUser { address, secure, .. } = user;
    let (issuer, nova) = RELAYED_ISSUER;
    let of_nova = headers.get(issuer).is_some_and(|issuer| issuer == nova);
    Ok((Client { address, secure, trusted: false, passed_on: true, of_nova }, ()))
}
