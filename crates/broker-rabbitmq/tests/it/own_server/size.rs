//! A server that takes smaller messages than we send.

use orderwire_broker::{Broker, Declare, ErrorKind, Message};

use crate::support::server::OwnServer;
use crate::support::{connected, drain, eventually, insist, label, message, publish, queue};

#[tokio::test]
async fn what_a_server_does_not_take_is_too_large_and_the_others_go_on() {
    let Some(server) = OwnServer::start(|_| "max_message_size = 10000\n".to_owned()).await else { return };
    let options = server.options();
    let (broker, queue) = (connected(&options).await, queue(&["size"], Declare::Classic));
    broker.declare(&queue).await.unwrap();
    let large = |label: &str| Message { body: vec![b'x'; 20_000].into(), ..message("size", label) };
    // The server ends the channel, with all that is on its way: of the others nothing is known.
    let batch = || vec![message("size", "m0"), large("m1"), message("size", "m2")];
    let first = broker.publish(batch()).await;
    let kinds: Vec<_> =
        first.iter().map(|answer| answer.as_ref().map_err(orderwire_broker::Error::kind)).collect();
    assert_eq!(kinds[1], Err(ErrorKind::TooLarge), "{first:?}");
    assert!(kinds[2] != Err(ErrorKind::TooLarge), "{first:?}");
    eventually("it is connected again", async || broker.check().await.is_ok()).await;

    // From now on it is known, also on another connection.
    let answers = broker.publish(batch()).await;
    assert!(answers[0].is_ok() && answers[2].is_ok(), "{answers:?}");
    let error = answers[1].as_ref().unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::TooLarge, false), "{error}");
    assert!(error.to_string().contains("20000") && error.to_string().contains("10000"), "{error}");
    insist(&*broker, &message("size", "m3")).await;
    publish(&*broker, Message { body: vec![b'x'; 10_000].into(), ..message("size", "m4") }).await.unwrap();
    let came: Vec<String> = drain(&*broker, &queue, 4).await.iter().map(label).collect();
    assert!(["m0", "m2", "m3"].iter().all(|label| came.iter().any(|other| other == label)), "{came:?}");
    broker.close().await;
}
