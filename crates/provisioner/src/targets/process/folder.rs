//! The folder of a release: its working folder with the declared files, its lock,
//! and what has to be remembered. All calls block.
//!
//! The processes of a release may do with the working folder what they like, so a
//! path in it is walked without following links.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, mkdirat, openat, renameat, statat, unlinkat};
use rustix::io::Errno;
use uuid::Uuid;

use super::manifest::{FileSpec, TEMPORARY};
use crate::target::Error;

/// What is read of a file at most: more than any declared file has.
const READ_BYTES_MAX: u64 = (1 << 20) + 1;

/// Where a release is on disk.
#[derive(Clone, Debug)]
pub(super) struct Folder {
    root: PathBuf,
}

impl Folder {
    pub(super) fn new(home: &Path, release: Uuid) -> Self {
        Self { root: home.join(release.to_string()) }
    }

    pub(super) fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    pub(super) fn ports(&self) -> PathBuf {
        self.root.join("ports.json")
    }

    pub(super) fn work(&self) -> PathBuf {
        self.root.join("work")
    }

    pub(super) fn temporary(&self) -> PathBuf {
        self.work().join(TEMPORARY)
    }

    /// Makes the folders, for this user alone.
    pub(super) fn create(&self) -> Result<(), Error> {
        let temporary = self.temporary();
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&temporary)
            .map_err(|error| unavailable("made", &temporary, &error))
    }

    /// The files that were declared last: their names by their paths.
    pub(super) fn declared(&self) -> Result<BTreeMap<String, String>, Error> {
        let path = self.root.join("files.json");
        match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|error| unavailable("read", &path, &io::Error::new(ErrorKind::InvalidData, error))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(BTreeMap::new()),
            Err(error) => Err(unavailable("read", &path, &error)),
        }
    }

    /// Makes the working folder hold these files, and none that was declared earlier.
    /// What is as it should be is not touched.
    pub(super) fn write(&self, files: &[FileSpec]) -> Result<(), Error> {
        let before = self.declared()?;
        let now: BTreeMap<String, String> =
            files.iter().map(|file| (file.path.clone(), file.name.clone())).collect();
        if before != now {
            // Noted before it is written, so that a later call finds what this one leaves.
            let mut both = before.clone();
            both.extend(now.clone());
            self.remember(&both)?;
        }
        for path in before.keys().filter(|path| !now.contains_key(*path)) {
            self.unlink(path).map_err(|error| unavailable("removed", Path::new(path), &error))?;
        }
        for file in files {
            if self.read(&file.path)?.as_deref() != Some(file.content.as_bytes()) {
                self.put(file).map_err(|error| unavailable("written", Path::new(&file.path), &error))?;
            }
        }
        if before == now { Ok(()) } else { self.remember(&now) }
    }

    /// The content of a file of the working folder, up to a little more than a declared
    /// file may have; `None` when no plain file is there.
    pub(super) fn read(&self, path: &str) -> Result<Option<Vec<u8>>, Error> {
        let read = || {
            let (folder, name) = self.parent(path, false)?;
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let file = File::from(openat(&folder, name, flags, Mode::empty())?);
            if !file.metadata()?.is_file() {
                return Ok(None);
            }
            let mut content = Vec::new();
            file.take(READ_BYTES_MAX).read_to_end(&mut content)?;
            Ok(Some(content))
        };
        match read() {
            Err(error) if is_absent(&error) => Ok(None),
            other => other.map_err(|error| unavailable("read", Path::new(path), &error)),
        }
    }

    /// Whether a plain file is there.
    pub(super) fn has(&self, path: &str) -> Result<bool, Error> {
        let stat = || {
            let (folder, name) = self.parent(path, false)?;
            let stat = statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
            Ok(FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile)
        };
        match stat() {
            Err(error) if is_absent(&error) => Ok(false),
            other => other.map_err(|error| unavailable("read", Path::new(path), &error)),
        }
    }

    /// Removes everything; says whether there was anything.
    pub(super) fn remove(&self) -> Result<bool, Error> {
        match std::fs::remove_dir_all(&self.root) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(unavailable("removed", &self.root, &error)),
        }
    }

    fn remember(&self, files: &BTreeMap<String, String>) -> Result<(), Error> {
        let path = self.root.join("files.json");
        let text = serde_json::to_vec(files).expect("a map of texts is serialisable");
        replace(&path, &text).map_err(|error| unavailable("written", &path, &error))
    }

    fn put(&self, file: &FileSpec) -> io::Result<()> {
        let (folder, name) = self.parent(&file.path, true)?;
        let temporary = format!("{TEMPORARY}.{}", Uuid::new_v4().simple());
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut to = File::from(openat(&folder, temporary.as_str(), flags, Mode::from_raw_mode(0o600))?);
        let written = to.write_all(file.content.as_bytes());
        let placed = written.and_then(|()| Ok(renameat(&folder, temporary.as_str(), &folder, name)?));
        if placed.is_err() {
            unlinkat(&folder, temporary.as_str(), AtFlags::empty())?;
        }
        placed
    }

    fn unlink(&self, path: &str) -> io::Result<()> {
        let unlink = || {
            let (folder, name) = self.parent(path, false)?;
            Ok(unlinkat(&folder, name, AtFlags::empty())?)
        };
        match unlink() {
            Err(error) if is_absent(&error) => Ok(()),
            other => other,
        }
    }

    /// The folder that a path of the working folder is in, and its name there.
    fn parent<'a>(&self, path: &'a str, create: bool) -> io::Result<(OwnedFd, &'a str)> {
        let open = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut folder = openat(CWD, self.work(), open, Mode::empty())?;
        let mut parts: Vec<&str> = path.split('/').collect();
        let name = parts.pop().expect("a split has a last part");
        for part in parts {
            if create {
                match mkdirat(&folder, part, Mode::from_raw_mode(0o700)) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            folder = openat(&folder, part, open, Mode::empty())?;
        }
        Ok((folder, name))
    }
}

/// Writes a file so that at any moment the old or the new one is there.
pub(super) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    std::fs::write(&temporary, content)?;
    std::fs::rename(&temporary, path)
}

/// Nothing is there, or something that is no plain file below plain folders.
fn is_absent(error: &io::Error) -> bool {
    let kinds = [Errno::NOENT, Errno::NOTDIR, Errno::LOOP, Errno::NXIO, Errno::ISDIR];
    Errno::from_io_error(error).is_some_and(|errno| kinds.contains(&errno))
}

fn unavailable(done: &str, path: &Path, error: &io::Error) -> Error {
    Error::Unavailable(format!("{} cannot be {done}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, content: &str) -> FileSpec {
        FileSpec { name: "f".to_owned(), path: path.to_owned(), content: content.to_owned() }
    }

    fn folder() -> (tempfile::TempDir, Folder) {
        let home = tempfile::tempdir().unwrap();
        let folder = Folder::new(home.path(), Uuid::new_v4());
        folder.create().unwrap();
        (home, folder)
    }

    #[test]
    fn files_that_are_no_longer_declared_go_and_others_stay() {
        let (_home, folder) = folder();
        folder.write(&[file("a/b", "1"), file("c", "2")]).unwrap();
        std::fs::write(folder.work().join("own"), "3").unwrap();
        folder.write(&[file("c", "4")]).unwrap();
        assert_eq!(folder.read("a/b").unwrap(), None);
        assert_eq!(folder.read("c").unwrap().unwrap(), b"4");
        assert_eq!(folder.read("own").unwrap().unwrap(), b"3");
    }

    #[test]
    fn what_is_as_declared_is_not_touched() {
        let (_home, folder) = folder();
        folder.write(&[file("a", "1")]).unwrap();
        let inode =
            || std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(folder.work().join("a")).unwrap());
        let before = inode();
        folder.write(&[file("a", "1")]).unwrap();
        assert_eq!(inode(), before);
    }

    #[test]
    fn links_that_a_process_made_are_not_followed() {
        let (home, folder) = folder();
        let outside = home.path().join("outside");
        std::fs::create_dir(&outside).unwrap();
        std::fs::write(outside.join("secret"), "s").unwrap();
        std::os::unix::fs::symlink(&outside, folder.work().join("site")).unwrap();
        std::os::unix::fs::symlink(outside.join("secret"), folder.work().join("link")).unwrap();
        assert_eq!(folder.read("site/secret").unwrap(), None);
        assert_eq!(folder.read("link").unwrap(), None);
        assert!(folder.write(&[file("site/new", "1")]).is_err());
        folder.write(&[file("link", "2")]).unwrap();
        assert_eq!(std::fs::read(outside.join("secret")).unwrap(), b"s");
        assert!(!outside.join("new").exists());
        assert!(folder.remove().unwrap());
        assert!(outside.join("secret").exists());
    }

    #[test]
    fn a_pipe_in_the_place_of_a_file_does_not_hold_a_reader() {
        let (_home, folder) = folder();
        let path = folder.work().join("p");
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        assert_eq!(folder.read("p").unwrap(), None);
    }
}
