//! All worker threads of a router, as the one who commands them sees them.

use crate::{
    error::Error,
    listeners::Sockets,
    worker::{self, Order, Plan},
};
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::mpsc;

/// The threads.
#[derive(Debug, Default)]
pub(crate) struct Workers(Vec<worker::Handle>);

impl Workers {
    /// Starts one more for each hand of sockets. If one does not start, those that did are in `self` and can be ended.
    pub(crate) fn start(&mut self, plan: &Plan, sockets: &Sockets) -> Result<(), Error> {
        let hands = sockets.deal(plan.workers);
        let hands = hands.map_err(|source| Error::Start { part: "a listening socket", source })?;
        for (number, own) in hands.into_iter().enumerate() {
            self.0.push(worker::start(plan.clone(), own, number)?);
        }
        Ok(())
    }

    /// Where each takes its orders.
    pub(crate) fn orders(&self) -> Vec<mpsc::Sender<Order>> {
        self.0.iter().map(|worker| worker.orders.clone()).collect()
    }

    /// Waits until one has ended.
    pub(crate) async fn broken(&self) {
        let mut ends: FuturesUnordered<_> = self.0.iter().map(|worker| worker.orders.closed()).collect();
        // Without a worker nobody waits here.
        ends.next().await;
    }

    /// Waits until all have ended.
    pub(crate) async fn all_ended(&self) {
        for worker in &self.0 {
            worker.orders.closed().await;
        }
    }

    /// Gives the same order to all.
    pub(crate) fn tell(&self, order: fn() -> Order) {
        for worker in &self.0 {
            // A worker that is gone needs no order.
            let _ = worker.orders.try_send(order());
        }
    }

    /// Waits for the ends of all threads.
    pub(crate) fn join(&mut self) {
        for worker in self.0.drain(..) {
            if worker.thread.join().is_err() {
                tracing::error!("a worker panicked");
            }
        }
    }
}
