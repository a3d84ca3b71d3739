//! What the documentation says of it.

use std::path::Path;

use orderwire_broker::Broker as _;
use orderwire_broker::testkit::documented;
use orderwire_broker_rabbitmq::{Options, RabbitBroker};

/// The row of the page is written when `UPDATE_GENERATED` is set.
#[tokio::test]
async fn the_row_of_the_page_is_generated() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/brokers.md");
    // Nobody listens there, and nobody has to.
    let broker = RabbitBroker::start(Options::from_url("amqp://127.0.0.1:1").unwrap());
    documented(&page, &broker.capabilities(), "RabbitMQ 3.10");
}
