//! The suite notices every broken promise.

use std::sync::Arc;

use orderwire_queue::testkit::cases;
use orderwire_queue::testkit::twins::{Fault, TwinFactory};

#[tokio::test]
async fn every_twin_is_caught_by_the_case_of_its_promise() {
    let cases = cases();
    let mut missed = Vec::new();
    for fault in Fault::ALL {
        let case = cases.iter().find(|case| case.name == fault.noticed_by()).expect("a case of this name");
        if case.run(Arc::new(TwinFactory::new(*fault))).await.is_ok() {
            missed.push(format!("{fault:?} passes {}", case.name));
        }
    }
    assert!(missed.is_empty(), "the suite misses: {missed:#?}");
}
