//! One clock per connection, set again and again: moving its time later costs nothing until it rings, and then it is only wound up anew.

use std::{
    future::Future as _,
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};
use tokio::time::Sleep;

/// A clock.
#[derive(Debug)]
pub(crate) struct Timer(Pin<Box<Sleep>>);

impl Timer {
    /// A clock that rings after `span`, if nobody asks for another time.
    pub(crate) fn new(span: Duration) -> Self {
        Self(Box::pin(tokio::time::sleep(span)))
    }

    /// Ready once it is `at`.
    pub(crate) fn poll_at(&mut self, cx: &mut Context<'_>, at: Instant) -> Poll<()> {
        loop {
            let set = self.0.deadline().into_std();
            if set > at {
                self.0.as_mut().reset(at.into());
            }
            ready!(self.0.as_mut().poll(cx));
            if set >= at {
                return Poll::Ready(());
            }
            self.0.as_mut().reset(at.into());
        }
    }
}
