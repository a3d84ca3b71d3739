//! Endpoints that mean no good, and addresses that must not be called.

use std::time::Duration;

use orderwire_forwarder::EndpointOptions;
use orderwire_store::log::AttemptOutcome;
use tokio::time::Instant;

use crate::stub::{Act, Stub, ok};
use crate::world::{World, endpoint};

/// The first attempt meets this, the second one is taken.
async fn first_meets(act: Act) -> (World, Stub) {
    let first = std::sync::atomic::AtomicBool::new(true);
    let stub = Stub::start(move |_| {
        let is_first = first.swap(false, std::sync::atomic::Ordering::SeqCst);
        if is_first { act.clone() } else { ok() }
    })
    .await;
    let timeout = Duration::from_millis(300);
    let mut world = World::start(vec![EndpointOptions { timeout, ..endpoint("shop", &stub.url()) }]).await;
    world.publish("shop.order.paid").await;
    (world, stub)
}

/// Both attempts, of which the second one is taken.
async fn failed_first(act: Act) -> String {
    let (world, mut stub) = first_meets(act).await;
    let begin = Instant::now();
    let ids = [stub.next().await, stub.next().await].map(|received| received.id().to_owned());
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    assert_eq!(ids[0], ids[1], "the id stays");
    let log = world.logged("shop", 2).await;
    let outcomes: Vec<_> = log.iter().map(|attempt| (attempt.attempt, attempt.outcome)).collect();
    assert_eq!(outcomes, [(1, AttemptOutcome::Retry), (2, AttemptOutcome::Delivered)]);
    world.until_empty("shop").await;
    let detail = log[0].detail.clone().unwrap();
    assert!(!detail.contains("hunter2"), "the URL's query may be a secret: {detail}");
    world.drain().await;
    detail
}

#[tokio::test]
async fn an_endpoint_that_hangs_costs_its_time_out() {
    let detail = failed_first(Act::Hang).await;
    assert_eq!(detail, "no answer within 300ms");
}

#[tokio::test]
async fn an_answer_that_trickles_costs_its_time_out() {
    let detail = failed_first(Act::SlowHead).await;
    assert_eq!(detail, "no answer within 300ms");
}

#[tokio::test]
async fn a_connection_that_is_cut_is_a_failed_attempt() {
    let detail = failed_first(Act::Cut).await;
    assert!(detail.starts_with("the connection broke: "), "{detail}");
}

#[tokio::test]
async fn of_an_endless_answer_the_beginning_is_read() {
    let detail = failed_first(Act::Endless(500)).await;
    assert!(detail.starts_with("the endpoint answered 500 Internal Server Error: xxx"), "{detail}");
    assert!(detail.len() < 1_000, "{}", detail.len());
}

#[tokio::test]
async fn a_status_counts_even_when_its_body_never_comes() {
    for act in [Act::Endless(200), Act::SilentBody(200)] {
        let (world, mut stub) = first_meets(act).await;
        stub.next().await;
        world.until_empty("shop").await;
        let log = world.logged("shop", 1).await;
        assert_eq!((log.len(), log[0].outcome), (1, AttemptOutcome::Delivered));
        assert!(log[0].duration < Duration::from_secs(2), "{:?}", log[0].duration);
        world.drain().await;
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let inside = Stub::start(|_| ok()).await;
    let to = inside.address;
    for status in [301, 302, 303, 307, 308] {
        let location: &'static str = Box::leak(format!("location: http://{to}/inside\r\n").into_boxed_str());
        let (world, mut stub) = first_meets(Act::Answer(status, location, String::new())).await;
        stub.next().await;
        stub.next().await;
        let log = world.logged("shop", 2).await;
        assert_eq!((log[0].outcome, log[0].status), (AttemptOutcome::Retry, Some(status)));
        assert!(log[0].detail.as_ref().unwrap().contains("redirects are not followed"), "{log:?}");
        world.drain().await;
    }
    assert_eq!(inside.connections(), 0);
}

#[tokio::test]
async fn a_name_of_a_private_address_is_refused_and_nothing_connects() {
    let stub = Stub::start(|_| ok()).await;
    let url = format!("http://shop.example:{}/hooks", stub.address.port());
    let mut world =
        World::start(vec![EndpointOptions { allow_private: false, ..endpoint("shop", &url) }]).await;
    for address in ["127.0.0.1", "::1", "::ffff:127.0.0.1", "10.0.0.1", "169.254.169.254", "64:ff9b::7f00:1"]
    {
        world.names.set("shop.example", &[address]);
        let before = world.log("shop").await.len();
        let id = world.publish("shop.order.paid").await;
        let attempt = world
            .until("an attempt", async |world| {
                world.log("shop").await.into_iter().skip(before).find(|attempt| attempt.event_id == id)
            })
            .await;
        let detail = attempt.detail.unwrap();
        assert!(
            detail.starts_with("the address is refused: ") && detail.contains("is not called"),
            "{detail}"
        );
        assert_eq!((attempt.outcome, attempt.status), (AttemptOutcome::Retry, None));
    }
    assert_eq!(stub.connections(), 0);
    world.drain().await;
}

/// The system knows no such name: had anything but the guard resolved it, nothing would
/// connect. Each connection asks once, and goes to what was checked.
#[tokio::test]
async fn a_connection_goes_to_the_address_that_was_checked() {
    let mut stub = Stub::start(|_| Act::Answer(200, "connection: close\r\n", String::new())).await;
    let url = format!("http://shop.invalid:{}/hooks", stub.address.port());
    let mut world = World::start(vec![endpoint("shop", &url)]).await;
    world.names.set("shop.invalid", &["169.254.169.254", "127.0.0.1"]);
    for _ in 0..3 {
        world.publish("shop.order.paid").await;
        let received = stub.next().await;
        assert_eq!(received.headers["host"], format!("shop.invalid:{}", stub.address.port()));
    }
    world.until_empty("shop").await;
    assert_eq!((world.names.asked(), stub.connections()), (3, 3));
    // From now on it leads elsewhere, as an attacker's does after the check.
    world.names.set("shop.invalid", &["169.254.169.254"]);
    world.publish("shop.order.paid").await;
    let log = world.logged("shop", 4).await;
    assert!(log[3].detail.as_ref().unwrap().contains("link-local"), "{log:?}");
    assert_eq!(stub.connections(), 3);
    world.drain().await;
}

#[tokio::test]
async fn a_name_that_nobody_knows_is_a_failed_attempt() {
    let mut world = World::start(vec![endpoint("shop", "http://nobody.invalid/")]).await;
    world.publish("shop.order.paid").await;
    let log = world.logged("shop", 1).await;
    let detail = log[0].detail.as_ref().unwrap();
    assert!(detail.contains("cannot be reached") && detail.contains("no such name"), "{detail}");
    world.drain().await;
}

#[tokio::test]
async fn a_server_of_names_that_never_answers_costs_the_time_out() {
    let timeout = Duration::from_millis(300);
    let shop = EndpointOptions { timeout, ..endpoint("shop", "http://shop.invalid/") };
    let mut world = World::start(vec![shop]).await;
    world.names.silence("shop.invalid");
    world.publish("shop.order.paid").await;
    let log = world.logged("shop", 2).await;
    for attempt in &log[..2] {
        assert_eq!((attempt.outcome, attempt.status), (AttemptOutcome::Retry, None));
        assert!(attempt.duration < Duration::from_secs(5), "{:?}", attempt.duration);
        // The time for the connection and that for the answer end together here.
        let detail = attempt.detail.as_ref().unwrap();
        assert!(
            ["no answer within 300ms", "the endpoint did not take the connection in time"]
                .contains(&detail.as_str()),
            "{detail}"
        );
    }
    world.drain().await;
}
