//! Spans of time counted in fixed buckets, two to an octave: cheap to add to, and two counts taken at different instants may be subtracted.
//!
//! The bounds are part of the control protocol: router and server must agree on them, so they never change within a version.

use serde::{Deserialize, Serialize};

/// Bounded buckets; what is longer than the last bound is counted behind them.
pub const BOUNDED: usize = 40;

/// All buckets.
pub const BUCKETS: usize = BOUNDED + 1;

/// The first bound, as a power of two of microseconds.
const FIRST: u32 = 6;

/// A bucket's upper bound in microseconds, which belongs to it: 64, 96, 128, 192 … 50 s. The last bucket has none.
#[must_use]
pub const fn bound_us(bucket: usize) -> Option<u64> {
    if bucket >= BOUNDED {
        return None;
    }
    let octave = 1 << (FIRST as usize + bucket / 2);
    Some(if bucket.is_multiple_of(2) { octave } else { octave + octave / 2 })
}

/// The bucket of a span: the first whose bound is not below it.
#[must_use]
pub fn bucket_of(us: u64) -> usize {
    let under = us.saturating_sub(1);
    let Some(octave) = under.checked_ilog2().and_then(|log| log.checked_sub(FIRST)) else { return 0 };
    let upper_half = under >> (octave + FIRST - 1) & 1;
    (2 * octave as usize + 1 + usize::from(upper_half == 1)).min(BOUNDED)
}

/// How many spans fell into each bucket, and how long all of them were together.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Histogram {
    /// By bucket; empty ones at the end are left out.
    pub counts: Vec<u64>,
    /// The sum of all spans.
    pub sum_ns: u64,
}

impl Histogram {
    /// With these counts.
    #[must_use]
    pub fn new(mut counts: Vec<u64>, sum_ns: u64) -> Self {
        counts.truncate(counts.iter().rposition(|count| *count > 0).map_or(0, |last| last + 1));
        Self { counts, sum_ns }
    }

    /// All spans.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().fold(0, |all, count| all.saturating_add(*count))
    }

    /// Spans that are no longer than the bound of this bucket.
    #[must_use]
    pub fn up_to(&self, bucket: usize) -> u64 {
        self.counts.iter().take(bucket.saturating_add(1)).fold(0, |all, count| all.saturating_add(*count))
    }

    /// What came since an earlier look. A count that went back means that counting began anew: then all of it came since.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let before = |bucket: usize| earlier.counts.get(bucket).copied().unwrap_or(0);
        let restarted = earlier.counts.len() > self.counts.len()
            || self.counts.iter().enumerate().any(|(bucket, count)| *count < before(bucket));
        if restarted {
            return self.clone();
        }
        let counts = self.counts.iter().enumerate().map(|(bucket, count)| count - before(bucket)).collect();
        Self::new(counts, self.sum_ns.saturating_sub(earlier.sum_ns))
    }

    /// Adds what another one counted.
    pub fn add(&mut self, other: &Self) {
        self.counts.resize(self.counts.len().max(other.counts.len()), 0);
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count = count.saturating_add(*more);
        }
        self.sum_ns = self.sum_ns.saturating_add(other.sum_ns);
    }

    /// The span that this share of all (0 to 1) does not exceed, in microseconds, as if spans were even within a bucket; `None` without any.
    #[must_use]
    pub fn quantile_us(&self, share: f64) -> Option<f64> {
        let all = self.count();
        if all == 0 {
            return None;
        }
        let rank = share.clamp(0.0, 1.0) * to_f64(all);
        let mut below = 0.0;
        for (bucket, count) in self.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            let count = to_f64(*count);
            if below + count >= rank {
                return Some(within(bucket, (rank - below) / count));
            }
            below += count;
        }
        None
    }
}

/// A place inside a bucket; the last one has no end, so its beginning stands for it.
fn within(bucket: usize, share: f64) -> f64 {
    let lower = to_f64(bucket.checked_sub(1).and_then(bound_us).unwrap_or(0));
    bound_us(bucket).map_or(lower, |upper| lower + (to_f64(upper) - lower) * share)
}

/// A count as a number to calculate with; beyond 2^53 it is not exact, which nobody reaches.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "counts of requests stay far below 2^53")]
pub fn to_f64(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bound_is_the_last_span_of_its_bucket() {
        for bucket in 0..BOUNDED {
            let bound = bound_us(bucket).expect("bounded");
            assert_eq!(bucket_of(bound), bucket, "{bound}");
            assert_eq!(bucket_of(bound + 1), bucket + 1, "{bound} + 1");
        }
        assert_eq!((bucket_of(0), bucket_of(u64::MAX)), (0, BOUNDED));
        assert_eq!((bound_us(0), bound_us(1), bound_us(2)), (Some(64), Some(96), Some(128)));
        assert_eq!(bound_us(BOUNDED), None);
    }

    fn of(spans: &[u64]) -> Histogram {
        let mut counts = vec![0; BUCKETS];
        for us in spans {
            counts[bucket_of(*us)] += 1;
        }
        Histogram::new(counts, spans.iter().sum::<u64>() * 1000)
    }

    #[test]
    fn a_quantile_lies_in_the_bucket_of_the_true_one() {
        let spans: Vec<u64> = (1..=1000).map(|n| n * 37 % 90_000 + 1).collect();
        let mut sorted = spans.clone();
        sorted.sort_unstable();
        let histogram = of(&spans);
        for (share, index) in [(0.5, 499), (0.9, 899), (0.99, 989)] {
            let found = histogram.quantile_us(share).expect("some");
            let bucket = bucket_of(sorted[index]);
            let lower = to_f64(bound_us(bucket - 1).expect("bounded"));
            let upper = to_f64(bound_us(bucket).expect("bounded"));
            assert!((lower..=upper).contains(&found), "{share}: {found} not in {lower}..{upper}");
        }
        assert_eq!(Histogram::default().quantile_us(0.5), None);
        assert_eq!(of(&[u64::MAX / 2000]).quantile_us(0.5), bound_us(BOUNDED - 1).map(to_f64));
    }

    #[test]
    fn differences_hold_what_came_in_between_and_a_restart_counts_anew() {
        let (early, late) = (of(&[10, 70]), of(&[10, 70, 70, 5000]));
        assert_eq!(late.since(&early), of(&[70, 5000]));
        assert_eq!(early.since(&late), early);
        let mut sum = early.clone();
        sum.add(&of(&[70, 5000]));
        assert_eq!(sum, late);
        assert_eq!((late.count(), late.up_to(0), late.up_to(1)), (4, 1, 3));
    }
}
