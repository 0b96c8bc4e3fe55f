//! Where a configuration is read from, and for which role.

use std::path::PathBuf;

/// Where the configuration comes from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Sources {
    /// `--config-file`, in order. Each must exist.
    pub files: Vec<PathBuf>,
    /// `--config-dir`, in order: of each the files `*.conf`, by name, after all of `files`. Each must
    /// exist.
    pub directories: Vec<PathBuf>,
    /// Read if `files` is empty and it exists.
    pub default_file: PathBuf,
    /// Its files `*.conf` are read after that one, by name, if `files` is empty and it exists.
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
    /// `serve`, which hands out consoles when no file says otherwise.
    Serve,
    /// `api`, as `serve`.
    Api,
    /// `compute`, as `serve`.
    Compute,
    /// `proxy`, which also reads a file of Nova's, in nova-serialproxy's place.
    Proxy,
    /// `config`, as `serve` or, where the file is Nova's, as `proxy`.
    Either,
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
