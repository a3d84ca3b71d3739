//! The first steps of an order: what is to run, and what has to be there for it.

use orderwire_store::ErrorKind;
use orderwire_store::orders::{Advance, ResourceName, Revision};
use orderwire_types::{OrderState, RawJson, ReleaseState};

use super::carry::Goal;
use super::change::Build;
use super::work::{Flow, Stop, Work};
use crate::content::Content;
use crate::draft::{Draft, DraftError, draft};
use crate::target::Manifest;

/// Why a step that touches nothing on the target did not succeed.
enum Fault {
    Refused(String),
    Away(String),
}

impl Work {
    /// `plan`: the content that the order asks for becomes a revision, unless the
    /// release has it already.
    pub(super) async fn plan(&mut self) -> Result<Flow, Stop> {
        if !self.is_open("plan") {
            self.advance(Advance::default().begun("plan")).await?;
        }
        let Some(order) = &self.order else { return Ok(Flow::Due(None)) };
        let drafted = self.shared.within(draft(&self.shared.parts, order, &self.release)).await;
        let Draft { content, hash } = match drafted {
            Some(Ok(draft)) => draft,
            Some(Err(DraftError::Refused(reason))) => return self.fail_untouched("plan", &reason).await,
            Some(Err(DraftError::Unavailable(reason))) => return self.try_later("plan", &reason).await,
            None => return self.try_later("plan", "rendering the product took too long").await,
        };
        let same = self.ready_with(&hash).await?;
        let status = &self.release.status;
        if let Some(number) = same
            && status.applied == same
            && status.handed_over
            && status.state == ReleaseState::Ready
        {
            let detail = format!("revision {number} has this content already");
            let advance = Advance { revision: same, ..Advance::default() };
            let advance = advance.state(OrderState::Unchanged, None).done("plan");
            self.advance(advance.step(self.step("planned", "ok", Some(detail)))).await?;
            return Ok(Flow::Due(None));
        }
        let number = same.unwrap_or(self.release.revisions + 1);
        let new_revision = same.is_none().then(|| Revision {
            number,
            hash,
            content: RawJson::of(&content).expect("a content is serialisable"),
            order: order.id,
            trace: order.trace.clone(),
            created_at: self.shared.now(),
            ready_at: None,
        });
        let detail = match same {
            None => format!("revision {number}, {} objects", content.manifests.len()),
            Some(_) => format!("revision {number} again"),
        };
        let named = |manifest: &Manifest| ResourceName {
            kind: manifest.kind().to_owned(),
            name: manifest.name().to_owned(),
        };
        let resources = content.manifests.iter().map(named).collect();
        self.loaded = Some((number, content.into()));
        let advance = Advance { revision: Some(number), new_revision, resources, ..Advance::default() };
        let advance = advance.state(OrderState::Planned, None).done("plan").begun("prepare");
        self.advance(advance.step(self.step("planned", "ok", Some(detail)))).await?;
        Ok(Flow::On)
    }

    /// The number of the ready revision when it has this hash.
    async fn ready_with(&self, hash: &str) -> Result<Option<u64>, Stop> {
        let Some(ready) = self.release.status.ready else { return Ok(None) };
        let store = &self.shared.parts.store;
        let revision = store.revision(&self.shared.scope, self.release.id, ready).await?;
        Ok(revision.filter(|revision| revision.hash == hash).map(|revision| revision.number))
    }

    /// `prepare`: datasets that the product writes exist. Then the hand-over is begun.
    pub(super) async fn prepare(&mut self) -> Result<Flow, Stop> {
        let number = self.order.as_ref().and_then(|order| order.revision).unwrap_or_default();
        let content = match self.content(number).await? {
            Ok(content) => content,
            Err(reason) => return self.fail_untouched("prepare", &reason).await,
        };
        let made = match self.define_datasets(&content).await {
            Ok(made) => made,
            Err(Fault::Refused(reason)) => return self.fail_untouched("prepare", &reason).await,
            Err(Fault::Away(reason)) => return self.try_later("prepare", &reason).await,
        };
        let detail = (!made.is_empty()).then(|| format!("datasets made: {}", made.join(", ")));
        let advance = Advance::default().done("prepare").step(self.step("prepared", "ok", detail));
        let goal = Goal { step: "apply", number, content };
        self.begin(&goal, advance.state(OrderState::Applying, None)).await?;
        Ok(Flow::On)
    }

    /// Makes the datasets that do not exist; their names. One that exists belongs to
    /// those who read it and is never changed here.
    async fn define_datasets(&self, content: &Content) -> Result<Vec<String>, Fault> {
        let Self { shared, .. } = self;
        let store = &shared.parts.store;
        let mut made = Vec::new();
        for (name, def) in &content.datasets {
            if store.dataset(&shared.scope, name).is_some() {
                continue;
            }
            match store.define(&shared.scope, name, def, shared.now()).await {
                Ok(_) => made.push(name.to_string()),
                Err(error) if matches!(error.kind(), ErrorKind::Conflict | ErrorKind::Invalid) => {
                    return Err(Fault::Refused(format!("dataset {name} cannot be made: {error}")));
                }
                Err(error) => return Err(Fault::Away(format!("dataset {name} cannot be made now: {error}"))),
            }
        }
        Ok(made)
    }
}
