//! Whether answers ever go back: no client may see an older version once anybody has seen a newer one.
//!
//! Counted without mercy for those who ask at the same time: only what was *asked* after a newer version was *seen* counts.

use anyhow::{Context as _, Result};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// The header in which an upstream says its version.
pub(crate) const HEADER: &str = "x-version";

/// What all clients of one run have seen.
#[derive(Debug, Clone, Default)]
pub(crate) struct Monotony(Arc<Seen>);

#[derive(Debug, Default)]
struct Seen {
    /// The newest version of all.
    newest: AtomicU64,
    /// Answers that were older than one on the same connection before.
    connections: AtomicU64,
    /// Answers that were older than one that any client had seen before it was asked for.
    clients: AtomicU64,
}

/// One connection: what it has seen. Streams of one connection share it.
#[derive(Debug, Clone)]
pub(crate) struct Watch {
    all: Monotony,
    newest: Arc<AtomicU64>,
}

/// One request: the least that its answer may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Floor {
    connection: u64,
    client: u64,
}

impl Monotony {
    /// A connection begins.
    pub(crate) fn connection(&self) -> Watch {
        Watch { all: self.clone(), newest: Arc::default() }
    }

    /// The newest version that anybody has seen.
    pub(crate) fn newest(&self) -> u64 {
        self.0.newest.load(Ordering::SeqCst)
    }

    /// Answers that went back: on one connection, and over all clients.
    pub(crate) fn violations(&self) -> (u64, u64) {
        (self.0.connections.load(Ordering::SeqCst), self.0.clients.load(Ordering::SeqCst))
    }
}

impl Watch {
    /// A request begins.
    pub(crate) fn ask(&self) -> Floor {
        Floor { connection: self.newest.load(Ordering::SeqCst), client: self.all.newest() }
    }

    /// Its answer is there.
    pub(crate) fn answered(&self, floor: Floor, version: u64) {
        if version < floor.connection {
            self.all.0.connections.fetch_add(1, Ordering::SeqCst);
        }
        if version < floor.client {
            self.all.0.clients.fetch_add(1, Ordering::SeqCst);
        }
        self.newest.fetch_max(version, Ordering::SeqCst);
        self.all.0.newest.fetch_max(version, Ordering::SeqCst);
    }
}

/// The version in a head.
pub(crate) fn version(head: &str) -> Result<u64> {
    let mut lines = head.lines().filter_map(|line| line.split_once(':'));
    let value = lines.find(|(name, _)| name.eq_ignore_ascii_case(HEADER)).map(|(_, value)| value.trim());
    value.with_context(|| format!("an answer without {HEADER}"))?.parse().context("a version is a number")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_asked_after_a_newer_one_was_seen_goes_back() {
        let all = Monotony::default();
        let (one, two) = (all.connection(), all.connection());
        let (early, other) = (one.ask(), two.ask());
        one.answered(early, 2);
        two.answered(other, 1);
        assert_eq!(all.violations(), (0, 0), "they were asked at the same time");
        let floor = two.ask();
        two.answered(floor, 1);
        assert_eq!(all.violations(), (0, 1), "another connection had seen 2");
        let floor = one.ask();
        one.answered(floor, 1);
        assert_eq!((all.violations(), all.newest()), ((1, 2), 2));
    }

    #[test]
    fn versions_are_read_from_heads() {
        assert_eq!(version("HTTP/1.1 200 OK\r\nX-Version: 17\r\n").expect("reads"), 17);
        assert!(version("HTTP/1.1 200 OK\r\ndate: x\r\n").is_err());
    }
}
