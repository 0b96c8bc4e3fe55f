//! Values of `[audit]`. A refusal's text goes on after the value.

use std::ops::RangeInclusive;
use std::time::Duration;

use serialproxy_proto::address::target;

use crate::cluster::duration;
use crate::scalar::size;
use crate::values::SyslogServer;

/// Less would hold no event, and more than 1 TiB is no bound.
const SIZE: RangeInclusive<u64> = 4096..=1 << 40;

/// In seconds.
const AGE: RangeInclusive<u64> = 1..=36500 * 24 * 3600;

/// The size of a file.
pub(crate) fn max_size(text: &str) -> Result<u64, String> {
    size(text, SIZE, "4 KiB and 1 TiB")
}

/// The age of a file.
pub(crate) fn max_age(text: &str) -> Result<Duration, String> {
    let age = duration(text)?;
    if AGE.contains(&age.as_secs()) { Ok(age) } else { Err("is not within 1s and 36500d".into()) }
}

/// A syslog server.
pub(crate) fn syslog(text: &str) -> Result<SyslogServer, String> {
    let (tls, address) = match (text.strip_prefix("tcp://"), text.strip_prefix("tls://")) {
        (Some(address), _) => (false, address),
        (_, Some(address)) => (true, address),
        (None, None) => return Err("does not begin with tcp:// or tls://".into()),
    };
    let (host, port) = target(address)?;
    Ok(SyslogServer { tls, host, port })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_have_a_size_and_an_age() {
        assert_eq!(max_size("64MiB"), Ok(64 * 1024 * 1024));
        assert_eq!(max_size("4095"), Err("is not within 4 KiB and 1 TiB".into()));
        assert_eq!(max_age("90d"), Ok(Duration::from_secs(90 * 24 * 3600)));
        assert_eq!(max_age("0"), Err("is not within 1s and 36500d".into()));
    }

    #[test]
    fn a_syslog_server_is_a_url() {
        let server = |tls, host: &str, port| Ok(SyslogServer { tls, host: host.into(), port });
        assert_eq!(syslog("tcp://[::1]:514"), server(false, "::1", 514));
        assert_eq!(syslog("tls://log.example:6514"), server(true, "log.example", 6514));
        for text in ["log.example:514", "udp://log.example:514", "tcp://log.example", "tls://:1"] {
            assert!(syslog(text).is_err(), "{text}");
        }
    }
}
