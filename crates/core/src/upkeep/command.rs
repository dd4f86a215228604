//! What users may ask of a rollout, and the refusals by name.

use super::rollout::{Rollout, State};

/// Why it is not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// See the sentence.
    #[error("no rollout is under way")]
    None,
    /// See the sentence.
    #[error("the rollout is not halted")]
    NotHalted,
    /// See the sentence.
    #[error("every app runs on this image already, or has nothing live")]
    NothingBehind,
    /// See the sentence.
    #[error("a rollout to this image is under way already")]
    UnderWay,
    /// See the sentence.
    #[error("the rollout is halted")]
    Halted,
}

impl Refusal {
    /// What to do instead.
    #[must_use]
    pub fn hint(self) -> &'static str {
        match self {
            Self::None => "`teal maintenance status` shows the last one; `teal maintenance start` begins one",
            Self::NotHalted | Self::UnderWay => "`teal maintenance status` shows how far it is",
            Self::NothingBehind => "nothing has to be done",
            Self::Halted => "look at what failed, then `teal maintenance resume` or `abort`",
        }
    }
}

/// Goes on after a halt: the failures so far are forgiven, the apps that failed stay where they are.
///
/// # Errors
/// If it is not halted.
pub fn resume(rollout: &Rollout) -> Result<Rollout, Refusal> {
    match rollout.state {
        State::Halted { .. } => {
            let forgiven = rollout.tally().failed;
            Ok(Rollout { state: State::Running, forgiven, version: rollout.version + 1, ..rollout.clone() })
        }
        State::Running => Err(Refusal::NotHalted),
        State::Aborted { .. } | State::Replaced { .. } | State::Done => Err(Refusal::None),
    }
}

/// Ends it: nobody begins any more. What is under way goes on to its verdict.
///
/// # Errors
/// If it is over.
pub fn abort(rollout: &Rollout, by: &str) -> Result<Rollout, Refusal> {
    if rollout.state.is_final() {
        return Err(Refusal::None);
    }
    let state = State::Aborted { by: by.to_owned() };
    Ok(Rollout { state, version: rollout.version + 1, ..rollout.clone() })
}

/// Makes it wait for no window any more.
///
/// # Errors
/// If it is halted, or does not wait.
pub fn hurry(rollout: &Rollout) -> Result<Rollout, Refusal> {
    match rollout.state {
        State::Running if rollout.at_once => Err(Refusal::UnderWay),
        State::Running => Ok(Rollout { at_once: true, version: rollout.version + 1, ..rollout.clone() }),
        State::Halted { .. } => Err(Refusal::Halted),
        State::Aborted { .. } | State::Replaced { .. } | State::Done => Err(Refusal::None),
    }
}
