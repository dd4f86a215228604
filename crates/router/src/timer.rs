//! One clock per connection, set again and again: moving its time later costs nothing until it rings, and then it is only wound up anew.

use std::{
    future::Future as _,
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};
use tokio::{task::coop::has_budget_remaining, time::Sleep};

/// A clock.
#[derive(Debug)]
pub(crate) struct Timer {
    sleep: Pin<Box<Sleep>>,
    /// The task that is woken when it rings, if that was asked since it was set.
    asked: Option<usize>,
}

impl Timer {
    /// A clock that rings after `span`, if nobody asks for another time.
    pub(crate) fn new(span: Duration) -> Self {
        Self { sleep: Box::pin(tokio::time::sleep(span)), asked: None }
    }

    /// Ready once it is `at`.
    pub(crate) fn poll_at(&mut self, cx: &mut Context<'_>, at: Instant) -> Poll<()> {
        let task = Some(cx.waker().data().addr());
        loop {
            let set = self.sleep.deadline().into_std();
            if set > at {
                self.set(at);
            } else if self.asked == task && !self.sleep.is_elapsed() {
                // Whoever is looked at again and again by the same task is woken already.
                return Poll::Pending;
            }
            // A task that has used up its turn waits without having asked.
            self.asked = task.filter(|_| has_budget_remaining());
            ready!(self.sleep.as_mut().poll(cx));
            if set >= at {
                return Poll::Ready(());
            }
            self.set(at);
        }
    }

    fn set(&mut self, at: Instant) {
        self.sleep.as_mut().reset(at.into());
        self.asked = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use tokio::{task::coop::poll_proceed, time::timeout};

    #[tokio::test]
    async fn it_rings_at_the_time_that_was_asked_for_last() {
        let mut timer = Timer::new(Duration::from_millis(1));
        // Later than it is set, sooner, and sooner after somebody has asked.
        for (asked, then) in [(20, 25), (10_000_000, 10), (10_000_000, 5)] {
            let later = |span| Instant::now() + Duration::from_millis(span);
            let (asked, then) = (later(asked), later(then));
            let _ = poll_fn(|cx| Poll::Ready(timer.poll_at(cx, asked))).await;
            poll_fn(|cx| timer.poll_at(cx, then)).await;
            assert!(Instant::now() >= then);
        }
    }

    #[tokio::test]
    async fn it_wakes_the_task_that_looked_last() {
        let at = Instant::now() + Duration::from_millis(50);
        let mut timer = Timer::new(Duration::from_millis(50));
        let _ = poll_fn(|cx| Poll::Ready(timer.poll_at(cx, at))).await;
        let mut first = true;
        let looking = poll_fn(move |cx| {
            if std::mem::take(&mut first) {
                // All that this task may do in one turn.
                while let Poll::Ready(turn) = poll_proceed(cx) {
                    turn.made_progress();
                }
            }
            timer.poll_at(cx, at)
        });
        let woken = timeout(Duration::from_secs(60), tokio::spawn(looking)).await;
        woken.expect("it is woken, though it had used up its turn").expect("ends");
    }
}
