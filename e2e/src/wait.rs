//! Waiting for conditions. Deadlines are generous: they tell "never" from "slow machine", nothing else.

use anyhow::{Result, bail};
use std::{
    thread,
    time::{Duration, Instant},
};

/// How many times longer everything of an instance takes: the tests run in emulated machines if `TEAL_E2E_RUNTIME=vm` says so.
#[must_use]
pub fn slowness() -> u32 {
    if std::env::var_os("TEAL_E2E_RUNTIME").is_some_and(|runtime| runtime == "vm") { 4 } else { 1 }
}

/// Waits until `condition` gives a value, at most two minutes; longer in emulated machines.
///
/// # Errors
/// If it never does; `what` is named.
pub fn until<T>(what: &str, condition: impl FnMut() -> Option<T>) -> Result<T> {
    within(Duration::from_secs(120) * slowness(), what, condition)
}

/// Waits until `condition` gives a value, at most `patience`.
///
/// # Errors
/// If it never does; `what` is named.
pub fn within<T>(patience: Duration, what: &str, mut condition: impl FnMut() -> Option<T>) -> Result<T> {
    let begin = Instant::now();
    loop {
        if let Some(value) = condition() {
            return Ok(value);
        }
        if begin.elapsed() > patience {
            bail!("waited {} s in vain: {what}", patience.as_secs());
        }
        thread::sleep(Duration::from_millis(20));
    }
}
