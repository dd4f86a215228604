//! When each part of a boot was done, by the machine's own clock.

use nix::time::{ClockId, clock_gettime};
use teal_core::machine::Span;

/// The stages so far.
pub(crate) struct Stages {
    all: Vec<Span>,
}

impl Stages {
    /// None yet.
    pub(crate) fn new() -> Self {
        Self { all: Vec::new() }
    }

    /// This one is done now.
    pub(crate) fn done(&mut self, stage: &str) {
        let since =
            clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(0, |t| t.tv_sec() * 1000 + t.tv_nsec() / 1_000_000);
        self.all.push(Span { stage: stage.to_owned(), at_ms: since.unsigned_abs() });
    }

    /// All of them, in order.
    pub(crate) fn spans(&self) -> Vec<Span> {
        self.all.clone()
    }
}
