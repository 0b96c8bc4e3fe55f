//! Loading: from files and flags to the checked configuration.
//!
//! Files override defaults, later files override earlier ones, and flags override all of them. If
//! an option is set repeatedly, its last value counts. A repeatable option keeps all values of
//! flags or, if there are none, of files. Problems are collected, so that one run reports all of
//! them.

use std::path::PathBuf;

use crate::console_url::DEFAULT_CERT;
use crate::drop_in;
use crate::effective::Effective;
use crate::effective::EffectiveValue;
use crate::error::ConfigError;
use crate::error::Origin;
use crate::error::Problem;
use crate::error::Problems;
use crate::error::shown;
use crate::option::Opt;
use crate::option::Surroundings;
use crate::options::options;
use crate::proxies::ProxyProtocol;
use crate::refusal::Refusal;
use crate::sources::Role;
use crate::sources::Sources;
use crate::values::AuthStrategy;
use crate::values::Config;
use crate::written::Written;

/// A configuration, and the origins of its parts.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Loaded {
    /// The values.
    pub config: Config,
    /// Every option, in the table's order; repeatable ones once for each value.
    pub settings: Vec<Setting>,
    /// Whether it is Nova's, so that only the proxy can use it.
    pub is_novas: bool,
    /// The ignored parts of Nova's files: groups, and options in our groups.
    pub passed_over: Vec<String>,
    /// Warnings about a file of Nova's, a sentence each.
    pub warnings: Vec<String>,
}

/// The effective value of an option.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Setting {
    /// The group.
    pub group: &'static str,
    /// The option.
    pub option: &'static str,
    /// Its text after substitution, `***` for a secret; `None` if the option is not set.
    pub value: Option<String>,
    /// The origin of the value.
    pub origin: Origin,
}

/// Reads and checks everything. Opens files, but no sockets.
pub fn load(sources: &Sources) -> Result<Loaded, ConfigError> {
    let mut problems = Problems::default();
    let mut written = Written::read(sources, &mut problems);
    let warnings = written.take_warnings();
    let state_dir = state_dir(sources, &mut problems);
    let surroundings = Surroundings {
        state_dir: state_dir.clone(),
        web: sources.default_web.clone(),
        own_without_file: sources.role != Role::Proxy && !written.any_file(),
    };
    let effective = Effective::new(&written, &surroundings);
    let passed_over = written.passed_over().into_iter().collect();
    let (config, settings) = (Config::default(), Vec::new());
    let is_novas = effective.is_novas();
    let mut loaded = Loaded { config, settings, is_novas, passed_over, warnings };
    loaded.config.state_dir = state_dir;
    for option in options() {
        loaded.settle(option, &effective, &mut problems);
    }
    loaded.config.serial_console.cert_may_be_missing = is_novas || loaded.is_default_certificate();
    loaded.compare(&mut problems);
    problems.none_or(loaded)
}

fn state_dir(sources: &Sources, problems: &mut Problems) -> PathBuf {
    let default = Config::default().state_dir;
    let path = sources.state_dir.as_deref().unwrap_or(&default);
    let reason = match std::path::absolute(path) {
        // It becomes part of libvirt's XML and of options, which are text.
        Ok(path) if path.to_str().is_some() => return path,
        Ok(_) => "is not UTF-8".to_owned(),
        Err(error) => format!("is not a path: {error}"),
    };
    problems.add(Problem::Malformed { origin: Origin::Flag("state-dir".into()), reason });
    default
}

impl Loaded {
    /// Applies the option's values to the configuration and records them.
    fn settle(&mut self, option: &'static Opt, effective: &Effective<'_>, problems: &mut Problems) {
        for value in effective.values(option) {
            let outcome = value.and_then(|value| {
                let outcome = self.apply(option, &value);
                self.note(option, value);
                outcome
            });
            match outcome {
                Err(problem @ Problem::BadValue { origin: Origin::File { .. }, .. })
                    if effective.is_novas() && drop_in::is_unread(option) =>
                {
                    self.warnings.push(format!("{problem}; it is ignored"));
                }
                Err(problem) => problems.add(problem),
                Ok(()) => {}
            }
        }
    }

    fn apply(&mut self, option: &'static Opt, value: &EffectiveValue) -> Result<(), Problem> {
        let Some(text) = value.text.as_deref() else { return Ok(()) };
        let outcome = match text.is_empty() && option.is_unset_when_empty() {
            true => Ok(()),
            false => (option.apply)(&mut self.config, text),
        };
        outcome.map_err(|refusal| problem(option, &value.origin, text, refusal))
    }

    fn note(&mut self, option: &'static Opt, value: EffectiveValue) {
        let Opt { group, name, .. } = *option;
        let warnings = value.warnings.into_iter();
        self.warnings
            .extend(warnings.map(|text| format!("{}: [{group}] {name}: {text}", value.origin)));
        self.settings.push(Setting {
            group,
            option: name,
            value: value.text.map(|text| if option.is_secret() { "***".into() } else { text }),
            origin: value.origin,
        });
    }

    /// Checks that concern two options.
    fn compare(&mut self, problems: &mut Problems) {
        self.compare_pairs(problems);
        self.compare_times(problems);
        self.compare_noauth(problems);
        for group in ["keystone_authtoken", "service_user", "nova"] {
            self.compare_credentials(group);
        }
    }

    /// If there are two kinds of credentials, keystoneauth uses the one that `auth_type` names.
    fn compare_credentials(&mut self, group: &'static str) {
        let auth_type = self.setting(group, "auth_type").and_then(|s| s.value.clone());
        let auth_type = auth_type.unwrap_or_default();
        let (used, others) = match auth_type.as_str() {
            "v3applicationcredential" => {
                ("application_credential_secret", ["password", "project_name"])
            }
            _ => ("password", ["application_credential_id", "application_credential_secret"]),
        };
        if !self.setting(group, used).is_some_and(is_set) {
            return;
        }
        for other in others {
            let Some(setting) = self.setting(group, other).filter(|s| is_set(s)) else { continue };
            let origin = &setting.origin;
            self.warnings.push(format!(
                "{origin}: [{group}] {other} is ignored, because auth_type is {auth_type}"
            ));
        }
    }

    /// Everyone who can reach an API without authentication is an administrator.
    fn compare_noauth(&self, problems: &mut Problems) {
        let api = &self.config.api;
        if api.auth_strategy == AuthStrategy::Noauth
            && !api.noauth_anywhere
            && !api.listen.is_local()
        {
            let reason = format!(
                "makes everyone who reaches {} an administrator: set listen to 127.0.0.1:PORT, \
                 choose another auth_strategy, or confirm it with noauth_anywhere = true",
                api.listen.host
            );
            self.blame("api", "auth_strategy", reason, problems);
        }
    }

    fn compare_pairs(&self, problems: &mut Problems) {
        let console = &self.config.serial_console;
        let set = |group, name| self.setting(group, name).is_some_and(is_set);
        for (group, option, used, other) in [
            ("serial_console", "tls_required", console.tls_required, "tls_ca_certs"),
            (
                "serial_console",
                "tls_client_cert",
                set("serial_console", "tls_client_cert"),
                "tls_client_key",
            ),
            (
                "serial_console",
                "tls_client_key",
                set("serial_console", "tls_client_key"),
                "tls_client_cert",
            ),
            ("api", "ssl_only", self.config.api.ssl_only, "cert"),
            (
                "proxy",
                "proxy_protocol",
                self.config.proxy.proxy_protocol != ProxyProtocol::Off,
                "trusted_proxies",
            ),
            ("api", "key", set("api", "key"), "cert"),
            ("cluster", "etcd_cert_file", set("cluster", "etcd_cert_file"), "etcd_key_file"),
            ("cluster", "etcd_key_file", set("cluster", "etcd_key_file"), "etcd_cert_file"),
            ("cluster", "etcd_username", set("cluster", "etcd_username"), "etcd_password"),
        ] {
            if used && !set(group, other) {
                let reason = format!("requires {other}: set it too");
                self.blame(group, option, reason, problems);
            }
        }
        if console.ssl_only && matches!(console.cert.try_exists(), Ok(false)) {
            let cert = match console.cert.as_os_str().is_empty() {
                true => "cert".into(),
                false => console.cert.display().to_string(),
            };
            let reason = format!(
                "SSL only and {cert} not found: set cert to a certificate; `serialproxy tls \
                 self-signed` makes one"
            );
            self.blame("serial_console", "ssl_only", reason, problems);
        }
    }

    /// Whether `cert` is the default, also where a file has it.
    fn is_default_certificate(&self) -> bool {
        self.setting("serial_console", "cert").is_none_or(|setting| {
            setting.origin == Origin::Default || setting.value.as_deref() == Some(DEFAULT_CERT)
        })
    }

    /// The effective value of an option; of a repeatable one the first.
    pub fn setting(&self, group: &str, name: &str) -> Option<&Setting> {
        self.settings.iter().find(|setting| (setting.group, setting.option) == (group, name))
    }

    fn blame(
        &self,
        group: &'static str,
        option: &'static str,
        reason: String,
        problems: &mut Problems,
    ) {
        if let Some(setting) = self.setting(group, option) {
            let origin = setting.origin.clone();
            problems.add(Problem::BadValue { origin, group, option, reason });
        }
    }

    fn compare_times(&self, problems: &mut Problems) {
        let session = &self.config.session;
        if session.grace > session.ping_interval {
            return;
        }
        let named =
            |name| self.settings.iter().filter(move |s| (s.group, s.option) == ("session", name));
        // The error belongs to the option that is set.
        let culprit = named("grace")
            .chain(named("ping_interval"))
            .find(|setting| setting.origin != Origin::Default);
        let Some(culprit) = culprit else { return };
        problems.add(Problem::BadValue {
            origin: culprit.origin.clone(),
            group: "session",
            option: culprit.option,
            reason: format!(
                "sessions would end before they answer: grace ({} s) must be more than \
                 ping_interval ({} s)",
                session.grace.as_secs(),
                session.ping_interval.as_secs()
            ),
        });
    }
}

fn is_set(setting: &Setting) -> bool {
    setting.value.as_deref().is_some_and(|text| !text.is_empty())
}

fn problem(option: &'static Opt, origin: &Origin, text: &str, refusal: Refusal) -> Problem {
    let Opt { group, name: option_name, .. } = *option;
    let origin = origin.clone();
    let Refusal(reason) = refusal;
    let text = if option.is_secret() { "***" } else { text };
    let reason = format!("\"{}\" {reason}; allowed: {}", shown(text), option.allowed());
    let reason = reason + comment_hint(text);
    Problem::BadValue { origin, group, option: option_name, reason }
}

/// Users of other formats write comments after values.
fn comment_hint(text: &str) -> &'static str {
    let has_comment = [" #", " ;", "\t#", "\t;"].iter().any(|sign| text.contains(sign));
    if has_comment { " (a comment needs a line of its own)" } else { "" }
}
