//! The suite notices every broken promise.

use std::sync::Arc;

use orderwire_broker::testkit::twins::{Fault, TwinFactory};
use orderwire_broker::testkit::{Factory, MODEL_CAPABILITIES, cases};
use orderwire_broker::{Capabilities, Ordering};
use orderwire_types::testkit::{broken, idle, missed};

fn twin(fault: Fault) -> Arc<dyn Factory> {
    Arc::new(TwinFactory::new(fault))
}

#[tokio::test(start_paused = true)]
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

/// Where keys are shared and not messages, the case is another one.
#[tokio::test(start_paused = true)]
async fn a_twin_that_shares_keys_is_caught() {
    let by_key = Capabilities { ordering: Ordering::Key, ..MODEL_CAPABILITIES };
    for fault in [Fault::CopiesToConsumers, Fault::ForgetsAcks] {
        let broken =
            broken(&cases(), || Arc::new(TwinFactory::able(fault, by_key)) as Arc<dyn Factory>).await;
        let case = "consumers_of_a_queue_share_its_messages:";
        assert!(broken.iter().any(|why| why.starts_with(case)), "{fault:?}: {broken:#?}");
    }
}

/// The wrapper alone breaks nothing.
#[tokio::test(start_paused = true)]
async fn the_twin_without_a_fault_passes() {
    let broken = broken(&cases(), || twin(Fault::Nothing)).await;
    assert!(broken.is_empty(), "{broken:#?}");
}
