//! The answer to a request without TLS, where TLS is required.

use http::HeaderValue;
use http::Request;
use http::StatusCode;
use http::header;
use http::uri::Authority;
use http_body_util::Full;
use serialproxy_proto::cause::Cause;

use crate::answer::Answer;
use crate::answer::plain;
use crate::answer::refused;
use crate::upgrade;

/// The answer names the address to use. It is no redirect, and does not repeat the token: that was sent in clear
/// text and should not be used any more.
pub(crate) fn refuse<B>(request: &Request<B>) -> Answer {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let host = host.and_then(|host| host.parse::<Authority>().ok());
    let host = host.as_ref().map_or("HOST:PORT", Authority::as_str);
    if upgrade::is_asked_for(request) {
        let reason = format!("this port speaks only TLS: use wss://{host}/");
        return refused(StatusCode::BAD_REQUEST, Cause::Handshake, &reason);
    }
    let text = format!(
        "This port speaks only TLS: use https://{host}/ instead of http://{host}/.\nThe request \
         was sent unencrypted: get a new console URL.\n"
    );
    let mut answer = plain(StatusCode::BAD_REQUEST, "");
    *answer.body_mut() = Full::from(text);
    let headers = answer.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    async fn told(request: http::request::Builder) -> (Answer, String) {
        let (head, body) = refuse(&request.body(()).unwrap()).into_parts();
        let text = body.collect().await.unwrap().to_bytes();
        (Answer::from_parts(head, Full::default()), String::from_utf8(text.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_browser_is_told_the_address_but_not_its_token() {
        let request = Request::get("/serial.html?token=secret").header("host", "a.example:6083");
        let (answer, text) = told(request).await;
        assert_eq!(answer.status(), 400);
        assert!(text.contains("use https://a.example:6083/ instead of"), "{text}");
        assert!(!text.contains("secret"), "{text}");
    }

    #[tokio::test]
    async fn a_websocket_client_is_told_in_the_header_that_refusals_have() {
        let request =
            Request::get("/?token=t").header("host", "a:1").header("upgrade", "websocket");
        let (answer, text) = told(request).await;
        assert_eq!(
            answer.headers()["x-console-reason"],
            "this port speaks only TLS: use \
                 wss://a:1/"
        );
        assert_eq!(text, "");
    }

    #[tokio::test]
    async fn a_host_that_is_none_is_not_repeated() {
        let (_, text) = told(Request::get("/").header("host", "<script>")).await;
        assert!(text.contains("https://HOST:PORT/"), "{text}");
    }
}
