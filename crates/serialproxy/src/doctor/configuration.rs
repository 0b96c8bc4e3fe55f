//! The options, and what the role needs of them.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::Path;

use serialproxy_cluster::Role as ClusterRole;
use serialproxy_config::ConfigError;
use serialproxy_config::Origin;
use serialproxy_config::Problem;

use super::Role;
use super::Subject;
use super::finding::Check;
use super::finding::Finding;
use crate::cluster;
use crate::roles::compute;
use crate::roles::proxy;

/// What keeps the configuration from being read.
pub(super) fn refused(error: &ConfigError) -> Vec<Finding> {
    let finding = |problem: &Problem| {
        Finding::problem(Check::Configuration, problem.to_string(), fix(problem))
    };
    error.problems.iter().map(finding).collect()
}

fn fix(problem: &Problem) -> &'static str {
    match problem {
        Problem::Unreadable { .. } => {
            "name an existing file with --config-file, and let the service's user read it"
        }
        Problem::Malformed { .. } => {
            "correct the line: a line is [group], option = value or # comment"
        }
        Problem::UnknownGroup { .. } | Problem::UnknownOption { .. } => {
            "correct the name, or remove the line; docs/config.md lists every option"
        }
        Problem::BadValue { .. } | Problem::More { .. } => {
            "correct the value; docs/config.md says what each option allows"
        }
    }
}

/// Its files that the service's user cannot read, where this process can.
pub(super) fn unreadable(subject: &Subject) -> Vec<Finding> {
    let files = subject.loaded.settings.iter().filter_map(|setting| match &setting.origin {
        Origin::File { file, .. } => Some(Path::new(&**file)),
        Origin::Default | Origin::Flag(_) => None,
    });
    let files: BTreeSet<_> = files.collect();
    let refused = files.into_iter().filter_map(|file| Some((file, File::open(file).err()?)));
    let finding = |(file, error): (&Path, io::Error)| {
        Finding::problem(
            Check::Configuration,
            format!("{} cannot read {}: {error}", subject.who(), file.display()),
            "give the file the group of the service's user, and mode 640",
        )
    };
    refused.map(finding).collect()
}

/// What is wrong with a configuration that can be read.
pub(super) fn check(subject: &Subject) -> Vec<Finding> {
    let config = subject.config();
    let mut findings: Vec<_> = subject
        .loaded
        .warnings
        .iter()
        .map(|warning| {
            let fix = "correct or remove the option; docs/config.md lists every option";
            Finding::warning(Check::Configuration, warning, fix)
        })
        .collect();
    let lacks = match subject.role {
        Role::Serve => Ok(()),
        Role::Api => cluster::check(config, ClusterRole::Api),
        Role::Compute => compute::check(config),
        Role::Proxy => proxy::check(config),
    };
    match lacks {
        Err(what) => findings.push(Finding::problem(
            Check::Configuration,
            what,
            "change the configuration, or name the role that runs here with --role",
        )),
        Ok(()) if subject.role == Role::Serve && config.cluster.is_set() => {
            findings.push(Finding::warning(
                Check::Configuration,
                "[cluster] etcd_endpoints is set, but `serialproxy serve` belongs to no cluster",
                "name the role that runs here with --role api, compute or proxy, or remove \
                 etcd_endpoints",
            ));
        }
        Ok(()) => {}
    }
    if findings.is_empty() {
        let text = format!("the configuration of the {} role is valid", subject.role.name());
        findings.push(Finding::ok(Check::Configuration, text));
    }
    findings
}
