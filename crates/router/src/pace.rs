//! How fast a client takes what waits for it: one that takes a byte now and then holds an answer, its buffer and an instance's connection as well
//! as one that takes nothing.
//!
//! Only the time in which something waited for the client without a break counts, so that nobody is blamed for what the app did not send. It
//! reads no clock and sets none.

use crate::options::Limits;
use std::time::Instant;

/// One client's pace, looked at now and then.
#[derive(Debug)]
pub(crate) struct Pace {
    since: Instant,
    /// Bytes that the client had taken then.
    taken: u64,
    caught_up: bool,
}

impl Pace {
    /// From now on, a client that has taken so many bytes.
    pub(crate) fn new(now: Instant, taken: u64) -> Self {
        Self { since: now, taken, caught_up: false }
    }

    /// Nothing waits for the client at this moment.
    pub(crate) fn caught_up(&mut self) {
        self.caught_up = true;
    }

    /// Begins to look anew.
    pub(crate) fn restart(&mut self, now: Instant, taken: u64) {
        (self.since, self.taken, self.caught_up) = (now, taken, false);
    }

    /// Something waits, and so many bytes were taken in all: whether it took too few of them while it was awaited.
    pub(crate) fn is_too_slow(&mut self, limits: &Limits, now: Instant, taken: u64) -> bool {
        let span = now.saturating_duration_since(self.since);
        // Judged over this long at least: kernels' buffers are emptied in pieces.
        if !self.caught_up && span < limits.stalled {
            return false;
        }
        let least = u128::from(limits.answer_rate) * span.as_millis() / 1000;
        let slow = !self.caught_up && u128::from(taken.saturating_sub(self.taken)) < least;
        self.restart(now, taken);
        slow
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn second(number: u64) -> Duration {
        Duration::from_secs(number)
    }

    fn limits(rate: u64) -> Limits {
        Limits { stalled: second(300), answer_rate: rate, ..Limits::default() }
    }

    #[test]
    fn who_drips_is_too_slow_once_the_span_is_over_however_much_was_taken_before() {
        let start = Instant::now();
        let (limits, mut pace) = (limits(100), Pace::new(start, 1_000));
        assert!(!pace.is_too_slow(&limits, start + second(299), 1_001), "not before");
        assert!(!pace.is_too_slow(&limits, start + second(300), 31_000), "as fast as it must be");
        assert!(!pace.is_too_slow(&limits, start + second(600), 900_000), "faster");
        assert!(
            pace.is_too_slow(&limits, start + second(900), 929_999),
            "what was taken before does not help"
        );
    }

    #[test]
    fn who_had_taken_everything_in_between_is_not_blamed() {
        let start = Instant::now();
        let (limits, mut pace) = (limits(100), Pace::new(start, 1_000));
        pace.caught_up();
        assert!(!pace.is_too_slow(&limits, start + second(300), 1_001));
        assert!(
            !pace.is_too_slow(&limits, start + second(599), 1_002),
            "the span begins where it had caught up"
        );
        assert!(pace.is_too_slow(&limits, start + second(600), 1_002));
    }

    #[test]
    fn no_rate_is_no_minimum() {
        let start = Instant::now();
        assert!(!Pace::new(start, 1_000).is_too_slow(&limits(0), start + second(3_000), 1_000));
    }
}
