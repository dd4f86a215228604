//! The four ways in which rows change: the clock, a user's request, an answer, an observation. All of them pure, each of them one transaction.

use super::{
    app::Rows,
    draft::Draft,
    event::Change,
    phases::Illegal,
    request::{Accepted, Refusal, Request},
    step::{Observation, Outcome, Step},
};
use crate::time::Time;

/// Why a request changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The machine refuses it by name.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// A fault of the machine.
    #[error(transparent)]
    Illegal(#[from] Illegal),
}

/// Everything that is due by the clock alone; `None` if nothing is.
///
/// # Errors
/// If the machine is at fault.
pub fn settled(rows: &Rows, now: Time) -> Result<Option<Change>, Illegal> {
    Draft::new(rows, now).finish()
}

/// A user's request.
///
/// # Errors
/// If it is refused, or the machine is at fault.
pub fn requested(rows: &Rows, request: &Request, now: Time) -> Result<(Option<Change>, Accepted), Rejection> {
    let mut draft = Draft::new(rows, now);
    let accepted = draft.ask(request)?;
    Ok((draft.finish()?, accepted))
}

/// The answer to a step; `None` if the machine does not want that step (any more), or the answer is that nothing is known.
///
/// # Errors
/// If the machine is at fault.
pub fn answered(rows: &Rows, step: &Step, outcome: &Outcome, now: Time) -> Result<Option<Change>, Illegal> {
    let mut draft = Draft::new(rows, now);
    if draft.answer(step, outcome) { draft.finish() } else { Ok(None) }
}

/// What the world noticed by itself; `None` if it is not news.
///
/// # Errors
/// If the machine is at fault.
pub fn observed(rows: &Rows, observation: &Observation, now: Time) -> Result<Option<Change>, Illegal> {
    let mut draft = Draft::new(rows, now);
    if draft.observe(observation) { draft.finish() } else { Ok(None) }
}
