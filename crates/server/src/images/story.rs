//! What is told of a build while it goes on, and of the last one afterwards. Bounded: a build that says more than this says it to nobody.

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
    /// How it ended: the version, or why there is none.
    pub end: Option<Result<String, String>>,
}

impl Story {
    pub(super) fn begin(name: &str) -> Self {
        Self { name: name.to_owned(), began: now(), lines: Vec::new(), end: None }
    }

    pub(super) fn say(&mut self, line: &str) {
        if self.lines.len() < MAX_LINES {
            self.lines.push(line.to_owned());
        }
    }
}
