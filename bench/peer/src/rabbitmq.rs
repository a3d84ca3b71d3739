//! RabbitMQ by lapin: a durable quorum queue, persistent messages, publisher confirms.
//!
//! One channel: more of them were not faster, because the queue is one process in the
//! broker.

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};

use crate::Result;
use crate::drive::{Load, Measured, drive};

const QUEUE: &str = "orderwire-bench";

pub(crate) async fn measure(url: &str, load: &Load) -> Result<Measured> {
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    channel.queue_delete(QUEUE.into(), QueueDeleteOptions::default()).await?;
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(QUEUE.into(), durable, arguments).await?;
    let measured = drive(load, |payload| publish(&channel, payload)).await?;
    channel.queue_delete(QUEUE.into(), QueueDeleteOptions::default()).await?;
    Ok(measured)
}

async fn publish(channel: &Channel, payload: Vec<u8>) -> Result<()> {
    let persistent = BasicProperties::default().with_delivery_mode(2);
    let confirm =
        channel.basic_publish("".into(), QUEUE.into(), BasicPublishOptions::default(), &payload, persistent);
    match confirm.await?.await? {
        Confirmation::Ack(None) => Ok(()),
        other => Err(format!("the broker did not confirm: {other:?}").into()),
    }
}
