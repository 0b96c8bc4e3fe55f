//! What `serve` prints on a terminal when it is ready: what it serves, and how to come in.

use std::io::IsTerminal;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use serialproxy_api::Api;
use serialproxy_client::Welcome;
use serialproxy_proto::compute::PAGE;
use serialproxy_proto::compute::Page;
use serialproxy_proto::compute::Servers;

/// Prints it if somebody sees it: a service's output is its ready line alone.
pub(crate) async fn welcome(
    api: Arc<Api>,
    servers: Arc<dyn Servers>,
    api_url: String,
    state_dir: Arc<Path>,
) {
    if !std::io::stdout().is_terminal() {
        return;
    }
    let page = Page { project: None, after: None, limit: PAGE, changed_within: None };
    let servers = match servers.servers(page).await {
        Ok(answer) => answer.servers,
        Err(error) => {
            tracing::warn!(%error, "the servers cannot be listed");
            return;
        }
    };
    let link = api.new_login_link().await;
    let link = link.inspect_err(|error| tracing::warn!(error, "no login link can be made"));
    let welcome = Welcome::of(servers, link.ok(), &api_url, &state_dir);
    // A terminal that is gone has no reader.
    let _ = write!(std::io::stdout().lock(), "\n{}\n", welcome.text());
}
