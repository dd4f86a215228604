//! A neighbour that is asked all the time while another instance meets its limits.
//!
//! How fast it answers is said and never asserted; that it answers each time is.

use super::get;
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// Asks without end.
pub(crate) struct Pings {
    stop: Arc<AtomicBool>,
    asks: JoinHandle<Vec<Duration>>,
}

impl Pings {
    /// Asks whoever listens there from now on; every request has to be answered.
    pub(crate) fn start(address: SocketAddr, patience: Duration) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let once = move || {
            let began = Instant::now();
            get(address, "/", (patience, patience)).expect("the neighbour answers");
            began.elapsed()
        };
        let asks = std::thread::spawn(move || {
            let mut took = vec![once()];
            while !seen.load(Ordering::Acquire) {
                took.push(once());
            }
            took
        });
        Self { stop, asks }
    }

    /// The end of it, which fails if one was not answered; how it went is told to whoever reads.
    pub(crate) fn end(self, what: &str) {
        self.stop.store(true, Ordering::Release);
        let mut took = self.asks.join().expect("every request is answered");
        took.sort_unstable();
        let at = |percent: usize| took[(took.len() - 1) * percent / 100];
        eprintln!("figure: a neighbour {what}: {} answers, p50 {:?}, p99 {:?}", took.len(), at(50), at(99));
    }
}
