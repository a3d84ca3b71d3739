//! The reference broker keeps every promise.

use std::sync::Arc;

use orderwire_broker::testkit::{Factory, MODEL_CAPABILITIES, ModelPlace, cases};
use orderwire_broker::{Capabilities, Ordering};
use orderwire_types::testkit::broken;

fn place() -> Option<Arc<dyn Factory>> {
    Some(Arc::new(ModelPlace::default()))
}

orderwire_broker::broker_conformance!(place());

/// The suite asks a broker for no more than its capabilities say.
#[tokio::test(start_paused = true)]
async fn a_broker_that_says_it_can_less_passes() {
    let less = Capabilities {
        ordering: Ordering::Key,
        reports_unroutable: false,
        routes_by_pattern: false,
        ..MODEL_CAPABILITIES
    };
    let broken = broken(&cases(), || Arc::new(ModelPlace::able(less)) as Arc<dyn Factory>).await;
    assert!(broken.is_empty(), "{broken:#?}");
}
