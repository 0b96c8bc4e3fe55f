//! `serialproxy doctor`: looks at this host and at what the service needs, and says what to mend.
//!
//! Nothing is changed: no file is written, no table created, no guest's port connected to. All checks run
//! at the same time, and each has a time limit.

mod certificates;
mod cluster;
mod configuration;
mod finding;
mod hypervisor;
mod idle;
mod listeners;
mod machine;
mod openstack;
mod permissions;
mod ports;
mod public;
mod service;
mod sockets;
mod state;
mod url;
mod user;
mod wire;

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use clap::ValueEnum;
use serialproxy_cluster::Role as ClusterRole;
use serialproxy_config::Config;
use serialproxy_config::Loaded;
use serialproxy_config::Role as Reader;
use tokio::time::timeout;

use self::finding::Check;
use self::finding::Finding;
use self::finding::Level;
use self::user::User;
use crate::complain;
use crate::options::ServerArgs;

/// How long a check may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// A libvirt that has just been started looks at its guests and its QEMU before it answers. A guest that
/// shows whether KVM works has 12 s.
const HYPERVISOR: Duration = Duration::from_secs(15);

/// How much longer than the idle time its check may take.
const PREPARATION: Duration = Duration::from_secs(11);

/// Check this host, the configuration and what they need, and say how to fix what is wrong
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  serialproxy doctor
  serialproxy doctor --role proxy --config-file /etc/nova/nova.conf
  serialproxy doctor -f json
  serialproxy doctor --idle 120        also watch a console for 120 s through base_url

It changes nothing, and may run beside the service, as root or as the service's user. As root, it looks at files \
with the rights of the service's user. It prints one line for \
each check: ok, warning, or problem, with the fix. The exit code is 1 if there is a problem.")]
pub(crate) struct Doctor {
    /// Role that runs here [default: serve, or proxy with a configuration file of Nova]
    #[arg(long, value_name = "ROLE", value_enum)]
    role: Option<Role>,
    /// Output format
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Watch a console through base_url, and check that it stays open for that long without input
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    idle: Option<u64>,
    #[command(flatten)]
    server: ServerArgs,
}

/// The role of the service.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Role {
    /// Every role in one process.
    Serve,
    /// The API of a cluster.
    Api,
    /// A hypervisor of a cluster.
    Compute,
    /// What users connect to.
    Proxy,
}

/// How the findings are printed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Format {
    /// For programs.
    Json,
    /// For people.
    Text,
}

/// What is looked at.
#[derive(Debug)]
struct Subject {
    role: Role,
    loaded: Loaded,
    /// The user of the service, if this process is root's and the service is not.
    user: Option<User>,
}

pub(crate) fn run(args: &Doctor) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!("the program cannot start: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let findings = match Subject::load(args) {
        Ok(mut subject) => {
            let user = user::of_service(&subject.config().state_dir, subject.role);
            subject.user = runtime.block_on(user);
            let idle = args.idle.map(Duration::from_secs);
            runtime.block_on(examine(Arc::new(subject), idle))
        }
        Err(findings) => findings,
    };
    // A name server or a file system that hangs must not keep the program from ending.
    runtime.shutdown_background();
    let told = match args.format {
        Format::Json => finding::json(&findings),
        Format::Text => finding::text(&findings),
    };
    // A reader that closed the pipe has all that it wanted.
    let _ = std::io::stdout().lock().write_all(told.as_bytes());
    match findings.iter().any(|finding| finding.level == Level::Problem) {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    }
}

/// All checks of the role, at the same time; what they found, in the order of the document.
async fn examine(subject: Arc<Subject>, idle: Option<Duration>) -> Vec<Finding> {
    let mut findings = configuration::check(&subject);
    let libvirt = subject.has_guests() && subject.config().compute.libvirt;
    let url = subject.role != Role::Compute;
    let keeps = !subject.is_drop_in() || subject.in_cluster();
    let all = tokio::join!(
        blocking(Check::OpenFiles, &subject, machine::open_files),
        bounded(Check::Clock, machine::clock(&subject.config().state_dir)),
        blocking(Check::StateDirectory, &subject, |subject| as_service(subject, places)),
        only(
            keeps,
            blocking(Check::Database, &subject, |subject| as_service(subject, state::database))
        ),
        blocking(Check::Certificate, &subject, |subject| as_service(subject, certificates::check)),
        bounded(Check::Listeners, listeners::check(&subject)),
        only(libvirt, within(HYPERVISOR, Check::Libvirt, hypervisor::check(&subject))),
        only(libvirt, within(HYPERVISOR, Check::Kvm, hypervisor::kvm(&subject))),
        only(url, bounded(Check::PublicUrl, Box::pin(public::check(&subject)))),
        bounded(Check::Nova, Box::pin(openstack::check(&subject))),
        only(subject.in_cluster(), bounded(Check::Etcd, Box::pin(cluster::check(&subject)))),
        Box::pin(kept_open(&subject, idle)),
    );
    let (host, services) =
        ([all.0, all.1, all.2, all.3, all.4, all.5, all.6, all.7], [all.8, all.9, all.10, all.11]);
    let all = host.into_iter().chain(services);
    findings.extend(all.flatten());
    findings
}

/// Whether a console stays open for that long, if that is asked for.
async fn kept_open(subject: &Subject, idle: Option<Duration>) -> Vec<Finding> {
    match idle {
        Some(long) => {
            within(long + PREPARATION, Check::IdleTimeout, idle::check(subject, long)).await
        }
        None => Vec::new(),
    }
}

/// What a check of files finds with the rights of the service's user.
fn as_service(subject: &Subject, work: fn(&Subject) -> Vec<Finding>) -> Vec<Finding> {
    let Some(user) = &subject.user else { return work(subject) };
    user.run(|| work(subject)).unwrap_or_else(|error| {
        vec![Finding::warning(
            Check::StateDirectory,
            format!("what {} may do is not known: {error}", subject.who()),
            format!("run the doctor as the user {} too", user.name()),
        )]
    })
}

/// What the role reads at its start and writes to.
fn places(subject: &Subject) -> Vec<Finding> {
    let config = subject.config();
    let mut findings = configuration::unreadable(subject);
    if !subject.is_drop_in() || subject.in_cluster() {
        findings.extend(state::check(subject));
    }
    if subject.has_guests() || subject.is_drop_in() {
        findings.extend(state::claims(config));
        findings.extend(state::recordings(config));
    }
    findings
}

/// What a check finds, where there is something to check.
async fn only(is_used: bool, work: impl Future<Output = Vec<Finding>>) -> Vec<Finding> {
    if is_used { work.await } else { Vec::new() }
}

/// What a check found, or that it took too long.
async fn bounded(check: Check, work: impl Future<Output = Vec<Finding>>) -> Vec<Finding> {
    within(PATIENCE, check, work).await
}

async fn within(
    most: Duration,
    check: Check,
    work: impl Future<Output = Vec<Finding>>,
) -> Vec<Finding> {
    timeout(most, work).await.unwrap_or_else(|_| {
        vec![Finding::problem(
            check,
            format!("this check did not end within {} s", most.as_secs()),
            match check {
                Check::Libvirt => {
                    "look at libvirt's log (`journalctl --unit libvirtd`, or virtqemud where it is \
                     modular), and restart it if it hangs"
                }
                _ => "look for a network file system, a name server or a service that does not respond",
            },
        )]
    })
}

/// The same of one that blocks.
async fn blocking(
    check: Check,
    subject: &Arc<Subject>,
    work: fn(&Subject) -> Vec<Finding>,
) -> Vec<Finding> {
    let subject = Arc::clone(subject);
    let work = async move {
        tokio::task::spawn_blocking(move || work(&subject)).await.unwrap_or_else(|error| {
            vec![Finding::problem(
                check,
                format!("this check failed: {error}"),
                "report this fault",
            )]
        })
    };
    bounded(check, work).await
}

impl Subject {
    fn load(args: &Doctor) -> Result<Self, Vec<Finding>> {
        let reader = args.role.map_or(Reader::Either, Role::reader);
        let loaded = serialproxy_config::load(&args.server.sources(reader));
        let loaded = loaded.map_err(|error| configuration::refused(&error))?;
        let default = if loaded.is_novas { Role::Proxy } else { Role::Serve };
        Ok(Self { role: args.role.unwrap_or(default), loaded, user: None })
    }

    /// Whose rights the checks of files tell.
    fn who(&self) -> String {
        let user = self.user.as_ref();
        user.map_or_else(
            || "this user".into(),
            |user| format!("the service's user {}", user.name()),
        )
    }

    fn config(&self) -> &Config {
        &self.loaded.config
    }

    fn has_guests(&self) -> bool {
        matches!(self.role, Role::Serve | Role::Compute)
    }

    fn has_api(&self) -> bool {
        matches!(self.role, Role::Serve | Role::Api)
    }

    fn has_users(&self) -> bool {
        matches!(self.role, Role::Serve | Role::Proxy)
    }

    /// Whether it is in nova-serialproxy's place.
    fn is_drop_in(&self) -> bool {
        self.role == Role::Proxy && !crate::roles::proxy::is_front(self.config())
    }

    fn in_cluster(&self) -> bool {
        self.role != Role::Serve && self.config().cluster.is_set()
    }

    /// What its certificate has to allow.
    fn roles(&self) -> &'static [ClusterRole] {
        match self.role {
            Role::Serve => &[],
            Role::Api => &[ClusterRole::Api],
            Role::Compute => &[ClusterRole::Compute],
            Role::Proxy => &[ClusterRole::Proxy],
        }
    }
}

impl Role {
    fn reader(self) -> Reader {
        match self {
            Self::Serve => Reader::Serve,
            Self::Api => Reader::Api,
            Self::Compute => Reader::Compute,
            Self::Proxy => Reader::Proxy,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Serve => "serve",
            Self::Api => "api",
            Self::Compute => "compute",
            Self::Proxy => "proxy",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_check_that_hangs_is_a_problem_and_holds_up_nothing() {
        let found = bounded(Check::Clock, std::future::pending()).await;
        assert_eq!((found.len(), found[0].level), (1, Level::Problem));
    }

    #[test]
    fn the_document_has_a_row_for_each_check() {
        let document = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/doctor.md");
        let document = std::fs::read_to_string(document).unwrap();
        let (_, checks) = document.split_once("## The checks").unwrap();
        let rows = checks.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
        let rows: Vec<_> = rows.collect();
        let names: Vec<_> = Check::ALL.iter().map(|check| check.name()).collect();
        assert_eq!(rows, names);
    }
}
