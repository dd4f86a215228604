//! Counts that belong to no environment: connections, handshakes, requests that met no route, and the access log's own.

use super::Own;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime},
};
use teal_core::{metrics, time::Time};

/// Dropped lines are spoken of no more often than this.
const REMIND: Duration = Duration::from_secs(10);

/// The counts.
#[derive(Debug)]
pub(crate) struct Edge {
    since: Time,
    started: Instant,
    connections: AtomicU64,
    accepted: AtomicU64,
    handshakes: AtomicU64,
    handshakes_failed: AtomicU64,
    unrouted: [AtomicU64; Own::ALL.len()],
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    log_lines: AtomicU64,
    log_dropped: AtomicU64,
    /// Dropped lines that were spoken of, and when next at the earliest, in milliseconds since `started`.
    spoken: AtomicU64,
    next: AtomicU64,
}

impl Default for Edge {
    fn default() -> Self {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let none = || AtomicU64::new(0);
        Self {
            since: Time(u64::try_from(since.as_millis()).unwrap_or(u64::MAX)),
            started: Instant::now(),
            connections: none(),
            accepted: none(),
            handshakes: none(),
            handshakes_failed: none(),
            unrouted: Default::default(),
            bytes_in: none(),
            bytes_out: none(),
            log_lines: none(),
            log_dropped: none(),
            spoken: none(),
            next: none(),
        }
    }
}

impl Edge {
    /// When counting began.
    pub(crate) fn since(&self) -> Time {
        self.since
    }

    /// A handshake was made, or not.
    pub(crate) fn handshake(&self, made: bool) {
        let count = if made { &self.handshakes } else { &self.handshakes_failed };
        count.fetch_add(1, Relaxed);
    }

    /// A request that met no environment was answered.
    pub(crate) fn unrouted(&self, own: Own) {
        self.unrouted[own as usize].fetch_add(1, Relaxed);
    }

    /// Bytes of such a request and its answer.
    pub(crate) fn moved(&self, bytes_in: u64, bytes_out: u64) {
        self.bytes_in.fetch_add(bytes_in, Relaxed);
        self.bytes_out.fetch_add(bytes_out, Relaxed);
    }

    /// Lines of the access log were handed on.
    pub(crate) fn logged(&self, lines: u64) {
        self.log_lines.fetch_add(lines, Relaxed);
    }

    /// Lines of the access log were dropped.
    pub(crate) fn log_dropped(&self, lines: u64) {
        self.log_dropped.fetch_add(lines, Relaxed);
    }

    /// Lines that were dropped since this last said so, if it is time to say so again.
    pub(crate) fn to_speak_of(&self, now: Instant) -> Option<u64> {
        let (all, spoken) = (self.log_dropped.load(Relaxed), self.spoken.load(Relaxed));
        let ms = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        let now = ms(now.saturating_duration_since(self.started));
        if all == spoken || now < self.next.load(Relaxed) {
            return None;
        }
        self.next.store(now.saturating_add(ms(REMIND)), Relaxed);
        self.spoken.store(all, Relaxed);
        Some(all - spoken)
    }

    /// All counts.
    pub(crate) fn report(&self) -> metrics::Edge {
        let named = |(own, count): (Own, &AtomicU64)| (own.word().to_owned(), count.load(Relaxed));
        metrics::Edge {
            connections: self.connections.load(Relaxed),
            accepted: self.accepted.load(Relaxed),
            handshakes: self.handshakes.load(Relaxed),
            handshakes_failed: self.handshakes_failed.load(Relaxed),
            unrouted: Own::ALL.into_iter().zip(&self.unrouted).map(named).collect(),
            bytes_in: self.bytes_in.load(Relaxed),
            bytes_out: self.bytes_out.load(Relaxed),
            log_lines: self.log_lines.load(Relaxed),
            log_dropped: self.log_dropped.load(Relaxed),
        }
    }
}

/// A client's connection that is counted as open until this is dropped.
#[derive(Debug)]
pub(crate) struct Open(Arc<Edge>);

impl Open {
    /// One more.
    pub(crate) fn new(edge: Arc<Edge>) -> Self {
        edge.accepted.fetch_add(1, Relaxed);
        edge.connections.fetch_add(1, Relaxed);
        Self(edge)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropped_lines_are_spoken_of_once_in_a_while() {
        let edge = Edge::default();
        let start = edge.started;
        assert_eq!(edge.to_speak_of(start), None);
        edge.log_dropped(3);
        assert_eq!(edge.to_speak_of(start), Some(3));
        edge.log_dropped(2);
        assert_eq!(edge.to_speak_of(start + REMIND / 2), None);
        assert_eq!(edge.to_speak_of(start + REMIND), Some(2));
        assert_eq!(edge.to_speak_of(start + REMIND * 3), None);
    }

    #[test]
    fn connections_are_open_until_they_end() {
        let edge = Arc::new(Edge::default());
        let (one, two) = (Open::new(Arc::clone(&edge)), Open::new(Arc::clone(&edge)));
        drop(one);
        assert_eq!((edge.report().connections, edge.report().accepted), (1, 2));
        drop(two);
        assert_eq!(edge.report().connections, 0);
    }
}
