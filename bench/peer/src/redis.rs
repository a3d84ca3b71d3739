//! Redis streams: XADD over one multiplexed connection.

use crate::Result;
use crate::drive::{Load, Measured, drive};

const STREAM: &str = "orderwire-bench";

pub(crate) async fn measure(url: &str, load: &Load) -> Result<Measured> {
    let connection = redis::Client::open(url)?.get_multiplexed_async_connection().await?;
    let measured = drive(load, |payload| {
        let mut connection = connection.clone();
        async move {
            let mut add = redis::cmd("XADD");
            add.arg(STREAM).arg("*").arg("event").arg(payload);
            add.query_async::<String>(&mut connection).await?;
            Ok(())
        }
    });
    let measured = measured.await?;
    redis::cmd("DEL").arg(STREAM).query_async::<()>(&mut connection.clone()).await?;
    Ok(measured)
}
