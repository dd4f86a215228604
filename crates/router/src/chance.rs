//! Chance for spreading and naming, not for secrets: two choices, random delays, request ids.

use std::{
    cell::Cell,
    hash::{BuildHasher, RandomState},
};

thread_local! {
    static STATE: Cell<u64> = Cell::new(seed());
}

/// A seed from the system's random numbers: `RandomState` takes its keys from there.
fn seed() -> u64 {
    RandomState::new().hash_one(std::thread::current().id()) | 1
}

/// The next number.
pub(crate) fn next() -> u64 {
    STATE.with(|state| {
        let (now, number) = step(state.get());
        state.set(now);
        number
    })
}

/// The next state, and its number (splitmix64).
fn step(state: u64) -> (u64, u64) {
    let now = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (now ^ (now >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (now, mixed ^ (mixed >> 31))
}

/// Chance that a test can repeat: the same numbers for the same seed.
#[cfg(test)]
pub(crate) struct Chance(pub(crate) u64);

#[cfg(test)]
impl Chance {
    /// A number below `bound`; 0 if `bound` is 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        let (now, number) = step(self.0);
        self.0 = now;
        usize::try_from(number % bound.max(1) as u64).expect("small")
    }
}

/// A number below `bound`; 0 if `bound` is 0.
pub(crate) fn below(bound: u64) -> u64 {
    // The bias of a 64-bit remainder does not matter for spreading.
    next().checked_rem(bound).unwrap_or(0)
}

/// An index below `length`; 0 if it is 0.
pub(crate) fn index(length: usize) -> usize {
    usize::try_from(below(length as u64)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    #[test]
    fn numbers_stay_below_their_bound_and_differ() {
        assert_eq!(super::below(0), 0);
        assert!((0..1000).all(|_| super::below(7) < 7));
        assert_ne!(super::next(), super::next());
    }
}
