//! What one process does alone.

use std::sync::Arc;
use std::time::Duration;

use super::super::Factory;
use super::super::kit::{Failed, Outcome, holds};
use super::case_list;

case_list![a_turn_is_given_to_one_at_a_time];

/// Far longer than a turn that is free takes.
const PATIENCE: Duration = Duration::from_secs(30);
/// For how long it is looked whether somebody waits.
const MOMENT: Duration = Duration::from_millis(300);

async fn a_turn_is_given_to_one_at_a_time(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    let late = |_| Failed("a turn that is free was not given".to_owned());
    let mut first = tokio::time::timeout(PATIENCE, store.turn("a")).await.map_err(late)?;
    let other = tokio::time::timeout(PATIENCE, store.turn("b")).await.map_err(late)?;
    let second = store.turn("a");
    tokio::pin!(second);
    let waits = tokio::time::timeout(MOMENT, &mut second).await.is_err();
    holds("who comes second waits", waits)?;
    let kept = tokio::time::timeout(MOMENT, first.lost()).await.is_err();
    holds("a turn is kept while its holder is there", kept)?;
    drop(first);
    let second = tokio::time::timeout(PATIENCE, second).await.map_err(late)?;
    drop((second, other));
    Ok(())
}
