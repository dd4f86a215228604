//! Chance that is the same for the same seed: who performs a rollout again after a crash must come to the same order.

/// The `nth` number of this seed (splitmix64).
#[must_use]
pub fn draw(seed: u64, nth: u64) -> u64 {
    let mut z = seed.wrapping_add(nth.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Brings a list into an order that only the seed knows.
pub(super) fn shuffle<T>(seed: u64, list: &mut [T]) {
    for last in (1..list.len()).rev() {
        let among = last as u64 + 1;
        let other = usize::try_from(draw(seed, last as u64) % among).unwrap_or(last);
        list.swap(last, other);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_an_order_and_loses_nobody() {
        let order = |seed| {
            let mut list: Vec<u32> = (0..50).collect();
            shuffle(seed, &mut list);
            list
        };
        assert_eq!(order(1), order(1));
        assert_ne!(order(1), order(2));
        assert_ne!(order(1), (0..50).collect::<Vec<_>>());
        let mut all = order(7);
        all.sort_unstable();
        assert_eq!(all, (0..50).collect::<Vec<_>>());
    }

    #[test]
    fn every_app_comes_first_sometimes() {
        let firsts: std::collections::BTreeSet<u32> = (0..500)
            .map(|seed| {
                let mut list: Vec<u32> = (0..10).collect();
                shuffle(seed, &mut list);
                list[0]
            })
            .collect();
        assert_eq!(firsts.len(), 10);
    }
}
