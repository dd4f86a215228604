//! Who asked what: the numbers that were given to the agent, and the clients that wait for their answers.

use std::collections::BTreeMap;

/// Answers that may be waited for at a time. Past it the oldest is given up: its client asks again.
const MAX: usize = 64;

/// The calls that are not answered.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    waiting: BTreeMap<u64, u64>,
}

impl Calls {
    /// The message of this number was this client's.
    pub(crate) fn asked(&mut self, number: u64, client: u64) {
        if self.waiting.len() >= MAX {
            self.waiting.pop_first();
        }
        self.waiting.insert(number, client);
    }

    /// Whose message had this number; each is answered once.
    pub(crate) fn answered(&mut self, number: u64) -> Option<u64> {
        self.waiting.remove(&number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_answered_once_and_only_by_its_number() {
        let mut calls = Calls::default();
        calls.asked(7, 1);
        calls.asked(8, 2);
        assert_eq!((calls.answered(9), calls.answered(8), calls.answered(8)), (None, Some(2), None));
        (100..100 + MAX as u64).for_each(|number| calls.asked(number, 3));
        assert_eq!(calls.answered(7), None, "given up");
        assert_eq!(calls.waiting.len(), MAX);
    }
}
