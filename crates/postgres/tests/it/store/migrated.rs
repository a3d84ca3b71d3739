//! Stores of earlier versions.

use jiff::Timestamp;
use orderwire_store::orders::{
    Acceptance, Advance, NewOrder, Order, Orders, ResourceFilter, Revision, RevisionResource,
};
use orderwire_store::testkit::sample_order;
use orderwire_types::{EventId, OrderState, RawJson, Scope};
use uuid::Uuid;

use super::support::open;
use crate::support::{TestDatabase, connect};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_760_000_000 + second).unwrap()
}

#[tokio::test]
async fn revisions_of_before_are_looked_through_for_their_resources() {
    let database = TestDatabase::new().await;
    let store = open(&database).await.unwrap();
    let contents = [
        r#"{"manifests":[{"kind":"Process","metadata":{"name":"web"}},{"kind":"Process","metadata":{"name":"web"}},
            {"kind":"Volume","metadata":{"name":"data"}},{"kind":"Broken"},7]}"#,
        r#"{"manifests":7}"#,
        "{}",
        // PostgreSQL finds nothing in a document with this.
        r#"{"manifests":[{"kind":"Process","metadata":{"name":"web"},"spec":"\u0000"}]}"#,
    ];
    for (n, content) in contents.into_iter().enumerate() {
        let order = sample_order(EventId(Uuid::from_u128(1 + n as u128)), at(1));
        let new = NewOrder { order, record_refused: false, steps: Vec::new() };
        let Acceptance::New(Order { id, trace, .. }) = store.accept(new).await.unwrap() else {
            panic!("it is new");
        };
        let work = store.claim("local", 1, at(1), at(31)).await.unwrap().remove(0);
        let revision = Revision {
            number: 1 + n as u64,
            hash: String::new(),
            content: RawJson::parse(content.to_owned()).unwrap(),
            order: id,
            trace,
            created_at: at(1),
            ready_at: None,
        };
        let state = Some((OrderState::Ready, None));
        let advance = Advance { at: at(1), state, new_revision: Some(revision), ..Advance::default() };
        store.advance(work.lease, id, advance).await.unwrap();
        store.hand_back(work.lease, None).await.unwrap();
    }
    drop(store);
    let client = connect(&database.url()).await;
    let back = "DROP TABLE store.revision_resource; \
                DELETE FROM orderwire.migration WHERE module = 'store' AND number >= 4";
    client.batch_execute(back).await.unwrap();
    let store = open(&database).await.unwrap();
    let found = store.resources(&Scope::internal("test"), &ResourceFilter::default(), 9).await.unwrap();
    let shown = |RevisionResource { resource, revision, .. }: RevisionResource| {
        format!("{} {} {revision}", resource.kind, resource.name)
    };
    let found: Vec<String> = found.into_iter().map(shown).collect();
    assert_eq!(found, ["Volume data 1", "Process web 1"]);
}
