//! Waiting in the demo: Ctrl-C stops it at the next thing that it waits for, and it cleans up.

pub(super) use crate::interrupt::{is, listen};

use crate::error::{Error, Kind, Result};
use std::time::{Duration, Instant};

/// Waits until `is` gives something; an error after `limit`, or when interrupted.
pub(super) fn until<T>(what: &str, limit: Duration, is: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    wait(what, limit, true, is)
}

/// As [`until`], for cleaning up: an interruption does not end it.
pub(super) fn surely<T>(what: &str, limit: Duration, is: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    wait(what, limit, false, is)
}

fn wait<T>(
    what: &str,
    limit: Duration,
    interruptible: bool,
    mut ask: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let began = Instant::now();
    loop {
        if let Some(value) = ask()? {
            return Ok(value);
        }
        if interruptible && is() {
            return Err(Error::new(Kind::Other, "interrupted"));
        }
        if began.elapsed() > limit {
            return Err(Error::new(Kind::Verdict, format!("{what}: not within {} s", limit.as_secs())));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
