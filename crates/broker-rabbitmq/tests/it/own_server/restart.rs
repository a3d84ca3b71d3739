//! A server that ends and comes back.

use std::time::Duration;

use orderwire_broker::{Broker, Declare};

use crate::faults::{load, none_is_missing};
use crate::support::server::OwnServer;
use crate::support::{connected, eventually, queue};

/// RabbitMQ 3.10 writes who leads a new quorum queue some seconds after it confirmed its
/// declaration. Killed before, it starts with a queue that has no leader for good.
const SETTLED: Duration = Duration::from_secs(8);

#[tokio::test]
async fn a_server_killed_and_stopped_under_load_has_all_that_it_confirmed() {
    let Some(mut server) = OwnServer::start(|_| String::new()).await else { return };
    let (broker, queue) = (connected(&server.options()).await, queue(&["restarted"], Declare::Quorum));
    broker.declare(&queue).await.unwrap();
    let restarts = async {
        // tidy: sleep because nothing tells when the server has written it
        tokio::time::sleep(SETTLED).await;
        for is_killed in [true, false] {
            if is_killed {
                server.kill().await;
            } else {
                server.stop().await;
            }
            eventually("the end is noticed", async || broker.check().await.is_err()).await;
            server.run().await;
            eventually("it is connected again", async || broker.check().await.is_ok()).await;
        }
    };
    let count = load(&broker, "restarted", restarts).await;
    none_is_missing(&broker, &queue, count).await;
    broker.close().await;
}
