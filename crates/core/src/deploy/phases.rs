//! The transition table of deployments: all of it, in one exhaustive match. A pair that is not listed is refused by name.

use super::deployment::{End, Phase};
use crate::time::Time;
use serde::{Deserialize, Serialize};

/// What may happen to a deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happening {
    /// Its build begins.
    BuildBegins,
    /// Its release is there.
    Built,
    /// Its environment is to rise.
    StartBegins,
    /// All instances of its environment run.
    Raised,
    /// Healthy, and the app holds deployments for a user.
    Holds,
    /// The cut-over.
    GoesLive {
        /// Its turn.
        turn: u64,
        /// When.
        since: Time,
    },
    /// Its environment disappeared before it went live, as in a reboot: it starts again.
    StartsAgain,
    /// The bake is over.
    Bakes,
    /// It ends without staying in production.
    Ends {
        /// How.
        end: End,
    },
}

/// A pair that the table does not have. It is a fault of the machine, never of a user: nothing is committed.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, thiserror::Error,
)]
#[error(
    "the machine wanted `{happening}` of something that is `{state}`, which the transition table does not allow; nothing was changed"
)]
pub struct Illegal {
    /// Where it was.
    pub state: &'static str,
    /// What was to happen.
    pub happening: &'static str,
}

impl Happening {
    /// The word for logs, tests and refusals.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::BuildBegins => "build_begins",
            Self::Built => "built",
            Self::StartBegins => "start_begins",
            Self::Raised => "raised",
            Self::Holds => "holds",
            Self::GoesLive { .. } => "goes_live",
            Self::StartsAgain => "starts_again",
            Self::Bakes => "bakes",
            Self::Ends { end: End::Failed { .. } } => "fails",
            Self::Ends { end: End::Cancelled { .. } } => "is_cancelled",
            Self::Ends { end: End::Superseded { .. } } => "is_superseded",
            Self::Ends { end: End::Finished } => "finishes",
        }
    }
}

/// Where a deployment is after something happened to it.
///
/// # Errors
/// If that cannot happen to a deployment in this phase.
pub fn apply(phase: &Phase, happening: Happening) -> Result<Phase, Illegal> {
    use {Happening as H, Phase as P};
    let refused = Illegal { state: phase.word(), happening: happening.word() };
    Ok(match (phase, happening) {
        (P::Queued, H::BuildBegins) => P::Building,
        (P::Building, H::Built) => P::Ready,
        (P::Queued | P::Ready, H::StartBegins) => P::Starting,
        (P::Starting, H::Raised) => P::Checking,
        (P::Checking, H::Holds) => P::Held,
        (P::Checking | P::Held, H::StartsAgain) => P::Starting,
        (P::Checking | P::Held, H::GoesLive { turn, since }) => P::Live { turn, since },
        (P::Live { turn, .. }, H::Bakes) => P::Baked { turn: *turn },
        (
            P::Building | P::Starting | P::Checking | P::Held | P::Live { .. },
            H::Ends { end: end @ End::Failed { .. } },
        )
        | (
            P::Queued | P::Building | P::Ready | P::Starting | P::Checking | P::Held | P::Live { .. },
            H::Ends { end: end @ End::Cancelled { .. } },
        )
        | (
            P::Queued | P::Building | P::Ready | P::Starting | P::Checking | P::Held,
            H::Ends { end: end @ End::Superseded { .. } },
        )
        | (P::Starting, H::Ends { end: end @ End::Finished }) => P::Ended { end },
        (
            P::Queued
            | P::Building
            | P::Ready
            | P::Starting
            | P::Checking
            | P::Held
            | P::Live { .. }
            | P::Baked { .. }
            | P::Ended { .. },
            H::BuildBegins
            | H::Built
            | H::StartBegins
            | H::Raised
            | H::Holds
            | H::GoesLive { .. }
            | H::StartsAgain
            | H::Bakes
            | H::Ends { .. },
        ) => return Err(refused),
    })
}
