//! How long an exchange may stand still, and through whose fault. Looked at only when its clock rings: what moves in between costs nothing.

use crate::{exchange::Fault, options::Limits};
use std::time::{Duration, Instant};

/// A client that uploads is not judged by its pace before this.
const PACE: Duration = Duration::from_secs(10);

/// As good as for ever.
const FOR_EVER: Duration = Duration::from_secs(1 << 32);

/// What was seen last.
#[derive(Debug)]
pub(crate) struct Patience {
    answer: Duration,
    stalled: Duration,
    rate: u64,
    begun: Instant,
    /// Bytes from the client before the exchange.
    read: u64,
    /// Bytes that had moved when it was looked last, and when that was.
    moved: u64,
    since: Instant,
    until: Instant,
}

impl Patience {
    pub(crate) fn new(now: Instant, limits: &Limits, read: u64) -> Self {
        let mut patience = Self {
            answer: limits.answer,
            stalled: limits.stalled,
            rate: limits.body_rate,
            begun: now,
            read,
            moved: u64::MAX,
            since: now,
            until: now,
        };
        patience.until = now + patience.period();
        patience
    }

    /// When it has to be looked again.
    pub(crate) fn until(&self) -> Instant {
        self.until
    }

    /// Something came from the client since the exchange began.
    pub(crate) fn client_moved(&self, read: u64) -> bool {
        read != self.read
    }

    /// The answer has begun: what counts is from now on.
    pub(crate) fn answered(&mut self, now: Instant) {
        (self.since, self.until) = (now, now + self.period());
    }

    /// The clock rang. `waits`: whose fault it is if nothing moves, if anybody's; `uploads`: what the client has sent, if it is its turn.
    pub(crate) fn judge(
        &mut self,
        now: Instant,
        moved: u64,
        uploads: Option<u64>,
        waits: Option<Fault>,
    ) -> Option<Fault> {
        if uploads.is_some_and(|read| self.is_too_slow(now, read)) {
            return Some(Fault::Refused(crate::codec::Refusal::Slow));
        }
        if moved != self.moved {
            (self.moved, self.since) = (moved, now);
        }
        let due = self.since
            + match waits {
                None => FOR_EVER,
                Some(Fault::Slow) => self.answer,
                Some(_) => self.stalled,
            };
        if now >= due {
            return waits;
        }
        self.until = due.min(now + self.period());
        None
    }

    fn period(&self) -> Duration {
        let period = self.answer.min(self.stalled);
        if self.rate > 0 { period.min(PACE) } else { period }
    }

    fn is_too_slow(&self, now: Instant, read: u64) -> bool {
        let span = now.duration_since(self.begun);
        span >= PACE && read - self.read < self.rate.saturating_mul(span.as_secs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(number: u64) -> Duration {
        Duration::from_secs(number)
    }

    fn patience(now: Instant, rate: u64) -> Patience {
        let limits =
            Limits { answer: second(600), stalled: second(300), body_rate: rate, ..Limits::default() };
        Patience::new(now, &limits, 0)
    }

    #[test]
    fn whoever_moves_has_time() {
        let start = Instant::now();
        let mut patience = patience(start, 0);
        for step in 1..10 {
            assert_eq!(patience.judge(start + second(step * 300), step, None, Some(Fault::Slow)), None);
        }
        assert_eq!(patience.judge(start + second(2999), 9, None, Some(Fault::Slow)), None);
        assert!(patience.until() > start + second(3000));
        assert_eq!(patience.judge(start + second(3300), 9, None, Some(Fault::Slow)), Some(Fault::Slow));
        assert_eq!(patience.judge(start + second(9000), 9, None, None), None);
    }

    #[test]
    fn clients_that_drip_are_given_up() {
        let start = Instant::now();
        let mut patience = patience(start, 100);
        assert!(patience.until() <= start + second(10));
        assert_eq!(patience.judge(start + second(10), 1, Some(1000), None), None);
        assert!(patience.judge(start + second(20), 2, Some(1001), None).is_some());
    }
}
