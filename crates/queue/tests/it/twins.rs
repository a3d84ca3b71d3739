//! The suite notices every broken promise.

use std::collections::BTreeSet;
use std::sync::Arc;

use orderwire_queue::testkit::cases;
use orderwire_queue::testkit::twins::{Fault, TwinFactory};

#[tokio::test]
async fn every_twin_is_caught_by_the_cases_of_its_promise() {
    let cases = cases();
    let mut missed = Vec::new();
    for fault in Fault::ALL {
        for name in fault.noticed_by() {
            let case = cases.iter().find(|case| case.name == *name).expect("a case of this name");
            if case.run(Arc::new(TwinFactory::new(*fault))).await.is_ok() {
                missed.push(format!("{fault:?} passes {name}"));
            }
        }
    }
    assert!(missed.is_empty(), "the suite misses: {missed:#?}");
}

/// A case that no twin fails may be one that cannot fail.
#[test]
fn every_case_catches_a_twin() {
    let catching: BTreeSet<&str> = Fault::ALL.iter().flat_map(|fault| fault.noticed_by()).copied().collect();
    let cases = cases();
    let idle: Vec<&str> =
        cases.iter().map(|case| case.name).filter(|name| !catching.contains(name)).collect();
    assert!(idle.is_empty(), "cases that catch nothing: {idle:#?}");
}

/// The wrapper alone breaks nothing.
#[tokio::test]
async fn the_twin_without_a_fault_passes() {
    for case in cases() {
        let result = case.run(Arc::new(TwinFactory::new(Fault::Nothing))).await;
        assert_eq!(result, Ok(()), "{}", case.name);
    }
}
