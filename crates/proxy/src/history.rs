//! The history of a session's line, in pieces. The page saves it to a file, because its terminal holds only the
//! newest part. A request authenticates with the session's resume key, which stays valid.

use http::HeaderMap;
use http::HeaderName;
use http::HeaderValue;
use http::Request;
use http::Response;
use http::StatusCode;
use http::header;
use http_body_util::Full;
use serialproxy_line::Line;
use serialproxy_proto::refusal::Refusal;
use serialproxy_proto::token::ResumeKey;

use crate::Backing;
use crate::Proxy;
use crate::answer::Answer;
use crate::answer::plain;
use crate::answer::refuse;
use crate::client::Client;
use crate::hosts;
use crate::hosts::Sought;
use crate::passing;
use crate::wrong_tokens::count_wrong;
use crate::wrong_tokens::may_show_key;

/// Maximum length of a piece, in bytes: the maximum of a response from another host.
const PIECE: usize = passing::BODY;

/// Header with the resume key. The key is not in the URL because URLs are logged. Pages of other origins cannot
/// send this header.
const KEY: HeaderName = HeaderName::from_static("x-console-resume");

/// Whether a request asks for history. Only the last segment of the path counts, because a reverse proxy may add
/// a prefix.
pub(crate) fn is_asked_for<B>(request: &Request<B>) -> bool {
    request.uri().path().rsplit('/').next() == Some("history")
        && request.headers().contains_key(KEY)
}

/// The piece that begins at `?from=`, or at the next byte that is kept. At the end of the output, the body is
/// empty.
pub(crate) async fn answer<B>(proxy: &Proxy, client: Client, request: &Request<B>) -> Answer {
    let found = match key(request.headers()) {
        Some(key) => find(proxy, client, &key, request).await,
        None => Err(Refusal::Resume),
    };
    let answer = found.unwrap_or_else(|refusal| match refusal {
        Refusal::Resume => plain(StatusCode::UNAUTHORIZED, "the session is over: attach again\n"),
        refusal => refuse(&refusal),
    });
    if answer.status() == StatusCode::UNAUTHORIZED {
        count_wrong(proxy, client).await;
    }
    answer
}

async fn find<B>(
    proxy: &Proxy,
    client: Client,
    key: &ResumeKey,
    request: &Request<B>,
) -> Result<Answer, Refusal> {
    if let Backing::Cluster(hosts) = &proxy.backing {
        may_show_key(proxy, client).await?;
        let host = hosts::find(&**hosts, Sought::Line(key.line())).await?;
        return passing::fetch(proxy, (&**hosts, &host), client, request, KEY).await;
    }
    let line = proxy.lines.get(key.line());
    let elsewhere = proxy.backing.resumed_elsewhere(client, line.as_ref(), key).await?;
    if let Some((others, host)) = elsewhere {
        may_show_key(proxy, client).await?;
        return passing::fetch(proxy, (others, &host), client, request, KEY).await;
    }
    let line = line.filter(|line| line.knows(key));
    line.map(|line| piece(&line, request)).ok_or(Refusal::Resume)
}

fn piece<B>(line: &Line, request: &Request<B>) -> Answer {
    let query = request.uri().query().unwrap_or_default();
    let from = form_urlencoded::parse(query.as_bytes())
        .find(|(name, _)| name == "from")
        .map_or(Ok(0), |(_, from)| from.parse());
    let Ok(from) = from else {
        return plain(StatusCode::BAD_REQUEST, "from must be an offset\n");
    };
    let output = line.output(from, PIECE);
    if output.offset < from {
        return plain(StatusCode::BAD_REQUEST, "from is beyond the end of the output\n");
    }
    let next = output.offset + output.bytes.len() as u64;
    let mut answer = Response::new(Full::from(output.bytes));
    let headers = answer.headers_mut();
    let octets = HeaderValue::from_static("application/octet-stream");
    headers.insert(header::CONTENT_TYPE, octets);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert("x-console-offset", output.offset.into());
    headers.insert("x-console-next", next.into());
    headers.insert("x-console-end", output.end.into());
    answer
}

fn key(headers: &HeaderMap) -> Option<ResumeKey> {
    ResumeKey::from_client(headers.get(KEY)?.to_str().ok()?)
}
