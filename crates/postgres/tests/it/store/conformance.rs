//! The store keeps its promises. The suite comes in parts, which run beside each other.

use std::sync::Arc;

use orderwire_store::testkit::cases;
use orderwire_types::testkit::broken;

use super::support::Place;
use crate::support::TestDatabase;

/// How many parts.
const PARTS: usize = 4;

async fn every_promise_is_kept(part: usize) {
    let database = Arc::new(TestDatabase::new().await);
    let cases: Vec<_> = cases().into_iter().skip(part).step_by(PARTS).collect();
    let broken = broken(&cases, || Arc::new(Place::on(&database))).await;
    assert!(broken.is_empty(), "{broken:#?}");
}

macro_rules! parts {
    ($($name:ident $part:literal)+) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            every_promise_is_kept($part).await;
        }
    )+};
}

parts! {
    every_promise_of_the_store_is_kept_part_1_of_4 0
    every_promise_of_the_store_is_kept_part_2_of_4 1
    every_promise_of_the_store_is_kept_part_3_of_4 2
    every_promise_of_the_store_is_kept_part_4_of_4 3
}
