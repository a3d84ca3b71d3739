//! A server that runs out of memory: it stops reading from who publishes.

use std::time::{Duration, Instant};

use orderwire_broker::{Broker, Declare, ErrorKind};

use crate::support::server::OwnServer;
use crate::support::{connected, drain, eventually, insist, message, publish, queue};

#[tokio::test]
async fn a_server_out_of_memory_is_unavailable_in_time_and_works_again_afterwards() {
    let Some(mut server) = OwnServer::start(|_| String::new()).await else { return };
    let options = server.options();
    let (broker, queue) = (connected(&options).await, queue(&["alarm"], Declare::Quorum));
    broker.declare(&queue).await.unwrap();
    publish(&*broker, message("alarm", "before")).await.unwrap();
    let mut consumer = broker.consume(&queue, 10).await.unwrap();
    let before = consumer.next(1).await.unwrap();
    server.control(&["set_vm_memory_high_watermark", "absolute", "1000"]).await;

    let mut number = 0;
    eventually("a publish is turned away", async || {
        number += 1;
        let begun = Instant::now();
        let answer = publish(&*broker, message("alarm", &format!("during-{number}"))).await;
        assert!(begun.elapsed() < options.timeout + Duration::from_secs(1), "{:?}", begun.elapsed());
        // The server tells us only when we publish; what was on its way is unknown.
        answer.is_err_and(|error| error.kind() == ErrorKind::Unavailable)
    })
    .await;
    let error = broker.check().await.unwrap_err();
    assert!(error.to_string().contains("memory"), "{error}");
    // Who consumes can ack still, because only what publishes is blocked.
    consumer.ack(&[before[0].tag]).await.unwrap();
    broker.declare(&queue).await.unwrap();

    server.control(&["set_vm_memory_high_watermark", "0.9"]).await;
    insist(&*broker, &message("alarm", "after")).await;
    broker.check().await.unwrap();
    drop(consumer);
    let came = drain(&*broker, &queue, 1).await;
    assert!(came.iter().all(|message| message.body != before[0].body), "what was acked does not come again");
    broker.close().await;
}
