//! The data folder, used by one process at a time.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Error, ErrorKind};

/// A data folder under an exclusive lock, which lasts as long as any clone and
/// any engine that was opened on it.
#[derive(Clone, Debug)]
pub struct DataDir {
    path: PathBuf,
    /// Never read again: the operating system releases the lock with the file.
    _lock: Arc<File>,
}

impl DataDir {
    /// Makes the folder where it is missing (readable by its owner alone) and
    /// locks it.
    ///
    /// # Errors
    /// `Locked` when another process (or another call in this one) holds the
    /// folder; `Unavailable` when it cannot be made or written.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let failed = |what: &str, error: std::io::Error| {
            let message = format!("data folder {}: {what} failed: {error}", path.display());
            Error::new(ErrorKind::Unavailable, message)
        };
        let parents = missing(path);
        create_private(path).map_err(|error| failed("creating it", error))?;
        warn_if_open(path).map_err(|error| failed("looking at it", error))?;
        let lock = path.join("lock");
        let mut file = private(&lock)
            .and_then(|()| OpenOptions::new().read(true).write(true).open(&lock))
            .map_err(|error| failed("opening its file `lock`", error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(held(path, &mut file)),
            Err(TryLockError::Error(error)) => return Err(failed("locking it", error)),
        }
        note_holder(&mut file).map_err(|error| failed("writing its file `lock`", error))?;
        let parents = parents.iter().map(PathBuf::as_path);
        parents.chain([path]).try_for_each(sync_folder).map_err(|error| failed("synchronising it", error))?;
        Ok(Self { path: path.to_owned(), _lock: Arc::new(file) })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The folders that get a new folder when this one is made, outermost last.
fn missing(path: &Path) -> Vec<PathBuf> {
    let new = path.ancestors().take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists());
    new.filter_map(Path::parent).map(Path::to_owned).collect()
}

/// Makes the names of new files durable.
pub(crate) fn sync_folder(path: &Path) -> std::io::Result<()> {
    // Elsewhere a folder cannot be opened.
    if cfg!(unix) {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        File::open(path)?.sync_all()?;
    }
    Ok(())
}

fn create_private(path: &Path) -> std::io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Makes a file that its owner alone may read, where there is none; one that others
/// may read is closed to them.
pub(crate) fn private(path: &Path) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => close_to_others(path),
        made => made.map(drop),
    }
}

/// Closes a file to others, if it is there. It is not opened for this: closing it
/// again would give up the locks that SQLite holds on it in this process.
#[cfg(unix)]
pub(crate) fn close_to_others(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    match std::fs::metadata(path) {
        Ok(found) if found.permissions().mode() & 0o077 != 0 => {
            std::fs::set_permissions(path, PermissionsExt::from_mode(0o600))
        }
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(not(unix))]
pub(crate) fn close_to_others(_path: &Path) -> std::io::Result<()> {
    Ok(())
}

#[cfg(unix)]
fn warn_if_open(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(path)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        tracing::warn!(
            folder = %path.display(),
            mode = %format!("{mode:o}"),
            "the data folder is open to other users of this machine; close it with chmod 700"
        );
    }
    Ok(())
}

#[cfg(not(unix))]
fn warn_if_open(_path: &Path) -> std::io::Result<()> {
    Ok(())
}

fn note_holder(file: &mut File) -> std::io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(format!("{}\n", std::process::id()).as_bytes())
}

fn held(path: &Path, file: &mut File) -> Error {
    let mut holder = String::new();
    // The holder may be between taking the lock and writing its id.
    let known = file.take(32).read_to_string(&mut holder).is_ok_and(|read| read > 0);
    let holder = if known { format!("process {}", holder.trim()) } else { "another process".to_owned() };
    let message = format!(
        "data folder {} is in use by {holder}: stop that one or choose another folder",
        path.display()
    );
    Error::new(ErrorKind::Locked, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_locked_once_and_free_again_after_the_last_clone() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a/b");
        let first = DataDir::open(&path).unwrap();
        let clone = first.clone();
        drop(first);
        let error = DataDir::open(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Locked);
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
        assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
        drop(clone);
        DataDir::open(&path).unwrap();
    }

    #[test]
    fn every_folder_with_a_new_name_is_synchronised() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a/b");
        assert_eq!(missing(&path), [root.path().join("a"), root.path().to_owned()]);
        DataDir::open(&path).unwrap();
        assert_eq!(missing(&path), [] as [PathBuf; 0]);
        assert_eq!(missing(Path::new("no-such-folder")), [PathBuf::new()]);
        sync_folder(Path::new("")).unwrap();
        assert!(sync_folder(&root.path().join("c")).is_err() || !cfg!(unix));
    }

    #[cfg(unix)]
    #[test]
    fn a_new_folder_is_private() {
        use std::os::unix::fs::PermissionsExt;
        let root = tempfile::tempdir().unwrap();
        let dir = DataDir::open(root.path().join("data")).unwrap();
        let mode = std::fs::metadata(dir.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }
}
