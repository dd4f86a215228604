//! Ctrl-C: the demo stops at the next thing that it waits for, and cleans up.

use crate::error::{Error, Kind, Result};
use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Begins to listen for Ctrl-C and SIGTERM.
pub(super) fn listen() -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let failed = |e: std::io::Error| Error::because("signals cannot be listened for", e);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let listen = move || {
        runtime.block_on(async {
            let (Ok(mut int), Ok(mut term)) =
                (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
            else {
                return;
            };
            loop {
                tokio::select! { _ = int.recv() => {}, _ = term.recv() => {} }
                INTERRUPTED.store(true, Ordering::Release);
            }
        });
    };
    std::thread::Builder::new().name("signals".into()).spawn(listen).map(drop).map_err(failed)
}

/// Whether somebody wants the demo to end.
pub(super) fn is() -> bool {
    INTERRUPTED.load(Ordering::Acquire)
}

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
    mut is: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let began = Instant::now();
    loop {
        if let Some(value) = is()? {
            return Ok(value);
        }
        if interruptible && self::is() {
            return Err(Error::new(Kind::Other, "interrupted"));
        }
        if began.elapsed() > limit {
            return Err(Error::new(Kind::Verdict, format!("{what}: not within {} s", limit.as_secs())));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
