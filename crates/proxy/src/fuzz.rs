//! What `fuzz/` drives with bytes of its own, and the tests with those that it found.

use std::net::IpAddr;
use std::net::SocketAddr;

use http::Request;
use http::Version;
use http::header;
use serialproxy_config::PageOrigin;
use serialproxy_proto::api::Protocol;
use serialproxy_proto::forwarded;
use serialproxy_proto::forwarded::Headers;

use crate::proxy_protocol;
use crate::ticket::Ticket;
use crate::upgrade;

/// A request for a WebSocket: the method and the target on the first line, a field on each other.
pub fn handshake(data: &[u8]) {
    let mut lines = data.split(|byte| *byte == b'\n');
    let first = lines.next().unwrap_or_default();
    let Some(space) = first.iter().position(|byte| *byte == b' ') else { return };
    let (method, target) = first.split_at(space);
    let target = target.get(1..).unwrap_or_default();
    let mut request = Request::builder().version(Version::HTTP_11).method(method).uri(target);
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let (name, value) = line.split_at(colon);
        request = request.header(name, value.get(1..).unwrap_or_default().trim_ascii());
    }
    let Ok(request) = request.body(()) else { return };
    let _ = upgrade::is_asked_for(&request);
    let _ = upgrade::check_host(&request);
    let protocol = upgrade::read(&request).map_or(Protocol::ConsoleV1, |offer| offer.protocol);
    let _ = Ticket::read(request.uri().query().unwrap_or_default(), request.headers(), protocol);
    for origin in request.headers().get_all(header::ORIGIN) {
        let page = origin.to_str().ok().and_then(PageOrigin::parse);
        // What is shown of one is read as the same.
        assert!(page.is_none_or(|page| PageOrigin::parse(&page.to_string()) == Some(page)));
    }
}

/// What a reverse proxy says: a header of the PROXY protocol, without the signature of version 2, or the
/// headers of a request, whose last lines are what a trusted one adds.
pub fn forwarded(data: &[u8]) {
    let _ = proxy_protocol::version_1(data);
    if let [command, family, rest @ ..] = data {
        let _ = proxy_protocol::version_2(*command, *family, rest);
    }
    let (peer, user) = (SocketAddr::from(([10, 0, 0, 1], 1)), IpAddr::from([192, 0, 2, 1]));
    for name in ["x-forwarded-for", "forwarded"] {
        let added = if name == "forwarded" { "for=192.0.2.1" } else { "192.0.2.1" };
        let mut said: Vec<&[u8]> = data.split(|byte| *byte == b'\n').collect();
        said.push(added.as_bytes());
        let values = |of: &'static str| said.clone().into_iter().filter(move |_| of == name);
        let trusted = |address: IpAddr| address == peer.ip();
        // Nothing before it changes what the reverse proxy says, or it is refused.
        match forwarded::user(peer, trusted, &Headers::of(values)) {
            Ok(said) => assert_eq!(said.address.ip(), user),
            Err(fault) => assert_eq!(fault, forwarded::Fault::Malformed),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_corpus_is_taken() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
        for (target, take) in [("handshake", handshake as fn(&[u8])), ("forwarded", forwarded)] {
            let inputs: Vec<_> = std::fs::read_dir(corpus.join(target)).unwrap().collect();
            assert!(!inputs.is_empty(), "{target} has no corpus");
            for input in inputs {
                take(&std::fs::read(input.unwrap().path()).unwrap());
            }
        }
    }
}
