//! What is told of a build while it goes on, and of the last one afterwards. Bounded: a build that says more than this says it to nobody.

use super::Stop;
use crate::world::now;
use teal_core::time::Time;

/// The most lines that are kept.
const MAX_LINES: usize = 2000;

/// One build.
#[derive(Debug, Clone)]
pub struct Story {
    /// Of which image.
    pub name: String,
    /// When it began.
    pub began: Time,
    /// What it said, in order.
    pub lines: Vec<String>,
    /// How it ended; `None`: it goes on.
    pub end: Option<End>,
    /// Ends it.
    pub(super) stop: Stop,
}

/// How a build ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// With this version.
    Built(String),
    /// It broke: why.
    Failed(String),
    /// This user ended it.
    Cancelled(String),
}

impl Story {
    pub(crate) fn begin(name: &str) -> Self {
        let stop = Stop::default();
        Self { name: name.to_owned(), began: now(), lines: Vec::new(), end: None, stop }
    }

    pub(super) fn say(&mut self, line: &str) {
        if self.lines.len() < MAX_LINES {
            self.lines.push(line.to_owned());
        }
    }
}
