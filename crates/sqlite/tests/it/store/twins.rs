//! Stores that each break one promise: the suite must notice.

use std::sync::Arc;

use orderwire_store::testkit::{Factory, Fault, TwinFactory, cases};
use orderwire_types::testkit::{broken, idle, missed};

use super::support::Folder;

fn twin(fault: Fault) -> Arc<dyn Factory> {
    Arc::new(TwinFactory::new(fault, [Arc::new(Folder::new()), Arc::new(Folder::new())]))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_twin_is_caught_by_the_cases_of_its_promise() {
    let missed = missed(&cases(), twin).await;
    assert!(missed.is_empty(), "the suite misses: {missed:#?}");
}

/// A case that no twin fails may be one that cannot fail.
#[test]
fn every_case_catches_a_twin() {
    let idle = idle::<_, Fault>(&cases());
    assert!(idle.is_empty(), "cases that catch nothing: {idle:#?}");
}

/// The wrapper alone breaks nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_twin_without_a_fault_passes() {
    let broken = broken(&cases(), || twin(Fault::Nothing)).await;
    assert!(broken.is_empty(), "{broken:#?}");
}
