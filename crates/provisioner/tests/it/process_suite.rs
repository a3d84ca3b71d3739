//! The suite of targets: over its twins, and over real processes.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::StreamExt;
use orderwire_provisioner::testkit::cases;
use orderwire_provisioner::testkit::model::{Fault, ModelFactory};

use crate::process_rig::ProcessFactory;

#[tokio::test]
async fn every_twin_is_caught_by_the_cases_of_its_promise() {
    let cases = cases();
    let mut missed = Vec::new();
    for fault in Fault::ALL {
        for name in fault.noticed_by() {
            let case = cases.iter().find(|case| case.name == *name).expect("a case of this name");
            if case.run(Arc::new(ModelFactory::new(*fault))).await.is_ok() {
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

#[tokio::test]
async fn the_model_keeps_every_promise() {
    for case in cases() {
        let result = case.run(Arc::new(ModelFactory::new(Fault::Nothing))).await;
        assert_eq!(result, Ok(()), "{}", case.name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_keep_every_promise() {
    let run = |case: orderwire_provisioner::testkit::Case| async move {
        let result = case.run(Arc::new(ProcessFactory::new())).await;
        result.err().map(|failure| format!("{}: {failure}", case.name))
    };
    let failures = futures::stream::iter(cases()).map(run).buffer_unordered(4);
    let failures: Vec<String> = failures.filter_map(std::future::ready).collect().await;
    assert!(failures.is_empty(), "{failures:#?}");
}
