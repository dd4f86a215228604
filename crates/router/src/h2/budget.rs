//! What a client may cost without asking for anything: streams that it breaks off at once, frames that say nothing. Each costs it little and a careless
//! server much. Honest clients stay far below; whoever does not is told to calm down, and goes.

use super::code::Code;
use std::time::Instant;

/// Streams that ended by a reset of either side's: at once, and per second. Who leaves a page full of pictures breaks off as many as it may have.
const RESETS: (u32, u32) = (1000, 50);
/// Frames that move nothing: settings, questions, empty parts of bodies and of header blocks.
const IDLE: (u32, u32) = (10_000, 1000);

/// What is left.
#[derive(Debug)]
pub(crate) struct Budget {
    resets: Purse,
    idle: Purse,
}

impl Budget {
    pub(crate) fn new(now: Instant) -> Self {
        Self { resets: Purse::new(RESETS, now), idle: Purse::new(IDLE, now) }
    }

    /// A stream ended by a reset.
    pub(crate) fn reset(&mut self, now: Instant) -> Result<(), Code> {
        self.resets.pay(now)
    }

    /// A frame moved nothing.
    pub(crate) fn idle(&mut self, now: Instant) -> Result<(), Code> {
        self.idle.pay(now)
    }
}

/// So much at once, and so much more per second.
#[derive(Debug)]
struct Purse {
    left: u32,
    most: u32,
    rate: u32,
    filled: Instant,
}

impl Purse {
    fn new((most, rate): (u32, u32), now: Instant) -> Self {
        Self { left: most, most, rate, filled: now }
    }

    fn pay(&mut self, now: Instant) -> Result<(), Code> {
        let seconds = now.saturating_duration_since(self.filled).as_secs();
        if seconds > 0 {
            let more = u32::try_from(seconds).unwrap_or(u32::MAX).saturating_mul(self.rate);
            self.left = self.left.saturating_add(more).min(self.most);
            self.filled = now;
        }
        self.left = self.left.checked_sub(1).ok_or(Code::Calm)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn much_at_once_is_not_much_for_ever() {
        let start = Instant::now();
        let mut budget = Budget::new(start);
        assert!((0..RESETS.0).all(|_| budget.reset(start).is_ok()));
        assert_eq!(budget.reset(start), Err(Code::Calm));
        assert_eq!(budget.idle(start), Ok(()), "one purse has nothing to do with the other");
        let later = start + Duration::from_secs(2);
        assert!((0..2 * RESETS.1).all(|_| budget.reset(later).is_ok()));
        assert_eq!(budget.reset(later), Err(Code::Calm));
    }
}
