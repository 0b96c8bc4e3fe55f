//! The sources of a configuration, and the role that reads it.

use std::path::PathBuf;

/// The sources of a configuration.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Sources {
    /// `--config-file`, in order. Each must exist.
    pub files: Vec<PathBuf>,
    /// `--config-dir`, in order: the files `*.conf` of each, by name, after all of `files`. Each
    /// must exist.
    pub directories: Vec<PathBuf>,
    /// Read if `files` is empty and this file exists.
    pub default_file: PathBuf,
    /// If `files` is empty and this directory exists, its files `*.conf` are read after the default
    /// file, by name.
    pub default_directory: PathBuf,
    /// Flags of options as group, option, value, in order.
    pub flags: Vec<(String, String, String)>,
    /// `--state-dir`.
    pub state_dir: Option<PathBuf>,
    /// Directory that replaces the built-in pages if it exists and `web` is not set.
    pub default_web: PathBuf,
    /// The role that reads it.
    pub role: Role,
}

/// The role that reads a configuration.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Role {
    /// `serve`, which creates consoles unless a file says otherwise.
    Serve,
    /// `api`, like `serve`.
    Api,
    /// `compute`, like `serve`.
    Compute,
    /// `proxy`, which also reads a file of Nova's, in place of nova-serialproxy.
    Proxy,
    /// `config`: like `serve` or, if the file is Nova's, like `proxy`.
    Either,
}

impl Sources {
    /// Where nova-serialproxy reads its configuration, if no files are named.
    #[must_use]
    pub fn of_nova(self) -> Self {
        Self {
            default_file: PathBuf::from("/etc/nova/nova.conf"),
            default_directory: PathBuf::from("/etc/nova/nova.conf.d"),
            ..self
        }
    }
}

impl Default for Sources {
    fn default() -> Self {
        Self {
            files: Vec::new(),
            directories: Vec::new(),
            default_file: PathBuf::from("/etc/serialproxy/serialproxy.conf"),
            default_directory: PathBuf::from("/etc/serialproxy/serialproxy.conf.d"),
            flags: Vec::new(),
            state_dir: None,
            default_web: PathBuf::from("/usr/share/serialproxy-static"),
            role: Role::Proxy,
        }
    }
}
