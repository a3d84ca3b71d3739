//! The store keeps its promises.

use std::sync::Arc;

use orderwire_store::testkit::cases;
use orderwire_types::testkit::broken;

use super::support::Folder;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_promise_of_the_store_is_kept() {
    let broken = broken(&cases(), || Arc::new(Folder::new())).await;
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn cases_have_names_of_their_own() {
    let mut names: Vec<&str> = cases().iter().map(|case| case.name).collect();
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all);
}
