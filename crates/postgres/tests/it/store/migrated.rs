//! Stores of earlier versions.

use jiff::Timestamp;
use orderwire_postgres::store::PostgresStore;
use orderwire_store::orders::{
    Acceptance, Advance, NewOrder, Order, Orders, ResourceFilter, ResourceName, Revision, RevisionResource,
};
use orderwire_store::testkit::sample_order;
use orderwire_types::{EventId, OrderState, RawJson, Scope};
use uuid::Uuid;

use super::support::open;
use crate::support::{TestDatabase, connect};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_760_000_000 + second).unwrap()
}

/// Makes the next revision of the release, with one object of this name.
async fn revision(store: &PostgresStore, number: u64, name: &str) {
    let order = sample_order(EventId(Uuid::from_u128(number.into())), at(1));
    let new = NewOrder { order, record_refused: false, steps: Vec::new() };
    let Acceptance::New(Order { id, trace, .. }) = store.accept(new).await.unwrap() else {
        panic!("it is new");
    };
    let work = store.claim("local", 1, at(1), at(31)).await.unwrap().remove(0);
    let revision = Revision {
        number,
        hash: String::new(),
        content: RawJson::parse("{}".to_owned()).unwrap(),
        order: id,
        trace,
        created_at: at(1),
        ready_at: None,
    };
    let resource = ResourceName { kind: "Process".to_owned(), name: name.to_owned() };
    let advance = Advance {
        at: at(1),
        state: Some((OrderState::Ready, None)),
        new_revision: Some(revision),
        resources: vec![resource],
        ..Advance::default()
    };
    store.advance(work.lease, id, advance).await.unwrap();
    store.hand_back(work.lease, None).await.unwrap();
}

async fn resources(store: &PostgresStore) -> Vec<String> {
    let found = store.resources(&Scope::internal("test"), &ResourceFilter::default(), 9).await.unwrap();
    let shown = |found: RevisionResource| format!("{} {}", found.resource.name, found.revision);
    found.into_iter().map(shown).collect()
}

#[tokio::test]
async fn resources_are_those_of_revisions_since_the_version_that_knows_them() {
    let database = TestDatabase::new().await;
    let store = open(&database).await.unwrap();
    revision(&store, 1, "before").await;
    drop(store);
    let client = connect(&database.url()).await;
    let back = "DROP TABLE store.revision_resource; DROP FUNCTION store.document; \
                DELETE FROM orderwire.migration WHERE module = 'store' AND number >= 4";
    client.batch_execute(back).await.unwrap();
    let store = open(&database).await.unwrap();
    revision(&store, 2, "since").await;
    // As a server of the version before leaves it, which sweeps revisions and knows nothing else of them.
    let gone = "INSERT INTO store.revision_resource SELECT release, 77, 'Process', 'gone' FROM store.revision LIMIT 1";
    assert_eq!(client.execute(gone, &[]).await.unwrap(), 1);
    assert_eq!(resources(&store).await, ["since 2"]);
}
