//! Imported files: each line once, for good.

use std::sync::Arc;

use super::super::Factory;
use super::super::kit::{Outcome, all, at, batch, client, dataset, def, event, objects, only, refused, same};
use super::super::rows::{of, read};
use super::case_list;
use super::record::numbers;
use crate::error::ErrorKind;
use crate::model::{Imported, ImportedLines, RowsEvent, RowsRecorded};
use crate::traits::Store;

case_list![
    a_piece_that_comes_again_adds_nothing,
    a_piece_that_overlaps_adds_its_unknown_lines,
    a_piece_that_was_put_aside_may_come_later,
    imports_are_known_per_dataset_client_and_file,
];

/// Lines `first` to `first + count`, each with its number.
fn piece(n: u128, file: &str, first: u64, count: u64) -> RowsEvent {
    let rows: Vec<String> = (first..first + count).map(|line| format!(r#"{{"n":{line}}}"#)).collect();
    let import = Some(ImportedLines { file: file.to_owned(), first });
    RowsEvent { import, ..event(n, "a", &format!("[{}]", rows.join(","))) }
}

async fn imported(store: &Arc<dyn Store>, file: &str) -> Outcome<Imported> {
    Ok(store.imported(&all(), &dataset("d"), &client("a"), file).await?)
}

async fn count(store: &Arc<dyn Store>, file: &str) -> Outcome<u64> {
    Ok(imported(store, file).await?.rows)
}

async fn rows(store: &Arc<dyn Store>) -> Outcome<Vec<i64>> {
    let rows = read(store, &all(), of(&["n"])).await?;
    let mut numbers: Vec<i64> = rows.iter().filter_map(|row| row.parse().ok()).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

fn done(rows: u64, written: u64) -> RowsRecorded {
    RowsRecorded { rows, written, repeated: false }
}

async fn a_piece_that_comes_again_adds_nothing(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    numbers(&store).await?;
    same("before", count(&store, "f").await?, 0)?;
    let first = store.record(batch(0, 1, vec![piece(1, "f", 0, 3), piece(2, "f", 3, 2)])).await?;
    same("first", first, vec![done(3, 3), done(2, 2)])?;
    same("known", count(&store, "f").await?, 5)?;
    drop(store);
    let store = factory.open().await?;
    // The same file under new event ids, as a second import sends it.
    let again = store.record(batch(1, 2, vec![piece(3, "f", 0, 3), piece(4, "f", 3, 2)])).await?;
    same("again", again, vec![done(3, 0), done(2, 0)])?;
    same("known", count(&store, "f").await?, 5)?;
    same("rows", rows(&store).await?, (0..5).collect())?;
    // A batch that is refused forgets what it noted.
    let mut faulty = piece(5, "f", 5, 1);
    faulty.rows = super::super::kit::json(r#"{"n":"x"}"#);
    let refusal = store.record(batch(2, 3, vec![piece(6, "g", 0, 2), faulty])).await;
    refused("a faulty piece", refusal, ErrorKind::Invalid)?;
    same("known of the refused", count(&store, "g").await?, 0)
}

async fn a_piece_that_overlaps_adds_its_unknown_lines(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    numbers(&store).await?;
    store.record(batch(0, 1, vec![piece(1, "f", 0, 4)])).await?;
    // The same file cut into other pieces.
    let other = store.record(batch(1, 2, vec![piece(2, "f", 0, 3), piece(3, "f", 3, 3)])).await?;
    same("other pieces", other, vec![done(3, 0), done(3, 2)])?;
    same("known", count(&store, "f").await?, 6)?;
    same("rows", rows(&store).await?, (0..6).collect())
}

async fn a_piece_that_was_put_aside_may_come_later(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    numbers(&store).await?;
    store.record(batch(0, 1, vec![piece(1, "f", 0, 2)])).await?;
    store.record(batch(1, 2, vec![piece(2, "f", 4, 2)])).await?;
    // Whoever goes on from here leaves nothing out.
    same("known without a gap", imported(&store, "f").await?, Imported { rows: 2, lines: 4 })?;
    let late = store.record(batch(2, 3, vec![piece(3, "f", 1, 4)])).await?;
    same("late", late, vec![done(4, 2)])?;
    same("known", imported(&store, "f").await?, Imported { rows: 6, lines: 6 })?;
    same("rows", rows(&store).await?, (0..6).collect())
}

async fn imports_are_known_per_dataset_client_and_file(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    numbers(&store).await?;
    let mut of_b = piece(2, "f", 0, 2);
    of_b.client = client("b");
    store.record(batch(0, 1, vec![piece(1, "f", 0, 2)])).await?;
    let others = store.record(batch(1, 2, vec![of_b, piece(3, "g", 0, 2)])).await?;
    same("others", others, vec![done(2, 2), done(2, 2)])?;
    let name = dataset("d");
    same(
        "outside the clients",
        store.imported(&only(&["b"]), &name, &client("a"), "f").await?,
        Imported::default(),
    )?;
    let elsewhere = objects(&["dataset/e"]);
    same(
        "outside the objects",
        store.imported(&elsewhere, &name, &client("a"), "f").await?,
        Imported::default(),
    )?;
    store.remove(&all(), &name).await?;
    store.define(&all(), &name, &def(r#"{"fields":[{"name":"n","type":"integer"}]}"#), at(9)).await?;
    same("after the dataset was made anew", count(&store, "f").await?, 0)?;
    same("again", store.record(batch(2, 3, vec![piece(4, "f", 0, 2)])).await?, vec![done(2, 2)])
}
