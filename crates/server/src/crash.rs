//! Deliberate crashes, for tests: debug builds honour `TEAL_CRASH_AT=before|after:N` and abort at the N-th commit or effect.
//! Release builds have none of this.

/// Which side of a commit or effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// It is about to happen.
    Before,
    /// It has just happened.
    After,
}

/// A place where the server may be told to crash. `what` goes to standard error before the abort, so that a test can tell where it was.
#[cfg(debug_assertions)]
pub fn point(side: Side, what: &dyn std::fmt::Display) {
    use std::sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    };
    static WANTED: OnceLock<Option<(Side, u64)>> = OnceLock::new();
    static BEFORE: AtomicU64 = AtomicU64::new(0);
    static AFTER: AtomicU64 = AtomicU64::new(0);
    let Some((wanted, nth)) =
        *WANTED.get_or_init(|| std::env::var("TEAL_CRASH_AT").ok().as_deref().and_then(parse))
    else {
        return;
    };
    let counter = if side == Side::Before { &BEFORE } else { &AFTER };
    if counter.fetch_add(1, Ordering::SeqCst) + 1 == nth && side == wanted {
        tracing::error!(%what, ?side, nth, "crashing as told");
        std::process::abort();
    }
}

/// Does nothing in release builds.
#[cfg(not(debug_assertions))]
pub fn point(_: Side, _: &dyn std::fmt::Display) {}

#[cfg(debug_assertions)]
fn parse(text: &str) -> Option<(Side, u64)> {
    let (side, nth) = text.split_once(':')?;
    let side = match side {
        "before" => Side::Before,
        "after" => Side::After,
        _ => return None,
    };
    Some((side, nth.parse().ok()?))
}
