//! The queues at the broker.

use std::path::Path;
use std::time::Duration;

use orderwire_broker::testkit::{Factory as _, ModelPlace};
use orderwire_broker::{Broker, Declare, ErrorKind, Message, QueueBinding, To};
use orderwire_transport::Topology;

use crate::world::{PLACE, Switched, World, binding};

/// The queues that a message of this type reaches.
async fn reached(place: &ModelPlace, event_type: &str, queues: &[&str]) -> Vec<String> {
    let broker = place.broker();
    let message = Message {
        to: To::Type(event_type.parse().unwrap()),
        id: event_type.to_owned(),
        key: None,
        content_type: "text/plain",
        headers: Vec::new(),
        body: Vec::new().into(),
    };
    match broker.publish(vec![message]).await.remove(0) {
        Err(error) if error.kind() == ErrorKind::Unroutable => return Vec::new(),
        answer => answer.unwrap(),
    }
    let mut reached = Vec::new();
    for queue in queues {
        let Ok(mut consumer) = broker.consume(&binding(queue, &[]), 100).await else { continue };
        // tidy: sleep because nothing coming is no event
        let nothing = tokio::time::sleep(Duration::from_millis(1));
        tokio::select! {
            biased;
            came = consumer.next(100) => {
                let came = came.unwrap();
                consumer.ack(&came.iter().map(|message| message.tag).collect::<Vec<_>>()).await.unwrap();
                reached.push((*queue).to_owned());
            }
            () = nothing => {}
        }
    }
    reached
}

async fn make(place: &ModelPlace, called: &str, folder: &Path, bindings: Vec<QueueBinding>) {
    let broker = Switched::on(place);
    let topology = Topology::new(bindings, called.to_owned(), folder.join("broker.json"));
    topology.make(broker.as_ref()).await;
    assert!(topology.is_made() && topology.fault().is_none());
}

#[tokio::test(start_paused = true)]
async fn what_was_bound_at_one_broker_is_remembered_while_another_is_used() {
    let (here, there) = (ModelPlace::default(), ModelPlace::default());
    let folder = tempfile::tempdir().unwrap();
    make(&here, "model://here", folder.path(), vec![binding("shop", &["shop.#", "till.*"])]).await;
    make(&there, "model://there", folder.path(), vec![binding("shop", &["shop.#"])]).await;
    make(&here, "model://here", folder.path(), vec![binding("shop", &["shop.#"])]).await;
    assert_eq!(reached(&here, "till.one", &["shop"]).await, Vec::<String>::new());
    assert_eq!(reached(&here, "shop.sold", &["shop"]).await, ["shop"]);
}

#[tokio::test(start_paused = true)]
async fn bindings_of_an_earlier_configuration_are_taken_away() {
    let place = ModelPlace::default();
    let folder = tempfile::tempdir().unwrap();
    let start = async |bindings| make(&place, PLACE, folder.path(), bindings).await;
    let all = ["shop", "shop.in", "old"];
    start(vec![binding("shop", &["shop.#", "till.*"]), binding("old", &["shop.#"])]).await;
    assert_eq!(reached(&place, "shop.sold", &all).await, ["shop", "old"]);

    // `shop` is for other people now and takes one type less, `old` is gone.
    start(vec![binding("shop", &[]), binding("shop.in", &["shop.#"])]).await;
    assert_eq!(reached(&place, "shop.sold", &all).await, ["shop.in"]);
    assert_eq!(reached(&place, "till.one", &all).await, Vec::<String>::new());

    // And back.
    start(vec![binding("shop", &["shop.#"])]).await;
    assert_eq!(reached(&place, "shop.sold", &all).await, ["shop"]);
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_cannot_be_made_is_told_until_it_can() {
    let world = World::open(10).await;
    let taken = QueueBinding { declare: Declare::Classic, ..binding("shop", &[]) };
    world.broker.declare(&taken).await.unwrap();
    let making = tokio::spawn({
        let (topology, broker) = (world.topology.clone(), world.broker.clone());
        async move { topology.make(broker.as_ref()).await }
    });
    while world.topology.fault().is_none() {
        tokio::task::yield_now().await;
    }
    let fault = world.topology.fault().unwrap();
    assert!(fault.contains("shop") && !world.topology.is_made(), "{fault}");
    // What comes meanwhile is kept.
    world.publish(0, 2).await.unwrap();
    assert_eq!(world.spool.as_ref().unwrap().len(), 2);
    world.place.remove(&[taken.name]).await.unwrap();
    making.await.unwrap();
    assert_eq!(world.topology.fault(), None);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_published_while_a_queue_that_was_deleted_cannot_be_made_anew() {
    let mut world = World::made(10).await;
    world.start();
    world.publish(0, 1).await.unwrap();
    assert_eq!(world.consume("shop", 1).await, [0]);
    // Somebody deletes it, and is faster than the intake with one of another kind.
    let taken = QueueBinding { declare: Declare::Classic, ..binding("shop", &[]) };
    world.place.remove(std::slice::from_ref(&taken.name)).await.unwrap();
    world.broker.declare(&taken).await.unwrap();
    let told = async {
        while world.topology.fault().is_none() {
            // tidy: sleep because the fault has no event, and time is paused
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), told).await.unwrap();
    assert!(!world.topology.is_made());
    world.publish(1, 4).await.unwrap();
    assert_eq!(world.spool.as_ref().unwrap().len(), 3);
    world.place.remove(&[taken.name]).await.unwrap();
    assert_eq!(world.consume("shop", 3).await, [1, 2, 3]);
}

/// Made anew, and replaced once more before its intake looks at it.
#[tokio::test(start_paused = true)]
async fn nothing_is_published_while_an_intake_finds_another_queue_in_place_of_its_own() {
    let mut world = World::made(10).await;
    world.start();
    world.publish(0, 1).await.unwrap();
    assert_eq!(world.consume("shop", 1).await, [0]);
    let taken = QueueBinding { declare: Declare::Classic, ..binding("shop", &[]) };
    world.place.remove(std::slice::from_ref(&taken.name)).await.unwrap();
    // The intake pauses for longer than this before it tries again.
    while world.place.broker().consume(&binding("shop", &[]), 1).await.is_err() {
        // tidy: sleep because nobody tells when it is made anew, and time is paused
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    world.place.remove(std::slice::from_ref(&taken.name)).await.unwrap();
    world.broker.declare(&taken).await.unwrap();
    let told = async {
        while world.topology.fault().is_none() {
            // tidy: sleep because the fault has no event, and time is paused
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), told).await.unwrap();
    world.publish(1, 4).await.unwrap();
    assert_eq!(world.spool.as_ref().unwrap().len(), 3);
    world.place.remove(&[taken.name]).await.unwrap();
    assert_eq!(world.consume("shop", 3).await, [1, 2, 3]);
}
