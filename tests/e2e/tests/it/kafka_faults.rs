//! What goes wrong between the gateway and Kafka, by the real binary and a server in a process of its
//! own. What was answered with 202 comes, and comes once.

use anyhow::{Result, ensure};
use orderwire_e2e::kafka::{self, Kafka};
use orderwire_e2e::proxy::Proxy;
use orderwire_e2e::{Start, free_port};

use crate::broker::behind_of;
use crate::broker_faults::{each_once, over_a_bad_wire};

/// The server tells its clients to reach it over the wire, too.
#[tokio::test(flavor = "multi_thread")]
async fn a_wire_that_is_slow_cut_or_silent_loses_and_doubles_nothing() -> Result<()> {
    let (port, folder) = (free_port()?, tempfile::tempdir()?);
    let proxy = Proxy::to(port).await?;
    let place = format!("127.0.0.1:{}", proxy.port());
    let _kafka = Kafka::started_at(port, &place, &[])?;
    let start = Start { binary: Some(kafka::binary()?), ..Start::default() };
    let server = behind_of(&start, &format!("kafka://{place}"), folder.path(), "")?;
    let taken = over_a_bad_wire(&server, &proxy).await?;
    each_once(&server, taken).await?;
    ensure!(server.stop()?.success());
    Ok(())
}
