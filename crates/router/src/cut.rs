//! The order to end what is in flight to an environment. Every request listens for it, and nearly none ever hears it: listening must cost nothing.

use std::{
    future::{Future as _, poll_fn},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::Poll,
    time::Duration,
};
use tokio::sync::Notify;

/// Where cuts of one environment are ordered.
#[derive(Debug, Default)]
pub(crate) struct Cut {
    /// How many were ordered.
    count: AtomicU64,
    /// The milliseconds over which the last one is spread.
    span: AtomicU64,
    listeners: Notify,
}

impl Cut {
    /// Tells all who listen to end, spread over `span`.
    pub(crate) fn order(&self, span: Duration) {
        self.span.store(u64::try_from(span.as_millis()).unwrap_or(u64::MAX), Ordering::Release);
        self.count.fetch_add(1, Ordering::AcqRel);
        self.listeners.notify_waiters();
    }
}

/// Somebody who hears of cuts that are ordered from now on.
#[derive(Debug, Clone)]
pub(crate) struct Listener {
    cut: Arc<Cut>,
    heard: u64,
}

impl Listener {
    /// Hears nothing of what was ordered before.
    pub(crate) fn new(cut: &Arc<Cut>) -> Self {
        Self { cut: Arc::clone(cut), heard: cut.count.load(Ordering::Acquire) }
    }

    /// Waits until the environment is to be cut and this stream's random share of the span has passed; for ever if it never is.
    pub(crate) async fn ordered(mut self) {
        let span = self.next().await;
        // Boxed: nearly nobody comes here, and everybody would have the room for it.
        Box::pin(self.share(span)).await;
    }

    /// Waits for a random share of the span.
    async fn share(&mut self, span: u64) {
        let share = Duration::from_millis(crate::chance::below(span));
        if share.is_zero() {
            return;
        }
        // A second order with a shorter span (the router stops) must not wait for the first one's share.
        tokio::select! {
            () = tokio::time::sleep(share) => (),
            again = self.next() => if again > 0 { tokio::time::sleep(share).await },
        }
    }

    /// The milliseconds of the next order.
    async fn next(&mut self) -> u64 {
        let mut notified = pin!(self.cut.listeners.notified());
        // Whoever is looked at again and again by the same task is in the list already.
        let mut known = 0;
        self.heard = poll_fn(|cx| {
            let count = self.cut.count.load(Ordering::Acquire);
            let task = cx.waker().data().addr();
            if count != self.heard || task != known && notified.as_mut().poll(cx).is_ready() {
                return Poll::Ready(count);
            }
            known = task;
            Poll::Pending
        })
        .await;
        self.cut.span.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::{Context, Waker};

    #[tokio::test]
    async fn whoever_listens_hears_the_next_order_and_none_before() {
        let cut = Arc::new(Cut::default());
        cut.order(Duration::ZERO);
        let listening = tokio::spawn(Listener::new(&cut).ordered());
        let mut early = pin!(Listener::new(&cut).ordered());
        assert!(early.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        tokio::task::yield_now().await;
        assert!(!listening.is_finished());
        cut.order(Duration::ZERO);
        listening.await.expect("ends");
        assert!(early.poll(&mut Context::from_waker(Waker::noop())).is_ready(), "by its count");
    }

    #[tokio::test]
    async fn a_listener_that_goes_over_to_another_task_is_woken_there() {
        let cut = Arc::new(Cut::default());
        let mut listening = Box::pin(Listener::new(&cut).ordered());
        assert!(listening.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        let listening = tokio::spawn(listening);
        tokio::task::yield_now().await;
        cut.order(Duration::ZERO);
        listening.await.expect("ends");
    }

    #[tokio::test]
    async fn a_second_order_without_a_span_is_not_kept_waiting_by_the_first() {
        let cut = Arc::new(Cut::default());
        let many: Vec<_> = (0..100).map(|_| tokio::spawn(Listener::new(&cut).ordered())).collect();
        tokio::task::yield_now().await;
        cut.order(Duration::from_secs(1_000_000));
        tokio::task::yield_now().await;
        cut.order(Duration::ZERO);
        for one in many {
            let ended = tokio::time::timeout(Duration::from_secs(60), one).await;
            ended.expect("nobody waits for its share any more").expect("ends");
        }
    }
}
