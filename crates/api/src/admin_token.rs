//! The admin token: made at the first start, read at later ones.

use std::fs;
use std::io;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serialproxy_proto::token::TokenDigest;
use uuid::Uuid;

use crate::secret;

/// Name of its file in the state directory.
const FILE: &str = "admin-token";

/// The digest that the admin token of a state directory is recognized by. The first call makes the
/// token: 64 hexadecimal digits in the file `admin-token`, which only its owner may read.
///
/// # Errors
///
/// When the file can be neither read nor made, when others may read it, or when it holds no token.
pub fn admin_token(state_dir: &Path) -> io::Result<TokenDigest> {
    let path = state_dir.join(FILE);
    match read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            create(state_dir, &path)?;
            read(&path)
        }
        outcome => outcome,
    }
}

/// Whether the admin token was made already.
pub fn has_admin_token(state_dir: &Path) -> bool {
    state_dir.join(FILE).exists()
}

/// The admin token itself. Whatever else the file holds is not returned: root sends it to the API, and the
/// directory is the service's.
///
/// # Errors
///
/// When the file cannot be read, when others may read it, or when it holds no token.
pub fn read_admin_token(state_dir: &Path) -> io::Result<String> {
    text(&state_dir.join(FILE))
}

fn read(path: &Path) -> io::Result<TokenDigest> {
    Ok(TokenDigest::of(&text(path)?))
}

fn text(path: &Path) -> io::Result<String> {
    let text = fs::read_to_string(path)?;
    let refuse = |why: &str| Err(io::Error::other(format!("{}: {why}", path.display())));
    if fs::metadata(path)?.mode() & 0o007 != 0 {
        return refuse(
            "other users of this machine can read the admin token: set the file's mode \
                 to 600",
        );
    }
    let token = text.trim_end();
    let sound = (16..=256).contains(&token.len()) && token.bytes().all(|b| b.is_ascii_graphic());
    if !sound {
        return refuse(
            "does not contain a token of 16 to 256 characters: remove the file, and a \
                 new token is created",
        );
    }
    Ok(token.to_owned())
}

/// Writes the file under another name and links it into place: a reader never sees a part of it,
/// and of two processes that start at the same time one wins.
fn create(state_dir: &Path, path: &Path) -> io::Result<()> {
    let draft = state_dir.join(format!(".{FILE}.{}", Uuid::new_v4()));
    let linked = write(&draft).and_then(|()| fs::hard_link(&draft, path));
    let removed = fs::remove_file(&draft);
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => removed.and_then(|()| fs::File::open(state_dir)?.sync_all()),
    }
}

fn write(path: &Path) -> io::Result<()> {
    let line = secret::random()? + "\n";
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(line.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn the_first_start_makes_a_token_that_later_starts_find() {
        let directory = tempfile::tempdir().unwrap();
        let first = admin_token(directory.path()).unwrap();
        let text = fs::read_to_string(directory.path().join(FILE)).unwrap();
        assert_eq!(text.trim_end().len(), 64);
        assert_eq!(TokenDigest::of(text.trim_end()), first);
        assert_eq!(admin_token(directory.path()).unwrap(), first);
    }

    #[test]
    fn its_owner_alone_may_read_it_and_nothing_else_is_left_behind() {
        let directory = tempfile::tempdir().unwrap();
        admin_token(directory.path()).unwrap();
        let entries: Vec<_> = fs::read_dir(directory.path()).unwrap().collect();
        assert_eq!(entries.len(), 1);
        let mode = fs::metadata(directory.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn two_directories_have_two_tokens() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        assert_ne!(admin_token(one.path()).unwrap(), admin_token(other.path()).unwrap());
    }

    #[test]
    fn of_many_that_start_at_once_all_get_the_same_token() {
        let directory = tempfile::tempdir().unwrap();
        let digests: Vec<_> = std::thread::scope(|scope| {
            let starts: Vec<_> =
                (0..8).map(|_| scope.spawn(|| admin_token(directory.path()).unwrap())).collect();
            starts.into_iter().map(|start| start.join().unwrap()).collect()
        });
        assert!(digests.iter().all(|digest| *digest == digests[0]));
    }

    #[test]
    fn a_token_that_everyone_may_read_is_refused_with_the_remedy() {
        let directory = tempfile::tempdir().unwrap();
        admin_token(directory.path()).unwrap();
        set_mode(&directory.path().join(FILE), 0o644);
        let error = admin_token(directory.path()).unwrap_err().to_string();
        assert!(error.contains("admin-token") && error.contains("600"), "{error}");
    }

    #[test]
    fn a_damaged_file_is_refused_and_never_taken_for_an_empty_token() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE);
        for content in ["", "\n", "short\n", "with a space in the middle of it\n"] {
            fs::write(&path, content).unwrap();
            set_mode(&path, 0o600);
            assert!(admin_token(directory.path()).is_err(), "{content:?}");
            assert!(read_admin_token(directory.path()).is_err(), "{content:?}");
        }
    }

    #[test]
    fn a_missing_state_directory_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        assert!(admin_token(&directory.path().join("none")).is_err());
    }
}
