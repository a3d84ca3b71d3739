//! Rows of the dataset `load`.

use bytes::Bytes;
use hyper::{Method, Uri};
use orderwire_api::wire::DatasetInfo;
use orderwire_types::dataset::DatasetDef;

use super::{Done, Failure, JSON, NAME, NDJSON, Requests, Round, ask, foreign, hint, path};
use crate::error::{Error, ErrorKind};
use crate::load::draw::Draw;
use crate::load::http::Connection;
use crate::load::settings::Settings;
use crate::server::Server;

/// The columns of the dataset.
const DATASET: &str = r#"{"fields":[{"name":"at","type":"timestamp","required":true},
    {"name":"station","type":"text"},{"name":"value","type":"float"},{"name":"number","type":"integer"}],"time":"at"}"#;

/// Rows that are written, the same in each request.
#[derive(Debug)]
pub(super) struct Rows {
    draw: Draw,
    uri: Uri,
    content_type: &'static str,
    body: Bytes,
    count: u64,
}

impl Rows {
    pub(super) fn new(settings: &Settings, server: &Server, count: usize) -> Result<Self, Error> {
        Ok(Self {
            draw: settings.draw(),
            uri: path(server, &["v1", "datasets", NAME, "rows"])?,
            content_type: if count == 1 { JSON } else { NDJSON },
            body: Bytes::from(lines(count)),
            count: count as u64,
        })
    }

    pub(super) async fn round(
        &self,
        requests: &Requests,
        connection: &mut Connection,
        number: u64,
    ) -> Result<Round, Failure> {
        let mut request = requests.post(self.uri.clone(), self.content_type, self.body.clone());
        requests.name_client(&mut request, self.draw.client(number));
        ask(connection, request, false).await?;
        Ok(Round::Done(Done::now(self.count)))
    }
}

/// Makes the dataset, unless it is there. One that somebody else made is left alone.
pub(super) async fn dataset(server: &Server) -> Result<(), Error> {
    let def: DatasetDef = serde_json::from_str(DATASET).expect("the definition is sound");
    let path = ["v1", "datasets", NAME];
    match server.get::<DatasetInfo>(&path, &[]).await {
        Ok(there) if there.def.fields == def.fields && there.def.key == def.key => return Ok(()),
        Ok(_) => return Err(foreign(&format!("the dataset {NAME}"), "of other columns")),
        // Who may make it need not be who may look at it.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotAllowed) => {}
        Err(error) => return Err(error),
    }
    let made = server.text(server.request(Method::PUT, &path, &[]).json(&def)).await;
    made.map(drop).map_err(|error| hint(error, "make the dataset `load`"))
}

/// So many rows, one a line.
pub(super) fn lines(count: usize) -> String {
    let mut out = String::with_capacity(count * 100);
    for i in 0..count {
        let (hour, minute, second) = (i / 3_600 % 24, i / 60 % 60, i % 60);
        out.push_str(&format!(
            "{{\"at\":\"2026-11-01T{hour:02}:{minute:02}:{second:02}Z\",\"station\":\"station-{:02}\",\
             \"value\":{}.{},\"number\":{i}}}\n",
            i % 10,
            i % 90,
            i % 10
        ));
    }
    out.truncate(out.trim_end().len());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_fit_their_dataset() {
        use orderwire_types::{Limits, row::Reader};
        let def: DatasetDef = serde_json::from_str(DATASET).unwrap();
        assert_eq!(def.faults(), []);
        let reader = Reader::new(&def, &Limits::default());
        let text = lines(500);
        assert_eq!(text.lines().count(), 500);
        for row in text.lines() {
            reader.read(row, &mut Vec::new()).unwrap();
        }
    }
}
