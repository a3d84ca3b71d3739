//! `orderwire dataset …`.

mod chunk;
mod decode;
mod dialect;
mod export;
mod form;
mod import;
mod infer;
mod page;
mod preview;
mod quotes;
mod rejects;
mod sink;
mod source;

pub(crate) use import::{Import, Summary, import};
pub(crate) use preview::preview;
pub(crate) use source::Source;

use std::io::Read as _;
use std::path::Path;

use orderwire_api::wire::DatasetInfo;
use orderwire_types::DatasetName;
use orderwire_types::dataset::{DatasetDef, Field, FieldType, OnConflict};
use reqwest::Method;

use crate::args::{self, Dataset, DatasetFlags, FileFormat};
use crate::error::{Error, ErrorKind};
use crate::out::{Out, Table, count, or_dash};
use crate::server::{Server, parse};

/// The largest definition.
const DEFINITION_MAX: u64 = 4 << 20;

pub(crate) async fn run(command: &Dataset, server: &Server, out: Out) -> Result<(), Error> {
    match command {
        Dataset::Create { dataset, flags, file, allow_loss } => {
            let def = match file {
                Some(path) => read_definition(path)?,
                None => definition(flags)?,
            };
            let answer = define(server, &name(dataset)?, &def, *allow_loss).await?;
            if out.json { out.line(&answer) } else { out.line(&format!("dataset {dataset} takes rows")) }
        }
        Dataset::List => list(server, out).await,
        Dataset::Import(args) => {
            let summary = Box::pin(import(server, &order(args)?)).await?;
            if out.json { out.json(&summary) } else { out.line(&sentence(&summary)) }
        }
        Dataset::Export { dataset, file, format, filters } => {
            let order = export::Export {
                dataset: name(dataset)?,
                file: file.as_deref().filter(|path| *path != Path::new("-")),
                format: match (format, file) {
                    (Some(format), _) => *format,
                    (None, Some(path)) => by_name(path).unwrap_or(FileFormat::Csv),
                    (None, None) => FileFormat::Csv,
                },
                filters: export::filters(filters)?,
            };
            Box::pin(export::export(server, &order, out)).await
        }
    }
}

/// What the flags of `import` ask for.
fn order(args: &args::Import) -> Result<Import, Error> {
    let format = format_of(&args.file, args.format)?;
    let dialect = dialect::Dialect::of(&args.written, format == FileFormat::Csv)?;
    if format == FileFormat::Parquet && dialect.encoding.is_some() {
        return Err(Error::usage("--encoding is for files of text"));
    }
    let to = |path: &std::path::PathBuf| import::RejectsTo { path: path.clone(), max: args.rejects_max };
    Ok(Import {
        dataset: name(&args.dataset)?,
        source: Source::file(&args.file, format, dialect),
        yes: args.yes,
        visible: true,
        rejects: args.rejects.as_ref().map(to),
    })
}

/// Makes the dataset exist with this definition.
async fn define(
    server: &Server,
    dataset: &DatasetName,
    def: &DatasetDef,
    allow_loss: bool,
) -> Result<String, Error> {
    let query: &[(&str, &str)] = if allow_loss { &[("allow", "loss")] } else { &[] };
    server.text(server.request(Method::PUT, &["v1", "datasets", dataset.as_str()], query).json(def)).await
}

fn sentence(summary: &Summary) -> String {
    let Summary { dataset, rows, added, already_there, rejected, rejects, seconds, trace_id, .. } = summary;
    let rejects = match rejects {
        Some(file) => format!("; {} faulty rows are in {file}", count(*rejected)),
        None => String::new(),
    };
    if *added == 0 {
        let sound = count(rows - rejected);
        return format!("nothing to add: all {sound} rows of this file are in {dataset} already{rejects}");
    }
    let rows = count(*rows);
    let already = match already_there {
        0 => String::new(),
        known => format!(", {} were there already", count(*known)),
    };
    format!(
        "{} of {rows} rows added to {dataset}{already}, in {seconds:.1} s{rejects}; trace {trace_id}",
        count(*added)
    )
}

async fn list(server: &Server, out: Out) -> Result<(), Error> {
    let datasets = server.list(&["v1", "datasets"]).await?;
    if out.json {
        return out.json(&datasets);
    }
    let mut table = Table::new(["name", "columns", "key", "time", "on conflict", "changed"]);
    for dataset in &datasets.items {
        let DatasetInfo { name, def, changed_at, .. } = parse(dataset.get())?;
        let key: Vec<&str> = def.key.iter().map(orderwire_types::ColumnName::as_str).collect();
        table.row([
            name,
            def.fields.len().to_string(),
            or_dash(Some(key.join(",")).filter(|key| !key.is_empty())),
            or_dash(def.time),
            if def.on_conflict == OnConflict::Keep { "keep".into() } else { "update".into() },
            changed_at,
        ]);
    }
    out.table(&table)
}

fn name(text: &str) -> Result<DatasetName, Error> {
    text.parse().map_err(|invalid: orderwire_types::names::InvalidName| Error::usage(invalid.to_string()))
}

/// The definition that the flags of `create` describe.
fn definition(flags: &DatasetFlags) -> Result<DatasetDef, Error> {
    let DatasetFlags { fields, key_columns, time, keep, unknown, retention, partition } = flags;
    let column = |text: &str| text.parse().map_err(|invalid| Error::usage(format!("{invalid}")));
    let key = key_columns.iter().map(|name| column(name)).collect::<Result<Vec<_>, _>>()?;
    let mut list = Vec::with_capacity(fields.len());
    for text in fields {
        let wrong = || {
            Error::usage(format!(
                "--field {text:?} is not NAME:TYPE with TYPE one of {}",
                FieldType::ALL.map(FieldType::as_str).join(", ")
            ))
        };
        let (name, kind) = text.rsplit_once(':').ok_or_else(wrong)?;
        let (kind, required) = match kind.strip_suffix('!') {
            Some(kind) => (kind, true),
            None => (kind, false),
        };
        let field_type = FieldType::of(kind).ok_or_else(wrong)?;
        let name = column(name)?;
        // A key column is required; there is no other choice to ask for.
        let required = required || key.contains(&name);
        list.push(Field { name, field_type, required, default: None, unit: None, description: None });
    }
    let def = DatasetDef {
        fields: list,
        key,
        on_conflict: if *keep { OnConflict::Keep } else { OnConflict::Update },
        time: time.as_deref().map(column).transpose()?,
        unknown: word("unknown", unknown)?,
        retention: retention.as_deref().map(|span| word("retention", span)).transpose()?,
        partition: partition.as_deref().map(|length| word("partition", length)).transpose()?,
    };
    sound(def, ErrorKind::Usage)
}

/// A value of a flag that a definition spells alike.
fn word<T: serde::de::DeserializeOwned>(flag: &str, text: &str) -> Result<T, Error> {
    serde_json::from_value(text.into()).map_err(|error| Error::usage(format!("--{flag} {text:?}: {error}")))
}

/// A definition without faults.
fn sound(def: DatasetDef, kind: ErrorKind) -> Result<DatasetDef, Error> {
    let faults: Vec<String> = def.faults().into_iter().map(|fault| fault.detail).collect();
    if faults.is_empty() { Ok(def) } else { Err(Error::new(kind, faults.join("; "))) }
}

fn read_definition(path: &Path) -> Result<DatasetDef, Error> {
    let shown = path.display();
    let mut text = String::new();
    let read = if path == Path::new("-") {
        std::io::stdin().take(DEFINITION_MAX).read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(DEFINITION_MAX).read_to_string(&mut text))
    };
    read.map_err(|error| source::unreadable(path, &error))?;
    let def = serde_json::from_str(&text)
        .map_err(|error| Error::invalid(format!("{shown} is no definition of a dataset: {error}")))?;
    sound(def, ErrorKind::Invalid)
}

/// The form of a file, by flag or else by name.
fn format_of(path: &Path, format: Option<FileFormat>) -> Result<FileFormat, Error> {
    format.or_else(|| by_name(path)).ok_or_else(|| {
        Error::usage(format!(
            "the form of {} is not known by its name: say --format csv, ndjson or parquet",
            path.display()
        ))
    })
}

fn by_name(path: &Path) -> Option<FileFormat> {
    let extension = path.extension()?.to_str()?.to_ascii_lowercase();
    match extension.as_str() {
        "csv" | "tsv" => Some(FileFormat::Csv),
        "ndjson" | "jsonl" => Some(FileFormat::Ndjson),
        "parquet" => Some(FileFormat::Parquet),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(list: &[&str]) -> Vec<String> {
        list.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn flags_describe_a_dataset() {
        let def = definition(&DatasetFlags {
            fields: strings(&["id:text", "at:timestamp!", "no2:float"]),
            key_columns: strings(&["id", "at"]),
            time: Some("at".to_owned()),
            keep: true,
            unknown: "keep".to_owned(),
            retention: Some("90d".to_owned()),
            partition: Some("month".to_owned()),
        })
        .unwrap();
        let shown = serde_json::to_string(&def).unwrap();
        assert_eq!(
            shown,
            r#"{"fields":[{"name":"id","type":"text","required":true},{"name":"at","type":"timestamp","required":true},{"name":"no2","type":"float"}],"key":["id","at"],"on_conflict":"keep","time":"at","unknown":"keep","retention":"90d","partition":"month"}"#
        );
    }

    #[test]
    fn wrong_flags_are_usage_errors() {
        let of = |fields: &[&str]| DatasetFlags {
            fields: strings(fields),
            unknown: "reject".to_owned(),
            ..DatasetFlags::default()
        };
        let a = || of(&["a:text"]);
        for flags in [
            of(&["a"]),
            of(&["a:number"]),
            of(&["_a:text"]),
            of(&["a:text", "A:text"]),
            DatasetFlags { key_columns: strings(&["b"]), ..a() },
            DatasetFlags { time: Some("a".to_owned()), ..a() },
            DatasetFlags { retention: Some("soon".to_owned()), ..a() },
            DatasetFlags { partition: Some("day".to_owned()), ..a() },
        ] {
            let error = definition(&flags).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Usage, "{flags:?}");
        }
    }

    #[test]
    fn a_files_form_follows_from_its_name() {
        assert_eq!(format_of(Path::new("a.CSV"), None).unwrap(), FileFormat::Csv);
        assert_eq!(format_of(Path::new("a.jsonl"), None).unwrap(), FileFormat::Ndjson);
        assert_eq!(format_of(Path::new("a.parquet"), None).unwrap(), FileFormat::Parquet);
        assert_eq!(format_of(Path::new("a"), Some(FileFormat::Csv)).unwrap(), FileFormat::Csv);
        assert_eq!(format_of(Path::new("a.txt"), None).unwrap_err().kind(), ErrorKind::Usage);
    }
}
