//! What OpenStack's clients ask of Nova: versions, servers, and what a server printed.

mod actions;
mod links;
mod servers;
mod versions;

use crate::routes::Route;

/// Both generations of the API, each with and without the project in the path.
const PLACES: [&str; 4] = ["/v2.1", "/v2", "/v2.1/{project}", "/v2/{project}"];

pub(crate) fn routes() -> Vec<Route> {
    let mut routes = versions::routes();
    routes.extend(servers::routes());
    routes.extend(actions::routes());
    routes
}
