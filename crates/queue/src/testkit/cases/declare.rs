use std::time::Duration;

use orderwire_types::QueueName;
use orderwire_types::queue::{Kind, QueueDef};

use crate::engine::{LaneKey, Op, Origin};
use crate::error::ErrorKind;
use crate::model::{Figures, QueueState};
use crate::testkit::bench::{Bench, Checked, configured, def, ensure_eq, labels, refused, say, tasks};

fn called() -> QueueName {
    "called".parse().expect("a queue name")
}

async fn definition(b: &Bench, name: &QueueName) -> Checked<Option<QueueDef>> {
    let all = b.engine().definitions().await.map_err(say)?;
    Ok(all.into_iter().find(|(other, _)| other == name).map(|(_, def)| def))
}

pub(super) async fn definitions_survive_reopening(b: &mut Bench) -> Checked {
    let own = QueueDef { attempts: 7, ..def(Kind::Task, "own.#") };
    b.engine().declare(&[(called(), own.clone())], Origin::Call).await.map_err(say)?;
    b.reopen().await?;
    ensure_eq!(definition(b, &called()).await?, Some(own.clone()), "a queue that a call declared");
    let changed = QueueDef { attempts: 9, ..own };
    b.engine().declare(&[(called(), changed.clone())], Origin::Call).await.map_err(say)?;
    ensure_eq!(definition(b, &called()).await?, Some(changed), "a queue that a call changed");
    ensure_eq!(definition(b, &tasks()).await?, Some(configured()[0].1.clone()), "a configured queue");
    Ok(())
}

pub(super) async fn a_queue_without_configuration_empties_and_disappears(b: &mut Bench) -> Checked {
    b.put(&[("left", "acme", "k")]).await?;
    let rest: Vec<_> = configured().into_iter().filter(|(name, _)| *name != tasks()).collect();
    b.engine().declare(&rest, Origin::Configuration).await.map_err(say)?;
    let unbound = definition(b, &tasks()).await?.ok_or("a queue with a delivery disappeared")?;
    ensure_eq!(unbound.types, [], "the patterns of a queue that is not configured any more");
    let got = b.claim(5).await?;
    ensure_eq!(labels(&got), ["left"], "what it holds");
    b.ack(&got[0]).await?;
    b.engine().declare(&rest, Origin::Configuration).await.map_err(say)?;
    ensure_eq!(definition(b, &tasks()).await?, None, "the empty queue");
    refused(b.engine().state(&tasks()).await, ErrorKind::NotFound, "the state of a queue that is gone")
}

pub(super) async fn the_states_of_all_queues_are_told_at_once(b: &mut Bench) -> Checked {
    b.engine().declare(&[(called(), def(Kind::Task, "own.#"))], Origin::Call).await.map_err(say)?;
    b.put(&[("a1", "acme", "k"), ("b1", "bolt", "k"), ("c1", "cord", "k"), ("d1", "door", "k")]).await?;
    let got = b.claim(3).await?;
    b.fail(&got[0], "bad").await?;
    b.nack(&got[1], Duration::from_secs(9)).await?;
    let entries = vec![b.stream_entry("e1", "acme"), b.stream_entry("e2", "acme")];
    b.append(entries).await?;
    b.op(Op::Pause { queue: called(), paused: true }).await?;
    let mut each = Vec::new();
    for (name, _) in b.engine().definitions().await.map_err(say)? {
        each.push(b.engine().state(&name).await.map_err(say)?);
    }
    let states = b.engine().states().await.map_err(say)?;
    let figures = states.iter().map(|state| {
        let counts = [state.ready, state.in_flight, state.delayed, state.dead];
        (state.name.as_str(), counts, state.oldest.is_some(), state.paused)
    });
    let expected = [
        ("called", [0, 0, 0, 0], false, true),
        ("others", [0, 0, 0, 0], false, false),
        ("stream", [2, 0, 0, 0], true, false),
        ("tasks", [1, 1, 1, 1], true, false),
    ];
    ensure_eq!(figures.collect::<Vec<_>>(), expected, "the states of all queues");
    ensure_eq!(states, each, "the states of all queues, next to that of each");
    let told =
        states.into_iter().map(|QueueState { name, ready, in_flight, delayed, dead, paused, .. }| {
            (name, Figures { ready, in_flight, delayed, dead, paused })
        });
    let figures = b.engine().figures().await.map_err(say)?;
    ensure_eq!(figures, told.collect::<Vec<_>>(), "the figures of all queues, next to their states");
    Ok(())
}

pub(super) async fn a_queue_with_deliveries_keeps_its_kind(b: &mut Bench) -> Checked {
    let other_kind = [(called(), def(Kind::Stream, "own.#"))];
    b.engine().declare(&[(called(), def(Kind::Task, "own.#"))], Origin::Call).await.map_err(say)?;
    let mut entry = b.entry("a1", "acme", "k");
    entry.queues = vec![(called(), LaneKey::Key("k".to_owned()))];
    b.append(vec![entry]).await?;
    refused(b.engine().declare(&other_kind, Origin::Call).await, ErrorKind::Conflict, "another kind")?;
    let got = b.claim_from(&called(), orderwire_types::scope::Clients::All, 1).await?;
    ensure_eq!(labels(&got), ["a1"], "its deliveries");
    b.settle_in(&called(), orderwire_types::scope::Clients::All, &got[0], crate::model::Settlement::Ack)
        .await?
        .map_err(say)?;
    b.engine().declare(&other_kind, Origin::Call).await.map_err(say)
}
