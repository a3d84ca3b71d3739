//! Dropping what is past its retention, a piece at a time.

use orderwire_queue::engine::{Outcome, Sweep};

use super::nanos;
use super::writer::{Stop, Tx};

impl Tx<'_> {
    pub(super) fn sweep(&mut self, sweep: &Sweep) -> Result<Outcome, Stop> {
        let before = nanos(sweep.remembered_before);
        let dropped = self.state.lists(self.db)?.remembered.forget(self.db, before, sweep.limit)?
            + self.drop_steps(nanos(sweep.steps_before), sweep.limit)?
            + self.drop_dead(nanos(sweep.dead_before), sweep.limit)?;
        Ok(Outcome::Count(u64::try_from(dropped).expect("a count")))
    }

    fn drop_dead(&mut self, before: i64, limit: usize) -> rusqlite::Result<usize> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let queues: Vec<i64> = self
            .db
            .prepare_cached(
                "DELETE FROM dead WHERE id IN (SELECT id FROM dead WHERE died_at < ?1 ORDER BY died_at LIMIT ?2)
                 RETURNING queue",
            )?
            .query_map([before, limit], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        for queue in &queues {
            self.state.queue_mut(*queue).dead -= 1;
        }
        Ok(queues.len())
    }
}
