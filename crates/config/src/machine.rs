//! The name of this machine.

use std::fs::File;
use std::io::Read;

use serialproxy_proto::address::host;

/// How much of `/etc/hosts` is read, in bytes.
const MAX_HOSTS: u64 = 1024 * 1024;

/// The machine's name in the kernel.
pub fn host_name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(name.trim().to_owned())
}

/// The name with its domain, from this machine's own files: opens no socket.
pub(crate) fn fqdn() -> Option<String> {
    let own = host_name().filter(|name| host(name).is_ok())?;
    if own.contains('.') {
        return Some(own);
    }
    let mut hosts = String::new();
    // Without the file, there is only the short name.
    let _ =
        File::open("/etc/hosts").and_then(|file| file.take(MAX_HOSTS).read_to_string(&mut hosts));
    Some(with_domain(&own, &hosts).unwrap_or(own))
}

/// The first name with a domain in a line of `/etc/hosts` that also contains this name.
fn with_domain(own: &str, hosts: &str) -> Option<String> {
    let lines = hosts.lines().filter_map(|line| line.split('#').next());
    let mut lines = lines.map(|line| line.split_whitespace().skip(1));
    lines.find_map(|names| {
        names.clone().find(|name| *name == own)?;
        let begins = |name: &&str| name.strip_prefix(own).is_some_and(|rest| rest.starts_with('.'));
        names.clone().find(begins).filter(|name| host(name).is_ok()).map(str::to_owned)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_is_found_beside_the_name_in_the_file_of_hosts() {
        let hosts =
            "127.0.0.1 localhost\n# 10.0.0.1 h1.no h1\n127.0.1.1\th1.example.com h1 # h1.no\n";
        assert_eq!(with_domain("h1", hosts).as_deref(), Some("h1.example.com"));
        for name in ["localhost", "h", "h1.example"] {
            assert_eq!(with_domain(name, hosts), None, "{name}");
        }
        assert_eq!(with_domain("h1", "127.0.1.1 h1.<b> h1\n"), None);
    }
}
