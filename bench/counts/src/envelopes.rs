//! Paths without any I/O: the forms of an event.

use std::hint::black_box;

use anyhow::{Result, anyhow, ensure};
use orderwire_types::envelope::{Arrival, from_json};
use orderwire_types::{Client, Limits};
use uuid::Uuid;

use crate::inputs;
use crate::path::Run;

pub(crate) async fn message_attributes(run: Run) -> Result<()> {
    read(&run, &inputs::message_attributes(1))
}

pub(crate) async fn cloudevent(run: Run) -> Result<()> {
    read(&run, &inputs::cloudevent(1))
}

fn read(run: &Run, body: &str) -> Result<()> {
    let limits = Limits::default();
    let arrival = Arrival {
        principal: "key:0123456789abcdef",
        client: Client::default_client(),
        event_type: None,
        source: None,
        traceparent: None,
        message_id: None,
        request: None,
        now: inputs::now(),
        new_id: Uuid::from_u128(1),
        limits: &limits,
    };
    for _ in 0..run.times {
        let incoming = from_json(black_box(body.as_bytes()), black_box(&arrival))
            .map_err(|fault| anyhow!("{fault:?}"))?;
        ensure!(incoming.named, "the event names itself");
        black_box(incoming.event.encode());
    }
    Ok(())
}
