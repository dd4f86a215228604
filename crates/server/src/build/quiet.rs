//! When a build that writes nothing is said to be alive: whoever waits for a push must be able to tell a long step from a broken line.

use std::time::{Duration, Instant};

/// After so long without a line, and again after as long.
const SILENCE: Duration = Duration::from_secs(30);

/// How long a build has been silent.
#[derive(Debug)]
pub(super) struct Quiet {
    begun: Instant,
    last: Instant,
}

impl Quiet {
    /// Nothing was written yet.
    pub(super) fn new(now: Instant) -> Self {
        Self { begun: now, last: now }
    }

    /// The line to write now, if one is due. `spoke`: the build wrote something since the last call.
    pub(super) fn words(&mut self, spoke: bool, stage: &str, now: Instant) -> Option<String> {
        let silent = !spoke && now.saturating_duration_since(self.last) >= SILENCE;
        if spoke || silent {
            self.last = now;
        }
        let seconds = now.saturating_duration_since(self.begun).as_secs();
        silent.then(|| {
            format!("Still at the stage `{}`: the build has run for {seconds} s", crate::log::harmless(stage))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_silence_is_broken_and_not_more_often_than_said() {
        let begin = Instant::now();
        let mut quiet = Quiet::new(begin);
        let mut at = |second: u64, spoke| quiet.words(spoke, "build", begin + Duration::from_secs(second));
        assert_eq!(at(29, false), None);
        assert_eq!(at(30, false).as_deref(), Some("Still at the stage `build`: the build has run for 30 s"));
        assert_eq!(at(59, false), None);
        assert!(at(60, false).is_some());
        assert_eq!(at(80, true), None);
        assert_eq!(at(109, false), None);
        assert!(at(110, false).is_some());
    }
}
