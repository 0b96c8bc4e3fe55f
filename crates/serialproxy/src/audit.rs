//! The audit trail of this host, which all its processes write to.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use serialproxy_audit::Audit;
use serialproxy_audit::Settings;
use serialproxy_audit::Syslog;
use serialproxy_config::Config;
use serialproxy_config::values::SyslogServer;

use crate::state;

/// How long the end waits until what happened last is written.
const FLUSH: Duration = Duration::from_secs(1);

/// How long the end waits until the syslog server has it, too.
const SEND: Duration = Duration::from_secs(2);

/// Begins to record.
pub(crate) fn start(config: &Config) -> anyhow::Result<Audit> {
    // A proxy in front of a Nova needs no state; then the log says that the trail cannot be written.
    let _ = state::make(&config.state_dir);
    let settings = Settings {
        directory: serialproxy_audit::directory(&config.state_dir),
        max_size: config.audit.max_size,
        max_age: config.audit.max_age,
        required: config.audit.required,
        syslog: config.audit.syslog.as_ref().map(syslog).transpose().context("[audit] syslog")?,
    };
    Audit::start(settings).context("the program cannot start")
}

fn syslog(server: &SyslogServer) -> anyhow::Result<Syslog> {
    let trust = || serialproxy_tls::trusting(None).map(Arc::new);
    Ok(Syslog {
        host: server.host.clone(),
        port: server.port,
        tls: server.tls.then(trust).transpose()?,
        own: serialproxy_config::host_name()
            .filter(|name| name.bytes().all(|byte| byte.is_ascii_graphic()))
            .unwrap_or_else(|| "-".into()),
    })
}

/// Waits until what was recorded is written and sent.
pub(crate) async fn finish(audit: Audit) {
    let finishing = move || (audit.flush(FLUSH), audit.unsent(SEND));
    let (flushed, unsent) = tokio::task::spawn_blocking(finishing).await.unwrap_or_default();
    if !flushed {
        tracing::error!("the last events are missing in the audit trail");
    }
    if unsent > 0 {
        tracing::warn!(events = unsent, "the last audit events were not sent to syslog");
    }
}
