//! An answer over HTTP/2 whose client takes nothing of it: hyper waits for room on the stream and looks at nothing else meanwhile, so that without
//! this a client could let such streams stand for ever, each with what is on its way in memory. The stream is reset, and its connection goes on.
//!
//! Waiting for the app is not counted here; that is the exchange's own patience.

use std::{
    cell::Cell,
    future::Future,
    pin::pin,
    rc::Rc,
    time::{Duration, Instant},
};
use tokio::time::sleep_until;

tokio::task_local! {
    static STALL: Rc<Stall>;
}

/// Since when one stream's client has been awaited.
#[derive(Debug, Default)]
pub(crate) struct Stall {
    since: Cell<Option<Instant>>,
}

impl Stall {
    /// The one of the stream whose task this is.
    pub(crate) fn of_this_task() -> Rc<Self> {
        STALL.try_with(Rc::clone).unwrap_or_default()
    }

    /// There is something for the client to take.
    pub(crate) fn awaits_client(&self) {
        self.since.set(Some(Instant::now()));
    }

    /// There is nothing for the client at present.
    pub(crate) fn awaits_app(&self) {
        self.since.set(None);
    }

    /// When to look again, or nothing if it has lasted for too long.
    fn next_look(&self, limit: Duration, now: Instant) -> Option<Instant> {
        let until = self.since.get().map_or(now, |since| since) + limit;
        (until > now).then_some(until)
    }
}

/// Runs a stream's task until it ends, or until its client has taken nothing for `limit`.
pub(crate) async fn watched(limit: Duration, stream: impl Future) {
    let stall = Rc::new(Stall::default());
    let mut stream = pin!(STALL.scope(Rc::clone(&stall), stream));
    while let Some(look) = stall.next_look(limit, Instant::now()) {
        tokio::select! {
            _ = stream.as_mut() => return,
            () = sleep_until(look.into()) => (),
        }
    }
    tracing::debug!("a stream is reset: its client took nothing of the answer for too long");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_client_is_counted() {
        let (stall, limit, now) = (Stall::default(), Duration::from_secs(5), Instant::now());
        assert_eq!(stall.next_look(limit, now), Some(now + limit), "the app is awaited");
        stall.since.set(Some(now));
        assert_eq!(stall.next_look(limit, now + limit / 2), Some(now + limit));
        assert_eq!(stall.next_look(limit, now + limit), None);
        stall.awaits_app();
        assert!(stall.next_look(limit, now + 2 * limit).is_some());
    }
}
