//! What OpenStack's clients ask of Nova before they ask for a console: versions and servers.

mod links;
mod servers;
mod versions;

use crate::routes::Route;

pub(crate) fn routes() -> Vec<Route> {
    let mut routes = versions::routes();
    routes.extend(servers::routes());
    routes
}
