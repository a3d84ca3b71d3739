//! The delivery log of a twin.

use crate::Error;
use crate::log::{AttemptFilter, DeliveryAttempt, DeliveryLog, LoggedAttempt};
use async_trait::async_trait;
use jiff::Timestamp;
use orderwire_types::{Label, Scope};

use super::{Fault, Twin, rewrite};

#[async_trait]
impl DeliveryLog for Twin {
    async fn log_attempts(
        &self,
        endpoint: &Label,
        attempts: &[DeliveryAttempt],
        keep: u64,
    ) -> Result<(), Error> {
        let keep = if self.fault == Fault::LogsWithoutBound { u64::MAX } else { keep };
        self.inner.log_attempts(endpoint, attempts, keep).await
    }

    async fn attempts(
        &self,
        scope: &Scope,
        endpoint: &Label,
        filter: &AttemptFilter,
        before: Option<u64>,
        max: usize,
    ) -> Result<Vec<LoggedAttempt>, Error> {
        let filter = match self.fault {
            Fault::IgnoresFilters => &AttemptFilter::default(),
            _ => filter,
        };
        let scope = rewrite::scope(self.fault, scope);
        let mut found = self.inner.attempts(&scope, endpoint, filter, before, max).await?;
        if self.fault == Fault::LogsBackwards {
            found.reverse();
        }
        Ok(found)
    }

    async fn sweep_attempts(&self, before: Timestamp, limit: usize) -> Result<u64, Error> {
        let limit = if self.fault == Fault::SweepsWithoutLimit { usize::MAX } else { limit };
        let before = if self.fault == Fault::SweepsNoAttempts { Timestamp::UNIX_EPOCH } else { before };
        self.inner.sweep_attempts(before, limit).await
    }
}
