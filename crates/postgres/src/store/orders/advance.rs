//! What changes with the work on a release.

use orderwire_store::orders::{Advance, Lease, Order, Release, ReleaseStatus, ResourceName, Revision};
use orderwire_types::{EventId, OrderState, ReleaseState};

use super::due;
use super::rows::{integer, known_order, known_release, stored_order};
use super::state::{add_steps, change};
use crate::store::error::{Failure, invalid, not_found};
use crate::store::session::Session;
use crate::store::value::{Moment, escaped};

pub(super) async fn advance(
    session: &Session,
    lease: Lease,
    id: EventId,
    advance: &Advance,
) -> Result<Order, Failure> {
    let held = due::held(session, lease).await?;
    let release = known_release(session, lease.release).await?;
    let order = stored_order(session, id).await?.filter(|order| order.release == Some(release.id));
    let order =
        order.ok_or_else(|| not_found(format!("release {} has no order {id} to advance", release.id)))?;
    if let Some(revision) = &advance.new_revision {
        add_revision(session, &release, revision, &advance.resources).await?;
    }
    if let Some(number) = advance.became_ready {
        let sql =
            "UPDATE store.revision SET ready_at = coalesce(ready_at, $3) WHERE release = $1 AND number = $2";
        session.execute(sql, &[&release.id, &integer(number), &Moment(advance.at)]).await?;
    }
    advance_order(session, &order, advance).await?;
    let newest = known_order(session, release.order).await?;
    // What was removed stays as it was then.
    if let Some(status) = advance.status.as_ref().filter(|_| !held.removed) {
        let removed = status.state == ReleaseState::Removed;
        // An order that came while the release was being removed still needs it.
        if removed && newest.state.is_final() {
            set_status(session, &release, status, advance, true).await?;
            let sql = "UPDATE store.release_order SET newest = false WHERE id = $1";
            session.execute(sql, &[&release.order.0]).await?;
            due::end(session, release.id, &held).await?;
        } else if removed {
            let status = ReleaseStatus { state: ReleaseState::Changing, ..status.clone() };
            set_status(session, &release, &status, advance, false).await?;
        } else {
            set_status(session, &release, status, advance, false).await?;
        }
    }
    add_steps(session, &order, advance.steps.clone(), advance.at).await?;
    Ok(newest)
}

async fn add_revision(
    session: &Session,
    release: &Release,
    revision: &Revision,
    resources: &[ResourceName],
) -> Result<(), Failure> {
    if revision.number != release.revisions + 1 {
        return Err(invalid(format!(
            "release {} has {} revisions: the next one cannot have number {}",
            release.id, release.revisions, revision.number
        ))
        .into());
    }
    let sql = "INSERT INTO store.revision (release, number, hash, content, order_id, trace, trace_given, \
               created_at, ready_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    session
        .execute(
            sql,
            &[
                &release.id,
                &integer(revision.number),
                &revision.hash,
                &revision.content.get(),
                &revision.order.0,
                &revision.trace.id,
                &revision.trace.given,
                &Moment(revision.created_at),
                &revision.ready_at.map(Moment),
            ],
        )
        .await?;
    let resources = resources.iter().filter(|resource| resource.is_findable());
    let (kinds, names): (Vec<String>, Vec<String>) =
        resources.map(|resource| (escaped(&resource.kind), escaped(&resource.name))).unzip();
    let sql = "INSERT INTO store.revision_resource (release, number, kind, name) \
               SELECT $1, $2, kind, name FROM unnest($3::text[], $4::text[]) AS r (kind, name) ON CONFLICT DO NOTHING";
    session.execute(sql, &[&release.id, &integer(revision.number), &kinds, &names]).await?;
    let sql = "UPDATE store.release SET revisions = $2, stored = stored + 1 WHERE id = $1";
    session.execute(sql, &[&release.id, &integer(revision.number)]).await?;
    Ok(())
}

/// Writes what an advance says of its order. What is told of a state holds all
/// of it, hence the state is written last.
async fn advance_order(session: &Session, order: &Order, advance: &Advance) -> Result<(), Failure> {
    let id = order.id.0;
    session
        .execute("UPDATE store.release_order SET claimed = true WHERE id = $1 AND NOT claimed", &[&id])
        .await?;
    if let Some(revision) = advance.revision {
        let sql = "UPDATE store.release_order SET revision = $2 WHERE id = $1";
        session.execute(sql, &[&id, &integer(revision)]).await?;
    }
    if !advance.removed.is_empty() {
        let sql = "UPDATE store.release_order SET removed = $2 WHERE id = $1";
        session.execute(sql, &[&id, &advance.removed]).await?;
    }
    let sql = "INSERT INTO store.order_journal (order_id, n, at, step, outcome, detail) VALUES ($1, \
               (SELECT coalesce(max(n), 0) + 1 FROM store.order_journal WHERE order_id = $1), $2, $3, $4, $5)";
    for (step, outcome, detail) in &advance.journal {
        let detail = detail.as_deref().map(escaped);
        session.execute(sql, &[&id, &Moment(advance.at), step, outcome, &detail]).await?;
    }
    let Some((state, reason)) = &advance.state else { return Ok(()) };
    write_state(session, order, *state, reason.as_deref(), advance).await
}

async fn write_state(
    session: &Session,
    order: &Order,
    state: OrderState,
    reason: Option<&str>,
    advance: &Advance,
) -> Result<(), Failure> {
    if order.state.is_final() {
        return Ok(());
    }
    if order.state != state {
        return change(session, order.id, state, reason, advance.at).await;
    }
    let sql = "UPDATE store.release_order SET reason = $2 WHERE id = $1";
    session.execute(sql, &[&order.id.0, &reason.map(escaped)]).await?;
    Ok(())
}

async fn set_status(
    session: &Session,
    release: &Release,
    status: &ReleaseStatus,
    advance: &Advance,
    removed: bool,
) -> Result<(), Failure> {
    let at = if *status == release.status { release.updated_at } else { advance.at };
    let sql = "UPDATE store.release SET state = $2, reason = $3, ready = $4, applied = $5, keys_made = $6, \
               keys_revoked = $7, resources = $8, updated_at = $9, \
               removed_at = CASE WHEN $10 THEN coalesce(removed_at, $9) ELSE removed_at END, \
               handed_over = $11 WHERE id = $1";
    session
        .execute(
            sql,
            &[
                &release.id,
                &status.state.as_str(),
                &status.reason.as_deref().map(escaped),
                &status.ready.map(integer),
                &status.applied.map(integer),
                &integer(status.keys_made),
                &integer(status.keys_revoked),
                &status.resources.get(),
                &Moment(at),
                &removed,
                &status.handed_over,
            ],
        )
        .await?;
    Ok(())
}
