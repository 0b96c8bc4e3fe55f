//! Whether KVM works here.
//!
//! `/dev/kvm` may exist and still be useless: in a virtual machine, it may start guests in which
//! every instruction is emulated, a thousand times slower. The only proof is a guest that finishes
//! a task in time.

use std::fs::File;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::Output;
use std::process::Stdio;
use std::time::Duration;

use rustix::fs::MemfdFlags;
use rustix::process::Pid;
use rustix::process::Resource;
use rustix::process::Rlimit;
use rustix::process::Signal;
use serialproxy_config::values::VirtType;
use tokio::process::Command;

use super::Guests;

/// Seconds of CPU time that the probe has. Its 67 million rounds take 50 ms under KVM, and minutes with
/// emulation. On a busy machine they take as much, but begin late.
const CPU_TIME: u64 = 3;

/// How long the probe may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(12);

const TOO_SLOW: &str = "a guest that uses it is far too slow";
const NO_END: &str = "a guest that uses it neither ends nor fails, or the host is too busy to tell";

/// The places of QEMU.
const QEMU: [&str; 2] = ["qemu-system-x86_64", "/usr/libexec/qemu-kvm"];

/// The value that the probe writes to QEMU's exit device, and QEMU's resulting exit code.
const SIGN: u8 = 0x21;
const EXIT_CODE: i32 = 0x21 << 1 | 1;

/// The size of a ROM for QEMU; only its end holds code.
const ROM: usize = 64 * 1024;

/// Switches to 64-bit mode like a kernel, counts down from 2^26, and writes the sign. It is in the
/// last 256 bytes of the address space; a CPU begins in the last 16 of them.
#[rustfmt::skip]
const PROBE: [u8; 152] = [
    0xfa,                                                 // 00 cli
    0x31, 0xc0,                                           // 01 xor    ax, ax
    0x8e, 0xd8,                                           // 03 mov    ds, ax
    // Page tables: 0x1000 -> 0x2000 -> 0x3000 -> the first 2 MiB.
    0x66, 0xc7, 0x06, 0x00, 0x10, 0x03, 0x20, 0x00, 0x00, // 05 mov    dword [0x1000], 0x2003
    0x66, 0xc7, 0x06, 0x04, 0x10, 0x00, 0x00, 0x00, 0x00, // 0e mov    dword [0x1004], 0
    0x66, 0xc7, 0x06, 0x00, 0x20, 0x03, 0x30, 0x00, 0x00, // 17 mov    dword [0x2000], 0x3003
    0x66, 0xc7, 0x06, 0x04, 0x20, 0x00, 0x00, 0x00, 0x00, // 20 mov    dword [0x2004], 0
    0x66, 0xc7, 0x06, 0x00, 0x30, 0x83, 0x00, 0x00, 0x00, // 29 mov    dword [0x3000], 0x83
    0x66, 0xc7, 0x06, 0x04, 0x30, 0x00, 0x00, 0x00, 0x00, // 32 mov    dword [0x3004], 0
    0x66, 0xb8, 0x20, 0x00, 0x00, 0x00,                   // 3b mov    eax, 0x20
    0x0f, 0x22, 0xe0,                                     // 41 mov    cr4, eax     (PAE)
    0x66, 0xb8, 0x00, 0x10, 0x00, 0x00,                   // 44 mov    eax, 0x1000
    0x0f, 0x22, 0xd8,                                     // 4a mov    cr3, eax
    0x66, 0xb9, 0x80, 0x00, 0x00, 0xc0,                   // 4d mov    ecx, 0xc0000080 (EFER)
    0x0f, 0x32,                                           // 53 rdmsr
    0x0d, 0x00, 0x01,                                     // 55 or     ax, 0x100    (LME)
    0x0f, 0x30,                                           // 58 wrmsr
    0x2e, 0x66, 0x0f, 0x01, 0x16, 0x92, 0x00,             // 5a lgdt   cs:[0x92]
    0x0f, 0x20, 0xc0,                                     // 61 mov    eax, cr0
    0x66, 0x0d, 0x01, 0x00, 0x00, 0x80,                   // 64 or     eax, 0x80000001 (PG, PE)
    0x0f, 0x22, 0xc0,                                     // 6a mov    cr0, eax
    0x66, 0xea, 0x75, 0xff, 0x0f, 0x00, 0x08, 0x00,       // 6d jmp    8:0xfff75
    0xb9, 0x00, 0x00, 0x00, 0x04,                         // 75 mov    ecx, 0x4000000
    0xff, 0xc9,                                           // 7a dec    ecx
    0x75, 0xfc,                                           // 7c jnz    0x7a
    0xb0, SIGN,                                           // 7e mov    al, SIGN
    0xe6, 0xf4,                                           // 80 out    0xf4, al
    // 82: the descriptor table, a null and a 64-bit code segment, then its size and address.
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0xff, 0xff, 0x00, 0x00, 0x00, 0x9b, 0xaf, 0x00,
    0x0f, 0x00, 0x82, 0xff, 0x0f, 0x00,
];

/// jmp 0xfff0:0, the beginning of the last 256 bytes below 1 MiB, where the ROM is mapped as well.
const RESET: [u8; 5] = [0xea, 0x00, 0x00, 0xf0, 0xff];

impl Guests {
    /// Whether our guests can run under KVM.
    pub(super) async fn kvm(&self) -> bool {
        match self.settings.virt_type {
            VirtType::Kvm => true,
            VirtType::Qemu => false,
            VirtType::Auto => *self.kvm.get_or_init(probe_and_say).await,
        }
    }
}

/// Starts a guest of a few milliseconds under KVM.
///
/// # Errors
///
/// In words, when it does not.
pub async fn kvm_works() -> Result<(), String> {
    probe("kvm").await
}

async fn probe_and_say() -> bool {
    match kvm_works().await {
        Ok(()) => {
            tracing::info!("KVM works: booted guests use it");
            true
        }
        Err(why) => {
            tracing::warn!(
                why,
                "KVM does not work: booted guests are emulated, which is slow. Set [libvirt] \
                 virt_type = kvm to fail instead"
            );
            false
        }
    }
}

/// Runs the probe with one of QEMU's accelerators.
async fn probe(accelerator: &str) -> Result<(), String> {
    let said = |error: std::io::Error| error.to_string();
    for qemu in QEMU {
        match tokio::time::timeout(PATIENCE, run(qemu, accelerator)).await {
            Ok(Err(error)) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Ok(output) => return output.map_err(said).and_then(|output| verdict(&output)),
            Err(_) => return Err(NO_END.into()),
        }
    }
    Err("no QEMU was found".into())
}

async fn run(qemu: &str, accelerator: &str) -> std::io::Result<Output> {
    // A file without a name: nothing is left behind, whatever happens.
    let mut file = File::from(rustix::fs::memfd_create("kvm-probe", MemfdFlags::CLOEXEC)?);
    file.write_all(&rom())?;
    let mut command = Command::new(qemu);
    command.args(["-accel", accelerator, "-machine", "pc", "-m", "4", "-display", "none"]);
    command.args(["-nodefaults", "-no-user-config", "-no-reboot"]);
    command.args(["-device", "isa-debug-exit,iobase=0xf4,iosize=1", "-bios", "/proc/self/fd/0"]);
    command.stdin(Stdio::from(file)).stdout(Stdio::piped()).stderr(Stdio::piped());
    let qemu = command.kill_on_drop(true).spawn()?;
    if let Some(pid) = qemu.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
        // The hard limit ends it without a dump of its memory.
        let limit = Rlimit { current: Some(CPU_TIME), maximum: Some(CPU_TIME) };
        if let Err(error) = rustix::process::prlimit(Some(pid), Resource::Cpu, limit) {
            tracing::debug!(%error, "cannot limit the CPU time of the check of KVM");
        }
    }
    qemu.wait_with_output().await
}

fn verdict(output: &Output) -> Result<(), String> {
    if output.status.code() == Some(EXIT_CODE) {
        return Ok(());
    }
    if output.status.signal() == Some(Signal::KILL.as_raw()) {
        return Err(TOO_SLOW.into());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().next_back().unwrap_or("it printed nothing");
    Err(format!("QEMU exited with {}: {last}", output.status))
}

fn rom() -> Vec<u8> {
    let mut rom = vec![0; ROM - 256];
    rom.extend(PROBE);
    rom.resize(ROM - 16, 0);
    rom.extend(RESET);
    rom.resize(ROM, 0);
    rom
}

#[cfg(test)]
mod tests {
    use std::process::ExitStatus;

    use super::*;

    #[tokio::test]
    async fn the_probe_passes_where_a_guest_is_fast_enough() {
        let result = probe("tcg").await;
        if result != Err("no QEMU was found".into()) {
            assert_eq!(result, Ok(()));
        }
    }

    #[tokio::test]
    async fn an_accelerator_that_does_not_exist_does_not_work() {
        assert!(probe("steam").await.is_err());
    }

    #[test]
    fn a_guest_that_uses_up_its_cpu_time_is_too_slow() {
        let status = ExitStatus::from_raw(Signal::KILL.as_raw());
        let output = Output { status, stdout: Vec::new(), stderr: Vec::new() };
        assert_eq!(verdict(&output), Err(TOO_SLOW.into()));
    }
}
