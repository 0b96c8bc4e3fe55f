//! The calls of Nova's API that OpenStack's clients make: versions, servers and their power,
//! consoles, and a server's console output.

mod actions;
mod auth_tokens;
mod body;
mod filter;
pub(crate) mod links;
mod microversion;
mod output;
mod power;
mod remote_consoles;
mod servers;
mod versions;
mod view;

pub(crate) use self::links::Public;
pub(crate) use self::microversion::negotiate;
pub(crate) use self::versions::other_method;
pub(crate) use self::versions::unknown_path;
use crate::route::Route;

/// The places of both generations of the API, each with and without the project in the path.
const PLACES: [&str; 4] = ["/v2.1", "/v2", "/v2.1/{project}", "/v2/{project}"];

pub(crate) fn routes() -> Vec<Route> {
    let mut routes = versions::routes();
    routes.extend(servers::routes());
    routes.extend(actions::routes());
    routes.extend(remote_consoles::routes());
    routes.extend(auth_tokens::routes());
    routes
}
