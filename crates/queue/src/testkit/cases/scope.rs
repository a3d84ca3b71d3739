use orderwire_types::Client;
use orderwire_types::scope::Clients;

use crate::engine::{Edit, Op};
use crate::error::ErrorKind;
use crate::model::{DeadFilter, Settlement};
use crate::testkit::bench::{Bench, Checked, edit, ensure_eq, label, labels, only, refused, say, tasks};

pub(super) async fn a_claim_stays_within_its_clients(b: &mut Bench) -> Checked {
    b.put(&[("a1", "acme", "k"), ("b1", "bolt", "k"), ("c1", "cord", "k")]).await?;
    let mut got = b.claim_from(&tasks(), only(&["bolt", "cord"]), 10).await?;
    got.sort_by(|a, b| a.label.cmp(&b.label));
    ensure_eq!(labels(&got), ["b1", "c1"], "deliveries of two clients");
    ensure_eq!(
        labels(&b.claim_from(&tasks(), only(&["nobody"]), 10).await?),
        [""; 0],
        "deliveries of nobody"
    );
    ensure_eq!(labels(&b.claim_from(&tasks(), only(&[]), 10).await?), [""; 0], "deliveries of no client");
    Ok(())
}

pub(super) async fn a_settlement_stays_within_its_clients(b: &mut Bench) -> Checked {
    b.put(&[("a1", "acme", "k")]).await?;
    let got = b.claim(1).await?;
    let stranger = b.settle_in(&tasks(), only(&["bolt"]), &got[0], Settlement::Ack).await?;
    refused(stranger, ErrorKind::NotFound, "an ack by another client's consumer")?;
    let until = crate::clock::after(b.now, std::time::Duration::from_secs(3600));
    let extend = Op::Extend { queue: tasks(), delivery: got[0].id, clients: only(&["bolt"]), until };
    refused(b.try_op(extend).await?, ErrorKind::NotFound, "an extension by another client's consumer")?;
    b.settle_in(&tasks(), only(&["acme"]), &got[0], Settlement::Ack).await?.map_err(say)?;
    Ok(())
}

pub(super) async fn looking_stays_within_its_clients(b: &mut Bench) -> Checked {
    let entry = b.entry("b1", "bolt", "k");
    let trace = entry.trace;
    b.append(vec![entry]).await?;
    b.put(&[("a1", "acme", "k")]).await?;
    let peeked = b.engine().peek(&tasks(), &only(&["acme"]), 10, usize::MAX).await.map_err(say)?;
    let peeked: Vec<String> = peeked.iter().map(|(_, entry)| label(&entry.body)).collect::<Checked<_>>()?;
    ensure_eq!(peeked, ["a1"], "a look at the queue");

    let got = b.claim_from(&tasks(), only(&["bolt"]), 1).await?;
    b.fail(&got[0], "no").await?;
    let all = DeadFilter::default();
    let dead = b.engine().dead(&only(&["acme"]), &all, 0, 10, usize::MAX).await.map_err(say)?;
    ensure_eq!(dead.items.len(), 0, "dead letters of another client");
    ensure_eq!(dead.next, None, "a further page of another client's dead letters");
    let dead = b.engine().dead(&only(&["bolt"]), &all, 0, 10, usize::MAX).await.map_err(say)?;
    ensure_eq!(dead.items.len(), 1, "dead letters of the client");

    let view = b.engine().trace(trace, &only(&["acme"])).await.map_err(say)?;
    ensure_eq!(
        (view.client, view.steps.len(), view.open, view.dead),
        (None, 0, 0, 0),
        "another client's trace"
    );
    let view = b.engine().trace(trace, &Clients::All).await.map_err(say)?;
    ensure_eq!(view.client.as_ref().map(Client::as_str), Some("bolt"), "the trace's client");
    Ok(())
}

pub(super) async fn an_edit_stays_within_its_clients(b: &mut Bench) -> Checked {
    b.put(&[("b1", "bolt", "k")]).await?;
    let got = b.claim(1).await?;
    b.fail(&got[0], "no").await?;
    let all = DeadFilter::default();
    let letter = b.dead(&all).await?.remove(0);
    let body = b.entry("b1 mended", "bolt", "k").body;
    let of = |clients: &[&str]| match edit(&letter, &letter.body, &body) {
        Op::Edit(edit) => Op::Edit(Edit { clients: only(clients), ..edit }),
        op => op,
    };
    refused(b.try_op(of(&["acme"])).await?, ErrorKind::NotFound, "an edit for another client")?;
    ensure_eq!(b.dead(&all).await?[0].body, letter.body, "the letter after an edit for another client");
    b.op(of(&["acme", "bolt"])).await?;
    ensure_eq!(b.dead(&all).await?[0].body, body, "the letter after an edit for its client");
    Ok(())
}
