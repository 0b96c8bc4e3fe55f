//! What OpenStack's clients ask of Nova: versions, servers, and what a server printed.

mod actions;
mod links;
mod microversion;
mod servers;
mod versions;

pub(crate) use self::links::Public;
pub(crate) use self::microversion::negotiate;
pub(crate) use self::versions::nowhere;
pub(crate) use self::versions::other_method;
use crate::routes::Route;

/// Both generations of the API, each with and without the project in the path.
const PLACES: [&str; 4] = ["/v2.1", "/v2", "/v2.1/{project}", "/v2/{project}"];

pub(crate) fn routes() -> Vec<Route> {
    let mut routes = versions::routes();
    routes.extend(servers::routes());
    routes.extend(actions::routes());
    routes
}
