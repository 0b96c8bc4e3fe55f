//! What the service manager is told of this process (`sd_notify(3)`). Without one, nobody is.

use std::ffi::OsStr;
use std::io;
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use rustix::net::SendAncillaryBuffer;
use rustix::net::SendAncillaryMessage;
use rustix::net::SendFlags;
use rustix::net::SocketAddrUnix;
use rustix::net::sendmsg_addr;
use rustix::time::ClockId;
use rustix::time::clock_gettime;
use serialproxy_limits::seldom;

/// How long a service manager that does not read is waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// Says that this process serves, and at which addresses.
pub(crate) fn ready(addresses: &str) {
    tell(&format!("READY=1\nSTATUS=Serving {addresses}"), None);
}

/// Says that the configuration is read again; [`reloaded`] ends it.
pub(crate) fn reloading() {
    let now = clock_gettime(ClockId::Monotonic);
    let microseconds = now.tv_sec * 1_000_000 + now.tv_nsec / 1000;
    tell(&format!("RELOADING=1\nMONOTONIC_USEC={microseconds}"), None);
}

/// Says that what was read is in effect.
pub(crate) fn reloaded() {
    tell("READY=1", None);
}

/// Says that this process accepts nobody any more, and ends.
pub(crate) fn stopping() {
    tell("STOPPING=1", None);
}

/// Says that all threads respond.
pub(crate) fn alive() {
    tell("WATCHDOG=1", None);
}

/// Lets the service manager keep a descriptor, and pass it to the next process under this name.
pub(crate) fn keep(name: &str, descriptor: impl AsFd) {
    // Who has hung up does not matter.
    tell(&format!("FDSTORE=1\nFDNAME={name}\nFDPOLL=0"), Some(descriptor.as_fd()));
}

/// Lets the service manager close what it keeps under this name.
pub(crate) fn forget(name: &str) {
    tell(&format!("FDSTOREREMOVE=1\nFDNAME={name}"), None);
}

/// How often the service manager has to hear [`alive`], if it waits for it: three times as often as it says.
pub(crate) fn watchdog() -> Option<Duration> {
    let number = |name| std::env::var(name).ok()?.parse::<u64>().ok();
    if number("WATCHDOG_PID").is_some_and(|pid| pid != u64::from(std::process::id())) {
        return None;
    }
    let patience = number("WATCHDOG_USEC").filter(|patience| *patience > 0)?;
    Some(Duration::from_micros(patience) / 3)
}

fn tell(state: &str, descriptor: Option<BorrowedFd<'_>>) {
    let Some(to) = std::env::var_os("NOTIFY_SOCKET") else { return };
    if let Err(error) = send(state, descriptor, &to)
        && seldom::is_due("notify")
    {
        tracing::warn!(%error, "cannot tell the service manager how this process is");
    }
}

fn send(state: &str, descriptor: Option<BorrowedFd<'_>>, to: &OsStr) -> io::Result<()> {
    let to = match to.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddrUnix::new_abstract_name(name)?,
        None => SocketAddrUnix::new(to)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_write_timeout(Some(PATIENCE))?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let descriptors: Vec<_> = descriptor.into_iter().collect();
    if !descriptors.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(&descriptors));
    }
    let text = [IoSlice::new(state.as_bytes())];
    sendmsg_addr(&socket, &to, &text, &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}
