//! The pages: built into the program, or from the directory that `[serial_console] web` names.

use std::borrow::Cow;
use std::path::Component;
use std::path::Path;
use std::path::PathBuf;

use http::HeaderMap;
use http::HeaderName;
use http::HeaderValue;
use http::Method;
use http::Request;
use http::Response;
use http::StatusCode;
use http::header;
use http_body_util::Full;
use rust_embed::RustEmbed;
use serialproxy_config::Config;

use crate::answer::Answer;
use crate::answer::plain;

/// The terminal page, for every path that is not a file.
const PAGE: &str = "serial.html";

/// The servers page, for `/` alone.
const SERVERS: &str = "servers.html";

/// The page with several consoles side by side, for `/consoles` alone.
const CONSOLES: &str = "consoles.html";

/// For a file whose name changes with its content: a year, the maximum that caches respect.
const FOR_EVER: &str = "public, max-age=31536000, immutable";

/// The output of `npm run build`.
#[derive(RustEmbed)]
#[folder = "../../web/dist"]
struct BuiltIn;

/// The codings of the compressed copies of each built file: the name in `Accept-Encoding` and the extension. The
/// smaller coding comes first.
const CODINGS: [(&str, &str); 2] = [("br", "br"), ("gzip", "gz")];

/// A file as it is sent.
struct File {
    body: Cow<'static, [u8]>,
    coding: Option<&'static str>,
}

pub(crate) async fn answer<B>(config: &Config, request: &Request<B>) -> Answer {
    // Pages refer to their files by relative URLs, and a console URL may have any path, so only the last segment
    // names the file.
    let name = request.uri().path().rsplit('/').next().unwrap_or_default();
    let directory = config.serial_console.web.as_deref();
    let is_console = config.proxy.api.is_some() && is_console(request.uri().path());
    let name = match name {
        _ if has_token(request) || is_console => PAGE,
        "consoles" if has_consoles(config, request) => CONSOLES,
        // A directory of an older version has no servers page.
        "" if has_servers(config, request) && find(directory, SERVERS).await.is_some() => SERVERS,
        "" => PAGE,
        name => name,
    };
    let Some(File { body, coding }) = choose(directory, name, request.headers()).await else {
        return plain(StatusCode::NOT_FOUND, "there is no such page\n");
    };
    let mut answer = Response::new(Full::default());
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type(name)));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    protect(headers, &ancestors(&config.console.frame_ancestors, is_console));
    if directory.is_none() {
        headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
        if has_digest(name) {
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(FOR_EVER));
        }
    }
    if let Some(coding) = coding {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding));
    }
    if *request.method() == Method::GET {
        *answer.body_mut() = match body {
            Cow::Borrowed(bytes) => Full::from(bytes),
            Cow::Owned(bytes) => Full::from(bytes),
        };
    }
    answer
}

/// Whether the URL is of the servers page, and an API is configured.
fn has_servers<B>(config: &Config, request: &Request<B>) -> bool {
    request.uri().path() == "/" && config.proxy.api.is_some()
}

/// Whether the URL is of the page with several consoles, which needs an API as the servers page does.
fn has_consoles<B>(config: &Config, request: &Request<B>) -> bool {
    request.uri().path() == "/consoles" && config.proxy.api.is_some()
}

/// Who may frame a page. The consoles of a site are framed by its own page that shows several of them, too.
fn ancestors(configured: &str, is_console: bool) -> Cow<'_, str> {
    match configured {
        _ if !is_console => configured.into(),
        "'none'" => "'self'".into(),
        others => format!("'self' {others}").into(),
    }
}

/// Whether it is the path of a console, `/console/SERVER/PORT`, below which the page's files are, too.
fn is_console(path: &str) -> bool {
    let mut segments = path.strip_prefix("/console/").unwrap_or_default().split('/');
    let (server, port) = (segments.next(), segments.next());
    server.is_some_and(|server| !server.is_empty())
        && port.is_some_and(|port| port.parse::<u8>().is_ok())
        && segments.next().is_none()
}

/// Whether the URL is of a console, with its token.
pub(crate) fn has_token<B>(request: &Request<B>) -> bool {
    request.uri().query().is_some_and(|query| query.contains("token="))
}

/// The file in the smallest form that the client accepts. A file in a directory is sent as it is: it may change
/// at any time, and a compressed copy beside it may be of another version.
async fn choose(directory: Option<&Path>, name: &str, headers: &HeaderMap) -> Option<File> {
    if directory.is_none() {
        for (coding, extension) in CODINGS.into_iter().filter(|(coding, _)| takes(headers, coding))
        {
            if let Some(body) = find(None, &format!("{name}.{extension}")).await {
                return Some(File { body, coding: Some(coding) });
            }
        }
    }
    let body = find(directory, name).await?;
    Some(File { body, coding: None })
}

/// Whether the client accepts this coding.
fn takes(headers: &HeaderMap, coding: &str) -> bool {
    let values = headers.get_all(header::ACCEPT_ENCODING).into_iter();
    values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).any(|one| {
        let mut words = one.split(';').map(str::trim);
        let named = words.next().is_some_and(|name| name.eq_ignore_ascii_case(coding));
        let weight = words.find_map(|word| word.strip_prefix("q=")).unwrap_or("1");
        named && weight.parse().is_ok_and(|weight: f32| weight > 0.0)
    })
}

/// Whether the name contains a digest of the content, as in `serial-CTEARS5D.js`: then the content of that name
/// never changes.
fn has_digest(name: &str) -> bool {
    let stem = name.split_once('.').map_or(name, |(stem, _)| stem);
    stem.rsplit_once('-').is_some_and(|(_, digest)| {
        digest.len() == 8 && digest.bytes().all(|byte| matches!(byte, b'A'..=b'Z' | b'2'..=b'7'))
    })
}

async fn find(directory: Option<&Path>, name: &str) -> Option<Cow<'static, [u8]>> {
    match directory {
        None => BuiltIn::get(name).map(|file| file.data),
        Some(directory) => {
            let path = inside(directory, name)?;
            tokio::fs::read(path).await.ok().map(Cow::Owned)
        }
    }
}

/// The path of a file in the directory; none if the name would lead out of it.
fn inside(directory: &Path, name: &str) -> Option<PathBuf> {
    let mut components = Path::new(name).components();
    let plain =
        matches!((components.next(), components.next()), (Some(Component::Normal(_)), None));
    plain.then(|| directory.join(name))
}

fn content_type(name: &str) -> &'static str {
    match Path::new(name).extension().and_then(|extension| extension.to_str()) {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("woff2") => "font/woff2",
        Some("json" | "map" | "webmanifest") => "application/json",
        Some("txt") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

/// Adds headers that protect the page, because it holds a token in memory. It runs only its own scripts, sends no
/// referrer, is not cached (its scripts and styles are), and only the configured sites may frame it.
fn protect(headers: &mut HeaderMap, frame_ancestors: &str) {
    // xterm.js 6 writes style elements, hence 'unsafe-inline' for styles.
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' \
         data:; font-src 'self'; connect-src 'self'; frame-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors {frame_ancestors}"
    );
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use serialproxy_config::values::ApiAddress;

    use super::*;

    #[test]
    fn no_name_leads_out_of_the_directory() {
        let directory = Path::new("/srv/pages");
        assert_eq!(inside(directory, "b.js"), Some("/srv/pages/b.js".into()));
        for name in ["..", "../x", "a/../../x", "/etc/passwd", "a/b.js", ""] {
            assert_eq!(inside(directory, name), None, "{name}");
        }
    }

    /// The page that a URL gets from a directory with these files: each holds its own name.
    async fn page(files: &[&str], uri: &str) -> String {
        let directory = tempfile::tempdir().unwrap();
        for file in files {
            std::fs::write(directory.path().join(file), file).unwrap();
        }
        let mut config = Config::default();
        config.serial_console.web = Some(directory.path().to_owned());
        config.proxy.api = Some(ApiAddress { tls: false, authority: "127.0.0.1:8774".into() });
        let answer = answer(&config, &Request::builder().uri(uri).body(()).unwrap()).await;
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(body.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn the_root_is_the_servers_page_unless_it_has_a_console_token() {
        let files = [PAGE, SERVERS];
        assert_eq!(page(&files, "/").await, SERVERS);
        assert_eq!(page(&files, "/?x=y").await, SERVERS);
        assert_eq!(page(&files, "/servers.html").await, SERVERS);
        for uri in
            ["/?token=a", "/servers.html?token=a", "/deep/?token=a", "/deep/", "/serial.html"]
        {
            assert_eq!(page(&files, uri).await, PAGE, "{uri}");
        }
    }

    #[tokio::test]
    async fn an_address_of_a_console_is_the_terminal_page_whatever_the_server_is_called() {
        let files = [PAGE, SERVERS, "main.js"];
        let long = format!("/console/{}/0", "x".repeat(255));
        for uri in [
            "/console/demo/0",
            "/console/a3b7c1d2-0000-4000-8000-000000000003/255?mode=watch",
            "/console/a%2Fb/0",
            "/console/%2e%2e/0",
            "/console/%D7%A9%D7%9C/1",
            &long,
        ] {
            assert_eq!(page(&files, uri).await, PAGE, "{uri}");
        }
        assert_eq!(page(&files, "/console/demo/main.js").await, "main.js");
        for uri in ["/console/demo/256", "/console//0", "/console/a/b/0", "/console/0", "/x/demo/0"]
        {
            assert_eq!(page(&files, uri).await, "there is no such page\n", "{uri}");
        }
    }

    #[tokio::test]
    async fn consoles_side_by_side_have_an_address_of_their_own() {
        let files = [PAGE, CONSOLES];
        assert_eq!(page(&files, "/consoles?at=demo%2F0&at=web-1%2F3").await, CONSOLES);
        assert_eq!(page(&files, "/deep/consoles").await, "there is no such page\n");
        assert_eq!(page(&[PAGE], "/consoles").await, "there is no such page\n");
    }

    #[test]
    fn only_a_console_s_address_may_be_framed_by_this_site_too() {
        assert_eq!(ancestors("'none'", false), "'none'");
        assert_eq!(ancestors("'none'", true), "'self'");
        assert_eq!(
            ancestors("https://dashboard.example", true),
            "'self' https://dashboard.example"
        );
    }

    #[tokio::test]
    async fn a_directory_without_a_servers_page_has_the_terminal_page_there() {
        assert_eq!(page(&[PAGE], "/").await, PAGE);
    }

    /// The response for a built-in file to a client that accepts these codings.
    async fn built_in(name: &str, codings: &'static str) -> Answer {
        let request = Request::builder().uri(format!("/{name}"));
        let request = request.header(header::ACCEPT_ENCODING, codings).body(()).unwrap();
        answer(&Config::default(), &request).await
    }

    #[tokio::test]
    async fn a_client_gets_the_smallest_form_that_it_takes() {
        let coding = async |codings| {
            let answer = built_in(PAGE, codings).await;
            assert_eq!(answer.headers()[header::VARY], "accept-encoding");
            assert_eq!(answer.headers()[header::CONTENT_TYPE], "text/html; charset=utf-8");
            let coding = answer.headers().get(header::CONTENT_ENCODING).cloned();
            let length = answer.into_body().collect().await.unwrap().to_bytes().len();
            (coding.map(|coding| coding.to_str().unwrap().to_owned()), length)
        };
        let (plain, whole) = coding("identity, br;q=0, gzip; q=0.0").await;
        let (gzip, smaller) = coding("gzip, deflate").await;
        let (brotli, smallest) = coding("gzip, deflate, br;q=0.9").await;
        assert_eq!([plain, gzip, brotli], [None, Some("gzip".into()), Some("br".into())]);
        assert!(smallest < smaller && smaller < whole, "{smallest}, {smaller}, {whole}");
    }

    #[tokio::test]
    async fn what_is_named_after_its_content_is_kept_and_the_page_is_not() {
        let script = BuiltIn::iter().find(|name| name.ends_with(".js")).unwrap();
        let cache =
            async |name| built_in(name, "gzip").await.headers()[header::CACHE_CONTROL].clone();
        assert_eq!(cache(&script).await, FOR_EVER);
        assert_eq!(cache(PAGE).await, "no-store");
        assert_eq!(cache("favicon.svg").await, "no-store");
    }

    #[tokio::test]
    async fn a_directory_s_files_are_sent_as_they_are_and_not_kept() {
        let name = "serial-CTEARS5D.js";
        assert!(has_digest(name));
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join(name), "as it is").unwrap();
        std::fs::write(directory.path().join(format!("{name}.gz")), "of last year").unwrap();
        let mut config = Config::default();
        config.serial_console.web = Some(directory.path().to_owned());
        let request = Request::builder().uri(format!("/{name}"));
        let request = request.header(header::ACCEPT_ENCODING, "gzip, br").body(()).unwrap();
        let answer = answer(&config, &request).await;
        assert_eq!(answer.headers()[header::CACHE_CONTROL], "no-store");
        assert_eq!(answer.headers().get(header::CONTENT_ENCODING), None);
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "as it is");
    }

    #[test]
    fn every_page_is_protected() {
        let mut headers = HeaderMap::new();
        protect(&mut headers, "https://dashboard.example");
        let policy = headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.contains("script-src 'self';"));
        assert!(policy.ends_with("frame-ancestors https://dashboard.example"));
        assert_eq!(headers[header::REFERRER_POLICY], "no-referrer");
        assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
        assert_eq!(headers[header::CACHE_CONTROL], "no-store");
    }
}
