//! The last answers to completion, in files that only their user reads.

use std::fs::DirBuilder;
use std::fs::File;
use std::io::Read;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use rustix::fs::AtFlags;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::process::geteuid;
use serde::Deserialize;
use serde::Serialize;

/// How long an answer is good.
const LIFE: Duration = Duration::from_secs(30);

/// 1 MiB: a page of the longest names.
const SIZE: u64 = 1 << 20;

/// An answer.
#[derive(Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Kept {
    /// Which API answered, and to whom.
    pub(super) account: [u8; 32],
    /// The beginning of the names, or the server of the ports.
    pub(super) question: String,
    /// None where there are too many.
    pub(super) answers: Option<Vec<String>>,
}

/// The directory of the answers: one of each kind, so that a directory never grows.
#[derive(Debug)]
pub(super) struct Cache(OwnedFd);

impl Cache {
    /// The user's (XDG Base Directory Specification), if it can be had.
    pub(super) fn open() -> Option<Self> {
        let directory =
            |name| std::env::var_os(name).map(PathBuf::from).filter(|d| d.is_absolute());
        let caches =
            directory("XDG_CACHE_HOME").or_else(|| Some(directory("HOME")?.join(".cache")))?;
        Self::at(&caches.join("serialproxy"))
    }

    /// None where others may read the directory, or it is another user's: with `sudo -E`, the home
    /// directory is.
    fn at(path: &Path) -> Option<Self> {
        let above = path.ancestors().find_map(|path| path.metadata().ok())?;
        if above.uid() != geteuid().as_raw() {
            return None;
        }
        DirBuilder::new().recursive(true).mode(0o700).create(path).ok()?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = rustix::fs::open(path, flags, Mode::empty()).ok()?;
        let stat = rustix::fs::fstat(&directory).ok()?;
        let is_own = stat.st_uid == geteuid().as_raw() && stat.st_mode & 0o077 == 0;
        is_own.then_some(Self(directory))
    }

    /// The answer in this file, if it is good.
    pub(super) fn get(&self, file: &str) -> Option<Kept> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(rustix::fs::openat(&self.0, file, flags, Mode::empty()).ok()?);
        let age = file.metadata().ok()?.modified().ok()?.elapsed().ok()?;
        let mut text = String::new();
        file.take(SIZE).read_to_string(&mut text).ok()?;
        // What another process has not finished is not JSON.
        serde_json::from_str(&text).ok().filter(|_| age < LIFE)
    }

    /// Keeps an answer, if that is possible. The file is always a new one, so two processes never
    /// mix theirs.
    pub(super) fn keep(&self, file: &str, kept: &Kept) {
        let _ = rustix::fs::unlinkat(&self.0, file, AtFlags::empty());
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        if let Ok(file) = rustix::fs::openat(&self.0, file, flags, mode)
            && let Ok(text) = serde_json::to_vec(kept)
        {
            let _ = File::from(file).write_all(&text);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::fs::symlink;
    use std::time::SystemTime;

    use tempfile::TempDir;

    use super::*;

    fn kept(account: u8) -> Kept {
        let answers = Some(vec!["db-1".to_owned(), "it's".to_owned()]);
        Kept { account: [account; 32], question: "d".into(), answers }
    }

    fn cache(home: &TempDir) -> Cache {
        Cache::at(&home.path().join("a/serialproxy")).unwrap()
    }

    #[test]
    fn an_answer_is_kept_in_a_file_that_only_its_user_reads() {
        let home = tempfile::tempdir().unwrap();
        let cache = cache(&home);
        assert_eq!(cache.get("names.json"), None);
        cache.keep("names.json", &kept(1));
        assert_eq!(cache.get("names.json"), Some(kept(1)));
        assert_eq!(cache.get("ports.json"), None);
        cache.keep("names.json", &kept(2));
        assert_eq!(cache.get("names.json"), Some(kept(2)));
        let mode = |path: &str| home.path().join(path).metadata().unwrap().mode() & 0o777;
        assert_eq!(mode("a/serialproxy"), 0o700);
        assert_eq!(mode("a/serialproxy/names.json"), 0o600);
        assert_eq!(fs::read_dir(home.path().join("a/serialproxy")).unwrap().count(), 1);
    }

    #[test]
    fn an_answer_is_good_for_half_a_minute() {
        let home = tempfile::tempdir().unwrap();
        let cache = cache(&home);
        cache.keep("names.json", &kept(1));
        let path = home.path().join("a/serialproxy/names.json");
        let file = File::options().write(true).open(path).unwrap();
        for (time, is_good) in [
            (SystemTime::now() - Duration::from_secs(20), true),
            (SystemTime::now() - Duration::from_secs(31), false),
            (SystemTime::now() + Duration::from_secs(60), false),
        ] {
            file.set_modified(time).unwrap();
            assert_eq!(cache.get("names.json").is_some(), is_good, "{time:?}");
        }
    }

    #[test]
    fn what_is_no_answer_or_too_large_is_none_and_is_replaced() {
        let home = tempfile::tempdir().unwrap();
        let cache = cache(&home);
        let path = home.path().join("a/serialproxy/names.json");
        let half = &serde_json::to_string(&kept(1)).unwrap()[..20];
        let large =
            serde_json::to_string(&Kept { answers: Some(vec!["x".repeat(1 << 20)]), ..kept(1) });
        for text in ["", half, "{}", "[1]", &large.unwrap()] {
            fs::write(&path, text).unwrap();
            assert_eq!(cache.get("names.json"), None);
        }
        cache.keep("names.json", &kept(1));
        assert_eq!(cache.get("names.json"), Some(kept(1)));
    }

    #[test]
    fn a_link_in_the_place_of_the_file_is_not_followed() {
        let home = tempfile::tempdir().unwrap();
        let cache = cache(&home);
        let other = home.path().join("other");
        fs::write(&other, serde_json::to_string(&kept(1)).unwrap()).unwrap();
        symlink(&other, home.path().join("a/serialproxy/names.json")).unwrap();
        assert_eq!(cache.get("names.json"), None);
        cache.keep("names.json", &kept(2));
        assert_eq!(cache.get("names.json"), Some(kept(2)));
        assert_eq!(fs::read_to_string(&other).unwrap(), serde_json::to_string(&kept(1)).unwrap());
    }

    #[test]
    fn a_directory_that_others_may_read_or_that_is_a_link_is_not_used() {
        let home = tempfile::tempdir().unwrap();
        let open = home.path().join("open");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o750)).unwrap();
        assert!(Cache::at(&open).is_none());
        fs::set_permissions(&open, fs::Permissions::from_mode(0o700)).unwrap();
        assert!(Cache::at(&open).is_some());
        symlink(&open, home.path().join("link")).unwrap();
        assert!(Cache::at(&home.path().join("link")).is_none());
        fs::write(home.path().join("file"), "").unwrap();
        assert!(Cache::at(&home.path().join("file")).is_none());
        assert!(Cache::at(&home.path().join("file/serialproxy")).is_none());
    }

    #[test]
    fn nothing_is_kept_among_another_users_files() {
        let home = tempfile::tempdir().unwrap();
        // Root can make it another user's; for others, the root directory is that.
        let others = match std::os::unix::fs::chown(home.path(), Some(65534), None) {
            Ok(()) => home.path().join("serialproxy"),
            Err(_) => PathBuf::from("/serialproxy"),
        };
        assert!(Cache::at(&others).is_none());
        assert!(!others.exists());
    }
}
