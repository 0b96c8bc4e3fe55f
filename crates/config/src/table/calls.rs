//! Options of the API, and of the proxy's way to it.

use super::ABOUT_SECONDS_FROM_1;
use super::PEM;
use crate::network::api_url;
use crate::network::host;
use crate::network::listen;
use crate::network::service_url;
use crate::options::Fallback::Text;
use crate::options::Fallback::Unset;
use crate::options::Kind;
use crate::options::Kind::Bool;
use crate::options::Kind::Single;
use crate::options::Opt;
use crate::options::works;
use crate::proxies::Networks;
use crate::proxies::proxy_protocol;
use crate::readers::auth_strategy;
use crate::readers::set;
use crate::readers::set_some;
use crate::scalar::boolean;
use crate::scalar::file;
use crate::scalar::list;
use crate::scalar::seconds;

const LISTEN: Kind = Single("HOST:PORT; an IPv6 address in brackets, port 0 is any free one");

pub(super) static OPTIONS: &[Opt] = &[
    works("api", "listen", Text("127.0.0.1:8774"), LISTEN, "Where the API listens.", |c, v| {
        set(&mut c.api.listen, listen(v))
    }),
    works(
        "api",
        "auth_strategy",
        Text("token"),
        Single("token, http_basic, keystone or noauth"),
        "Who says who someone is: tokens and users that are kept here (`token`), which may also \
         send name and password with each call (`http_basic`), Keystone (`keystone`, as \
         `[keystone_authtoken]` names it), or nobody (`noauth`: everyone is an administrator).",
        |c, v| set(&mut c.api.auth_strategy, auth_strategy(v)),
    ),
    works(
        "api",
        "noauth_anywhere",
        Text("false"),
        Bool,
        "Let `noauth` be where others than this machine reach the API: all of them are administrators.",
        |c, v| set(&mut c.api.noauth_anywhere, boolean(v)),
    ),
    works(
        "api",
        "allowed_hosts",
        Text(""),
        Single("host names or IP addresses, separated by commas"),
        "Names by which the API is reached under `noauth`, beside addresses and `localhost`: a foreign \
         page can give its own name the API's address.",
        |c, v| {
            let hosts = list(v)?.into_iter().map(host).collect();
            set(&mut c.api.allowed_hosts, hosts)
        },
    ),
    works(
        "api",
        "token_lifetime",
        Text("3600"),
        ABOUT_SECONDS_FROM_1,
        "Life of a token that a local user gets for their password at `/v3/auth/tokens`.",
        |c, v| set(&mut c.api.token_lifetime, seconds(v, 1)),
    ),
    works(
        "api",
        "cert",
        Unset,
        PEM,
        "Certificate of the API's port, and those between it and its root: with it the port takes TLS.",
        |c, v| set_some(&mut c.api.cert, file(v)),
    ),
    works("api", "key", Unset, PEM, "Its private key, if it is not in `cert`.", |c, v| {
        set_some(&mut c.api.key, file(v))
    }),
    works(
        "api",
        "ssl_only",
        Text("false"),
        Bool,
        "Refuse calls without TLS; needs `cert`.",
        |c, v| set(&mut c.api.ssl_only, boolean(v)),
    ),
    works(
        "api",
        "compute_link_prefix",
        Unset,
        Single("an http or https URL with a host, without query and fragment"),
        "What links in answers begin with, where users reach the API at another address than it \
         is asked at, such as `https://cloud.example.com/compute`.",
        |c, v| set_some(&mut c.api.compute_link_prefix, service_url(v)),
    ),
    works(
        "api",
        "metrics_listen",
        Unset,
        LISTEN,
        "Where `/healthz` is answered to everyone; the API itself answers it to this machine alone.",
        |c, v| set_some(&mut c.api.metrics_listen, listen(v)),
    ),
    works(
        "oslo_middleware",
        "enable_proxy_headers_parsing",
        Text("false"),
        Bool,
        "Whether links follow the headers `Forwarded` and `X-Forwarded-Proto`, `-Host` and \
         `-Prefix`. Only for an API that is reached through a proxy which sets them.",
        |c, v| set(&mut c.oslo_middleware.enable_proxy_headers_parsing, boolean(v)),
    ),
    works(
        "proxy",
        "api_url",
        Unset,
        Single("http://HOST:PORT or https://HOST:PORT; an IPv6 address in brackets"),
        "The API that the proxy relays the servers page's calls to; in `serve`, its own when not set.",
        |c, v| set(&mut c.proxy.api, api_url(v).map(Some)),
    ),
    works(
        "proxy",
        "admin_calls",
        Text("false"),
        Bool,
        "Relay all of the API's own calls, also those of administrators, and not only those that the \
         servers page makes.",
        |c, v| set(&mut c.proxy.admin_calls, boolean(v)),
    ),
    works(
        "proxy",
        "cafile",
        Unset,
        PEM,
        "Certificates of those who may vouch for an API at an https URL; when not set, those that the \
         system trusts.",
        |c, v| set_some(&mut c.proxy.cafile, file(v)),
    ),
    works(
        "proxy",
        "trusted_proxies",
        Text(""),
        Single("addresses and networks (ADDRESS or ADDRESS/BITS), separated by commas"),
        "Reverse proxies that are believed when they name a user's address and scheme, by \
         `X-Forwarded-For`, `X-Forwarded-Proto` and `Forwarded`, at the API too. Headers of all others are \
         passed over.",
        |c, v| set(&mut c.proxy.trusted_proxies, v.parse::<Networks>()),
    ),
    works(
        "proxy",
        "proxy_protocol",
        Text("off"),
        Single("off, accept or require"),
        "Read a header of the PROXY protocol (version 1 or 2) from connections of `trusted_proxies`: where \
         there is one (`accept`), or from every connection (`require`; others are closed).",
        |c, v| set(&mut c.proxy.proxy_protocol, proxy_protocol(v)),
    ),
];
