//! How long to wait: between attempts for one name, and until a certificate is renewed. Pure; the same name always waits alike, and different
//! names do not come all at once.

use aws_lc_rs::digest;
use teal_core::time::Time;

/// After the first failure, in milliseconds.
const FIRST_MS: u64 = 60_000;
/// Pauses double up to this; what the name adds to it stays within a day.
const LONGEST_MS: u64 = 19 * 3_600_000;
/// The longest that an authority may have us wait.
const PATIENCE_MS: u64 = 8 * 24 * 3_600_000;
/// After what is not the name's fault (no router, no network): tried again this soon.
const SOON_MS: u64 = 120_000;

/// When to try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Retry {
    /// It is the name's own trouble: pauses double.
    Later,
    /// It is the trouble of something that all names share.
    Soon,
    /// The authority asks for this pause, in milliseconds.
    After(u64),
}

/// When the name is tried again, after so many failures in a row (the present one included).
#[must_use]
pub(super) fn next_attempt(name: &str, failures: u32, retry: Retry, now: Time) -> Time {
    let doubled = FIRST_MS.saturating_mul(1_u64.checked_shl(failures.saturating_sub(1)).unwrap_or(u64::MAX));
    let base = doubled.min(LONGEST_MS);
    let grown = base + share(name, base / 4);
    match retry {
        Retry::Later => now.plus(grown),
        Retry::Soon => now.plus(SOON_MS + share(name, SOON_MS / 4)),
        Retry::After(ms) => now.plus(ms.clamp(FIRST_MS, PATIENCE_MS) + share(name, FIRST_MS)),
    }
}

/// The name's own moment between two.
#[must_use]
pub(super) fn between(name: &str, begin: Time, end: Time) -> Time {
    begin.plus(share(name, end.since(begin)))
}

/// Two thirds of a lifetime.
#[must_use]
pub(super) fn two_thirds(begin: Time, end: Time) -> Time {
    begin.plus(end.since(begin) / 3 * 2)
}

/// A part of `whole` that depends on the name alone.
fn share(name: &str, whole: u64) -> u64 {
    let hash = digest::digest(&digest::SHA256, name.as_bytes());
    let fraction = hash.as_ref().iter().take(2).fold(0, |sum, byte| (sum << 8) | u64::from(*byte));
    // 16 bits of hash: exact enough, and nothing overflows before a span of 8,000 years.
    (whole >> 16) * fraction + (((whole & 0xffff) * fraction) >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Time(1_000_000);

    #[test]
    fn pauses_double_from_a_minute_to_a_day_and_differ_by_name() {
        let minutes = |failures| next_attempt("a.test", failures, Retry::Later, NOW).since(NOW) / 60_000;
        assert_eq!((minutes(1), minutes(0)), (1, 1));
        assert!((4..=5).contains(&minutes(3)), "{}", minutes(3));
        for failures in [12, 40, 1_000] {
            assert!((19 * 60..=24 * 60).contains(&minutes(failures)), "{}", minutes(failures));
        }
        let at = |name: &str| next_attempt(name, 9, Retry::Later, NOW);
        assert_eq!(at("a.test"), at("a.test"));
        assert_ne!(at("a.test"), at("b.test"));
    }

    #[test]
    fn an_authority_that_asks_for_a_pause_gets_it() {
        let pause = |retry| next_attempt("a.test", 1, retry, NOW).since(NOW);
        assert!((3_600_000..=3_660_000).contains(&pause(Retry::After(3_600_000))));
        assert!(pause(Retry::After(0)) >= 60_000);
        assert!(pause(Retry::After(u64::MAX)) <= PATIENCE_MS + FIRST_MS);
        assert!((SOON_MS..=SOON_MS * 5 / 4).contains(&pause(Retry::Soon)));
    }

    #[test]
    fn moments_are_between_their_ends() {
        for name in ["a.test", "b.test", "c.test"] {
            let at = between(name, Time(1_000), Time(9_000));
            assert!(Time(1_000) <= at && at <= Time(9_000), "{at:?}");
        }
        assert_eq!(between("a.test", Time(5), Time(5)), Time(5));
        assert_eq!(two_thirds(Time(30), Time(120)), Time(90));
    }
}
