//! Why a deployment failed, in words for the user. Bounded: what apps write ends up in here.

use serde::{Deserialize, Serialize};

/// The most lines of details that a row keeps.
pub const MAX_DETAILS: usize = 200;

/// The longest line that a row keeps, in characters.
pub const MAX_LINE: usize = 2_000;

/// The part of a deployment that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// The build.
    Build,
    /// The start of the instances.
    Start,
    /// The health check.
    Check,
    /// Waiting, healthy, for "go live".
    Held,
    /// The bake.
    Bake,
}

impl Stage {
    /// The word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Build => "build",
            Self::Start => "start",
            Self::Check => "check",
            Self::Held => "held",
            Self::Bake => "bake",
        }
    }
}

/// Why it failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Which part.
    pub stage: Stage,
    /// What happened, why, and what to do next.
    pub message: String,
    /// Evidence, one line each: the log's tail, probes, what listens where, the exit code.
    #[serde(default)]
    pub details: Vec<String>,
}

impl Failure {
    /// A failure without evidence.
    #[must_use]
    pub fn new(stage: Stage, message: impl Into<String>) -> Self {
        Self { stage, message: message.into(), details: Vec::new() }
    }

    /// The same within the limits of a row: the *last* lines are kept, each shortened.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        self.message = shorten(self.message);
        self.details = bounded_lines(self.details);
        self
    }
}

/// The last [`MAX_DETAILS`] lines, each of at most [`MAX_LINE`] characters.
#[must_use]
pub fn bounded_lines(mut lines: Vec<String>) -> Vec<String> {
    let surplus = lines.len().saturating_sub(MAX_DETAILS);
    lines.drain(..surplus);
    lines.into_iter().map(shorten).collect()
}

fn shorten(line: String) -> String {
    match line.char_indices().nth(MAX_LINE) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_log_is_cut_to_its_end() {
        let lines = (0..1_000).map(|n| format!("{n} {}", "é".repeat(5_000))).collect();
        let failure = Failure { stage: Stage::Build, message: "no".into(), details: lines }.bounded();
        assert_eq!(failure.details.len(), MAX_DETAILS);
        assert!(failure.details[MAX_DETAILS - 1].starts_with("999 "));
        assert!(failure.details.iter().all(|line| line.chars().count() <= MAX_LINE + 1));
    }
}
