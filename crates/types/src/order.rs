//! Orders and releases: the words for what is asked and how far it is.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What an order asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Create the release, or update it when it is there: what an order without
    /// an action asks for.
    Apply,
    /// Create the release; refused when it is there.
    Create,
    /// Update the release; refused when it is not there.
    Update,
    /// Bring back an earlier revision; refused when the release is not there.
    Rollback,
    /// Remove the release; refused when it is not there.
    Remove,
}

/// How far an order is.
///
/// `accepted → planned → applying → waiting → ready`; `accepted → unchanged`
/// when the content is the same; any unfinished → `failed`, `cancelled`,
/// `superseded`, or `rolling_back → rolled_back`. A removal is
/// `accepted → removing → removed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderState {
    /// Recorded; nothing else has happened.
    Accepted,
    /// Its revision is rendered and stored.
    Planned,
    /// Its revision is being handed to the target.
    Applying,
    /// The target has it; it is not healthy yet.
    Waiting,
    /// It is healthy. Final.
    Ready,
    /// The release has this content already; nothing was touched. Final.
    Unchanged,
    /// It could not be done; the reason says why. Final.
    Failed,
    /// It failed or was cancelled; the last ready revision is being restored.
    RollingBack,
    /// It failed; the last ready revision is back. Final.
    RolledBack,
    /// Somebody cancelled it; the last ready revision is back. Final.
    Cancelled,
    /// A newer order for the same release took its place. Final.
    Superseded,
    /// The release is being removed.
    Removing,
    /// The release is gone and nothing of it is left. Final.
    Removed,
}

impl OrderState {
    /// Every state.
    pub const ALL: [Self; 13] = [
        Self::Accepted,
        Self::Planned,
        Self::Applying,
        Self::Waiting,
        Self::Ready,
        Self::Unchanged,
        Self::Failed,
        Self::RollingBack,
        Self::RolledBack,
        Self::Cancelled,
        Self::Superseded,
        Self::Removing,
        Self::Removed,
    ];

    /// Whether nothing comes after it.
    pub fn is_final(self) -> bool {
        !matches!(
            self,
            Self::Accepted
                | Self::Planned
                | Self::Applying
                | Self::Waiting
                | Self::RollingBack
                | Self::Removing
        )
    }

    /// Whether the order got what it asked for.
    pub fn is_success(self) -> bool {
        matches!(self, Self::Ready | Self::Unchanged | Self::Removed)
    }

    /// Its name, as it is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Planned => "planned",
            Self::Applying => "applying",
            Self::Waiting => "waiting",
            Self::Ready => "ready",
            Self::Unchanged => "unchanged",
            Self::Failed => "failed",
            Self::RollingBack => "rolling_back",
            Self::RolledBack => "rolled_back",
            Self::Cancelled => "cancelled",
            Self::Superseded => "superseded",
            Self::Removing => "removing",
            Self::Removed => "removed",
        }
    }
}

/// How a release is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReleaseState {
    /// An order is being worked on.
    Changing,
    /// Its last ready revision runs.
    Ready,
    /// Its revision is on the target and is not healthy (any more).
    Degraded,
    /// Nothing of it is on the target: its first order did not succeed.
    Absent,
    /// Left as its failed order left it; not touched before the next order.
    Frozen,
    /// Gone.
    Removed,
}

impl ReleaseState {
    /// Every state.
    pub const ALL: [Self; 6] =
        [Self::Changing, Self::Ready, Self::Degraded, Self::Absent, Self::Frozen, Self::Removed];

    /// Its name, as it is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Changing => "changing",
            Self::Ready => "ready",
            Self::Degraded => "degraded",
            Self::Absent => "absent",
            Self::Frozen => "frozen",
            Self::Removed => "removed",
        }
    }
}

/// A word that names nothing of its kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not known")]
pub struct UnknownWord(pub String);

impl Action {
    /// Every action.
    pub const ALL: [Self; 5] = [Self::Apply, Self::Create, Self::Update, Self::Rollback, Self::Remove];

    /// Its name, as it is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Apply => "apply",
            Self::Create => "create",
            Self::Update => "update",
            Self::Rollback => "rollback",
            Self::Remove => "remove",
        }
    }
}

macro_rules! words {
    ($($name:ident),*) => {$(
        impl FromStr for $name {
            type Err = UnknownWord;

            fn from_str(text: &str) -> Result<Self, UnknownWord> {
                Self::ALL
                    .into_iter()
                    .find(|word| word.as_str() == text)
                    .ok_or_else(|| UnknownWord(text.chars().take(64).collect()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    )*};
}
words!(Action, OrderState, ReleaseState);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_back_and_are_the_wire_form() {
        for state in OrderState::ALL {
            assert_eq!(state.as_str().parse::<OrderState>().unwrap(), state);
            assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
        }
        for action in Action::ALL {
            assert_eq!(serde_json::to_value(action).unwrap(), action.as_str());
        }
        for state in ReleaseState::ALL {
            assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
        }
        assert!("Ready".parse::<OrderState>().is_err());
    }

    #[test]
    fn seven_states_are_final() {
        let names: Vec<_> =
            OrderState::ALL.into_iter().filter(|state| state.is_final()).map(OrderState::as_str).collect();
        assert_eq!(
            names,
            ["ready", "unchanged", "failed", "rolled_back", "cancelled", "superseded", "removed"]
        );
    }
}
