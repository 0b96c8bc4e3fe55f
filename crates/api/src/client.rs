//! Where a call comes from.

use std::convert::Infallible;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::SocketAddr;

use axum::extract::ConnectInfo;
use axum::extract::FromRequestParts;
use axum::http::Extensions;
use axum::http::HeaderMap;
use axum::http::request::Parts;
use serialproxy_limits::Source;
use serialproxy_proto::relayed::RELAYED_USER;
use serialproxy_proto::relayed::RelayedUser;

/// The address that makes a call: the user's, where the call comes through the users' port of this
/// process.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Client(pub(crate) IpAddr);

impl Client {
    pub(crate) fn of(headers: &HeaderMap, extensions: &Extensions) -> Self {
        let believed = relayed(headers).filter(|relayed| relayed.ours);
        let peer = || extensions.get().map(|ConnectInfo::<SocketAddr>(peer)| peer.ip());
        let address = believed.map(|relayed| relayed.address.ip()).or_else(peer);
        Self(address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)).to_canonical())
    }

    pub(crate) fn source(self) -> Source {
        self.0.into()
    }
}

/// What a relay says about the user of a call. A relay adds the header itself and removes what the
/// user sent under its name.
pub(crate) fn relayed(headers: &HeaderMap) -> Option<RelayedUser<'_>> {
    headers.get(RELAYED_USER).and_then(|text| RelayedUser::read(text.to_str().ok()?))
}

impl<S: Sync> FromRequestParts<S> for Client {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.headers, &parts.extensions))
    }
}
