//! Exporting rows: page by page in the order of arrival, constant memory.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use orderwire_api::wire::DatasetInfo;
use orderwire_types::DatasetName;
use reqwest::Method;

use super::page::{self, SEQ};
use crate::args::FileFormat;
use crate::error::Error;
use crate::out::{Out, count};
use crate::progress::{Unit, bar};
use crate::server::Server;

/// Rows of a page.
const PAGE_ROWS: u64 = 5_000;

/// What to export.
#[derive(Debug)]
pub(super) struct Export<'a> {
    pub(super) dataset: DatasetName,
    /// Standard output when absent.
    pub(super) file: Option<&'a Path>,
    pub(super) format: FileFormat,
    /// Names and conditions.
    pub(super) filters: Vec<(String, String)>,
}

/// The filters of `--where`, as `/rest` takes them.
pub(super) fn filters(texts: &[String]) -> Result<Vec<(String, String)>, Error> {
    let one = |text: &String| {
        let (name, condition) = text
            .split_once('=')
            .ok_or_else(|| Error::usage(format!("--where {text:?} is not a filter such as no2=gt.40")))?;
        if ["select", "order", "limit", "offset", SEQ].contains(&name) {
            return Err(Error::usage(format!("--where filters rows; {name} is set by the export itself")));
        }
        Ok((name.to_owned(), condition.to_owned()))
    };
    texts.iter().map(one).collect()
}

pub(super) async fn export(server: &Server, order: &Export<'_>, out: Out) -> Result<(), Error> {
    let begun = Instant::now();
    let dataset = order.dataset.as_str();
    let info: DatasetInfo = server.get(&["v1", "datasets", dataset], &[]).await?;
    let mut sink = Sink::open(order.file)?;
    let mut buffer = Vec::new();
    if order.format == FileFormat::Csv {
        let mut header = csv::Writer::from_writer(&mut buffer);
        let names = info.def.fields.iter().map(|field| field.name.as_str());
        let written = header.write_record(names).and_then(|()| header.flush().map_err(Into::into));
        written.map_err(|error| Error::failed(format!("cannot write the header: {error}")))?;
    }
    // A bar would draw into what a terminal shows of standard output.
    let bar = bar(order.file.is_some(), Unit::Rows, 0, "exporting");
    let (mut after, mut rows) = (None, 0);
    loop {
        let (body, total, cut) = fetch(server, order, after, !bar.is_hidden() && after.is_none()).await?;
        if let Some(total) = total {
            bar.set_length(total);
        }
        let page = match order.format {
            FileFormat::Csv => page::csv(&body, &mut buffer),
            FileFormat::Ndjson => page::ndjson(&body, &mut buffer),
        };
        let page =
            page.map_err(|error| Error::failed(format!("the server's rows cannot be read: {error}")))?;
        sink.write(&buffer)?;
        buffer.clear();
        rows += page.rows;
        bar.set_position(rows);
        if page.rows == 0 || page.rows < PAGE_ROWS && !cut {
            break;
        }
        if page.last <= after {
            return Err(Error::failed("the server's pages do not move on; is it of another version?"));
        }
        after = page.last;
    }
    bar.finish_and_clear();
    sink.finish()?;
    let Some(file) = order.file else { return Ok(()) };
    let seconds = begun.elapsed().as_secs_f64();
    let file = file.display().to_string();
    let sentence = format!("{} rows of {dataset} are in {file}", count(rows));
    out.done(
        &serde_json::json!({ "dataset": dataset, "file": file, "rows": rows, "seconds": seconds }),
        &sentence,
    )
}

/// One page behind `after`; how many rows there are, when asked; whether the
/// server cut it.
async fn fetch(
    server: &Server,
    order: &Export<'_>,
    after: Option<i64>,
    counted: bool,
) -> Result<(String, Option<u64>, bool), Error> {
    let behind = after.map(|after| format!("gt.{after}"));
    let (limit, select, sort) = (PAGE_ROWS.to_string(), format!("*,{SEQ}"), format!("{SEQ}.asc"));
    let mut query: Vec<(&str, &str)> = vec![("select", &select), ("order", &sort), ("limit", &limit)];
    query.extend(behind.iter().map(|behind| (SEQ, behind.as_str())));
    query.extend(order.filters.iter().map(|(name, condition)| (name.as_str(), condition.as_str())));
    let accept = match order.format {
        FileFormat::Csv => "text/csv",
        FileFormat::Ndjson => "application/json",
    };
    let mut request =
        server.request(Method::GET, &["rest", order.dataset.as_str()], &query).header("accept", accept);
    if counted {
        request = request.header("prefer", "count=exact");
    }
    let response = server.send(request).await?;
    let cut = response.status().as_u16() == 206;
    let range = response.headers().get("content-range").and_then(|range| range.to_str().ok());
    let total = range.and_then(|range| range.rsplit_once('/')?.1.parse().ok());
    let body = response.text().await;
    let body = body.map_err(|error| Error::failed(format!("a page broke off ({error}); export again")))?;
    Ok((body, total.filter(|_| counted), cut))
}

/// Where rows go. A file appears under its name when it is complete.
enum Sink {
    Stdout,
    File { file: File, part: PathBuf, path: PathBuf },
}

impl Sink {
    fn open(path: Option<&Path>) -> Result<Self, Error> {
        let Some(path) = path else { return Ok(Self::Stdout) };
        let name = path.file_name().ok_or_else(|| Error::usage(format!("{} is no file", path.display())))?;
        let part = path.with_file_name(format!(".{}.part", name.to_string_lossy()));
        let file = File::create(&part)
            .map_err(|error| Error::failed(format!("cannot write {}: {error}", part.display())))?;
        Ok(Self::File { file, part, path: path.to_owned() })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        match self {
            Self::Stdout => Out { json: false }.bytes(bytes),
            Self::File { file, part, .. } => file
                .write_all(bytes)
                .map_err(|error| Error::failed(format!("cannot write {}: {error}", part.display()))),
        }
    }

    fn finish(self) -> Result<(), Error> {
        let Self::File { file, part, path } = self else { return Ok(()) };
        file.sync_all()
            .and_then(|()| std::fs::rename(&part, &path))
            .map_err(|error| Error::failed(format!("cannot write {}: {error}", path.display())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_names_and_conditions() {
        let read = filters(&["no2=gt.40".into(), "or=(a.eq.1,b.eq.x=y)".into()]).unwrap();
        assert_eq!(read[1], ("or".to_owned(), "(a.eq.1,b.eq.x=y)".to_owned()));
        for wrong in ["no2", "limit=5", "_seq=gt.1"] {
            assert!(filters(&[wrong.to_owned()]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_file_appears_when_it_is_complete() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.csv");
        let mut sink = Sink::open(Some(&path)).unwrap();
        sink.write(b"a\n").unwrap();
        assert!(!path.exists());
        sink.finish().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"a\n");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
