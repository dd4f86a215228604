//! How long an exchange may stand still, and through whose fault. Looked at only when its clock rings: what moves in between costs nothing.

use crate::{exchange::Fault, options::Limits, pace::Pace};
use std::time::{Duration, Instant};

/// A client that uploads is not judged by its pace before this.
const PACE: Duration = Duration::from_secs(10);

/// As good as for ever.
const FOR_EVER: Duration = Duration::from_secs(1 << 32);

/// What was seen last.
#[derive(Debug)]
pub(crate) struct Patience<'a> {
    limits: &'a Limits,
    begun: Instant,
    /// Bytes from the client before the exchange.
    read: u64,
    /// Bytes that had moved when it was looked last, and when that was.
    moved: u64,
    since: Instant,
    until: Instant,
    /// How the client takes its answer.
    taking: Pace,
}

/// What is seen when the clock rings.
#[derive(Debug, Default)]
pub(crate) struct Look {
    /// Bytes that have moved in all, whoever moved them.
    pub(crate) moved: u64,
    /// Bytes that came from the client, if it is its turn to send.
    pub(crate) uploads: Option<u64>,
    /// Bytes that went to the client.
    pub(crate) taken: u64,
    /// Whose fault it is if nothing moves, if anybody's; the client's while something waits for it.
    pub(crate) waits: Option<Fault>,
}

impl<'a> Patience<'a> {
    pub(crate) fn new(now: Instant, limits: &'a Limits, read: u64) -> Self {
        let mut patience = Self {
            limits,
            begun: now,
            read,
            moved: u64::MAX,
            since: now,
            until: now,
            taking: Pace::new(now, 0),
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

    /// The answer has begun: what counts is from now on, and what the client takes behind its first `taken` bytes.
    pub(crate) fn answered(&mut self, now: Instant, taken: u64) {
        (self.since, self.until) = (now, now + self.period());
        self.taking.restart(now, taken);
    }

    /// Nothing waits for the client at this moment.
    pub(crate) fn caught_up(&mut self) {
        self.taking.caught_up();
    }

    /// The clock rang: whose fault it is that the exchange cannot go on, if it cannot.
    pub(crate) fn judge(&mut self, now: Instant, look: &Look) -> Option<Fault> {
        if look.uploads.is_some_and(|read| self.is_too_slow(now, read)) {
            return Some(Fault::Refused(crate::codec::Refusal::Slow));
        }
        if look.waits == Some(Fault::Client) && self.taking.is_too_slow(self.limits, now, look.taken) {
            return look.waits;
        }
        if look.moved != self.moved {
            (self.moved, self.since) = (look.moved, now);
        }
        let due = self.since
            + match look.waits {
                None => FOR_EVER,
                Some(Fault::Slow) => self.limits.answer,
                Some(_) => self.limits.stalled,
            };
        if now >= due {
            return look.waits;
        }
        self.until = due.min(now + self.period());
        None
    }

    fn period(&self) -> Duration {
        let period = self.limits.answer.min(self.limits.stalled);
        if self.limits.body_rate > 0 { period.min(PACE) } else { period }
    }

    fn is_too_slow(&self, now: Instant, read: u64) -> bool {
        let span = now.duration_since(self.begun);
        span >= PACE && read - self.read < self.limits.body_rate.saturating_mul(span.as_secs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(number: u64) -> Duration {
        Duration::from_secs(number)
    }

    fn limits(rate: u64) -> Limits {
        Limits { answer: second(600), stalled: second(300), body_rate: rate, ..Limits::default() }
    }

    fn moving(moved: u64, waits: Option<Fault>) -> Look {
        Look { moved, waits, ..Look::default() }
    }

    fn uploading(moved: u64, read: u64) -> Look {
        Look { moved, uploads: Some(read), ..Look::default() }
    }

    #[test]
    fn whoever_moves_has_time() {
        let start = Instant::now();
        let limits = limits(0);
        let mut patience = Patience::new(start, &limits, 0);
        for step in 1..10 {
            assert_eq!(patience.judge(start + second(step * 300), &moving(step, Some(Fault::Slow))), None);
        }
        assert_eq!(patience.judge(start + second(2999), &moving(9, Some(Fault::Slow))), None);
        assert!(patience.until() > start + second(3000));
        let slow = patience.judge(start + second(3300), &moving(9, Some(Fault::Slow)));
        assert_eq!(slow, Some(Fault::Slow));
        assert_eq!(patience.judge(start + second(9000), &moving(9, None)), None);
    }

    #[test]
    fn clients_that_drip_are_given_up() {
        let start = Instant::now();
        let limits = limits(100);
        let mut patience = Patience::new(start, &limits, 0);
        assert!(patience.until() <= start + second(10));
        assert_eq!(patience.judge(start + second(10), &uploading(1, 1000)), None);
        assert!(patience.judge(start + second(20), &uploading(2, 1001)).is_some());
    }

    #[test]
    fn clients_that_take_a_byte_now_and_then_are_given_up_and_apps_that_send_one_are_not() {
        let start = Instant::now();
        let drip = |number: u64, waits| Look { moved: number, taken: number, waits, uploads: None };
        let limits = limits(0);
        let mut awaited = Patience::new(start, &limits, 0);
        awaited.answered(start, 0);
        let given_up = (1..=30).find(|turn| {
            awaited.judge(start + second(turn * 10), &drip(*turn, Some(Fault::Client))).is_some()
        });
        assert_eq!(given_up, Some(30), "when it was awaited for as long as one that takes nothing");
        let mut endless = Patience::new(start, &limits, 0);
        endless.answered(start, 0);
        for turn in 1..=300 {
            endless.caught_up();
            let now = start + second(turn * 10);
            // Whenever it is looked, an event has just gone out and is not taken yet.
            assert_eq!(endless.judge(now, &drip(turn, Some(Fault::Client))), None, "{turn}");
        }
    }
}
