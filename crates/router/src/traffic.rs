//! Counts of what is in flight, per environment, and the order to cut it.
//!
//! Counters outlive the table's mention of their environment: what left the table is still counted while it drains. Nothing here may block a
//! request: the lock is taken when tables change and when counts are asked for, never on the way of a request.

use crate::{
    cut::{Cut, Listener},
    metrics::{Edge, Meter},
};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use teal_core::{
    control::Traffic,
    id::EnvironmentId,
    metrics::{Metrics, Served},
    time::Time,
};

/// Counts are still told for this long after nobody can reach the environment any more, so that whoever watched it sees the last ones.
const REMEMBERED: Duration = Duration::from_secs(600);

/// One environment's counts.
#[derive(Debug)]
pub(crate) struct Counters {
    /// Whose they are.
    pub(crate) environment: EnvironmentId,
    /// What clients got.
    pub(crate) meter: Meter,
    in_flight: AtomicU64,
    upgraded: AtomicU64,
    requests: AtomicU64,
    refused: AtomicU64,
    failed: AtomicU64,
    server_errors: AtomicU64,
    cut: Arc<Cut>,
}

impl Counters {
    fn new(environment: EnvironmentId) -> Self {
        Self {
            environment,
            meter: Meter::default(),
            in_flight: AtomicU64::new(0),
            upgraded: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            server_errors: AtomicU64::new(0),
            cut: Arc::default(),
        }
    }

    /// The connection was refused, or failed before a byte of the request was sent.
    pub(crate) fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// The client saw a gateway error, or a response that broke off.
    pub(crate) fn failed(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    /// The app itself answered 5xx.
    pub(crate) fn server_error(&self) {
        self.server_errors.fetch_add(1, Ordering::Relaxed);
    }

    /// The request was given to the environment.
    pub(crate) fn given(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Hears of cuts that are ordered from now on.
    pub(crate) fn listen(&self) -> Listener {
        Listener::new(&self.cut)
    }

    fn report(&self) -> Traffic {
        Traffic {
            in_flight: self.in_flight.load(Ordering::Acquire),
            upgraded: self.upgraded.load(Ordering::Acquire),
            requests: self.requests.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            server_errors: self.server_errors.load(Ordering::Relaxed),
        }
    }
}

/// A request that is counted as in flight until this is dropped.
#[derive(Debug)]
pub(crate) struct Ticket {
    counters: Arc<Counters>,
    upgraded: bool,
}

impl Ticket {
    /// Counts one more ordinary request.
    pub(crate) fn new(counters: Arc<Counters>) -> Self {
        counters.in_flight.fetch_add(1, Ordering::AcqRel);
        Self { counters, upgraded: false }
    }

    /// The stream has no end of its own: it no longer counts as an ordinary request.
    pub(crate) fn upgrade(&mut self) {
        if !self.upgraded {
            // First up, then down: a reader in between sees one too many, never none.
            self.counters.upgraded.fetch_add(1, Ordering::AcqRel);
            self.counters.in_flight.fetch_sub(1, Ordering::AcqRel);
            self.upgraded = true;
        }
    }

    /// The environment's counts.
    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let count = if self.upgraded { &self.counters.upgraded } else { &self.counters.in_flight };
        count.fetch_sub(1, Ordering::AcqRel);
    }
}

/// All counters, by environment.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    /// What belongs to no environment.
    pub(crate) edge: Arc<Edge>,
    environments: Mutex<BTreeMap<EnvironmentId, Entry>>,
}

#[derive(Debug)]
struct Entry {
    counters: Arc<Counters>,
    /// When it was first seen out of the table and with nothing in flight.
    left: Option<Instant>,
}

impl Entry {
    fn is_worth_keeping(&mut self, now: Instant) -> bool {
        // New holders come from the table or from the registry, whose lock we have: a count of one is final.
        if Arc::strong_count(&self.counters) > 1 {
            self.left = None;
            return true;
        }
        now.duration_since(*self.left.get_or_insert(now)) < REMEMBERED
    }
}

impl Registry {
    /// The environment's counters, made if there are none.
    pub(crate) fn counters(&self, environment: &EnvironmentId) -> Arc<Counters> {
        let mut all = self.environments.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = all.get(environment) {
            return Arc::clone(&entry.counters);
        }
        let counters = Arc::new(Counters::new(environment.clone()));
        all.insert(environment.clone(), Entry { counters: Arc::clone(&counters), left: None });
        counters
    }

    /// All counts, and forgets those that nobody needs at `now` any more.
    pub(crate) fn report(&self, now: Instant) -> BTreeMap<EnvironmentId, Traffic> {
        let mut all = self.environments.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, entry| entry.is_worth_keeping(now));
        all.iter().map(|(id, entry)| (id.clone(), entry.counters.report())).collect()
    }

    /// Everything that is counted, at `at`, and forgets as [`Self::report`] does.
    pub(crate) fn metrics(&self, at: Time, now: Instant) -> Metrics {
        let mut all = self.environments.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, entry| entry.is_worth_keeping(now));
        let served = |counters: &Counters| {
            let mut served = Served { traffic: counters.report(), ..Served::default() };
            counters.meter.report(&mut served);
            served
        };
        let environments = all.iter().map(|(id, entry)| (id.clone(), served(&entry.counters))).collect();
        Metrics { at, since: self.edge.since(), edge: self.edge.report(), environments }
    }

    /// Tells everything that is in flight to this environment to end, spread over `span`.
    pub(crate) fn cut(&self, environment: &EnvironmentId, span: Duration) {
        let all = self.environments.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Entry { counters, .. }) = all.get(environment) {
            counters.cut.order(span);
        }
    }

    /// An ordinary request is in flight.
    pub(crate) fn is_busy(&self) -> bool {
        let all = self.environments.lock().unwrap_or_else(PoisonError::into_inner);
        all.values().any(|entry| entry.counters.in_flight.load(Ordering::Acquire) > 0)
    }

    /// Tells everything that is in flight to end at once.
    pub(crate) fn cut_all(&self) {
        let all = self.environments.lock().unwrap_or_else(PoisonError::into_inner);
        for Entry { counters, .. } in all.values() {
            counters.cut.order(Duration::ZERO);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment() -> EnvironmentId {
        "e-1".parse().expect("legal")
    }

    #[test]
    fn what_left_the_table_is_counted_until_it_ends_and_then_for_a_while() {
        let (registry, start) = (Registry::default(), Instant::now());
        let ticket = Ticket::new(registry.counters(&environment()));
        assert_eq!(registry.report(start + REMEMBERED * 2)[&environment()].in_flight, 1);
        drop(ticket);
        assert_eq!(registry.report(start + REMEMBERED * 2)[&environment()].in_flight, 0);
        assert!(!registry.report(start + REMEMBERED * 3 - Duration::from_secs(1)).is_empty());
        assert!(registry.report(start + REMEMBERED * 3).is_empty());
    }

    #[test]
    fn an_upgrade_moves_the_count() {
        let registry = Registry::default();
        let mut ticket = Ticket::new(registry.counters(&environment()));
        ticket.upgrade();
        ticket.upgrade();
        let report = registry.report(Instant::now())[&environment()];
        assert_eq!((report.in_flight, report.upgraded), (0, 1));
        drop(ticket);
        assert_eq!(registry.report(Instant::now())[&environment()].upgraded, 0);
    }
}
