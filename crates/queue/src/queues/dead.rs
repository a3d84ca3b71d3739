//! Dead letters: found, edited, replayed, discarded.

use std::time::Duration;

use bytes::Bytes;
use orderwire_types::{Data, Event, Scope};

use super::{Queues, canonical, single, touches, wrong_outcome};
use crate::clock::after;
use crate::engine::{Edit, Op, Outcome};
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

    /// Puts other data into a dead letter; everything else of its event stays as it
    /// is. The letter as it is then.
    ///
    /// # Errors
    /// `NotFound` when it is gone, `Conflict` when somebody changed it after
    /// `letter` was read.
    pub async fn edit(
        &self,
        scope: &Scope,
        letter: &DeadLetter,
        data: Data,
        reason: Option<&str>,
    ) -> Result<DeadLetter, Error> {
        let gone = || Error::new(ErrorKind::NotFound, format!("dead letter {} does not exist", letter.id));
        if !touches(scope, &letter.queue) {
            return Err(gone());
        }
        let stored = Event::decode(&letter.body).map_err(|err| {
            Error::new(
                ErrorKind::Damaged,
                format!("edit dead letter {}: it cannot be read: {err}", letter.id),
            )
        })?;
        let body = Bytes::from(Event { data, ..stored }.encode());
        let edit = Edit {
            id: letter.id,
            clients: scope.clients.clone(),
            seen: letter.body.clone(),
            body: body.clone(),
            principal: scope.principal.as_ref().to_owned(),
            reason: reason.map(str::to_owned),
        };
        single(self.inner.committer.submit(vec![Op::Edit(edit)]).await?)?;
        Ok(DeadLetter { body, ..letter.clone() })
    }

    /// Puts the selected dead letters back at the end of their queues, page by
    /// page, each at most once. Letters that die after the call began are not
    /// selected, so that one that fails again at once is not replayed forever.
    pub async fn replay(&self, scope: &Scope, filter: &DeadFilter, dry_run: bool) -> Result<Selected, Error> {
        let mut selected = Selected::default();
        let mut selection = self.selection(scope, filter);
        while let Some(page) = selection.next().await? {
            selected.matched += page.len() as u64;
            for letters in pieces(&page, self.inner.options.lease_bytes).filter(|_| !dry_run) {
                selected.done += self.put_back(letters, &scope.principal).await?;
            }
        }
        Ok(selected)
    }

    /// Forgets the selected dead letters, page by page.
    pub async fn discard(
        &self,
        scope: &Scope,
        filter: &DeadFilter,
        dry_run: bool,
        reason: &str,
    ) -> Result<Selected, Error> {
        let mut selected = Selected::default();
        let mut selection = self.selection(scope, filter);
        while let Some(page) = selection.next().await? {
            selected.matched += page.len() as u64;
            for letters in pieces(&page, self.inner.options.lease_bytes).filter(|_| !dry_run) {
                let (principal, reason) = (scope.principal.as_ref().to_owned(), reason.to_owned());
                selected.done += self.count(Op::Discard { ids: ids(letters), principal, reason }).await?;
            }
        }
        Ok(selected)
    }

    /// Puts these letters back in one commit; how many were still there.
    pub(super) async fn put_back(&self, letters: &[DeadRef], principal: &str) -> Result<u64, Error> {
        let count = self.count(Op::Replay { ids: ids(letters), principal: principal.to_owned() }).await?;
        metrics::counter!("orderwire_dead_replayed_total").increment(count);
        Ok(count)
    }

    async fn count(&self, op: Op) -> Result<u64, Error> {
        match single(self.inner.committer.submit_patiently(vec![op]).await?)? {
            Outcome::Count(count) => Ok(count),
            _ => Err(wrong_outcome()),
        }
    }

    /// The letters that a filter selects now: of the scope, and none that dies later.
    pub(super) fn selection<'q>(&'q self, scope: &'q Scope, filter: &DeadFilter) -> Selection<'q> {
        let mut filter = filter.clone();
        filter.queue = filter.queue.as_ref().map(canonical);
        // The next moment that an engine can tell from now, which is included.
        let end = after(self.inner.clock.now(), Duration::from_micros(1));
        filter.until = Some(filter.until.map_or(end, |until| until.min(end)));
        self.selected(scope, filter)
    }

    /// The letters that the filter of a selection selected.
    pub(super) fn selected<'q>(&'q self, scope: &'q Scope, filter: DeadFilter) -> Selection<'q> {
        Selection { queues: self, scope, filter, after: Some(0) }
    }
}

/// Letters that are selected, page by page.
pub(super) struct Selection<'q> {
    queues: &'q Queues,
    scope: &'q Scope,
    filter: DeadFilter,
    /// The id after which the next page begins; `None` at the end.
    after: Option<i64>,
}

impl Selection<'_> {
    /// The next page, which may be empty; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<DeadRef>>, Error> {
        let Some(after) = self.after else { return Ok(None) };
        let inner = &self.queues.inner;
        let page = inner.engine.dead_refs(&self.scope.clients, &self.filter, after, PAGE);
        let mut page = inner.read("read dead letters", page).await?;
        page.items.retain(|letter| touches(self.scope, &letter.queue));
        self.after = page.next;
        Ok(Some(page.items))
    }

    /// What it selects, to be selected again.
    pub(super) fn into_filter(self) -> DeadFilter {
        self.filter
    }
}

/// How many of the first letters one commit carries, at least one of some: it ends
/// with the letter that reaches `max_bytes`.
pub(super) fn piece(letters: &[DeadRef], max_bytes: usize) -> usize {
    let mut room = max_bytes.max(1);
    let fits = |letter: &&DeadRef| {
        let fits = room > 0;
        room = room.saturating_sub(letter.bytes.max(1));
        fits
    };
    letters.iter().take_while(fits).count()
}

/// Letters in pieces for one commit each.
fn pieces(mut letters: &[DeadRef], max_bytes: usize) -> impl Iterator<Item = &[DeadRef]> {
    std::iter::from_fn(move || {
        let (now, later) = letters.split_at(piece(letters, max_bytes));
        letters = later;
        (!now.is_empty()).then_some(now)
    })
}

fn ids(letters: &[DeadRef]) -> Vec<i64> {
    letters.iter().map(|letter| letter.id).collect()
}
