//! Stores of earlier versions.

use std::path::Path;

use jiff::Timestamp;
use orderwire_sqlite::store::SqliteStore;
use orderwire_store::orders::{
    Acceptance, Advance, NewOrder, Order, Orders, ReleaseStatus, ResourceFilter, ResourceName, Revision,
};
use orderwire_store::testkit::sample_order;
use orderwire_types::{EventId, OrderState, RawJson, ReleaseState, Scope};
use uuid::Uuid;

use super::support::Folder;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_760_000_000 + second).unwrap()
}

async fn accept(store: &SqliteStore, n: u128, name: &str) -> Order {
    let order = Order { name: name.to_owned(), ..sample_order(EventId(Uuid::from_u128(n)), at(1)) };
    let new = NewOrder { order, record_refused: false, steps: Vec::new() };
    match store.accept(new).await.unwrap() {
        Acceptance::New(order) => order,
        other => panic!("{other:?}"),
    }
}

/// Makes of a file what the first version would have written.
fn to_the_first_version(file: &Path) {
    let db = rusqlite::Connection::open(file).unwrap();
    let first = include_str!("../../../migrations/store/0001_store.sql");
    let begin = first.find("CREATE TABLE release_turn (").unwrap();
    let end = first.find("-- One row.").unwrap();
    db.execute_batch(&format!(
        "ALTER TABLE release_turn RENAME TO later; DROP INDEX release_turn_at; DROP INDEX release_turn_ready;
         {}
         INSERT INTO release_turn SELECT target, client, max(turn), min(at), 0 FROM later GROUP BY target, client;
         DROP TABLE later;
         DROP TABLE target_claims; ALTER TABLE provisioner ADD COLUMN claims INTEGER NOT NULL DEFAULT 1;
         DROP INDEX release_work_at; ALTER TABLE release_work DROP COLUMN ordered;
         CREATE INDEX release_work_at ON release_work (target, client, at) WHERE at IS NOT NULL;
         DROP TABLE delivery_attempt;
         ALTER TABLE release_order DROP COLUMN depth;
         DROP TABLE remembered; DROP TABLE remembered_part; DROP TABLE remembered_filter; DROP TABLE fresh_id;
         DROP TABLE identity; DROP TABLE link; DROP TABLE link_part; DROP TABLE revision_resource;
         PRAGMA user_version = 1;",
        &first[begin..end]
    ))
    .unwrap();
}

#[tokio::test]
async fn the_first_version_knows_which_releases_have_an_unfinished_order() {
    let folder = Folder::new();
    let store = folder.open().unwrap();
    let done = accept(&store, 1, "done").await;
    let work = store.claim("local", 1, at(1), at(31)).await.unwrap().remove(0);
    let advance = Advance {
        at: at(1),
        state: Some((OrderState::Ready, None)),
        status: Some(ReleaseStatus { state: ReleaseState::Ready, applied: Some(1), ..ReleaseStatus::new() }),
        ..Advance::default()
    };
    store.advance(work.lease, done.id, advance).await.unwrap();
    // Due before the other, which would be first if nobody waited for it.
    store.hand_back(work.lease, Some(at(0))).await.unwrap();
    let open = accept(&store, 2, "open").await;
    drop(store);
    to_the_first_version(&folder.file());
    let store = folder.open().unwrap();
    let claimed = store.claim("local", 9, at(2), at(32)).await.unwrap();
    let found: Vec<_> = claimed.iter().map(|claimed| (claimed.release.id, claimed.order.is_some())).collect();
    assert_eq!(found, [(open.release.unwrap(), true), (done.release.unwrap(), false)]);
    // What is told of an order of then is as if it came from outside.
    assert_eq!(claimed[0].order.as_ref().unwrap().depth, 0);
    assert_eq!(store.next_due("local", at(2)).await.unwrap(), Some(at(32)));
}

#[tokio::test]
async fn revisions_of_before_are_looked_through_for_their_resources() {
    let folder = Folder::new();
    let store = folder.open().unwrap();
    // The letter has two bytes.
    let named = |letter: &str, bytes: usize| {
        format!(
            r#"{{"manifests":[{{"kind":"Volume","metadata":{{"name":"{}"}}}}]}}"#,
            letter.repeat(bytes / 2)
        )
    };
    let contents = [
        r#"{"manifests":[{"kind":"Process","metadata":{"name":"web"}},{"kind":"Process","metadata":{"name":"web"}},
            {"kind":"Volume","metadata":{"name":"data\u0000"}},{"kind":"Broken"},{"kind":"","metadata":{"name":"web"}},
            {"kind":"Volume","metadata":{"name":""}},7]}"#,
        r#"{"manifests":7}"#,
        "{}",
        &named("ä", ResourceName::BYTES_MAX - 6),
        &named("ä", ResourceName::BYTES_MAX - 4),
    ];
    for (n, content) in contents.into_iter().enumerate() {
        let order = accept(&store, 1 + n as u128, "web").await;
        let work = store.claim("local", 1, at(1), at(31)).await.unwrap().remove(0);
        let revision = Revision {
            number: 1 + n as u64,
            hash: String::new(),
            content: RawJson::parse(content.to_owned()).unwrap(),
            order: order.id,
            trace: order.trace.clone(),
            created_at: at(1),
            ready_at: None,
        };
        let state = Some((OrderState::Ready, None));
        let advance = Advance { at: at(1), state, new_revision: Some(revision), ..Advance::default() };
        store.advance(work.lease, order.id, advance).await.unwrap();
        store.hand_back(work.lease, None).await.unwrap();
    }
    drop(store);
    let db = rusqlite::Connection::open(folder.file()).unwrap();
    db.execute_batch("DROP TABLE revision_resource; PRAGMA user_version = 7").unwrap();
    drop(db);
    let store = folder.open().unwrap();
    // As a server of the version before leaves it, which sweeps revisions and knows nothing else of them.
    let db = rusqlite::Connection::open(folder.file()).unwrap();
    let gone = "INSERT INTO revision_resource SELECT release, 77, 'Process', 'gone' FROM revision LIMIT 1";
    assert_eq!(db.execute(gone, []).unwrap(), 1);
    let found = store.resources(&Scope::internal("test"), &ResourceFilter::default(), 9).await.unwrap();
    let found: Vec<_> = found
        .into_iter()
        .map(|found| format!("{} {:?} {}", found.resource.kind, found.resource.name, found.revision))
        .collect();
    let longest = format!("Volume {:?} 4", "ä".repeat(ResourceName::BYTES_MAX / 2 - 3));
    assert_eq!(found, [r#"Volume "data\0" 1"#, r#"Process "web" 1"#, &longest]);
}
