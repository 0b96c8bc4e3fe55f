//! A file system without room.

use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

/// A small file system in the place of a directory, which is full. It goes when this is dropped.
#[derive(Debug)]
pub struct Full(PathBuf);

impl Full {
    /// Mounts it there; that takes root.
    pub fn mount(place: &Path) -> Self {
        let mount = ["-t", "tmpfs", "-o", "size=64k", "tmpfs"];
        let mounted = Command::new("mount").args(mount).arg(place).status().unwrap();
        assert!(mounted.success());
        let full = Self(place.to_owned());
        let _ = std::fs::write(place.join("filler"), vec![0; 1 << 20]);
        full
    }
}

impl Drop for Full {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}
