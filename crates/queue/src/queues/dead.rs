//! Dead letters: found, replayed, discarded.

use orderwire_types::Scope;

use super::{Queues, canonical, single, touches, wrong_outcome};
use crate::clock::after;
use crate::engine::{Op, Outcome};
use crate::error::{Error, ErrorKind};
use crate::model::{DeadFilter, DeadLetter, DeadPage, DeadRef};

/// How many dead letters one commit replays or discards.
const PAGE: usize = 256;

/// What a replay or discard did, or would do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Selected {
    /// How many dead letters the filter selected.
    pub matched: u64,
    /// How many of them were replayed or discarded: none in a dry run, and
    /// fewer than matched when somebody else was faster.
    pub done: u64,
}

impl Queues {
    /// A page of dead letters of the scope, by ascending id, after the id
    /// `after`, as many as one lease holds. May be short, or empty, although
    /// there is a next one.
    pub async fn dead(
        &self,
        scope: &Scope,
        filter: &DeadFilter,
        after: i64,
        max: usize,
    ) -> Result<DeadPage, Error> {
        let mut filter = filter.clone();
        filter.queue = filter.queue.as_ref().map(canonical);
        let max = max.clamp(1, self.inner.options.lease_deliveries.max(1));
        let bytes = self.inner.options.lease_bytes;
        let page = self.inner.engine.dead(&scope.clients, &filter, after, max, bytes);
        let mut page = self.inner.read("read dead letters", page).await?;
        page.items.retain(|letter| touches(scope, &letter.queue));
        Ok(page)
    }

    /// One dead letter.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn dead_letter(&self, scope: &Scope, id: i64) -> Result<DeadLetter, Error> {
        let filter = DeadFilter { ids: Some(vec![id]), ..DeadFilter::default() };
        let page = self.dead(scope, &filter, 0, 1).await?;
        page.items
            .into_iter()
            .next()
            .ok_or_else(|| Error::new(ErrorKind::NotFound, format!("dead letter {id} does not exist")))
    }

    /// Puts the selected dead letters back at the end of their queues, page by
    /// page, each at most once. Letters that die after the call began are not
    /// selected, so that one that fails again at once is not replayed forever.
    pub async fn replay(&self, scope: &Scope, filter: &DeadFilter, dry_run: bool) -> Result<Selected, Error> {
        let principal = scope.principal.as_ref().to_owned();
        self.each_page(scope, filter, dry_run, |ids| Op::Replay { ids, principal: principal.clone() }).await
    }

    /// Forgets the selected dead letters, page by page.
    pub async fn discard(
        &self,
        scope: &Scope,
        filter: &DeadFilter,
        dry_run: bool,
        reason: &str,
    ) -> Result<Selected, Error> {
        let principal = scope.principal.as_ref().to_owned();
        let discard = |ids| Op::Discard { ids, principal: principal.clone(), reason: reason.to_owned() };
        self.each_page(scope, filter, dry_run, discard).await
    }

    async fn each_page(
        &self,
        scope: &Scope,
        filter: &DeadFilter,
        dry_run: bool,
        op: impl Fn(Vec<i64>) -> Op,
    ) -> Result<Selected, Error> {
        let mut filter = filter.clone();
        filter.queue = filter.queue.as_ref().map(canonical);
        // The next moment that an engine can tell from now, which is included.
        let end = after(self.inner.clock.now(), std::time::Duration::from_micros(1));
        filter.until = Some(filter.until.map_or(end, |until| until.min(end)));
        let mut selected = Selected::default();
        let mut last = 0;
        loop {
            let page = self.inner.engine.dead_refs(&scope.clients, &filter, last, PAGE);
            let mut page = self.inner.read("read dead letters", page).await?;
            page.items.retain(|letter| touches(scope, &letter.queue));
            selected.matched += page.items.len() as u64;
            let pieces =
                if dry_run { Vec::new() } else { pieces(&page.items, self.inner.options.lease_bytes) };
            for ids in pieces {
                match single(self.inner.committer.submit_patiently(vec![op(ids)]).await?)? {
                    Outcome::Count(count) => selected.done += count,
                    _ => return Err(wrong_outcome()),
                }
            }
            match page.next {
                Some(next) => last = next,
                None => return Ok(selected),
            }
        }
    }
}

/// The ids in pieces for one commit each: a piece ends with the letter that
/// reaches `max_bytes`.
fn pieces(letters: &[DeadRef], max_bytes: usize) -> Vec<Vec<i64>> {
    let mut pieces: Vec<Vec<i64>> = Vec::new();
    let mut room = 0;
    for letter in letters {
        match pieces.last_mut().filter(|_| room > 0) {
            Some(piece) => piece.push(letter.id),
            None => {
                pieces.push(vec![letter.id]);
                room = max_bytes;
            }
        }
        room = room.saturating_sub(letter.bytes.max(1));
    }
    pieces
}
