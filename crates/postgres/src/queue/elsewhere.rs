//! What other processes did to the queues.
//!
//! Every commit that made something ready, or changed definitions, is told to whoever
//! listens, and numbered in the rows that it changed. Who hears of one, and at the latest
//! after [`super::QueueOptions::look_every`], looks at what is newer than the look before.
//! So nothing depends on a message: a lost one only makes it later.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use orderwire_queue::engine::Elsewhere;
use orderwire_types::QueueName;
use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use super::{clock, timestamp};
use crate::db::{Database, Heard, Listener};
use crate::error::Error;

/// The least time from one look to the next.
const PAUSE: Duration = Duration::from_millis(10);

/// The numbers of commits that were ours and that no look has passed yet.
#[derive(Debug, Default)]
pub(super) struct Own(Mutex<BTreeSet<i64>>);

impl Own {
    pub(super) fn add(&self, number: i64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(number);
    }

    fn has(&self, number: i64) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(&number)
    }

    fn forget(&self, to: i64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|number| *number > to);
    }
}

/// Watches what others do, until it is dropped.
#[derive(Debug)]
pub(super) struct Watch {
    noticed: Arc<Noticed>,
    own: Arc<Own>,
    _listener: Listener,
    _looking: AbortOnDropHandle<()>,
}

/// What nobody asked for yet.
#[derive(Debug, Default)]
struct Noticed {
    news: Mutex<News>,
    some: Notify,
}

#[derive(Debug, Default)]
struct News {
    ready: BTreeSet<QueueName>,
    definitions: bool,
    next_expiry: Option<Timestamp>,
}

impl Watch {
    pub(super) fn new(database: Database, node: Uuid, look_every: Duration) -> Self {
        let (noticed, own, told) =
            (Arc::<Noticed>::default(), Arc::<Own>::default(), Arc::<Notify>::default());
        let listener = {
            let (told, node) = (Arc::clone(&told), node.to_string());
            Listener::spawn(database.clone(), &["orderwire_queue"], move |heard| {
                let ours = matches!(&heard, Heard::Told { payload, .. } if *payload == node);
                if !ours {
                    told.notify_one();
                }
            })
        };
        let looking =
            look_again_and_again(database, Arc::clone(&noticed), Arc::clone(&own), told, look_every);
        Self { noticed, own, _listener: listener, _looking: AbortOnDropHandle::new(tokio::spawn(looking)) }
    }

    pub(super) fn own(&self) -> Arc<Own> {
        Arc::clone(&self.own)
    }

    /// What happened since the last call, as soon as there is something.
    pub(super) async fn next(&self) -> Elsewhere {
        loop {
            let some = self.noticed.some.notified();
            let news = std::mem::take(&mut *self.noticed.news.lock().unwrap_or_else(PoisonError::into_inner));
            let News { ready, definitions, next_expiry } = news;
            if !ready.is_empty() || definitions || next_expiry.is_some() {
                return Elsewhere { ready: ready.into_iter().collect(), definitions, next_expiry };
            }
            some.await;
        }
    }
}

/// How far it was looked.
#[derive(Debug, Default)]
struct Seen {
    /// None before the first look, which is told nothing but the next expiry.
    commit: Option<i64>,
    next_expiry: Option<i64>,
    /// Whether the clocks were apart.
    is_apart: bool,
}

impl Seen {
    /// Notes by how much the clocks differ: told once, until they go together again.
    fn compare(&mut self, skew: SignedDuration) {
        let is_apart = skew.abs() >= clock::TOLD;
        if is_apart && !self.is_apart {
            tracing::warn!("{}: leases end too early, or too late", clock::told(skew));
        }
        self.is_apart = is_apart;
    }
}

async fn look_again_and_again(
    database: Database,
    noticed: Arc<Noticed>,
    own: Arc<Own>,
    told: Arc<Notify>,
    look_every: Duration,
) {
    let mut seen = Seen::default();
    let mut works = true;
    loop {
        match look(&database, &mut seen, &own, &noticed).await {
            Ok(()) => works = true,
            Err(error) => {
                if works {
                    tracing::warn!(%error, "what other processes do cannot be seen");
                }
                works = false;
            }
        }
        tokio::time::sleep(PAUSE).await;
        // Nobody told: it is looked all the same.
        let _ = tokio::time::timeout(look_every, told.notified()).await;
    }
}

async fn look(database: &Database, seen: &mut Seen, own: &Own, noticed: &Noticed) -> Result<(), Error> {
    let what = "looking at what other processes did";
    let newer = format!(
        "SELECT m.commits, m.defined,
            (SELECT l.until FROM queue.lane l WHERE l.state <> 0 ORDER BY l.until LIMIT 1), q.name, q.stirred,
            {}
        FROM queue.meta m LEFT JOIN queue.queue q ON q.stirred > $1",
        clock::CLOCK
    );
    let before = seen.commit.unwrap_or(i64::MAX);
    let asked = Timestamp::now();
    let rows = database.query(what, &newer, &[&before]).await?;
    let answered = Timestamp::now();
    let Some(first) = rows.first() else { return Err(Error::damaged("queue.meta is empty")) };
    seen.compare(clock::skew(asked, first.get(5), answered));
    let (commit, defined, next_expiry): (i64, i64, Option<i64>) = (first.get(0), first.get(1), first.get(2));
    let mut ready = BTreeSet::new();
    for row in &rows {
        let (name, stirred): (Option<&str>, Option<i64>) = (row.get(3), row.get(4));
        if let (Some(name), Some(stirred)) = (name, stirred)
            && !own.has(stirred)
        {
            ready.insert(name.parse().map_err(|error| Error::damaged(format!("a queue's name: {error}")))?);
        }
    }
    own.forget(commit);
    let expiry_is_news = next_expiry.is_some() && next_expiry != seen.next_expiry;
    let definitions = defined > before;
    *seen = Seen { commit: Some(commit), next_expiry, ..*seen };
    if ready.is_empty() && !definitions && !expiry_is_news {
        return Ok(());
    }
    let mut news = noticed.news.lock().unwrap_or_else(PoisonError::into_inner);
    news.ready.append(&mut ready);
    news.definitions |= definitions;
    if expiry_is_news {
        news.next_expiry = next_expiry.map(timestamp);
    }
    drop(news);
    noticed.some.notify_one();
    Ok(())
}
