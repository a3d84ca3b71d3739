//! The ends of lanes that a run of appends makes longer.
//!
//! Many events of one group go to the same few lanes. What changes at the end
//! of a lane is collected and written once, before anything but an append looks
//! at it.

use std::collections::HashMap;
use std::fmt::Write as _;

use rusqlite::{Connection, OptionalExtension};

/// Lanes by queue, client and key, as the open transaction's appends left them.
#[derive(Debug, Default)]
pub(super) struct Ends {
    lanes: HashMap<String, End>,
    /// Where names are put together.
    name: String,
}

#[derive(Debug)]
struct End {
    queue: i64,
    lane: i64,
    /// Deliveries that the lane's row does not count yet.
    more: i64,
    /// The last of them.
    tail: i64,
}

impl Ends {
    /// Counts a delivery at the end of the lane of this key; the lane, if there is one.
    pub(super) fn extend(
        &mut self,
        db: &Connection,
        queue: i64,
        client: &str,
        key: &str,
        position: i64,
    ) -> rusqlite::Result<Option<i64>> {
        self.set_name(queue, client, key);
        if let Some(end) = self.lanes.get_mut(&self.name) {
            (end.more, end.tail) = (end.more + 1, position);
            return Ok(Some(end.lane));
        }
        let lane = db
            .prepare_cached("SELECT lane FROM lane WHERE queue = ?1 AND client = ?2 AND key = ?3")?
            .query_row((queue, client, key), |row| row.get(0))
            .optional()?;
        if let Some(lane) = lane {
            self.lanes.insert(self.name.clone(), End { queue, lane, more: 1, tail: position });
        }
        Ok(lane)
    }

    /// A lane has a row now that counts its first delivery.
    pub(super) fn opened(&mut self, queue: i64, client: &str, key: &str, lane: i64) {
        self.set_name(queue, client, key);
        self.lanes.insert(self.name.clone(), End { queue, lane, more: 0, tail: lane });
    }

    /// Writes what was collected.
    pub(super) fn write(&mut self, db: &Connection) -> rusqlite::Result<()> {
        if self.lanes.is_empty() {
            return Ok(());
        }
        let mut update = db
            .prepare_cached("UPDATE lane SET count = count + ?3, tail = ?4 WHERE queue = ?1 AND lane = ?2")?;
        for end in self.lanes.values().filter(|end| end.more > 0) {
            update.execute([end.queue, end.lane, end.more, end.tail])?;
        }
        self.lanes.clear();
        Ok(())
    }

    /// No client has a NUL in its name, so that no two lanes have the same name.
    fn set_name(&mut self, queue: i64, client: &str, key: &str) {
        self.name.clear();
        write!(self.name, "{queue}\0{client}\0{key}").expect("a string takes any text");
    }
}
