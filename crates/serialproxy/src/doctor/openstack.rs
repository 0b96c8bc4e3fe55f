//! Keystone and Nova: that they respond, and let the service user do what consoles need.

use std::time::Duration;

use serialproxy_config::values::AuthStrategy;
use serialproxy_config::values::KeystoneAuth;
use serialproxy_openstack::Keystone;
use serialproxy_openstack::Nova;
use serialproxy_proto::token::ConsoleToken;
use tokio::time::timeout;

use super::Subject;
use super::finding::Check;
use super::finding::Finding;

/// How long both may take: less than a check, so that the text says which of them is silent.
const PATIENCE: Duration = Duration::from_secs(4);

/// A token that nobody has.
const NOBODY_S: &str = "00000000-0000-4000-8000-000000000000";

/// Keystone, where it says who calls the API; Nova, where its proxy is replaced.
pub(super) async fn check(subject: &Subject) -> Vec<Finding> {
    let config = subject.config();
    if subject.has_api() && config.api.auth_strategy == AuthStrategy::Keystone {
        return vec![keystone(&config.keystone_authtoken).await];
    }
    if !subject.is_drop_in() || config.nova_user().is_none() {
        return Vec::new();
    }
    let asked = async {
        let nova = Nova::new(config).map_err(|error| error.to_string())?;
        let nova = nova.ok_or_else(|| "no service user for Nova is configured".to_owned())?;
        nova.log_in().await.map_err(|error| error.to_string())?;
        nova.console(&ConsoleToken::from_client(NOBODY_S))
            .await
            .map(drop)
            .map_err(|error| error.to_string())
    };
    let group = config.nova_user().map_or("nova", |(group, _)| group);
    let text = format!("Nova lets the service user of [{group}] look up console tokens");
    vec![told(Check::Nova, &text, asked, &format!("[{group}]")).await]
}

async fn keystone(auth: &KeystoneAuth) -> Finding {
    let asked = async {
        if let Some(option) = auth.missing() {
            return Err(format!("[keystone_authtoken] {option} is not set"));
        }
        let keystone = Keystone::new(auth).map_err(|error| error.to_string())?;
        keystone.validate(NOBODY_S).await.map(drop).map_err(|error| error.to_string())
    };
    let text = "Keystone lets the service user of [keystone_authtoken] validate tokens";
    told(Check::Keystone, text, asked, "[keystone_authtoken]").await
}

async fn told(
    check: Check,
    good: &str,
    asked: impl Future<Output = Result<(), String>>,
    group: &str,
) -> Finding {
    let silent = || format!("no answer within {} s", PATIENCE.as_secs());
    match timeout(PATIENCE, asked).await.unwrap_or_else(|_| Err(silent())) {
        Ok(()) => Finding::ok(check, good),
        Err(why) => {
            let fix = format!(
                "correct auth_url, the credentials and cafile in {group}, give the user the role that the text \
                 names, and check that the service responds (docs/openstack.md)"
            );
            Finding::problem(check, format!("{} cannot be used: {why}", check.name()), fix)
        }
    }
}
