//! The suite of targets: over its twins, and over real processes.

use std::sync::Arc;

use futures::StreamExt;
use orderwire_provisioner::testkit::model::{Fault, ModelFactory};
use orderwire_provisioner::testkit::{Factory, cases};
use orderwire_types::testkit::{broken, idle, missed};

use crate::process_rig::ProcessFactory;

fn twin(fault: Fault) -> Arc<dyn Factory> {
    Arc::new(ModelFactory::new(fault))
}

#[tokio::test]
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

#[tokio::test]
async fn the_model_keeps_every_promise() {
    let broken = broken(&cases(), || twin(Fault::Nothing)).await;
    assert!(broken.is_empty(), "{broken:#?}");
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
