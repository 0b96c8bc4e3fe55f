//! A compute role for a test, and what a test asks of it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serialproxy_compute::Manager;
use serialproxy_config::Config;
use serialproxy_ledger::Ledger;
use serialproxy_line::Lines;
use serialproxy_line::Settings;
use serialproxy_proto::api;
use serialproxy_proto::compute::ComputeError;
use serialproxy_proto::compute::LineBook;
use serialproxy_proto::compute::OpenConsole;
use serialproxy_proto::compute::PAGE;
use serialproxy_proto::compute::Page;
use serialproxy_proto::compute::Servers;
use serialproxy_proto::console::LineState;
use serialproxy_proto::id::LineKey;
use serialproxy_proto::id::ServerId;

/// Two minutes: an emulated guest on a busy machine takes its time.
const PATIENCE: Duration = Duration::from_secs(120);

/// A compute role of its own, with its state in a temporary directory.
pub(crate) struct Role {
    pub(crate) config: Config,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) lines: Lines,
    pub(crate) manager: Arc<Manager>,
    state: Arc<tempfile::TempDir>,
}

impl Role {
    pub(crate) fn start(uri: &str, change: impl FnOnce(&mut Config)) -> Self {
        let state = tempfile::tempdir().unwrap();
        let mut config = Config { state_dir: state.path().into(), ..Config::default() };
        config.serial_console.enabled = true;
        config.cluster.name = "host-1".into();
        config.libvirt.connection_uri = uri.into();
        change(&mut config);
        Self::run(config, Arc::new(state))
    }

    /// The same role again, as after the death of its process.
    pub(crate) fn restart(self) -> Self {
        for line in self.lines.all() {
            self.lines.remove(line.key(), "restart");
        }
        Self::run(self.config.clone(), Arc::clone(&self.state))
    }

    fn run(config: Config, state: Arc<tempfile::TempDir>) -> Self {
        let _ = tracing_subscriber::fmt().with_test_writer().try_init();
        let ledger = Arc::new(Ledger::open(&state.path().join("store.sqlite")).unwrap());
        let settings = Settings {
            history_head: 1024 * 1024,
            history_tail: 1024 * 1024,
            ..Settings::default()
        };
        let lines = Lines::new(settings, vec![tokio::runtime::Handle::current()]);
        let manager = Manager::start(&config, Arc::clone(&ledger), lines.clone());
        Self { config, ledger, lines, manager, state }
    }

    pub(crate) fn state(&self) -> &Path {
        self.state.path()
    }

    pub(crate) fn line(&self, server: ServerId, port: u8) -> Option<api::Line> {
        self.lines.get(LineKey { server, port }).map(|line| line.describe())
    }

    pub(crate) async fn until_connected(&self, server: ServerId, port: u8) -> api::Line {
        let connected =
            || self.line(server, port).filter(|line| line.state == LineState::Connected);
        eventually("the line is connected", || std::future::ready(connected())).await
    }

    /// Waits until a line has printed `text`, and returns all that it printed.
    pub(crate) async fn until_printed(&self, server: ServerId, port: u8, text: &str) -> String {
        self.until_printed_times(server, port, text, 1).await
    }

    /// Waits until a line has printed `text` so many times, and returns all that it printed.
    pub(crate) async fn until_printed_times(
        &self,
        server: ServerId,
        port: u8,
        text: &str,
        times: usize,
    ) -> String {
        eventually(text, || async {
            let line = self.lines.get(LineKey { server, port })?;
            let output = line.output(0, usize::MAX);
            let output = String::from_utf8_lossy(&output.bytes).into_owned();
            (output.matches(text).count() >= times).then_some(output)
        })
        .await
    }

    /// All servers.
    pub(crate) async fn servers(&self) -> Vec<api::Server> {
        let page = Page { project: None, after: None, limit: PAGE, changed_within: None };
        self.manager.servers(page).await.unwrap().servers
    }

    /// Asks for a console as an administrator.
    pub(crate) async fn open(&self, line: LineKey, wait: bool) -> Result<(), ComputeError> {
        let ask = OpenConsole { line, project: None, wait };
        let opened = self.manager.open_console(ask).await?;
        assert_eq!(opened.line, line);
        Ok(())
    }

    /// Ports that are leased and not given back, with their lines.
    pub(crate) fn leases(&self) -> Vec<(u16, LineKey)> {
        let leases = self.ledger.port_leases().unwrap();
        let held = leases.into_iter().filter(|lease| lease.released.is_none());
        held.map(|lease| (lease.port, lease.line)).collect()
    }
}

/// Asks until there is an answer.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut ask: impl FnMut() -> F,
) -> T {
    let asking = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    match tokio::time::timeout(PATIENCE, asking).await {
        Ok(answer) => answer,
        Err(_) => panic!("not within {} s: {what}", PATIENCE.as_secs()),
    }
}
