//! What a change makes of a client, once for every engine.

use std::collections::BTreeMap;

use orderwire_types::RawJson;
use serde_json::value::RawValue;

use crate::error::{Error, ErrorKind};
use crate::model::{ClientChange, ClientRecord};

/// Members of an object: sorted, each as it was written.
type Attributes = BTreeMap<String, Box<RawValue>>;

impl ClientChange {
    /// What the client is after this change. One that is older than what is there only
    /// shows that the client was there earlier.
    ///
    /// # Errors
    /// `Invalid` when its attributes are no object, `Damaged` when those that are there are none.
    pub fn applied_to(&self, there: Option<ClientRecord>) -> Result<ClientRecord, Error> {
        let failed = |kind, what: &str, error: serde_json::Error| {
            Error::new(kind, format!("changing client {}: {what}{error}", self.client))
        };
        let set: Attributes = serde_json::from_str(self.attributes.get())
            .map_err(|error| failed(ErrorKind::Invalid, "its attributes must be an object: ", error))?;
        let mut attributes = Attributes::new();
        let mut since = self.at;
        if let Some(record) = there {
            since = since.min(record.since);
            if self.at < record.changed_at {
                return Ok(ClientRecord { since, ..record });
            }
            attributes = serde_json::from_str(record.attributes.get()).map_err(|error| {
                failed(ErrorKind::Damaged, "its stored attributes are no object: ", error)
            })?;
        }
        for (name, value) in set {
            match value.get() {
                "null" => attributes.remove(&name),
                _ => attributes.insert(name, value),
            };
        }
        let attributes = RawJson::of(&attributes).map_err(|error| failed(ErrorKind::Invalid, "", error))?;
        let (client, trace) = (self.client.clone(), self.trace);
        Ok(ClientRecord { client, since, changed_at: self.at, trace, attributes })
    }
}
