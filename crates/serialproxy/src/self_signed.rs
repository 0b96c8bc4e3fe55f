//! `serialproxy tls`: a first certificate.

use std::fs;
use std::fs::OpenOptions;
use std::io::Write;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::fs::fchown;
use std::path::Path;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use std::time::SystemTime;

use anyhow::Context;
use clap::Args;
use clap::Subcommand;
use rcgen::CertificateParams;
use rcgen::DnType;
use rcgen::ExtendedKeyUsagePurpose;
use rcgen::IsCa;
use rcgen::KeyPair;
use rcgen::KeyUsagePurpose;

use crate::complain;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create a self-signed certificate and its key
    #[command(after_help = "Examples:
  serialproxy tls self-signed --out /etc/serialproxy
  serialproxy tls self-signed --host console.example.com --host 192.0.2.7 --days 90

For tests and first steps: browsers warn about such a certificate, and clients need it as --cacert. A \
running server loads a replacement (--force) by itself.")]
    SelfSigned(SelfSigned),
}

#[derive(Args, Debug)]
pub(crate) struct SelfSigned {
    /// Host name or address to include, besides localhost; repeatable [default: this machine's name]
    #[arg(long, value_name = "NAME")]
    host: Vec<String>,
    /// Directory to write to
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
    /// Days of validity
    #[arg(long, value_name = "N", default_value_t = 365)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=3650))]
    days: u32,
    /// Directory for persistent state: if root writes the key, the group of this directory may read it
    #[arg(long, value_name = "DIR", default_value = "/var/lib/serialproxy")]
    state_dir: PathBuf,
    /// Replace existing files
    #[arg(long)]
    force: bool,
}

pub(crate) fn run(command: &Command) -> ExitCode {
    let Command::SelfSigned(args) = command;
    match args.make() {
        Ok(told) => {
            // A reader that closed the pipe does not want the rest.
            let _ = std::io::stdout().lock().write_all(told.as_bytes());
            ExitCode::SUCCESS
        }
        Err(error) => {
            complain(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

impl SelfSigned {
    /// Writes the files; returns what to do with them.
    fn make(&self) -> anyhow::Result<String> {
        let directory = std::path::absolute(&self.out)?;
        let (cert, key) =
            (directory.join("serialproxy.pem"), directory.join("serialproxy-key.pem"));
        for path in [&cert, &key] {
            let free = self.force || !path.exists();
            anyhow::ensure!(free, "{} exists: use --force to replace it", path.display());
        }
        let hosts = self.hosts();
        let pair = KeyPair::generate().context("cannot create a key")?;
        let signed = parameters(&hosts, self.days)?.self_signed(&pair);
        let signed = signed.context("cannot create a certificate")?;
        match self.group() {
            Some(group) => write(&key, &pair.serialize_pem(), 0o640, Some(group))?,
            None => write(&key, &pair.serialize_pem(), 0o600, None)?,
        }
        write(&cert, &signed.pem(), 0o644, None)?;
        Ok(advice(&cert, &key, &hosts))
    }

    /// The group of the service's user, which differs from the user who runs this only for root.
    fn group(&self) -> Option<u32> {
        let state = self.state_dir.metadata().ok()?;
        (rustix::process::geteuid().is_root() && state.uid() != 0).then(|| state.gid())
    }

    /// The name that people use comes first.
    fn hosts(&self) -> Vec<String> {
        let mut hosts = self.host.clone();
        if hosts.is_empty() {
            let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
            hosts.extend(Some(name).filter(|name| !name.is_empty()));
        }
        for own in ["localhost", "127.0.0.1", "::1"] {
            if !hosts.iter().any(|host| host == own) {
                hosts.push(own.to_owned());
            }
        }
        hosts
    }
}

fn parameters(hosts: &[String], days: u32) -> anyhow::Result<CertificateParams> {
    let mut parameters = CertificateParams::new(hosts).context("--host")?;
    let name = hosts.first().map_or("serialproxy", String::as_str);
    parameters.distinguished_name.push(DnType::CommonName, name);
    parameters.is_ca = IsCa::ExplicitNoCa;
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let (now, day) = (SystemTime::now(), Duration::from_secs(24 * 3600));
    // Clocks of clients may be behind.
    parameters.not_before = (now - day).into();
    parameters.not_after = (now + day * days).into();
    Ok(parameters)
}

/// Replaces a file as a whole: a server that reads it finds either the old or the new content.
fn write(path: &Path, text: &str, mode: u32, group: Option<u32>) -> anyhow::Result<()> {
    let new = path.with_extension("new");
    let written = || {
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(mode).open(&new)?;
        fchown(&file, None, group)?;
        file.write_all(text.as_bytes())?;
        fs::rename(&new, path)
    };
    written().map_err(|error| {
        let _ = fs::remove_file(&new);
        anyhow::Error::new(error).context(format!("cannot write {}", path.display()))
    })
}

fn advice(cert: &Path, key: &Path, hosts: &[String]) -> String {
    let names = hosts.join(", ");
    let host = hosts.first().map_or("localhost", String::as_str);
    let host = match host.parse() {
        Ok(IpAddr::V6(v6)) => format!("[{v6}]"),
        _ => host.to_owned(),
    };
    let (cert, key) = (cert.display(), key.display());
    format!(
        "Created a certificate for {names}. Add to the configuration:

[serial_console]
cert = {cert}
key = {key}
base_url = https://{host}:6083/serial.html

[api]
cert = {cert}
key = {key}

The user of the service has to read the key. With the packages:
chgrp serialproxy {key} && chmod 640 {key}

Clients trust it with --cacert {cert}
"
    )
}
