//! NATS JetStream by async-nats: a stream in files, one acknowledgement a message.

use async_nats::jetstream;
use async_nats::jetstream::stream::{Config, StorageType};

use crate::Result;
use crate::drive::{Load, Measured, drive};

const STREAM: &str = "orderwire-bench";
const SUBJECT: &str = "orderwire.bench";

pub(crate) async fn measure(url: &str, load: &Load) -> Result<Measured> {
    let context = jetstream::new(async_nats::connect(url).await?);
    let config = Config {
        name: STREAM.to_owned(),
        subjects: vec![SUBJECT.to_owned()],
        storage: StorageType::File,
        ..Config::default()
    };
    context.create_stream(config).await?;
    let measured = drive(load, async |payload| {
        context.publish(SUBJECT, payload.into()).await?.await?;
        Ok(())
    });
    let measured = measured.await?;
    context.delete_stream(STREAM).await?;
    Ok(measured)
}
