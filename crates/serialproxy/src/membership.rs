//! `serialproxy cluster`, `enroll` and `join`: the members of a cluster.

mod status;

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use clap::Subcommand;
use clap::ValueEnum;
use serialproxy_audit::EventName;
use serialproxy_cluster::Authority;
use serialproxy_cluster::Code;
use serialproxy_cluster::Joining;
use serialproxy_cluster::Members;
use serialproxy_cluster::Role;
use serialproxy_cluster::Roles;
use serialproxy_cluster::etcd_settings;
use serialproxy_config::Config;
use serialproxy_config::Role as Reader;
use serialproxy_config::Sources;
use serialproxy_config::cluster_name;
use serialproxy_etcd::Etcd;
use serialproxy_grants::Grants;

use crate::audit;
use crate::complain;
use crate::config;
use crate::options::ServerArgs;
use crate::state;

/// The allowed lifetimes of a code.
const TTL: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(60)..=Duration::from_secs(30 * 24 * 3600);

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create the CA of a new cluster on this host, and the host's certificate
    #[command(after_help = "Examples:
  serialproxy cluster init
  serialproxy cluster init --role proxy      the host is a proxy too

Once, on the first api host. The other hosts join with `serialproxy enroll` and `serialproxy join`.")]
    Init(Init),
    /// List the hosts of the cluster and the nodes of its etcd
    #[command(after_help = "Examples:
  serialproxy cluster status
  serialproxy cluster status -f json")]
    Status(Status),
    /// Let a host take no new sessions, before it is stopped
    #[command(after_help = "Examples:
  serialproxy cluster drain proxy-1
  serialproxy cluster drain proxy-1 --undo

A proxy sends its sessions to the other proxies, a few at a time, and its /healthz responds with 503. An api \
host goes on answering, and its /healthz responds with 503. A compute host refuses new sessions; those that it \
has go on. It stays so when the host restarts, until --undo. `serialproxy cluster status` shows it.")]
    Drain(Drain),
    /// Remove a host from the cluster: its certificates are refused from now on
    #[command(after_help = "Example:
  serialproxy cluster remove compute-7

The name may join again with `serialproxy enroll`. An api host has the key of the CA: if somebody may have \
copied it, create a new cluster.")]
    Remove(Remove),
}

#[derive(Args, Debug)]
pub(crate) struct Init {
    /// Roles of this host besides api, separated by commas: compute, proxy
    #[arg(long, value_name = "ROLES")]
    role: Option<Roles>,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Args, Debug)]
pub(crate) struct Status {
    /// Output format
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t = Format::Table)]
    format: Format,
    #[command(flatten)]
    server: ServerArgs,
}

/// How the status is printed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Format {
    /// For programs.
    Json,
    /// For people.
    Table,
}

#[derive(Args, Debug)]
pub(crate) struct Drain {
    /// The host's name in the cluster
    #[arg(value_parser = cluster_name)]
    name: String,
    /// Let it take new sessions again
    #[arg(long)]
    undo: bool,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Args, Debug)]
pub(crate) struct Remove {
    /// The host's name in the cluster
    name: String,
    #[command(flatten)]
    server: ServerArgs,
}

/// Let one host join the cluster: print the command to run there
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  serialproxy enroll --role compute
  serialproxy enroll --role compute,proxy --ttl 10m
  serialproxy enroll --role compute --replace compute-7

Runs on an api host, and prints one line, which is good once: serialproxy join HOST:PORT CODE")]
pub(crate) struct Enroll {
    /// Roles of the new host, separated by commas: api, compute, proxy
    #[arg(long, value_name = "ROLES")]
    role: Roles,
    /// How long the code is valid: a number with the unit s, m, h or d; 1m to 30d
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = ttl)]
    ttl: Duration,
    /// Host whose place the new one takes; its certificates are refused from then on
    #[arg(long, value_name = "NAME")]
    replace: Option<String>,
    #[command(flatten)]
    server: ServerArgs,
}

/// Join a cluster: get this host's certificate and the cluster's options
#[derive(Args, Debug)]
#[command(after_help = "Example:
  serialproxy join api-1.example.com:6084 CODE

`serialproxy enroll` on an api host prints the whole command.")]
pub(crate) struct Join {
    /// Address of an api host
    #[arg(value_name = "HOST:PORT")]
    address: String,
    /// The code that `serialproxy enroll` printed
    code: Code,
    /// Name of this host in the cluster [default: the host name]
    #[arg(long, value_parser = cluster_name)]
    name: Option<String>,
    /// Directory for persistent state [default: /var/lib/serialproxy]
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Directory for the file cluster.conf [default: /etc/serialproxy/serialproxy.conf.d]
    #[arg(long, value_name = "DIR")]
    config_dir: Option<PathBuf>,
}

pub(crate) fn run(command: &Command) -> ExitCode {
    match command {
        Command::Init(args) => with_config(&args.server, |config| init(args, config)),
        Command::Status(args) => {
            with_config(&args.server, |config| block_on(status(args.format, config)))
        }
        Command::Drain(args) => with_config(&args.server, |config| block_on(drain(args, config))),
        Command::Remove(args) => {
            with_config(&args.server, |config| block_on(remove(&args.name, config)))
        }
    }
}

pub(crate) fn run_enroll(args: &Enroll) -> ExitCode {
    with_config(&args.server, |config| block_on(enroll(args, config)))
}

pub(crate) fn run_join(args: &Join) -> ExitCode {
    finish(block_on(join(args)))
}

fn with_config(
    args: &ServerArgs,
    work: impl FnOnce(&Config) -> anyhow::Result<String>,
) -> ExitCode {
    match config::load(args, Reader::Api) {
        Ok(loaded) => finish(work(&loaded.config)),
        Err(code) => code,
    }
}

fn block_on(work: impl Future<Output = anyhow::Result<String>>) -> anyhow::Result<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("the program cannot start")?.block_on(work)
}

fn finish(done: anyhow::Result<String>) -> ExitCode {
    match done {
        Ok(told) => {
            // A reader that closed the pipe has all that it wanted.
            let _ = std::io::stdout().lock().write_all(told.as_bytes());
            ExitCode::SUCCESS
        }
        Err(error) => {
            complain(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn init(args: &Init, config: &Config) -> anyhow::Result<String> {
    let name = &config.cluster.name;
    anyhow::ensure!(!name.is_empty(), "this host has no usable name: set [cluster] name");
    // Whoever issues certificates is an api host to those who join.
    let roles = args.role.clone().map_or_else(|| Role::Api.into(), |roles| roles.and(Role::Api));
    state::make(&config.state_dir)?;
    let life = config.cluster.certificate_life;
    serialproxy_cluster::init(&config.state_dir, name, &roles, life)?;
    let directory = config.state_dir.join("cluster");
    let directory = directory.display();
    Ok(format!(
        "Created the CA of a new cluster, and the certificate of host {name} ({roles}), in {directory}.
Keep a copy of {directory}/ca-key.pem in a safe place.

Set [cluster] etcd_endpoints, start `serialproxy api`, and let the other hosts join:
  serialproxy enroll --role compute
"
    ))
}

async fn enroll(args: &Enroll, config: &Config) -> anyhow::Result<String> {
    let cluster = &config.cluster;
    anyhow::ensure!(
        serialproxy_cluster::has_own_pki(cluster, &config.state_dir),
        "the certificates of this cluster come from another PKI ([cluster] cert_file or ca_file is \
         set): let that PKI issue one for the new host"
    );
    let ca = Authority::load(&config.state_dir)?.with_context(|| {
        format!(
            "{}/cluster/ca-key.pem does not exist: run this on an api host, or create a cluster \
             with `serialproxy cluster init`",
            config.state_dir.display()
        )
    })?;
    let port = cluster.listen.port;
    anyhow::ensure!(
        port != 0 || cluster.advertise.is_some(),
        "the port of [cluster] listen is not known: set [cluster] advertise"
    );
    let members = members(config)?;
    if cluster.etcd_endpoints.iter().all(|url| is_local(url)) {
        complain(
            "[cluster] etcd_endpoints names loopback addresses only, which other hosts cannot reach: set \
             addresses that they reach, and run `serialproxy enroll` again before the other host joins",
        );
    }
    let code = ca.code()?;
    members.invite(&code, args.role.clone(), args.replace.clone(), args.ttl).await?;
    Ok(format!("serialproxy join {} {code}\n", cluster.advertised(port)))
}

fn is_local(url: &str) -> bool {
    let host = url.split_once("://").map_or(url, |(_, rest)| rest);
    ["localhost:", "127.", "[::1]:"].iter().any(|local| host.starts_with(local))
}

async fn join(args: &Join) -> anyhow::Result<String> {
    let defaults = Sources::default();
    let own = || serialproxy_config::host_name().and_then(|name| cluster_name(&name).ok());
    let name = args.name.clone().or_else(own);
    let name = name.context("this host has no usable name: choose one with --name")?;
    let state_dir = args.state_dir.clone().unwrap_or_else(|| Config::default().state_dir);
    let state_dir = std::path::absolute(state_dir)?;
    let config_dir = args.config_dir.clone().unwrap_or_else(|| defaults.default_directory.clone());
    state::make(&state_dir)?;
    let joining = Joining {
        address: &args.address,
        code: &args.code,
        name: &name,
        state_dir: &state_dir,
        config_dir: &config_dir,
    };
    let joined = serialproxy_cluster::join(&joining).await?;
    let mut told = format!(
        "Host {name} joined the cluster ({}). Its options are in {}. Start:\n",
        joined.roles,
        joined.config_file.display()
    );
    for role in joined.roles.iter() {
        let flags = flags(args, &state_dir, &config_dir);
        // Writing to a String cannot fail.
        let _ = writeln!(told, "  serialproxy {role}{flags}");
    }
    Ok(told)
}

/// What a role needs to find what is not at its usual place.
fn flags(args: &Join, state_dir: &Path, config_dir: &Path) -> String {
    let state = args.state_dir.as_ref().map(|_| format!(" --state-dir {}", state_dir.display()));
    let config =
        args.config_dir.as_ref().map(|_| format!(" --config-dir {}", config_dir.display()));
    state.unwrap_or_default() + &config.unwrap_or_default()
}

async fn remove(name: &str, config: &Config) -> anyhow::Result<String> {
    let audit = audit::start(config)?;
    members(config)?.remove(name).await?;
    let uid = rustix::process::getuid().as_raw();
    let event = audit.event(EventName::HostRemoved).user(format!("uid {uid}"));
    audit.record(event.target(name));
    // Whoever has its disk has its admin token.
    let grants = Grants::on(etcd(config)?);
    serialproxy_api::end_admin_token(&grants, name).await?;
    audit::finish(audit).await;
    Ok(format!("Removed host {name}: the other hosts refuse its certificates from now on.\n"))
}

async fn drain(args: &Drain, config: &Config) -> anyhow::Result<String> {
    let (members, name) = (members(config)?, &args.name);
    match args.undo {
        true => members.undo_drain(name).await?,
        false => members.drain(name).await?,
    }
    Ok(match args.undo {
        true => format!("Host {name} takes new sessions again.\n"),
        false => format!(
            "Host {name} takes no new sessions from now on, until `serialproxy cluster drain {name} --undo`.\n"
        ),
    })
}

async fn status(format: Format, config: &Config) -> anyhow::Result<String> {
    let etcd = etcd(config)?;
    let (hosts, nodes) = tokio::join!(serialproxy_cluster::survey(&etcd), etcd.nodes());
    Ok(match format {
        Format::Json => status::json(&hosts?, &nodes),
        Format::Table => status::table(&hosts?, &nodes),
    })
}

fn members(config: &Config) -> anyhow::Result<Members> {
    etcd(config).map(Members::new)
}

fn etcd(config: &Config) -> anyhow::Result<Etcd> {
    anyhow::ensure!(
        config.cluster.is_set(),
        "no cluster is configured: set [cluster] etcd_endpoints"
    );
    Ok(Etcd::new(etcd_settings(&config.cluster))?)
}

fn ttl(text: &str) -> Result<Duration, String> {
    let ttl = serialproxy_config::duration(text).map_err(|reason| format!("it {reason}"))?;
    if TTL.contains(&ttl) { Ok(ttl) } else { Err("it is not within 1m and 30d".into()) }
}
