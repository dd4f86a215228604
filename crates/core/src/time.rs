//! Instants and spans as plain numbers: core has no clock, the world tells it the time.

use serde::{Deserialize, Serialize};

/// An instant: milliseconds since the Unix epoch, as the world's clock tells them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Time(pub u64);

impl Time {
    /// The instant `ms` milliseconds later; saturates, so that an absurd setting never wraps into the past.
    #[must_use]
    pub fn plus(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to this instant; 0 if the clock went back.
    #[must_use]
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}
