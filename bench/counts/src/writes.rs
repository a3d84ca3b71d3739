//! Paths of what comes in over HTTP: everything between a request's bytes and the
//! 202, the connection aside.

use anyhow::Result;
use bytes::Bytes;

use crate::inputs;
use crate::path::Run;
use crate::server::Server;

pub(crate) async fn post_event(run: Run) -> Result<()> {
    let bodies = (0..=run.times_max).map(|n| inputs::message_attributes(n).into());
    post(&run, "/v1/events", "application/json", bodies.collect()).await
}

pub(crate) async fn post_rows(run: Run) -> Result<()> {
    let bodies = (0..=run.times_max).map(|n| inputs::rows(n).join("\n").into());
    post(&run, "/v1/datasets/air/rows", "application/x-ndjson", bodies.collect()).await
}

/// Posts one body, by which everything that is remembered gets known, and those that
/// are counted.
async fn post(run: &Run, path: &str, content_type: &str, bodies: Vec<Bytes>) -> Result<()> {
    let server = Server::start(run).await?;
    for body in bodies.into_iter().take(1 + run.times) {
        server.post(path, content_type, body).await?;
    }
    Ok(())
}
