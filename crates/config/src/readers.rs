//! How the values are read that one option alone takes, and the defaults that depend on where the program
//! runs.

use std::path::Path;
use std::path::PathBuf;

use crate::option::Surroundings;
use crate::refusal::Refusal;
use crate::scalar::choice;
use crate::scalar::directory;
use crate::scalar::list;
use crate::scalar::one_line;
use crate::scalar::path;
use crate::values::AuthStrategy;
use crate::values::Compute;
use crate::values::LogFormat;
use crate::values::LogLevel;
use crate::values::RawLag;
use crate::values::TlsVersion;
use crate::values::Transport;
use crate::values::VirtType;

pub(crate) fn set<T>(slot: &mut T, value: Result<T, impl Into<Refusal>>) -> Result<(), Refusal> {
    *slot = value.map_err(Into::into)?;
    Ok(())
}

pub(crate) fn set_some<T>(
    slot: &mut Option<T>,
    value: Result<T, impl Into<Refusal>>,
) -> Result<(), Refusal> {
    set(slot, value.map(Some))
}

pub(crate) fn set_drivers(compute: &mut Compute, text: &str) -> Result<(), Refusal> {
    let drivers = list(text)?;
    if drivers.is_empty() {
        return Err("names no driver".into());
    }
    for driver in &drivers {
        choice(driver, &[("libvirt", ()), ("static", ())])?;
    }
    compute.libvirt = drivers.contains(&"libvirt");
    compute.statics = drivers.contains(&"static");
    Ok(())
}

pub(crate) fn web(text: &str) -> Result<Option<PathBuf>, String> {
    if text.is_empty() { Ok(None) } else { directory(text).map(Some) }
}

pub(crate) fn auth_strategy(text: &str) -> Result<AuthStrategy, Refusal> {
    let now = [
        ("token", AuthStrategy::Token),
        ("http_basic", AuthStrategy::HttpBasic),
        ("keystone", AuthStrategy::Keystone),
        ("noauth", AuthStrategy::Noauth),
    ];
    choice(text, &now)
}

pub(crate) fn log_format(text: &str) -> Result<LogFormat, Refusal> {
    choice(text, &[("text", LogFormat::Text), ("json", LogFormat::Json)])
}

pub(crate) fn log_level(text: &str) -> Result<LogLevel, Refusal> {
    let levels = [
        ("error", LogLevel::Error),
        ("warn", LogLevel::Warn),
        ("info", LogLevel::Info),
        ("debug", LogLevel::Debug),
    ];
    choice(text, &levels)
}

pub(crate) fn tls_version(text: &str) -> Result<TlsVersion, Refusal> {
    let too_old = "is not supported: RFC 8996 forbids this version, and browsers no longer use it";
    match text {
        "tlsv1" | "tlsv1_0" | "tlsv1_1" => Err(too_old.into()),
        _ => {
            let (old, new) = (TlsVersion::Tls12, TlsVersion::Tls13);
            choice(text, &[("default", old), ("tlsv1_2", old), ("tlsv1_3", new)])
        }
    }
}

pub(crate) fn virt_type(text: &str) -> Result<VirtType, Refusal> {
    choice(text, &[("auto", VirtType::Auto), ("kvm", VirtType::Kvm), ("qemu", VirtType::Qemu)])
}

pub(crate) fn transport(text: &str) -> Result<Transport, Refusal> {
    choice(text, &[("tcp", Transport::Tcp), ("unix", Transport::Unix)])
}

pub(crate) fn raw_lag(text: &str) -> Result<RawLag, Refusal> {
    choice(text, &[("close", RawLag::Close), ("skip", RawLag::Skip)])
}

pub(crate) fn connection_uri(text: &str) -> Result<String, String> {
    let uri = one_line(text)?;
    if !uri.bytes().all(|byte| byte.is_ascii_graphic()) || !uri.contains("://") {
        return Err("is not a URI".into());
    }
    Ok(uri.to_owned())
}

pub(crate) fn default_enabled(surroundings: &Surroundings) -> Option<String> {
    Some(surroundings.own_without_file.to_string())
}

/// A certificate that may be missing; with no name there is none.
pub(crate) fn certificate(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() { Ok(PathBuf::new()) } else { path(text) }
}

pub(crate) fn default_web(surroundings: &Surroundings) -> Option<String> {
    surroundings.web.is_dir().then(|| text(&surroundings.web))
}

pub(crate) fn default_images_path(surroundings: &Surroundings) -> Option<String> {
    Some(text(&surroundings.state_dir.join("images")))
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
