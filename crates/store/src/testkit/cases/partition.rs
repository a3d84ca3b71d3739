//! Rows that lie in partitions by time.

use std::sync::Arc;

use super::super::Factory;
use super::super::kit::{Outcome, all, at, batch, dataset, def, event, refused, same, strings, sweep};
use super::super::rows::{compare, of, only_if, read};
use super::case_list;
use super::select::ordered_by;
use crate::error::ErrorKind;
use crate::select::{Compare, Filter, Operand};

case_list![
    rows_in_partitions_are_read_and_replaced_like_others,
    partitions_change_only_while_there_is_no_row,
    rows_go_when_all_of_their_partition_is_past,
];

/// A dataset with a key that holds its time.
fn keyed(more: &str, rest: &str) -> orderwire_types::dataset::DatasetDef {
    def(&format!(
        r#"{{"fields":[{{"name":"at","type":"timestamp","required":true}},{{"name":"k","type":"integer","required":true}}{more}],
            "key":["k","at"],"time":"at"{rest}}}"#
    ))
}

const MONTHS: &str = r#","partition":"month""#;

async fn rows_in_partitions_are_read_and_replaced_like_others(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    let name = dataset("d");
    store.define(&all(), &name, &keyed(r#",{"name":"v","type":"integer"}"#, MONTHS), at(0)).await?;
    let rows = r#"[{"at":"2026-02-28T23:59:59.999999Z","k":1,"v":1},{"at":"2026-01-31T23:30:00-01:00","k":2,"v":2},
        {"at":"0000-01-01T00:00:00Z","k":3},{"at":"9999-12-30T22:00:00Z","k":4},{"at":"2026-02-01T00:30:00Z","k":2,"v":5}]"#;
    let recorded = store.record(batch(0, 1, vec![event(1, "a", rows)])).await?;
    same("written", recorded[0].written, 5)?;
    let again =
        r#"[{"at":"2026-02-28T23:59:59.999999Z","k":1,"v":7},{"at":"2026-03-01T00:00:00Z","k":1,"v":8}]"#;
    store.record(batch(1, 2, vec![event(2, "a", again), event(3, "b", again)])).await?;
    drop(store);
    let store = factory.open().await?;
    let columns = ["k", "at", "v", "_client"];
    let by_time = [
        "3 0000-01-01T00:00:00Z null 'a'",
        "2 2026-02-01T00:30:00Z 5 'a'",
        "1 2026-02-28T23:59:59.999999Z 7 'a'",
        "1 2026-02-28T23:59:59.999999Z 7 'b'",
        "1 2026-03-01T00:00:00Z 8 'a'",
        "1 2026-03-01T00:00:00Z 8 'b'",
        "4 9999-12-30T22:00:00Z null 'a'",
    ];
    same("by time", read(&store, &all(), ordered_by(of(&columns), "at")).await?, strings(&by_time))?;
    let arrived = read(&store, &all(), of(&["k", "_seq"])).await?;
    let mut sorted = arrived.clone();
    sorted.sort_by_key(|row| row.split(' ').nth(1).and_then(|seq| seq.parse::<i64>().ok()));
    same("in order of arrival", arrived, sorted)?;
    let february = Filter::And(vec![
        compare("at", Compare::Gte(Operand::Timestamp("2026-02-01T00:00:00Z".parse().expect("a time")))),
        compare("at", Compare::Lt(Operand::Timestamp("2026-03-01T00:00:00Z".parse().expect("a time")))),
    ]);
    let found = read(&store, &all(), only_if(ordered_by(of(&columns), "at"), february)).await?;
    same("of a month", found, strings(&by_time[1..4]))?;
    // Columns come and change in every partition, and in those that are made later.
    let next = keyed(r#",{"name":"v","type":"decimal"},{"name":"w","type":"text","default":"x"}"#, MONTHS);
    store.define(&all(), &name, &next, at(3)).await?;
    let later = r#"{"at":"2026-04-01T00:00:00Z","k":9,"v":0.50,"w":"y"}"#;
    store.record(batch(2, 3, vec![event(4, "a", later)])).await?;
    let found = read(&store, &all(), ordered_by(of(&["k", "v", "w"]), "at")).await?;
    let expected = [
        "3 null 'x'",
        "2 5m 'x'",
        "1 7m 'x'",
        "1 7m 'x'",
        "1 8m 'x'",
        "1 8m 'x'",
        "9 0.50m 'y'",
        "4 null 'x'",
    ];
    same("evolved", found, strings(&expected))?;
    // Without a key every row is kept.
    let plain = dataset("plain");
    let fields =
        r#"{"fields":[{"name":"at","type":"timestamp","required":true}],"time":"at","partition":"month"}"#;
    store.define(&all(), &plain, &def(fields), at(0)).await?;
    let mut same_moment = event(5, "a", r#"[{"at":"2026-01-01T00:00:00Z"},{"at":"2026-01-01T00:00:00Z"}]"#);
    same_moment.dataset = plain.clone();
    store.record(batch(3, 4, vec![same_moment])).await?;
    let select = crate::select::Select { dataset: plain, ..of(&["at"]) };
    same("without a key", read(&store, &all(), select).await?.len(), 2)
}

async fn partitions_change_only_while_there_is_no_row(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    let name = dataset("d");
    let when = r#",{"name":"when","type":"timestamp","required":true}"#;
    let other_time = |rest: &str| {
        let mut other = keyed(when, rest);
        other.key.push(other.fields[2].name.clone());
        other
    };
    store.define(&all(), &name, &keyed("", ""), at(0)).await?;
    store.define(&all(), &name, &keyed("", MONTHS), at(1)).await?;
    let by_day = keyed("", r#","partition":"day","retention":"90d""#);
    store.define(&all(), &name, &by_day, at(2)).await?;
    store.define(&all(), &name, &keyed("", MONTHS), at(3)).await?;
    store.record(batch(0, 1, vec![event(1, "a", r#"{"at":"2026-01-01T00:00:00Z","k":1}"#)])).await?;
    for next in [keyed("", ""), by_day] {
        refused("with a row", store.define(&all(), &name, &next, at(4)).await, ErrorKind::Conflict)?;
    }
    let d2 = dataset("d2");
    let mut time_of = other_time(MONTHS);
    store.define(&all(), &d2, &time_of, at(5)).await?;
    let mut row = event(2, "a", r#"{"at":"2026-01-01T00:00:00Z","when":"2025-01-01T00:00:00Z","k":1}"#);
    row.dataset = d2.clone();
    store.record(batch(1, 2, vec![row])).await?;
    time_of.time = Some(time_of.fields[2].name.clone());
    refused("another time", store.define(&all(), &d2, &time_of, at(6)).await, ErrorKind::Conflict)?;
    same("rows", read(&store, &all(), of(&["k"])).await?, strings(&["1"]))
}

async fn rows_go_when_all_of_their_partition_is_past(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    // The present of a case is 2025-10-09.
    let kept = keyed("", r#","partition":"month","retention":"30d""#);
    store.define(&all(), &dataset("d"), &kept, at(0)).await?;
    let rows = r#"[{"at":"2025-07-15T00:00:00Z","k":1},{"at":"2025-08-31T23:59:59Z","k":2},
        {"at":"2025-09-01T00:00:00Z","k":3},{"at":"2025-10-01T00:00:00Z","k":4}]"#;
    store.record(batch(0, 1, vec![event(1, "a", rows)])).await?;
    let before = store.generation(&dataset("d"));
    while store.sweep(sweep(0)).await? > 0 {}
    let left = read(&store, &all(), ordered_by(of(&["k"]), "at")).await?;
    same("left", left, strings(&["3", "4"]))?;
    same("generation", store.generation(&dataset("d")) > before, true)?;
    // One that comes late is recorded, and goes with the next sweep.
    store.record(batch(1, 2, vec![event(2, "a", r#"{"at":"2025-07-15T00:00:00Z","k":5}"#)])).await?;
    same("it is there", read(&store, &all(), of(&["k"])).await?.len(), 3)?;
    while store.sweep(sweep(0)).await? > 0 {}
    same("it is gone", read(&store, &all(), of(&["k"])).await?.len(), 2)
}
