//! Where exported bytes go. A file appears under its name when it is complete; what is left of one
//! that never was is removed, or overwritten by the next try.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::error::Error;

/// Standard output, or a file that is not complete yet.
pub(super) enum Sink {
    Stdout,
    File(Part),
}

/// A file under another name, until it is complete.
pub(super) struct Part {
    out: BufWriter<File>,
    part: PathBuf,
    path: PathBuf,
}

impl Sink {
    pub(super) fn open(path: Option<&Path>) -> Result<Self, Error> {
        let Some(path) = path else { return Ok(Self::Stdout) };
        let part = part_of(path)?;
        let file = File::create(&part).map_err(|error| unwritable(&part, &error))?;
        Ok(Self::File(Part { out: BufWriter::new(file), part, path: path.to_owned() }))
    }

    /// Nothing more comes.
    pub(super) fn finish(mut self) -> Result<(), Error> {
        self.flush().map_err(|error| self.failed(&error))?;
        let Self::File(part) = &self else { return Ok(()) };
        part.out
            .get_ref()
            .sync_all()
            .and_then(|()| std::fs::rename(&part.part, &part.path))
            .map_err(|error| unwritable(&part.path, &error))
    }

    /// What it means that writing failed.
    pub(super) fn failed(&self, error: &std::io::Error) -> Error {
        match self {
            Self::Stdout => Error::output(error),
            Self::File(part) => unwritable(&part.path, error),
        }
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Self::Stdout => std::io::stdout().lock().write(bytes),
            Self::File(part) => part.out.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Self::Stdout => std::io::stdout().lock().flush(),
            Self::File(part) => part.out.flush(),
        }
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // What is complete has another name by now.
        std::fs::remove_file(&self.part).ok();
    }
}

/// The name that a file has until it is complete.
pub(super) fn part_of(path: &Path) -> Result<PathBuf, Error> {
    let name = path.file_name().ok_or_else(|| Error::usage(format!("{} is no file", path.display())))?;
    Ok(path.with_file_name(format!(".{}.part", name.to_string_lossy())))
}

fn unwritable(path: &Path, error: &std::io::Error) -> Error {
    Error::failed(format!("cannot write {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_appears_when_it_is_complete() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.csv");
        let mut sink = Sink::open(Some(&path)).unwrap();
        sink.write_all(b"a\n").unwrap();
        assert!(!path.exists());
        sink.finish().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"a\n");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_never_was_complete_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.csv");
        std::fs::write(&path, "before").unwrap();
        let mut sink = Sink::open(Some(&path)).unwrap();
        sink.write_all(b"a\n").unwrap();
        drop(sink);
        assert_eq!(std::fs::read(&path).unwrap(), b"before");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
