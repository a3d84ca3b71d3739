//! Stores that each break one promise: the suite notices it on this engine, too.

use std::sync::Arc;

use orderwire_store::testkit::{Factory, Fault, TwinFactory, cases};
use orderwire_types::testkit::Faults as _;

use super::support::Place;
use crate::support::TestDatabase;

/// How many parts, which run beside each other.
const PARTS: usize = 4;

async fn every_twin_is_caught(part: usize) {
    let databases = [Arc::new(TestDatabase::new().await), Arc::new(TestDatabase::new().await)];
    let all = cases();
    let mut missed = Vec::new();
    for fault in Fault::ALL.iter().skip(part).step_by(PARTS) {
        for name in fault.noticed_by() {
            let case = all.iter().find(|case| case.name == *name).unwrap();
            let places =
                databases.each_ref().map(|database| Arc::new(Place::on(database)) as Arc<dyn Factory>);
            if case.run(Arc::new(TwinFactory::new(*fault, places))).await.is_ok() {
                missed.push(format!("{fault:?} passes {name}"));
            }
        }
    }
    assert!(missed.is_empty(), "the suite misses: {missed:#?}");
}

macro_rules! parts {
    ($($name:ident $part:literal)+) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            every_twin_is_caught($part).await;
        }
    )+};
}

parts! {
    every_twin_is_caught_part_1_of_4 0
    every_twin_is_caught_part_2_of_4 1
    every_twin_is_caught_part_3_of_4 2
    every_twin_is_caught_part_4_of_4 3
}
