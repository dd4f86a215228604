//! Whose turn it is. The first one asked may fill all the room there is, so each time somebody else is first. Pure.

/// As many places as a set of bits has.
const PLACES: u32 = u128::BITS;

/// The places whose bits are set.
pub(crate) fn places(mut bits: u128) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let place = bits.trailing_zeros();
        bits &= bits.wrapping_sub(1);
        (place < PLACES).then_some(place as usize)
    })
}

/// Who is asked first the next time.
#[derive(Debug, Default)]
pub(crate) struct Turns(u32);

impl Turns {
    /// The same places, whoever's turn it is first; the next time it is that of the one behind.
    pub(crate) fn order(&mut self, bits: u128) -> impl Iterator<Item = usize> + use<> {
        let (first, count) = (self.0, PLACES as usize);
        let turned = bits.rotate_right(first);
        if turned != 0 {
            self.0 = (first + turned.trailing_zeros() + 1) % PLACES;
        }
        places(turned).map(move |place| (place + first as usize) % count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_is_first_once() {
        let mut turns = Turns::default();
        let mut order = |bits| turns.order(bits).collect::<Vec<_>>();
        assert_eq!(order(0b1011), [0, 1, 3]);
        assert_eq!(order(0b1011), [1, 3, 0]);
        assert_eq!(order(0b1011), [3, 0, 1]);
        assert_eq!(order(0b1011), [0, 1, 3]);
        assert!(order(0).is_empty());
        assert_eq!(order(1 << 127), [127]);
        assert_eq!(order(1 << 127 | 1), [0, 127]);
        assert_eq!(order(u128::MAX).len(), 128);
    }
}
