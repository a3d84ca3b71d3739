//! The folder of a release: its working folder with the declared files, its lock,
//! and what has to be remembered. All calls block.
//!
//! The processes of a release may do with the working folder what they like, so a
//! path in it is walked without following links.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, mkdirat, openat, renameat, statat, unlinkat};
use rustix::io::Errno;
use uuid::Uuid;

use super::manifest::{FileSpec, TEMPORARY};
use crate::target::Error;

/// What is read of a file at most: more than any declared file has.
const READ_BYTES_MAX: u64 = (1 << 20) + 1;

/// The names of the declared files, by their paths.
const DECLARATIONS: &str = "files.json";

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
        let work = self.work();
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&work)
            .map_err(|error| fault("made", &work, &error))
    }

    /// The files that were declared last: their names by their paths.
    pub(super) fn declared(&self) -> Result<BTreeMap<String, String>, Error> {
        let path = self.declarations();
        match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|error| fault("read", &path, &io::Error::new(ErrorKind::InvalidData, error))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(BTreeMap::new()),
            Err(error) => Err(fault("read", &path, &error)),
        }
    }

    /// Writes these files beside the working folder and makes the folders that they go
    /// to, so that what can fail fails here; [`Folder::place`] only renames. What is as
    /// it should be is not written.
    pub(super) fn stage(&self, files: &[FileSpec]) -> Result<Staged, Error> {
        self.create()?;
        let (staged, displaced) = (self.staged(), self.displaced());
        empty(&staged).map_err(|error| fault("emptied", &staged, &error))?;
        // A process may have made folders that nobody can empty.
        if let Err(error) = empty(&displaced) {
            tracing::warn!(folder = %displaced.display(), %error, "what was moved out of the way stays");
        }
        let temporary = self.temporary();
        self.parent(&format!("{TEMPORARY}/any"), Walk::Clear)
            .map_err(|error| fault("made", &temporary, &error))?;
        let before = self.declared()?;
        let now: BTreeMap<String, String> =
            files.iter().map(|file| (file.path.clone(), file.name.clone())).collect();
        let noted = before != now;
        if noted {
            // Noted before it is written, so that a later call finds what this one leaves.
            let mut both = before.clone();
            both.extend(now.clone());
            self.note(&both, &self.declarations())?;
            self.note(&now, &self.staged().join(DECLARATIONS))?;
        }
        let gone = before.into_keys().filter(|path| !now.contains_key(path)).collect();
        let mut new = Vec::new();
        for file in files {
            if self.read(&file.path)?.as_deref() == Some(file.content.as_bytes()) {
                continue;
            }
            let staged = self.staged().join(new.len().to_string());
            write_new(&staged, file.content.as_bytes())
                .and_then(|()| self.make_way(&file.path))
                .map_err(|error| fault("written", Path::new(&file.path), &error))?;
            new.push((staged, file.path.clone()));
        }
        Ok(Staged { new, gone, noted })
    }

    /// Makes the working folder hold what was staged, and none that was declared
    /// earlier. What a process has put in the way of a declared file is moved out of it.
    pub(super) fn place(&self, staged: &Staged) -> Result<(), Error> {
        for path in &staged.gone {
            self.unlink(path).map_err(|error| fault("removed", Path::new(path), &error))?;
        }
        for (from, path) in &staged.new {
            self.put(from, path).map_err(|error| fault("written", Path::new(path), &error))?;
        }
        if staged.noted {
            let (from, to) = (self.staged().join(DECLARATIONS), self.declarations());
            std::fs::rename(&from, &to).map_err(|error| fault("written", &to, &error))?;
        }
        Ok(())
    }

    /// The content of a file of the working folder, up to a little more than a declared
    /// file may have; `None` when no plain file is there.
    pub(super) fn read(&self, path: &str) -> Result<Option<Vec<u8>>, Error> {
        let read = || {
            let (folder, name) = self.parent(path, Walk::Look)?;
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
            other => other.map_err(|error| fault("read", Path::new(path), &error)),
        }
    }

    /// Whether a plain file is there.
    pub(super) fn has(&self, path: &str) -> Result<bool, Error> {
        let stat = || {
            let (folder, name) = self.parent(path, Walk::Look)?;
            let stat = statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
            Ok(FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile)
        };
        match stat() {
            Err(error) if is_absent(&error) => Ok(false),
            other => other.map_err(|error| fault("read", Path::new(path), &error)),
        }
    }

    /// Removes everything; says whether there was anything.
    pub(super) fn remove(&self) -> Result<bool, Error> {
        match std::fs::remove_dir_all(&self.root) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(fault("removed", &self.root, &error)),
        }
    }

    fn declarations(&self) -> PathBuf {
        self.root.join(DECLARATIONS)
    }

    /// Files that wait for their places.
    fn staged(&self) -> PathBuf {
        self.root.join("staged")
    }

    /// What was in the way of a declared file: kept until the next apply, in case somebody
    /// misses it.
    fn displaced(&self) -> PathBuf {
        self.root.join("displaced")
    }

    fn note(&self, files: &BTreeMap<String, String>, path: &Path) -> Result<(), Error> {
        let text = serde_json::to_vec(files).expect("a map of texts is serialisable");
        replace(path, &text).map_err(|error| fault("written", path, &error))
    }

    /// Makes the folders that a file goes to, as far as nothing is in the way, and looks
    /// whether the file system takes its name.
    fn make_way(&self, path: &str) -> io::Result<()> {
        let look = || {
            let (folder, name) = self.parent(path, Walk::Make)?;
            statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
            Ok(())
        };
        match look() {
            Err(error) if is_absent(&error) => Ok(()),
            other => other,
        }
    }

    fn put(&self, from: &Path, path: &str) -> io::Result<()> {
        let (folder, name) = self.parent(path, Walk::Clear)?;
        let place = || renameat(CWD, from, &folder, name);
        match place() {
            Err(Errno::ISDIR) => {
                self.displace(&folder, name)?;
                Ok(place()?)
            }
            placed => Ok(placed?),
        }
    }

    /// Moves what is in the way of a declared file out of it, whatever it is, without
    /// looking into it.
    fn displace(&self, folder: &OwnedFd, name: &str) -> rustix::io::Result<()> {
        let to = self.displaced().join(Uuid::new_v4().simple().to_string());
        tracing::warn!(name, to = %to.display(), "what was in the way of a declared file was moved");
        renameat(folder, name, CWD, &to)
    }

    fn unlink(&self, path: &str) -> io::Result<()> {
        let unlink = || {
            let (folder, name) = self.parent(path, Walk::Look)?;
            Ok(unlinkat(&folder, name, AtFlags::empty())?)
        };
        match unlink() {
            Err(error) if is_absent(&error) => Ok(()),
            other => other,
        }
    }

    /// The folder that a path of the working folder is in, and its name there.
    fn parent<'a>(&self, path: &'a str, walk: Walk) -> io::Result<(OwnedFd, &'a str)> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let make = |folder: &OwnedFd, part| match mkdirat(folder, part, Mode::from_raw_mode(0o700)) {
            Err(Errno::EXIST) => Ok(()),
            made => made,
        };
        let mut folder = openat(CWD, self.work(), flags, Mode::empty())?;
        let mut parts: Vec<&str> = path.split('/').collect();
        let name = parts.pop().expect("a split has a last part");
        for part in parts {
            if walk != Walk::Look {
                make(&folder, part)?;
            }
            let open = || openat(&folder, part, flags, Mode::empty());
            folder = match open() {
                Err(Errno::NOTDIR | Errno::LOOP | Errno::ACCESS) if walk == Walk::Clear => {
                    self.displace(&folder, part)?;
                    make(&folder, part)?;
                    open()?
                }
                opened => opened?,
            };
        }
        Ok((folder, name))
    }
}

/// What becomes of folders on the way to a file.
#[derive(Clone, Copy, PartialEq)]
enum Walk {
    /// They have to be there.
    Look,
    /// They are made.
    Make,
    /// They are made, and what is in their place is moved away.
    Clear,
}

/// Files that wait for their places in the working folder.
pub(super) struct Staged {
    /// Where each waits, and its path.
    new: Vec<(PathBuf, String)>,
    /// The paths that are declared no longer.
    gone: Vec<String>,
    /// Whether other files are declared than before.
    noted: bool,
}

fn empty(folder: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => DirBuilder::new().mode(0o700).create(folder),
    }
}

fn write_new(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(content)
}

/// Writes a file so that at any moment the old or the new one is there.
pub(super) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    std::fs::write(&temporary, content)?;
    std::fs::rename(&temporary, path)
}

/// Nothing is there that can be read as a plain file below plain folders.
fn is_absent(error: &io::Error) -> bool {
    let kinds = [Errno::NOENT, Errno::NOTDIR, Errno::LOOP, Errno::NXIO, Errno::ISDIR, Errno::ACCESS];
    Errno::from_io_error(error).is_some_and(|errno| kinds.contains(&errno))
}

/// What may pass by itself is tried again; nothing else is.
fn fault(done: &str, path: &Path, error: &io::Error) -> Error {
    const PASS: [Errno; 10] = [
        Errno::NOSPC,
        Errno::DQUOT,
        Errno::AGAIN,
        Errno::MFILE,
        Errno::NFILE,
        Errno::NOMEM,
        Errno::INTR,
        Errno::BUSY,
        Errno::IO,
        // Something still writes into a folder that is removed.
        Errno::NOTEMPTY,
    ];
    let sentence = format!("{} cannot be {done}: {error}", path.display());
    match Errno::from_io_error(error) {
        Some(errno) if PASS.contains(&errno) => Error::Unavailable(sentence),
        _ => Error::Refused(sentence),
    }
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

    fn write(folder: &Folder, files: &[FileSpec]) -> Result<(), Error> {
        folder.place(&folder.stage(files)?)
    }

    #[test]
    fn files_that_are_no_longer_declared_go_and_others_stay() {
        let (_home, folder) = folder();
        write(&folder, &[file("a/b", "1"), file("c", "2")]).unwrap();
        std::fs::write(folder.work().join("own"), "3").unwrap();
        write(&folder, &[file("c", "4")]).unwrap();
        assert_eq!(folder.read("a/b").unwrap(), None);
        assert_eq!(folder.read("c").unwrap().unwrap(), b"4");
        assert_eq!(folder.read("own").unwrap().unwrap(), b"3");
    }

    #[test]
    fn what_is_as_declared_is_not_touched() {
        let (_home, folder) = folder();
        write(&folder, &[file("a", "1")]).unwrap();
        let inode =
            || std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(folder.work().join("a")).unwrap());
        let before = inode();
        write(&folder, &[file("a", "1")]).unwrap();
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
        write(&folder, &[file("site/new", "1")]).unwrap();
        write(&folder, &[file("link", "2")]).unwrap();
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

    #[test]
    fn what_is_in_the_way_of_a_declared_file_is_moved_and_not_lost() {
        let (_home, folder) = folder();
        write(&folder, &[file("a", "1"), file("b/c", "2")]).unwrap();
        let work = folder.work();
        std::fs::remove_file(work.join("a")).unwrap();
        std::fs::create_dir(work.join("a")).unwrap();
        std::fs::write(work.join("a/own"), "3").unwrap();
        std::fs::remove_dir_all(work.join("b")).unwrap();
        std::fs::write(work.join("b"), "4").unwrap();
        std::fs::remove_dir(folder.temporary()).unwrap();
        std::fs::write(folder.temporary(), "").unwrap();
        write(&folder, &[file("a", "1"), file("b/c", "2")]).unwrap();
        assert_eq!(folder.read("a").unwrap().unwrap(), b"1");
        assert_eq!(folder.read("b/c").unwrap().unwrap(), b"2");
        assert!(folder.temporary().is_dir());
        assert_eq!(std::fs::read_dir(folder.displaced()).unwrap().count(), 3);
        // A revision may make a folder of a file, and a file of a folder.
        write(&folder, &[file("a/b", "5"), file("b", "6")]).unwrap();
        assert_eq!(folder.read("a/b").unwrap().unwrap(), b"5");
        assert_eq!(folder.read("b").unwrap().unwrap(), b"6");
    }

    #[test]
    fn staging_leaves_the_files_of_the_former_revision_alone() {
        let (_home, folder) = folder();
        write(&folder, &[file("a", "1"), file("b", "2")]).unwrap();
        let staged = folder.stage(&[file("a", "3"), file("c/d", "4")]).unwrap();
        assert_eq!(folder.read("a").unwrap().unwrap(), b"1");
        assert_eq!(folder.read("b").unwrap().unwrap(), b"2");
        folder.place(&staged).unwrap();
        assert_eq!(folder.read("a").unwrap().unwrap(), b"3");
        assert_eq!(folder.read("b").unwrap(), None);
        assert_eq!(folder.declared().unwrap().len(), 2);
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        let of = |errno: Errno| fault("written", Path::new("a"), &errno.into());
        assert!(matches!(of(Errno::NOSPC), Error::Unavailable(_)));
        assert!(matches!(of(Errno::NAMETOOLONG), Error::Refused(_)));
    }
}
