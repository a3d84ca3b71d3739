//! The row of a broker in the documentation, made of what it can do and of the suite.

use std::path::Path;

use super::cases;
use crate::capabilities::{Capabilities, Durability, Ordering, Retention};

/// Whether rows are written or compared; `cargo xtask generate` sets it.
const SWITCH: &str = "UPDATE_GENERATED";

/// Compares the row of a broker in a page with what it can do, or writes it when
/// `UPDATE_GENERATED` is set. `tested`: with what the suite is run, for example `RabbitMQ 3.10`.
///
/// # Panics
/// When the page lacks the broker's row, or it is another one.
pub fn documented(page: &Path, able: &Capabilities, tested: &str) {
    let text = std::fs::read_to_string(page).expect("the page is there");
    let written = with_row(&text, &row(able, tested), able.name);
    if std::env::var_os(SWITCH).is_some() {
        std::fs::write(page, written).expect("the page can be written");
    } else {
        assert!(text == written, "{} is not what is true: run cargo xtask generate", page.display());
    }
}

/// The page with this row of the broker of this name.
fn with_row(page: &str, row: &str, name: &str) -> String {
    let start = format!("| {name} |");
    let line = page.lines().find(|line| line.starts_with(&start)).expect("the page has a row of the broker");
    page.replacen(line, row, 1)
}

fn row(able: &Capabilities, tested: &str) -> String {
    let survives = match able.durability {
        Durability::Process => "the end of the broker's process",
        Durability::Power => "the loss of power",
    };
    let order = match able.ordering {
        Ordering::Queue => "of the queue",
        Ordering::Key => "of each key",
    };
    let waits = match able.retention {
        Retention::UntilAcked => "stays until it is acked",
        Retention::Limited => "goes at the broker's own limits",
    };
    let routes = if able.routes_by_pattern { "the broker" } else { "Orderwire" };
    let told = if able.reports_unroutable { "yes" } else { "no" };
    let (name, count) = (able.name, cases().len());
    let most = match able.body_bytes_max {
        bytes if bytes < 1 << 20 => format!("{} KiB", bytes >> 10),
        bytes => format!("{} MiB", bytes >> 20),
    };
    format!(
        "| {name} | {survives} | {order} | {waits} | {most} | {routes} | {told} | {count} cases, {tested} |"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::MODEL_CAPABILITIES;

    #[test]
    fn a_row_says_what_a_broker_can_do() {
        let able =
            Capabilities { body_bytes_max: 16 << 20, durability: Durability::Power, ..MODEL_CAPABILITIES };
        let row = row(&able, "a model");
        assert!(row.starts_with(&format!("| {} | the loss of power | ", able.name)), "{row}");
        assert!(row.contains("| 16 MiB |") && row.ends_with(" cases, a model |"), "{row}");
        assert_eq!(row.matches('|').count(), 9);
    }

    #[test]
    fn a_row_takes_the_place_of_the_one_before() {
        let page = "| other | x |\n| model | nothing |\nmodel\n";
        assert_eq!(with_row(page, "| model | true |", "model"), "| other | x |\n| model | true |\nmodel\n");
    }
}
