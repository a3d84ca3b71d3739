//! Importing a file: looked through once, then sent piece by piece.
//!
//! The first pass takes the file's SHA-256 and checks or infers every row, so
//! that a faulty file changes nothing; or, where that was asked for, puts faulty rows
//! aside. The second sends the rows that the server does not have yet, each piece under
//! the hash and its position: the server takes each row of a file once for good, however
//! often it comes. Rows that were put aside keep their positions, so that they can still come.

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use orderwire_api::problem::ProblemError;
use orderwire_api::wire::{BatchAccepted, DatasetInfo, ImportState};
use orderwire_types::dataset::DatasetDef;
use orderwire_types::row::{CsvHeader, Reader};
use orderwire_types::{DatasetName, Fault, Limits};
use serde::Serialize;
use uuid::Uuid;

use super::chunk::{Chunk, Lines};
use super::infer::Inference;
use super::rejects::Rejects;
use super::source::{Row, Rows, Source, empty};
use crate::error::{Error, ErrorKind};
use crate::out::count;
use crate::progress::{Unit, bar};
use crate::server::{Server, parse};

/// How many faults are kept; the others are counted.
const FAULTS_MAX: usize = 20;
/// How long the recorder may make no progress before the import gives up waiting.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often it is asked how far it is.
const ASK_EVERY: Duration = Duration::from_millis(100);
/// How often a bar moves.
const ROWS_PER_TICK: u64 = 1_000;

/// What to import.
#[derive(Debug)]
pub(crate) struct Import {
    pub(crate) dataset: DatasetName,
    pub(crate) source: Source,
    /// Make the dataset from inferred types without asking.
    pub(crate) yes: bool,
    /// Whether bars may show.
    pub(crate) visible: bool,
    /// Where faulty rows are put, so that the others are imported.
    pub(crate) rejects: Option<RejectsTo>,
}

/// Where faulty rows are put.
#[derive(Clone, Debug)]
pub(crate) struct RejectsTo {
    pub(crate) path: PathBuf,
    /// With more than this many nothing is imported.
    pub(crate) max: usize,
}

/// What an import did.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Summary {
    pub(crate) dataset: String,
    pub(crate) file: String,
    /// The SHA-256 of the file, under which the server knows it.
    pub(crate) import: String,
    /// Rows of the file.
    pub(crate) rows: u64,
    /// Of these, sent now and recorded.
    pub(crate) added: u64,
    /// Of these, recorded before.
    pub(crate) already_there: u64,
    /// Of these, faulty and put aside.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) rejected: u64,
    /// Where they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rejects: Option<String>,
    pub(crate) seconds: f64,
    /// The trace of what was sent; none when nothing was.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) trace_id: String,
}

/// Imports a file and waits until every row is recorded.
pub(crate) async fn import(server: &Server, order: &Import) -> Result<Summary, Error> {
    let begun = Instant::now();
    let dataset = order.dataset.as_str();
    let known = match server.get::<DatasetInfo>(&["v1", "datasets", dataset], &[]).await {
        Ok(info) => Some(info.def),
        Err(error) if error.kind() == ErrorKind::NotFound && error.problem().is_some() => None,
        Err(error) => return Err(error),
    };
    let mut scan = scan(order, known.as_ref())?;
    let def = match (known, scan.inference.take()) {
        (Some(def), _) => def,
        (None, None) => return Err(empty(&order.source.name())),
        (None, Some(inference)) => {
            let def = inference.definition()?;
            let table = inference.shown(&def);
            eprint!(
                "dataset {dataset} does not exist; the types of its columns, inferred from every row:\n{table}"
            );
            confirm(order)?;
            super::define(server, &order.dataset, &def, false).await?;
            def
        }
    };
    let good = scan.rows - scan.faulty.len() as u64;
    let before = recorded(server, dataset, &scan.sha256).await?;
    let already_there = before.lines.min(good);
    let mut trace_id = String::new();
    if already_there < good {
        let sending = Sending { server, order, scan: &scan, def: &def };
        trace_id = Box::pin(sending.send(before.rows)).await?;
        wait(server, dataset, &scan.sha256, good, &trace_id).await?;
    }
    let rejected = scan.faulty.len() as u64;
    let file = |to: &RejectsTo| to.path.display().to_string();
    Ok(Summary {
        dataset: dataset.to_owned(),
        file: order.source.name(),
        import: scan.sha256,
        rows: scan.rows,
        added: good - already_there,
        already_there,
        rejected,
        rejects: order.rejects.as_ref().filter(|_| rejected > 0).map(file),
        seconds: begun.elapsed().as_secs_f64(),
        trace_id,
    })
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// What the first pass found.
pub(super) struct Scan {
    sha256: String,
    pub(super) rows: u64,
    /// The positions of the rows that were put aside, ascending.
    faulty: Vec<u64>,
    pub(super) inference: Option<Inference>,
}

/// Looks through the whole file.
pub(super) fn scan(order: &Import, def: Option<&DatasetDef>) -> Result<Scan, Error> {
    let mut rows = order.source.open(def)?;
    let checker = def.map(|def| Checker::new(def, &rows)).transpose()?;
    let mut inference = match (def, rows.header()) {
        (Some(_), _) => None,
        (None, Some(header)) => Some(Inference::of_csv(header)),
        (None, None) => Some(Inference::of_ndjson()),
    };
    let bar = bar(order.visible, Unit::Bytes, rows.bytes, "checking");
    let (mut row, mut json) = (Row::default(), String::new());
    let (mut total, mut faulty, mut faults) = (0u64, 0u64, Vec::new());
    let mut rejects = order.rejects.as_ref().map(|to| Rejects::create(&to.path, to.max)).transpose()?;
    while rows.next(&mut row)? {
        total += 1;
        if total.is_multiple_of(ROWS_PER_TICK) {
            bar.set_position(rows.position());
        }
        let csv = rows.header().is_some();
        let fault = match (&checker, &mut inference) {
            (Some(checker), _) => {
                checker.convert(&row, &mut json).err().map(|fault| (fault.pointer, fault.detail))
            }
            (None, Some(inference)) => {
                let noted = if csv { inference.record(&row.record) } else { inference.json(&row.json) };
                noted.err().map(|detail| (String::new(), detail))
            }
            (None, None) => None,
        };
        if let Some((pointer, detail)) = fault {
            faulty += 1;
            let fault = ProblemError { line: Some(row.line), pointer, detail };
            if let Some(rejects) = &mut rejects {
                rejects.add(total - 1, &row, csv, &fault)?;
            }
            if faults.len() < FAULTS_MAX {
                faults.push(fault);
            }
        }
    }
    bar.finish_and_clear();
    let name = order.source.name();
    let put_aside = match rejects {
        // A file of which no row is sound is another one than was meant.
        Some(rejects) if faulty < total => rejects.finish()?,
        _ => Vec::new(),
    };
    if faulty > put_aside.len() as u64 {
        let (faulty, total) = (count(faulty), count(total));
        let sentence = format!(
            "{faulty} of the {total} rows of {name} are faulty; nothing was imported: mend them and try \
             again, or put them aside with --rejects FILE"
        );
        return Err(Error::invalid(sentence).with_faults(faults));
    }
    if total == 0 {
        return Err(empty(&name));
    }
    Ok(Scan { sha256: rows.sha256()?, rows: total, faulty: put_aside, inference })
}

/// Turns rows into JSON as the dataset wants them.
pub(super) struct Checker {
    reader: Reader,
    header: Option<CsvHeader>,
}

impl Checker {
    pub(super) fn new(def: &DatasetDef, rows: &Rows) -> Result<Self, Error> {
        // The server's limits are its own to judge.
        let limits = Limits { event_bytes: usize::MAX, field_bytes: usize::MAX, ..Limits::default() };
        let reader = Reader::new(def, &limits);
        let header = rows.header().map(|header| reader.csv_header(header)).transpose();
        let header = header.map_err(|fault| {
            Error::invalid("the header of the file does not fit the dataset").with_faults(vec![
                ProblemError { line: Some(1), pointer: fault.pointer, detail: fault.detail },
            ])
        })?;
        Ok(Self { reader, header })
    }

    pub(super) fn convert(&self, row: &Row, json: &mut String) -> Result<(), Fault> {
        json.clear();
        match &self.header {
            Some(header) => *json = self.reader.read_csv(header, &row.record)?,
            None => {
                self.reader.read(&row.json, &mut Vec::new())?;
                json.push_str(&row.json);
            }
        }
        Ok(())
    }
}

/// The second pass.
struct Sending<'a> {
    server: &'a Server,
    order: &'a Import,
    scan: &'a Scan,
    def: &'a DatasetDef,
}

impl Sending<'_> {
    /// Sends the rows behind the first `skip`; returns the trace.
    async fn send(&self, skip: u64) -> Result<String, Error> {
        let mut rows = self.order.source.open(Some(self.def))?;
        let checker = Checker::new(self.def, &rows)?;
        let parent = traceparent();
        let bar = bar(self.order.visible, Unit::Rows, self.scan.rows, "importing");
        // What was there before says nothing of how fast it goes.
        bar.set_position(skip);
        bar.reset_eta();
        let (mut row, mut json, mut position) = (Row::default(), String::new(), 0u64);
        let mut chunk = Chunk::after(skip);
        let mut trace = String::new();
        let mut faulty = self.scan.faulty.iter().copied().peekable();
        while rows.next(&mut row)? {
            position += 1;
            if faulty.next_if_eq(&(position - 1)).is_some() {
                // A piece has no gaps.
                if chunk.rows() > 0 {
                    trace = self.post(&mut chunk, &parent).await?;
                }
                chunk = Chunk::after(position.max(skip));
                continue;
            }
            if position <= skip {
                continue;
            }
            checker.convert(&row, &mut json).map_err(|fault| {
                let fault =
                    ProblemError { line: Some(row.line), pointer: fault.pointer, detail: fault.detail };
                Error::invalid(format!("{} has a faulty row", self.order.source.name()))
                    .with_faults(vec![fault])
            })?;
            if !chunk.has_room(json.len()) {
                trace = self.post(&mut chunk, &parent).await?;
                bar.set_position(chunk.first);
            }
            chunk.push(row.line, &json);
        }
        if chunk.rows() > 0 {
            trace = self.post(&mut chunk, &parent).await?;
        }
        bar.finish_and_clear();
        if rows.sha256()? != self.scan.sha256 {
            return Err(Error::new(
                ErrorKind::Conflict,
                format!("{} changed while it was imported; import it again", self.order.source.name()),
            ));
        }
        Ok(trace)
    }

    async fn post(&self, chunk: &mut Chunk, parent: &str) -> Result<String, Error> {
        let first = chunk.first.to_string();
        let (body, lines) = chunk.take();
        let path = ["v1", "datasets", self.order.dataset.as_str(), "rows"];
        let url = self.server.url(&path, &[("import", &self.scan.sha256), ("first", &first)]);
        let headers = [("content-type", "application/x-ndjson"), ("traceparent", parent)];
        let answer = self.server.post_again(&url, &headers, &Bytes::from(body)).await;
        let answer = answer.map_err(|error| self.explain(error, &first, &lines))?;
        Ok(parse::<BatchAccepted>(&answer)?.trace_id)
    }

    fn explain(&self, error: Error, first: &str, lines: &Lines) -> Error {
        let name = self.order.source.name();
        let faults = lines.in_file(error.faults());
        if error.kind() == ErrorKind::Invalid {
            let sentence = format!(
                "the server refused rows of {name}: {}; the {first} rows before are imported",
                error.problem().map_or("no reason was given", |problem| &problem.detail)
            );
            return error.saying(sentence).with_faults(faults);
        }
        let sentence = format!(
            "{error}; {first} of {} rows of {name} were sent: import it again to go on",
            self.scan.rows
        );
        error.saying(sentence).with_faults(faults)
    }
}

/// Waits until the recorder has every row.
async fn wait(server: &Server, dataset: &str, sha256: &str, rows: u64, trace: &str) -> Result<(), Error> {
    let (mut known, mut since) = (0, Instant::now());
    loop {
        let now = recorded(server, dataset, sha256).await?.lines;
        if now >= rows {
            return Ok(());
        }
        if now > known {
            (known, since) = (now, Instant::now());
        }
        if since.elapsed() > PATIENCE {
            return Err(Error::new(
                ErrorKind::Unavailable,
                format!(
                    "every row is durable, but only {} of {} are recorded and nothing moved for {} s: see \
                     `orderwire trace {trace}`, `orderwire queue show data` and `orderwire dead list`",
                    count(known),
                    count(rows),
                    PATIENCE.as_secs()
                ),
            ));
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

async fn recorded(server: &Server, dataset: &str, sha256: &str) -> Result<ImportState, Error> {
    server.get(&["v1", "datasets", dataset, "imports", sha256], &[]).await
}

/// Asks whether to make the dataset.
fn confirm(order: &Import) -> Result<(), Error> {
    if order.yes {
        return Ok(());
    }
    let dataset = &order.dataset;
    if !std::io::stdin().is_terminal() {
        return Err(Error::usage(format!(
            "dataset {dataset} does not exist: say --yes to make it with the types above, or make it with \
             `orderwire dataset create`"
        )));
    }
    eprint!("Make dataset {dataset} with these columns? [y/N] ");
    std::io::stderr().flush().map_err(|error| Error::output(&error))?;
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    read.map_err(|error| Error::failed(format!("cannot read the answer: {error}")))?;
    if matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes") {
        return Ok(());
    }
    Err(Error::failed("nothing was made and nothing imported"))
}

/// One trace for all pieces of a file.
fn traceparent() -> String {
    let trace = Uuid::now_v7().simple();
    let span = &Uuid::new_v4().simple().to_string()[..16];
    format!("00-{trace}-{span}-01")
}
