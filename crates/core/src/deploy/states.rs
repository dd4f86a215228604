//! The transition table of environments: all of it, in one exhaustive match. A pair that is not listed is refused by name.

use super::{environment::State, phases::Illegal};
use crate::time::Time;

/// What may happen to an environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Motion {
    /// It is to run; written before the effect.
    Rises,
    /// All its instances run.
    Raised,
    /// It lost its traffic and gets rid of what is in flight.
    Drains {
        /// For ordinary requests.
        deadline: Time,
        /// For upgraded streams.
        cap: Time,
    },
    /// Too many drain at once: its upgraded streams are cut early.
    IsCapped {
        /// When.
        cap: Time,
    },
    /// Nothing is in flight any more.
    Drained,
    /// It sleeps in memory.
    Sleeps,
    /// It sleeps on disk.
    IsFiled,
    /// Nothing of it runs.
    IsOff,
    /// Nothing of it is left.
    IsGone,
    /// The instances of a candidate were found missing, as after a reboot.
    Vanishes,
}

impl Motion {
    /// The word for logs, tests and refusals.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Rises => "rises",
            Self::Raised => "raised",
            Self::Drains { .. } => "drains",
            Self::IsCapped { .. } => "is_capped",
            Self::Drained => "drained",
            Self::Sleeps => "sleeps",
            Self::IsFiled => "is_filed",
            Self::IsOff => "is_off",
            Self::IsGone => "is_gone",
            Self::Vanishes => "vanishes",
        }
    }
}

/// What an environment is doing after something happened to it.
///
/// # Errors
/// If that cannot happen to an environment in this state.
pub fn apply(state: State, motion: Motion) -> Result<State, Illegal> {
    use {Motion as M, State as S};
    let refused = Illegal { state: state.word(), happening: motion.word() };
    Ok(match (state, motion) {
        (S::New | S::Memory | S::Disk | S::Off | S::Draining { .. }, M::Rises) => S::Rising,
        (S::Rising, M::Raised) => S::Up,
        (S::Rising | S::Up, M::Drains { deadline, cap }) => S::Draining { deadline, cap, drained: false },
        (S::Draining { deadline, drained: false, .. }, M::IsCapped { cap }) => {
            S::Draining { deadline, cap, drained: false }
        }
        (S::Draining { deadline, cap, drained: false }, M::Drained) => {
            S::Draining { deadline, cap, drained: true }
        }
        (S::Draining { drained: true, .. }, M::Sleeps) => S::Memory,
        (S::Memory, M::IsFiled) => S::Disk,
        (S::Draining { drained: true, .. } | S::Memory | S::Disk, M::IsOff) => S::Off,
        (S::Up, M::Vanishes) => S::Rising,
        (S::Rising | S::Up | S::Draining { drained: true, .. } | S::Memory | S::Disk | S::Off, M::IsGone) => {
            S::Gone
        }
        (
            S::New | S::Rising | S::Up | S::Draining { .. } | S::Memory | S::Disk | S::Off | S::Gone,
            M::Rises
            | M::Raised
            | M::Drains { .. }
            | M::IsCapped { .. }
            | M::Drained
            | M::Sleeps
            | M::IsFiled
            | M::IsOff
            | M::IsGone
            | M::Vanishes,
        ) => return Err(refused),
    })
}
