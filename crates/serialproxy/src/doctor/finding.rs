//! What a check found, and how it is printed.

use std::fmt::Write;

use serde_json::json;

/// Characters of a text at most: some of it comes from other programs.
const MOST: usize = 600;

/// Of many of a kind, so many are named.
const NAMED: usize = 3;

/// How bad it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Level {
    /// As it should be.
    Ok,
    /// It works, with a disadvantage or not for long.
    Warning,
    /// Something does not work, or is open to others.
    Problem,
}

macro_rules! checks {
    ($($(#[doc = $what:literal])+ $name:ident $word:literal;)+) => {
        /// What is looked at. `docs/doctor.md` has a row for each.
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub(super) enum Check {
            $($(#[doc = $what])+ $name,)+
        }

        impl Check {
            /// All of them.
            #[cfg(test)]
            pub(super) const ALL: &[Self] = &[$(Self::$name),+];

            /// Its name.
            pub(super) const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)+
                }
            }
        }
    };
}

checks! {
    /// The options, and what the role needs of them.
    Configuration "configuration";
    /// How many files the service may have open.
    OpenFiles "open-files";
    /// The clock of this host.
    Clock "clock";
    /// Owner, mode and file system of the state directory.
    StateDirectory "state-directory";
    /// Files that only the service may read.
    Secrets "secrets";
    /// The database.
    Database "database";
    /// Room for state.
    DiskSpace "disk-space";
    /// `[line] claims`
    Claims "claims";
    /// `[serial_console] record`
    Recordings "recordings";
    /// Files of certificates and keys.
    Certificate "certificate";
    /// Issuers of a certificate.
    CertificateChain "certificate-chain";
    /// Whether a certificate has the name in `base_url`.
    CertificateName "certificate-name";
    /// When a certificate begins and ends.
    CertificateLife "certificate-life";
    /// Addresses and ports that the service listens on.
    Listeners "listeners";
    /// libvirt.
    Libvirt "libvirt";
    /// KVM.
    Kvm "kvm";
    /// The version of QEMU.
    Qemu "qemu";
    /// TLS between lines and guests.
    GuestTls "guest-tls";
    /// `[serial_console] port_range`
    PortRange "port-range";
    /// Guests' ports that other hosts reach.
    PortExposure "port-exposure";
    /// The name in `base_url`.
    BaseUrl "base-url";
    /// TLS at `base_url`.
    PublicCertificate "public-certificate";
    /// A WebSocket through whatever is at `base_url`.
    PublicUrl "public-url";
    /// Pages that may open consoles.
    Origin "origin";
    /// How long an idle console stays open.
    IdleTimeout "idle-timeout";
    /// Keystone.
    Keystone "keystone";
    /// Nova.
    Nova "nova";
    /// etcd.
    Etcd "etcd";
    /// Versions of the hosts of the cluster.
    Versions "versions";
    /// Servers that two hosts have.
    Conflicts "conflicts";
    /// Hosts of the cluster that this one needs.
    Peers "peers";
    /// Clocks of the hosts of the cluster.
    ClusterClock "cluster-clock";
}

/// One thing that was found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Finding {
    pub(super) level: Level,
    pub(super) check: Check,
    text: String,
    /// What to do; none where nothing is wrong.
    fix: Option<String>,
}

impl Finding {
    pub(super) fn ok(check: Check, text: impl AsRef<str>) -> Self {
        Self { level: Level::Ok, check, text: plain(text.as_ref()), fix: None }
    }

    pub(super) fn warning(check: Check, text: impl AsRef<str>, fix: impl AsRef<str>) -> Self {
        Self::bad(Level::Warning, check, text.as_ref(), fix.as_ref())
    }

    pub(super) fn problem(check: Check, text: impl AsRef<str>, fix: impl AsRef<str>) -> Self {
        Self::bad(Level::Problem, check, text.as_ref(), fix.as_ref())
    }

    /// What was found, without what to do.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    fn bad(level: Level, check: Check, text: &str, fix: &str) -> Self {
        Self { level, check, text: plain(text), fix: Some(plain(fix)) }
    }
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }
}

/// A line for each.
pub(super) fn text(findings: &[Finding]) -> String {
    let mut lines = String::new();
    for Finding { level, check, text, fix } in findings {
        // Writing to a String cannot fail.
        let _ = write!(lines, "{:<7}  {}: {text}", level.name(), check.name());
        if let Some(fix) = fix {
            let _ = write!(lines, " Fix: {fix}");
        }
        lines.push('\n');
    }
    lines
}

/// The same for programs.
pub(super) fn json(findings: &[Finding]) -> String {
    let findings = findings.iter().map(|Finding { level, check, text, fix }| {
        json!({"level": level.name(), "check": check.name(), "text": text, "fix": fix})
    });
    format!("{:#}\n", json!({"findings": findings.collect::<Vec<_>>()}))
}

/// The first of them, and how many more there are.
pub(super) fn first(all: &[String]) -> String {
    let shown = all.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    match all.len().saturating_sub(NAMED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// One line of bounded length, whatever other programs said, that ends as a sentence.
fn plain(text: &str) -> String {
    let one_line = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut line: String = one_line.take(MOST).collect();
    line.truncate(line.trim_end().len());
    if !line.ends_with(['.', '!', '?']) {
        line.push('.');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings() -> [Finding; 2] {
        [
            Finding::ok(Check::Clock, "right"),
            Finding::problem(Check::Secrets, "a\nb\u{1b}[2J", "chmod"),
        ]
    }

    #[test]
    fn each_finding_is_one_line_whatever_other_programs_said() {
        let lines = "ok       clock: right.\nproblem  secrets: a b [2J. Fix: chmod.\n";
        assert_eq!(text(&findings()), lines);
        assert!(text(&[Finding::ok(Check::Clock, "x".repeat(10_000))]).len() < 700);
    }

    #[test]
    fn of_many_the_first_are_named() {
        let all: Vec<_> = (0..5).map(|number| format!("vm{number}")).collect();
        assert_eq!(first(&all), "vm0, vm1, vm2 and 2 more");
        assert_eq!(first(&all[..2]), "vm0, vm1");
    }

    #[test]
    fn programs_get_the_same_as_json() {
        let json: serde_json::Value = serde_json::from_str(&json(&findings())).unwrap();
        let second = &json["findings"][1];
        assert_eq!((&second["level"], &second["check"]), (&"problem".into(), &"secrets".into()));
        assert_eq!(second["fix"], "chmod.");
        assert_eq!(json["findings"][0]["fix"], serde_json::Value::Null);
    }
}
