//! Which events caused which.

use std::sync::Arc;

use orderwire_types::EventId;

use super::super::Factory;
use super::super::kit::{Outcome, all, at, client, id, only, same};
use super::case_list;
use crate::lineage::{KnownCause, Lineage, Link};
use crate::model::Sweep;
use crate::traits::Store;

case_list![
    causes_and_effects_are_found_to_any_depth,
    circles_of_causes_end,
    a_lineage_is_bounded,
    links_of_other_clients_are_not_there,
    links_go_when_they_are_old,
];

const FAR: usize = 1_000;

fn link(cause: u128, effect: u128) -> Link {
    Link {
        effect: EventId(id(effect)),
        effect_type: format!("t.{effect}"),
        client: client("a"),
        trace: id(1_000 + effect),
        cause: EventId(id(cause)),
        known: Some(KnownCause {
            event_type: format!("t.{cause}"),
            client: client("a"),
            trace: id(1_000 + cause),
        }),
        by: "rule r".to_owned(),
        at: at(i64::try_from(effect).unwrap_or(0)),
    }
}

/// The links around an event, as `cause>effect`.
async fn around(store: &Arc<dyn Store>, event: u128, links_max: usize) -> Outcome<(Vec<String>, bool)> {
    let lineage = store.lineage(&all(), &[id(event)], links_max).await?;
    Ok((shown(&lineage), lineage.cut))
}

fn shown(lineage: &Lineage) -> Vec<String> {
    let number = |event: EventId| event.0.as_u128();
    let mut links: Vec<String> =
        lineage.links.iter().map(|link| format!("{}>{}", number(link.cause), number(link.effect))).collect();
    links.sort();
    links
}

fn texts(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

async fn causes_and_effects_are_found_to_any_depth(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    // 1 > 2 > 3 > 4, and 2 > 5, on several days; 9 > 8 has nothing to do with it.
    let day = 86_400;
    let later = Link { at: at(3 * day), ..link(3, 4) };
    store.add_links(&[link(2, 3), later.clone(), link(9, 8)]).await?;
    store.add_links(&[link(1, 2), link(2, 5)]).await?;
    // What is noted again is there once.
    store.add_links(&[link(1, 2)]).await?;
    drop(store);
    let store = factory.open().await?;
    same("around the first", around(&store, 1, FAR).await?, (texts(&["1>2", "2>3", "2>5", "3>4"]), false))?;
    same("around the last", around(&store, 4, FAR).await?, (texts(&["1>2", "2>3", "3>4"]), false))?;
    same("around one between", around(&store, 3, FAR).await?, (texts(&["1>2", "2>3", "3>4"]), false))?;
    same("around none", around(&store, 7, FAR).await?, (Vec::new(), false))?;
    let whole = store.lineage(&all(), &[id(4)], FAR).await?;
    same("a whole link, the nearest first", whole.links.first(), Some(&later))?;
    let unknown = Link { known: None, ..link(4, 6) };
    store.add_links(std::slice::from_ref(&unknown)).await?;
    let whole = store.lineage(&all(), &[id(6), id(8)], FAR).await?;
    same("a cause of which no more is known", whole.links.contains(&unknown), true)?;
    same("around two", shown(&whole), texts(&["1>2", "2>3", "3>4", "4>6", "9>8"]))
}

async fn circles_of_causes_end(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    store.add_links(&[link(1, 2), link(2, 3), link(3, 1), link(4, 4)]).await?;
    same("a circle", around(&store, 2, FAR).await?, (texts(&["1>2", "2>3", "3>1"]), false))?;
    same("itself", around(&store, 4, FAR).await?, (texts(&["4>4"]), false))
}

async fn a_lineage_is_bounded(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    // However deep, and with a circle on the way.
    let chain: Vec<Link> = (1..300).map(|n| link(n, n + 1)).chain([link(200, 100)]).collect();
    store.add_links(&chain).await?;
    let (links, cut) = around(&store, 1, 300).await?;
    same("all of them", (links.len(), cut), (300, false))?;
    let (links, cut) = around(&store, 300, 299).await?;
    same("all but one", (links.len(), cut), (299, true))?;
    // Of what fans out further away than is told, the nearest is told.
    let fan: Vec<Link> = (0..400).map(|n| link(1_001, 10_000 - n)).collect();
    store.add_links(&fan).await?;
    store.add_links(&[link(999, 1_000), link(1_000, 1_001)]).await?;
    let (links, cut) = around(&store, 999, 2).await?;
    same("before a fan", (links, cut), (texts(&["1000>1001", "999>1000"]), true))?;
    let (links, cut) = around(&store, 1, 4).await?;
    same("by number, the nearest", (links, cut), (texts(&["1>2", "2>3", "3>4", "4>5"]), true))
}

async fn links_of_other_clients_are_not_there(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    let of_b = |link: Link| Link { client: client("b"), ..link };
    let by_b = |mut link: Link| {
        link.known.iter_mut().for_each(|known| known.client = client("b"));
        link
    };
    // 1 > 2 > 3, where 2 is of b.
    store.add_links(&[of_b(link(1, 2)), by_b(link(2, 3)), link(3, 4)]).await?;
    let seen = |scope, event| {
        let store = &store;
        async move { Outcome::Ok(shown(&store.lineage(&scope, &[id(event)], FAR).await?)) }
    };
    same("of a, from the first", seen(only(&["a"]), 1).await?, Vec::new())?;
    same("of a, from the last", seen(only(&["a"]), 4).await?, texts(&["3>4"]))?;
    same("of both", seen(only(&["a", "b"]), 4).await?, texts(&["1>2", "2>3", "3>4"]))
}

async fn links_go_when_they_are_old(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    let day = 86_400;
    store.add_links(&[link(1, 2), Link { at: at(10 * day), ..link(2, 3) }]).await?;
    let sweep =
        |limit| Sweep { now: at(10 * day), traces_before: at(5 * day), remembered_before: at(0), limit };
    store.sweep(sweep(100)).await?;
    same("what is left", around(&store, 2, FAR).await?, (texts(&["2>3"]), false))
}
