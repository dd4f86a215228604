//! Waiting for conditions. Deadlines are generous: they tell "never" from "slow machine", nothing else.

use anyhow::{Result, bail};
use std::{
    thread,
    time::{Duration, Instant},
};

/// Waits until `condition` gives a value, at most two minutes.
///
/// # Errors
/// If it never does; `what` is named.
pub fn until<T>(what: &str, condition: impl FnMut() -> Option<T>) -> Result<T> {
    within(Duration::from_secs(120), what, condition)
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
