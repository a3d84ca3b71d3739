//! Fixed inputs: the same bytes in every process.

use std::fmt::Write as _;

use jiff::{SignedDuration, Timestamp};

/// Rows of one request, as in the figure that is measured beside a peer.
pub(crate) const ROWS: usize = 500;

/// The dataset of `examples/air-quality`.
pub(crate) const AIR: &str = r#"{"fields":[
    {"name":"TimeInstant","type":"timestamp","required":true},{"name":"id_entity","type":"text","required":true},
    {"name":"so2","type":"float"},{"name":"no2","type":"float"},{"name":"co","type":"float"},
    {"name":"o3","type":"float"},{"name":"pm10","type":"float"},{"name":"pm2_5","type":"float"}],
    "key":["id_entity","TimeInstant"],"on_conflict":"update","time":"TimeInstant"}"#;

/// The moment at which every clock stands.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_second(1_767_225_600).expect("a moment of 2026")
}

/// Event `n` as existing producers send it, about 512 bytes. Its trace id makes it
/// another one than event `n + 1`.
pub(crate) fn message_attributes(n: usize) -> String {
    format!(
        r#"{{"client":"client-{:03}","namespace":"site","environment":"dev","archtype":"saas","hardware":"classic","product":"","reading":{{"station":"air-station-{:02}","no2":34.80,"o3":26.5,"at":1588114545387}},"MessageAttributes":{{"event_type":{{"Type":"String","Value":"mycompany.producer.event.client.published"}},"published_on":"2023.01.2.23.02.642883101","trace_id":"9a2ae9de-3f82-4f55-966b-{n:012x}","retrace_intent":"0"}},"Metadata":{{"host":"producer-7","origing":"Cloud","publisher":"portal"}}}}"#,
        n % 64,
        n % 10,
    )
}

/// Event `n` as a structured CloudEvent.
pub(crate) fn cloudevent(n: usize) -> String {
    format!(
        r#"{{"specversion":"1.0","id":"{n}","source":"/stations/air-station-07","type":"town.air.measured","time":"2026-01-01T00:00:00.25Z","datacontenttype":"application/json","client":"client-007","partitionkey":"air-station-07","traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01","subject":"hourly","data":{{"no2":34.80,"o3":26.5,"count":9007199254740993,"note":"a \"quoted\" word"}}}}"#
    )
}

/// [`ROWS`] rows of ten stations, each its own hour, `batch` after `batch`.
pub(crate) fn rows(batch: usize) -> Vec<String> {
    let row = |n: usize| {
        let hour = i64::try_from(n / 10).expect("few hours");
        let mut row = format!(
            r#"{{"TimeInstant":"{}","id_entity":"air-station-{:02}""#,
            now() + SignedDuration::from_hours(hour),
            n % 10
        );
        for (k, name) in ["so2", "no2", "co", "o3", "pm10", "pm2_5"].into_iter().enumerate() {
            let tenths = 50 + (n * 7 + k * 31) % 700;
            write!(row, r#","{name}":{}.{}"#, tenths / 10, tenths % 10).expect("writing to a string");
        }
        row.push('}');
        row
    };
    (batch * ROWS..(batch + 1) * ROWS).map(row).collect()
}
