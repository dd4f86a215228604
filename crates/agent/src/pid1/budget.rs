//! How many bytes of log an instance may write: bursts are free, floods are not.

use std::time::{Duration, Instant};

/// What may be written at once, in bytes.
const BURST: u64 = 4 * 1024 * 1024;

/// What comes back per millisecond, in bytes: 1 MiB/s.
const PER_MS: u64 = 1024;

/// A bucket of bytes that fills with time.
#[derive(Debug)]
pub(crate) struct Budget {
    left: u64,
    filled: Instant,
}

impl Budget {
    /// A full bucket.
    pub(crate) fn new(now: Instant) -> Self {
        Self { left: BURST, filled: now }
    }

    /// Takes `bytes` if there are as many.
    pub(crate) fn take(&mut self, bytes: u64, now: Instant) -> bool {
        let elapsed = now.saturating_duration_since(self.filled);
        let whole = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        self.left = self.left.saturating_add(whole.saturating_mul(PER_MS)).min(BURST);
        self.filled += Duration::from_millis(whole);
        let enough = self.left >= bytes;
        if enough {
            self.left -= bytes;
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_a_flood_does_not_and_time_heals() {
        let start = Instant::now();
        let mut budget = Budget::new(start);
        assert!(budget.take(BURST, start));
        assert!(!budget.take(1024, start));
        assert!(budget.take(1024, start + Duration::from_millis(1)));
        assert!(!budget.take(BURST + 1, start + Duration::from_secs(3600)), "never more than a burst");
    }
}
