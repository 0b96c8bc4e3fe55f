//! The last boots of a line's guest.

use std::collections::VecDeque;

use jiff::Timestamp;
use serialproxy_proto::console::Boot;
use serialproxy_proto::console::BootReason;

/// Most boots that are known, and whose beginnings are kept.
pub(crate) const BOOTS: usize = 32;

/// How far from its beginning a boot says its kernel, in bytes of output: firmware and boot loader
/// print less than that.
pub(crate) const KERNEL_WITHIN: usize = 32 * 1024;

/// What Linux prints before its version, and most bytes of that.
const LINUX: &[u8] = b"Linux version ";
const VERSION: usize = 64;

#[derive(Debug, Default)]
pub(crate) struct Boots(VecDeque<Known>);

#[derive(Debug)]
struct Known {
    epoch: u64,
    offset: u64,
    time: u64,
    reason: BootReason,
    kernel: Option<Box<str>>,
    /// Whether its kernel is not known, and will not be.
    is_without: bool,
}

impl Boots {
    /// A boot begins at this offset and time.
    pub(crate) fn begin(&mut self, epoch: u64, offset: u64, time: u64, reason: BootReason) {
        if self.0.len() == BOOTS {
            self.0.pop_front();
        }
        if self.0.is_empty() {
            self.0.reserve_exact(1);
        }
        self.0.push_back(Known { epoch, offset, time, reason, kernel: None, is_without: false });
    }

    /// The boots whose kernel is not known: where their output begins, and where it ends at most.
    pub(crate) fn without_kernel(&self) -> Vec<(u64, u64)> {
        let ends = self.0.iter().skip(1).map(|boot| boot.offset).chain([u64::MAX]);
        let boots =
            self.0.iter().zip(ends).filter(|(boot, _)| boot.kernel.is_none() && !boot.is_without);
        boots
            .map(|(boot, end)| (boot.offset, end.min(boot.offset + KERNEL_WITHIN as u64)))
            .collect()
    }

    /// The boot at this offset has this kernel, or has printed none where it would.
    pub(crate) fn set_kernel(&mut self, offset: u64, kernel: Option<&str>) {
        // Of several boots at one offset, all but the last printed nothing.
        if let Some(boot) = self.0.iter_mut().rev().find(|boot| boot.offset == offset) {
            boot.kernel = kernel.map(Into::into);
            boot.is_without = kernel.is_none();
        }
    }

    /// The boots, in their order.
    pub(crate) fn list(&self) -> Vec<Boot> {
        let shown = |boot: &Known| Boot {
            epoch: boot.epoch,
            offset: boot.offset,
            time: time(boot.time).unwrap_or_default(),
            reason: boot.reason,
            kernel: boot.kernel.as_deref().map(str::to_owned),
        };
        self.0.iter().map(shown).collect()
    }
}

/// The time that is so many milliseconds after 1970; none for 0, which stands for an unknown time.
pub(crate) fn time(milliseconds: u64) -> Option<Timestamp> {
    let milliseconds = i64::try_from(milliseconds).ok().filter(|time| *time != 0)?;
    Timestamp::from_millisecond(milliseconds).ok()
}

/// The version of Linux in a boot's output, if it was printed to its end.
pub(crate) fn kernel(output: &[u8]) -> Option<String> {
    let at = output.windows(LINUX.len()).position(|window| window == LINUX)? + LINUX.len();
    let rest = output.get(at..)?;
    let length = rest.iter().take(VERSION + 1).position(|byte| !byte.is_ascii_graphic())?;
    let version = rest.get(..length).filter(|version| !version.is_empty())?;
    Some(String::from_utf8_lossy(version).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_boots_are_known() {
        let mut boots = Boots::default();
        for epoch in 1..=100 {
            boots.begin(epoch, epoch * 10, epoch * 1000, BootReason::Rebooted);
        }
        let list = boots.list();
        assert_eq!(list.len(), BOOTS);
        assert_eq!((list[0].epoch, list[0].offset), (69, 690));
        assert_eq!(list[BOOTS - 1].time.to_string(), "1970-01-01T00:01:40Z");
    }

    #[test]
    fn the_kernel_is_the_word_after_linux_version() {
        let printed =
            b"\x1b[2JGRUB\r\n[    0.000000] Linux version 6.1.0-37-amd64 (debian-kernel@lists)";
        assert_eq!(kernel(printed).as_deref(), Some("6.1.0-37-amd64"));
        for none in [&b"Linux version "[..], b"Linux version 6.1", b"", b"Linux version \x1b[31m6"]
        {
            assert_eq!(kernel(none), None, "{none:?}");
        }
        assert_eq!(kernel(&[b"Linux version ".as_slice(), &[b'9'; 100], b" "].concat()), None);
    }
}
