use orderwire_types::QueueName;
use orderwire_types::queue::{Kind, QueueDef};

use crate::engine::{LaneKey, Origin};
use crate::error::ErrorKind;
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
