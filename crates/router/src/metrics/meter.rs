//! One environment's counts of what clients got. Each worker adds to a part of its own, so that two cores do not fight for one line of memory;
//! whoever reads adds the parts up.

use super::Own;
use crate::traffic::Counters;
use std::{
    collections::BTreeMap,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use teal_core::{
    histogram::{BUCKETS, Histogram, bucket_of},
    metrics::Served,
};

/// Parts of one environment's counts; more workers than this share some.
const PARTS: usize = 8;

/// The counts. A part takes memory once its worker has served the environment.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    parts: [OnceLock<Box<Part>>; PARTS],
}

/// What one worker counted. What every request adds to comes first, and begins a line of memory.
#[derive(Debug)]
#[repr(align(128))]
struct Part {
    answers: [AtomicU64; 5],
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    sum_ns: AtomicU64,
    buckets: [AtomicU64; BUCKETS],
    websockets: AtomicU64,
    own: [AtomicU64; Own::ALL.len()],
}

impl Part {
    fn new() -> Box<Self> {
        Box::new(Self {
            answers: Default::default(),
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
            sum_ns: AtomicU64::new(0),
            buckets: std::array::from_fn(|_| AtomicU64::new(0)),
            websockets: AtomicU64::new(0),
            own: Default::default(),
        })
    }
}

impl Meter {
    fn part(&self, worker: usize) -> &Part {
        self.parts[worker % PARTS].get_or_init(Part::new)
    }

    /// A final answer of this status began after this span.
    pub(crate) fn answered(&self, worker: usize, status: u16, took: Duration) {
        let part = self.part(worker);
        let class = usize::from(status / 100).clamp(1, 5) - 1;
        part.answers[class].fetch_add(1, Relaxed);
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        part.sum_ns.fetch_add(ns, Relaxed);
        part.buckets[bucket_of(ns.div_ceil(1000))].fetch_add(1, Relaxed);
    }

    /// The answer was one of ours.
    pub(crate) fn own(&self, worker: usize, own: Own) {
        self.part(worker).own[own as usize].fetch_add(1, Relaxed);
    }

    /// So many bytes came from a client and went to it.
    pub(crate) fn moved(&self, worker: usize, bytes_in: u64, bytes_out: u64) {
        let part = self.part(worker);
        part.bytes_in.fetch_add(bytes_in, Relaxed);
        part.bytes_out.fetch_add(bytes_out, Relaxed);
    }

    /// Adds what was counted.
    pub(crate) fn report(&self, to: &mut Served) {
        let mut buckets = vec![0_u64; BUCKETS];
        let mut sum_ns = 0_u64;
        for part in self.parts.iter().filter_map(OnceLock::get) {
            part.answers.iter().zip(&mut to.answers).for_each(|(count, sum)| *sum += count.load(Relaxed));
            part.buckets.iter().zip(&mut buckets).for_each(|(count, sum)| *sum += count.load(Relaxed));
            sum_ns = sum_ns.wrapping_add(part.sum_ns.load(Relaxed));
            to.bytes_in += part.bytes_in.load(Relaxed);
            to.bytes_out += part.bytes_out.load(Relaxed);
            to.websockets += part.websockets.load(Relaxed);
            add_reasons(&part.own, &mut to.own);
        }
        to.latency = Histogram::new(buckets, sum_ns);
    }
}

fn add_reasons(counts: &[AtomicU64], to: &mut BTreeMap<String, u64>) {
    for (own, count) in Own::ALL.into_iter().zip(counts) {
        match count.load(Relaxed) {
            0 => (),
            some => *to.entry(own.word().into()).or_default() += some,
        }
    }
}

/// A WebSocket that is counted as open until this is dropped.
#[derive(Debug)]
pub(crate) struct OpenSocket {
    counters: Arc<Counters>,
    worker: usize,
}

impl OpenSocket {
    /// One more.
    pub(crate) fn new(counters: Arc<Counters>, worker: usize) -> Self {
        counters.meter.part(worker).websockets.fetch_add(1, Relaxed);
        Self { counters, worker }
    }
}

impl Drop for OpenSocket {
    fn drop(&mut self) {
        self.counters.meter.part(self.worker).websockets.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_all_workers_are_added_up() {
        let meter = Meter::default();
        for (worker, status) in [(0, 200), (1, 204), (9, 502), (1, 101), (2, 999)] {
            meter.answered(worker, status, Duration::from_micros(u64::from(status)));
            meter.moved(worker, 10, 100);
        }
        meter.own(9, Own::Broken);
        meter.own(0, Own::Broken);
        let mut served = Served::default();
        meter.report(&mut served);
        assert_eq!(served.answers, [1, 2, 0, 0, 2]);
        assert_eq!((served.bytes_in, served.bytes_out), (50, 500));
        assert_eq!((served.latency.count(), served.latency.sum_ns), (5, 2_006_000));
        assert_eq!(served.own, [("broken".to_owned(), 2)].into());
    }
}
