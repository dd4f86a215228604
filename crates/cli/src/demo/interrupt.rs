//! Ctrl-C: the demo stops at the next thing that it waits for, and cleans up. A second one ends it at once.

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

/// Waits until `is` gives something; an error after `limit`, or when interrupted.
pub(super) fn until<T>(what: &str, limit: Duration, mut is: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let began = Instant::now();
    loop {
        if let Some(value) = is()? {
            return Ok(value);
        }
        if INTERRUPTED.load(Ordering::Acquire) {
            return Err(Error::new(Kind::Other, "interrupted"));
        }
        if began.elapsed() > limit {
            return Err(Error::new(Kind::Verdict, format!("{what}: not within {} s", limit.as_secs())));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
