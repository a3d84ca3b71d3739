//! Faulty rows that are put aside: a file with each of them, its line and its fault.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use orderwire_api::problem::ProblemError;
use serde::Serialize;
use serde_json::value::RawValue;

use super::sink::part_of;
use super::source::Row;
use crate::error::Error;

/// The most bytes of the file.
const BYTES_MAX: u64 = 256 << 20;

/// The file, while it is written: it appears under its name when it is complete.
pub(super) struct Rejects {
    path: PathBuf,
    part: PathBuf,
    out: BufWriter<File>,
    max: usize,
    bytes: u64,
    /// The positions of the rows in their file, from 0.
    positions: Vec<u64>,
}

/// A line of the file.
#[derive(Serialize)]
struct Line<'a> {
    line: Option<u64>,
    pointer: &'a str,
    detail: &'a str,
    row: Content<'a>,
}

/// A row as it stood: the values of CSV, the JSON of the others, or its text when it is none.
#[derive(Serialize)]
#[serde(untagged)]
enum Content<'a> {
    Values(Vec<&'a str>),
    Json(&'a RawValue),
    Text(&'a str),
}

impl Rejects {
    pub(super) fn create(path: &Path, max: usize) -> Result<Self, Error> {
        let part = part_of(path)?;
        let file = File::create(&part).map_err(|error| unwritable(&part, &error))?;
        let out = BufWriter::new(file);
        Ok(Self { path: path.to_owned(), part, out, max, bytes: 0, positions: Vec::new() })
    }

    /// Puts a row aside.
    ///
    /// # Errors
    /// `Invalid` when there are more than may be; when it cannot be written.
    pub(super) fn add(
        &mut self,
        position: u64,
        row: &Row,
        csv: bool,
        fault: &ProblemError,
    ) -> Result<(), Error> {
        let content = match serde_json::from_str(&row.json) {
            _ if csv => Content::Values(row.record.iter().collect()),
            Ok(json) => Content::Json(json),
            Err(_) => Content::Text(&row.json),
        };
        let line = Line { line: fault.line, pointer: &fault.pointer, detail: &fault.detail, row: content };
        let mut text = serde_json::to_string(&line)
            .map_err(|error| Error::failed(format!("a faulty row cannot be shown: {error}")))?;
        text.push('\n');
        self.bytes += text.len() as u64;
        if self.positions.len() == self.max || self.bytes > BYTES_MAX {
            return Err(Error::invalid(format!(
                "more than {} rows are faulty, or they are larger than {} MiB together; nothing was \
                 imported: is it the right file? --rejects-max allows more",
                self.max,
                BYTES_MAX >> 20
            ))
            .with_faults(vec![fault.clone()]));
        }
        self.positions.push(position);
        self.out.write_all(text.as_bytes()).map_err(|error| unwritable(&self.part, &error))
    }

    /// Ends the file; the positions of what is in it. Without any there is no file.
    pub(super) fn finish(mut self) -> Result<Vec<u64>, Error> {
        let positions = std::mem::take(&mut self.positions);
        if !positions.is_empty() {
            let failed = |error: std::io::Error| unwritable(&self.path, &error);
            self.out.flush().map_err(failed)?;
            self.out.get_ref().sync_all().map_err(failed)?;
            std::fs::rename(&self.part, &self.path).map_err(failed)?;
        }
        Ok(positions)
    }
}

impl Drop for Rejects {
    fn drop(&mut self) {
        // What is complete has another name by now.
        std::fs::remove_file(&self.part).ok();
    }
}

fn unwritable(path: &Path, error: &std::io::Error) -> Error {
    Error::failed(format!("cannot write {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn fault(line: u64) -> ProblemError {
        ProblemError { line: Some(line), pointer: "/n".into(), detail: "must be a number".into() }
    }

    #[test]
    fn faulty_rows_are_kept_as_they_stood() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bad.ndjson");
        let mut rejects = Rejects::create(&path, 10).unwrap();
        let csv = Row { record: vec!["x", "a\nb"].into(), ..Row::default() };
        rejects.add(3, &csv, true, &fault(5)).unwrap();
        let json = Row { json: r#"{"n":1.10}"#.into(), ..Row::default() };
        rejects.add(7, &json, false, &fault(9)).unwrap();
        let none = Row { json: "{oops".into(), ..Row::default() };
        rejects.add(8, &none, false, &fault(10)).unwrap();
        assert!(!path.exists());
        assert_eq!(rejects.finish().unwrap(), [3, 7, 8]);
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], r#"{"line":5,"pointer":"/n","detail":"must be a number","row":["x","a\nb"]}"#);
        assert!(
            lines[1].ends_with(r#""row":{"n":1.10}}"#) && lines[2].ends_with(r#""row":"{oops"}"#),
            "{text}"
        );
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn too_many_faulty_rows_are_refused_and_leave_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bad.ndjson");
        let mut rejects = Rejects::create(&path, 2).unwrap();
        for position in 0..2 {
            rejects.add(position, &Row::default(), true, &fault(position)).unwrap();
        }
        let error = rejects.add(2, &Row::default(), true, &fault(2)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        drop(rejects);
        drop(Rejects::create(&path, 2).unwrap().finish().unwrap());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
