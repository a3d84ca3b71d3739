//! Claims.

use bytes::Bytes;
use orderwire_queue::engine::{Claim, Outcome};
use orderwire_queue::model::{Delivery, DeliveryId, Position};
use orderwire_queue::{Error, ErrorKind};
use orderwire_types::scope::Clients;
use tokio_postgres::Row;

use super::super::calls::{Call, Function, params};
use super::super::session::Known;
use super::super::{long, names, nanos, timestamp};
use super::clean;

pub(super) fn call<'a>(index: usize, claim: &'a Claim, now: i64, known: &Known) -> Result<Call<'a>, Error> {
    let queue = known.queue(&claim.queue)?;
    if queue.stream && claim.clients != Clients::All {
        let message = format!("queue {} is a stream and hands out the entries of all clients", claim.queue);
        return Err(Error::new(ErrorKind::Conflict, message));
    }
    let behind = |of: fn(&DeliveryId) -> i64| claim.behind.iter().map(of).collect::<Vec<_>>();
    let params = params![
        now,
        queue.id,
        names(&claim.clients),
        long(claim.max.max(1)),
        long(claim.max_bytes),
        nanos(claim.until),
        clean(&claim.principal),
        behind(|id| id.lane),
        behind(|id| id.position.0),
        behind(|id| id.lease),
    ];
    Ok(Call {
        function: Function::Claim,
        params,
        read: Box::new(move |rows, outcomes| {
            let deliveries = rows.iter().map(delivery).collect::<Result<_, _>>()?;
            outcomes[index] = Some(Ok(Outcome::Claimed(deliveries)));
            Ok(())
        }),
    })
}

fn delivery(row: &Row) -> Result<Delivery, tokio_postgres::Error> {
    Ok(Delivery {
        id: DeliveryId { lane: row.try_get(0)?, position: Position(row.try_get(1)?), lease: row.try_get(2)? },
        attempt: u32::try_from(row.try_get::<_, i64>(3)?).unwrap_or(u32::MAX),
        leased_until: timestamp(row.try_get(4)?),
        body: Bytes::copy_from_slice(row.try_get(5)?),
    })
}
