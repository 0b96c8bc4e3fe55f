//! Options of the API, and of the proxy's way to it.

use serialproxy_proto::address::host;

use super::ABOUT_SECONDS_FROM_1;
use super::LISTEN;
use super::PEM;
use crate::network::api_url;
use crate::network::listen;
use crate::network::service_url;
use crate::option::Fallback::Text;
use crate::option::Fallback::Unset;
use crate::option::Kind::Bool;
use crate::option::Kind::Single;
use crate::option::Opt;
use crate::option::works;
use crate::proxies::Networks;
use crate::proxies::proxy_protocol;
use crate::readers::auth_strategy;
use crate::readers::set;
use crate::readers::set_some;
use crate::scalar::boolean;
use crate::scalar::file;
use crate::scalar::list;
use crate::scalar::seconds;

pub(super) static OPTIONS: &[Opt] = &[
    works(
        "api",
        "listen",
        Text("127.0.0.1:8774"),
        LISTEN,
        "Address and port that the API \
             listens on.",
        |c, v| set(&mut c.api.listen, listen(v)),
    ),
    works(
        "api",
        "auth_strategy",
        Text("token"),
        Single("token, http_basic, keystone or noauth"),
        "Authentication backend. `token`: tokens and users in serialproxy's own store; \
         `http_basic`: the same, and HTTP basic authentication with each call; `keystone`: the \
         Keystone that `[keystone_authtoken]` names; `noauth`: no authentication, everyone is an \
         administrator.",
        |c, v| set(&mut c.api.auth_strategy, auth_strategy(v)),
    ),
    works(
        "api",
        "noauth_anywhere",
        Text("false"),
        Bool,
        "Allow `noauth` on an address that other machines can reach. Everyone who reaches it is \
         an administrator.",
        |c, v| set(&mut c.api.noauth_anywhere, boolean(v)),
    ),
    works(
        "api",
        "allowed_hosts",
        Text(""),
        Single("host names or IP addresses, separated by commas"),
        "Values of the `Host` header that the API accepts under `noauth`, besides IP addresses \
         and `localhost`. Others are refused, because of DNS rebinding.",
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
        "Lifetime of the token that a local user gets at `/v3/auth/tokens`.",
        |c, v| set(&mut c.api.token_lifetime, seconds(v, 1)),
    ),
    works(
        "api",
        "page_lifetime",
        Text("43200"),
        ABOUT_SECONDS_FROM_1,
        "Lifetime of a login at the servers page. A token that somebody logged in with may end it \
         earlier.",
        |c, v| set(&mut c.api.page_lifetime, seconds(v, 1)),
    ),
    works(
        "api",
        "cert",
        Unset,
        PEM,
        "Certificate of the API, followed by intermediate certificates. Setting it enables TLS.",
        |c, v| set_some(&mut c.api.cert, file(v)),
    ),
    works(
        "api",
        "key",
        Unset,
        PEM,
        "Private key of `cert`, unless it is in the same file.",
        |c, v| set_some(&mut c.api.key, file(v)),
    ),
    works(
        "api",
        "ssl_only",
        Text("false"),
        Bool,
        "Refuse calls without TLS. Requires `cert`.",
        |c, v| set(&mut c.api.ssl_only, boolean(v)),
    ),
    works(
        "api",
        "compute_link_prefix",
        Unset,
        Single("an http or https URL with a host, without query and fragment"),
        "URL that links in responses begin with, for an API behind a reverse proxy, for example \
         `https://cloud.example.com/compute`.",
        |c, v| set_some(&mut c.api.compute_link_prefix, service_url(v)),
    ),
    works(
        "api",
        "metrics_listen",
        Unset,
        LISTEN,
        "Address and port of a listener that answers `/healthz` and `/metrics` to everyone, \
         without TLS, in every role. The API itself answers them only to callers on the same \
         machine.",
        |c, v| set_some(&mut c.api.metrics_listen, listen(v)),
    ),
    works(
        "oslo_middleware",
        "enable_proxy_headers_parsing",
        Text("false"),
        Bool,
        "Build links from the headers `Forwarded`, `X-Forwarded-Proto`, `-Host` and `-Prefix`. \
         Set it only behind a reverse proxy that always sets them.",
        |c, v| set(&mut c.oslo_middleware.enable_proxy_headers_parsing, boolean(v)),
    ),
    works(
        "proxy",
        "api_url",
        Unset,
        Single("http://HOST:PORT or https://HOST:PORT; an IPv6 address in brackets"),
        "API that the proxy relays the servers page's calls to. When not set, `serve` uses its \
         own API.",
        |c, v| set(&mut c.proxy.api, api_url(v).map(Some)),
    ),
    works(
        "proxy",
        "admin_calls",
        Text("false"),
        Bool,
        "Relay all calls below `/v1`, including administrative ones, instead of only those that \
         the servers page makes.",
        |c, v| set(&mut c.proxy.admin_calls, boolean(v)),
    ),
    works(
        "proxy",
        "cafile",
        Unset,
        PEM,
        "CA bundle that verifies the API at an https `api_url`. Default: the system's CA store.",
        |c, v| set_some(&mut c.proxy.cafile, file(v)),
    ),
    works(
        "proxy",
        "trusted_proxies",
        Text(""),
        Single("addresses and networks (ADDRESS or ADDRESS/BITS), separated by commas"),
        "Reverse proxies whose headers `X-Forwarded-For`, `X-Forwarded-Proto` and `Forwarded` \
         are trusted for a user's address and scheme, also by the API. From other addresses these \
         headers are ignored.",
        |c, v| set(&mut c.proxy.trusted_proxies, v.parse::<Networks>()),
    ),
    works(
        "proxy",
        "proxy_protocol",
        Text("off"),
        Single("off, accept or require"),
        "Whether connections from `trusted_proxies` may (`accept`) or must (`require`) begin \
         with a PROXY protocol header, version 1 or 2. With `require`, all other connections are \
         closed.",
        |c, v| set(&mut c.proxy.proxy_protocol, proxy_protocol(v)),
    ),
];
