//! What an import would make of a file, without a server and without a change.

use std::fmt::Write as _;

use orderwire_types::dataset::DatasetDef;
use serde::Serialize;
use serde_json::value::RawValue;

use super::import::{Checker, scan};
use super::source::{Row, empty};
use crate::args;
use crate::error::Error;
use crate::out::{Out, count, plain};

/// How many rows are shown.
const ROWS_SHOWN: usize = 5;
/// The longest row that is shown whole, in characters.
const ROW_CHARS: usize = 240;

#[derive(Serialize)]
struct Preview {
    dataset: String,
    file: String,
    /// Rows of the file.
    rows: u64,
    definition: DatasetDef,
    /// The first rows as they would be sent.
    first: Vec<Box<RawValue>>,
    /// How to make the dataset by hand.
    create: String,
}

/// Shows the types that are inferred, the first rows, and how to make the dataset.
pub(crate) fn preview(args: &args::Import, out: Out) -> Result<(), Error> {
    let order = super::order(args)?;
    let file = order.source.name();
    let scan = scan(&order, None)?;
    let inference = scan.inference.ok_or_else(|| empty(&file))?;
    let definition = inference.definition()?;
    let mut rows = order.source.open(Some(&definition))?;
    let checker = Checker::new(&definition, &rows)?;
    let (mut row, mut json, mut first) = (Row::default(), String::new(), Vec::new());
    while first.len() < ROWS_SHOWN && rows.next(&mut row)? {
        checker.convert(&row, &mut json).map_err(|fault| Error::invalid(fault.detail))?;
        let raw = RawValue::from_string(json.clone());
        first.push(raw.map_err(|error| Error::failed(format!("a row is no JSON: {error}")))?);
    }
    let create = create(&args.dataset, &definition);
    if out.json {
        return out.json(&Preview {
            dataset: args.dataset.clone(),
            file,
            rows: scan.rows,
            definition,
            first,
            create,
        });
    }
    let mut text =
        format!("{file} has {} rows; the types of its columns, inferred from every row:\n", count(scan.rows));
    text.push_str(&inference.shown(&definition));
    text.push_str("\nThe first rows:\n");
    for row in &first {
        let shown: String = row.get().chars().take(ROW_CHARS).collect();
        let more = if shown.len() < row.get().len() { " …" } else { "" };
        writeln!(text, "{}{more}", plain(&shown)).expect("a string takes any text");
    }
    writeln!(
        text,
        "\nTo make the dataset, with changes where they are needed (a key, required columns):\n{create}"
    )
    .expect("a string takes any text");
    out.bytes(text.as_bytes())
}

fn create(dataset: &str, def: &DatasetDef) -> String {
    let mut command = format!("orderwire dataset create {dataset}");
    for field in &def.fields {
        write!(command, " --field {}:{}", field.name, field.field_type.as_str())
            .expect("a string takes any text");
    }
    if let Some(time) = &def.time {
        write!(command, " --time {time}").expect("a string takes any text");
    }
    command
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[test]
    fn the_command_that_is_shown_makes_the_dataset() {
        let def: DatasetDef = serde_json::from_str(
            r#"{"fields":[{"name":"at","type":"timestamp"},{"name":"n.o2","type":"float"}],"time":"at"}"#,
        )
        .unwrap();
        let command = create("air", &def);
        assert_eq!(command, "orderwire dataset create air --field at:timestamp --field n.o2:float --time at");
        assert!(crate::Cli::try_parse_from(command.split(' ')).is_ok());
    }
}
