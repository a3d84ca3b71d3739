//! Exporting rows: page by page in the order of arrival, constant memory.
//!
//! A page is asked for behind the `_seq` of the last row that came, so that one that broke off
//! goes on where it was, and no page costs more than the first.

use std::io::IsTerminal as _;
use std::path::Path;
use std::time::Instant;

use orderwire_api::wire::DatasetInfo;
use orderwire_types::DatasetName;
use orderwire_types::dataset::{EXTRA, Unknown};
use reqwest::{Method, Response};

use super::form::Form;
use super::page::{Lines, Row, SEQ};
use super::sink::Sink;
use crate::args::FileFormat;
use crate::error::{Error, ErrorKind};
use crate::out::{Out, count};
use crate::progress::{Unit, bar};
use crate::server::{Server, TRIES_MAX, pause};

/// Rows of a page.
const PAGE_ROWS: u64 = 5_000;
/// How often a bar moves.
const ROWS_PER_TICK: u64 = 500;

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
    if order.format == FileFormat::Parquet && order.file.is_none() && std::io::stdout().is_terminal() {
        return Err(Error::usage("Parquet is not for a terminal: name a file"));
    }
    let info: DatasetInfo = server.get(&["v1", "datasets", dataset], &[]).await?;
    let form = Form::new(order.format, &info.def, Sink::open(order.file)?)?;
    let keeps = info.def.unknown == Unknown::Keep;
    let mut pages = Pages { form, lines: Lines::default(), after: None, rows: 0, keeps };
    // A bar would draw into what a terminal shows of standard output.
    let bar = bar(order.file.is_some(), Unit::Rows, 0, "exporting");
    let mut failures = 0;
    loop {
        let before = pages.rows;
        let counted = !bar.is_hidden() && pages.after.is_none();
        match page(server, order, &mut pages, counted, &bar).await {
            Ok(true) => break,
            Ok(false) => failures = 0,
            // What came of the page is kept; the rest is asked for again.
            Err(error) if error.kind() == ErrorKind::Unavailable => {
                failures = if pages.rows > before { 1 } else { failures + 1 };
                if failures >= TRIES_MAX {
                    return Err(error);
                }
                pages.lines.clear();
                tokio::time::sleep(pause(failures, error.problem())).await;
            }
            Err(error) => return Err(error),
        }
    }
    bar.finish_and_clear();
    let rows = pages.rows;
    pages.form.finish()?;
    let Some(file) = order.file else { return Ok(()) };
    let seconds = begun.elapsed().as_secs_f64();
    let file = file.display().to_string();
    let sentence = format!("{} rows of {dataset} are in {file}", count(rows));
    out.done(
        &serde_json::json!({ "dataset": dataset, "file": file, "rows": rows, "seconds": seconds }),
        &sentence,
    )
}

/// What came so far.
struct Pages {
    form: Form,
    lines: Lines,
    /// The `_seq` of the last row.
    after: Option<i64>,
    rows: u64,
    /// Whether rows have more than the fields of the dataset.
    keeps: bool,
}

impl Pages {
    fn take(&mut self, piece: &[u8]) -> Result<(), Error> {
        let Self { form, lines, after, rows, .. } = self;
        let mut failed = None;
        let taken = lines.push(piece, |line| {
            let row = Row::read(line)?;
            if Some(row.seq) <= *after {
                return Err("its pages do not move on; is it of another version?".to_owned());
            }
            form.row(&row).map_err(|error| {
                let text = error.to_string();
                failed = Some(error);
                text
            })?;
            (*after, *rows) = (Some(row.seq), *rows + 1);
            Ok(())
        });
        match (failed, taken) {
            (Some(error), _) => Err(error),
            (None, Err(detail)) => Err(Error::failed(format!("the server's rows cannot be read: {detail}"))),
            (None, Ok(())) => Ok(()),
        }
    }
}

/// Takes one page, as it comes; whether it was the last one.
async fn page(
    server: &Server,
    order: &Export<'_>,
    pages: &mut Pages,
    counted: bool,
    bar: &indicatif::ProgressBar,
) -> Result<bool, Error> {
    let before = pages.rows;
    let mut response = ask(server, order, pages, counted).await?;
    let cut = response.status().as_u16() == 206;
    let range = response.headers().get("content-range").and_then(|range| range.to_str().ok());
    if let Some(total) = range.and_then(|range| range.rsplit_once('/')?.1.parse().ok()) {
        bar.set_length(total);
    }
    let mut shown = pages.rows;
    while let Some(piece) = response.chunk().await.map_err(|error| server.broken(&error))? {
        pages.take(&piece)?;
        if pages.rows >= shown + ROWS_PER_TICK {
            shown = pages.rows;
            bar.set_position(shown);
        }
    }
    let rows = pages.rows - before;
    Ok(rows == 0 || rows < PAGE_ROWS && !cut)
}

async fn ask(server: &Server, order: &Export<'_>, pages: &Pages, counted: bool) -> Result<Response, Error> {
    let behind = pages.after.map(|after| format!("gt.{after}"));
    let select = if pages.keeps { format!("*,{EXTRA},{SEQ}") } else { format!("*,{SEQ}") };
    let (limit, sort) = (PAGE_ROWS.to_string(), format!("{SEQ}.asc"));
    let mut query: Vec<(&str, &str)> = vec![("select", &select), ("order", &sort), ("limit", &limit)];
    query.extend(behind.iter().map(|behind| (SEQ, behind.as_str())));
    query.extend(order.filters.iter().map(|(name, condition)| (name.as_str(), condition.as_str())));
    let mut request = server
        .request(Method::GET, &["rest", order.dataset.as_str()], &query)
        .header("accept", "application/x-ndjson")
        // A page is asked for once.
        .header("cache-control", "no-store");
    if counted {
        request = request.header("prefer", "count=exact");
    }
    server.send(request).await
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
}
