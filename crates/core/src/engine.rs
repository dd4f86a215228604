//! The loop around the machine: load → plan → perform → commit. It knows no runtime and no clock of its own: a [`World`] has both.
//!
//! The driver of the server and the simulation are built from the same pieces: [`settle`] commits every pure transition that is due and
//! says which steps are wanted and when the next clock strikes; [`moves`] says which tasks to end and which to begin; [`answer`] and
//! [`observe`] commit what was learnt, but only if the machine, run again on freshly loaded rows, still wants it.

use crate::{
    deploy::{self, Accepted, Change, Fact, Lane, Observation, Outcome, Rejection, Request, Rows, Step},
    id::AppId,
    time::Time,
};
use std::future::Future;

/// How often a commit is tried against concurrent ones before the caller has to try again.
const MAX_CONFLICTS: usize = 64;

/// What a commit came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Committed {
    /// Durable.
    Ok,
    /// Somebody else committed first: load again.
    Conflict,
}

/// The store, the clock and the effects.
pub trait World: Sync {
    /// What can go wrong with the store.
    type Error: std::error::Error + Send + Sync + 'static;

    /// The present instant.
    fn now(&self) -> Time;

    /// The app's rows that matter; `None` if there is no such app.
    fn load(&self, app: &AppId) -> impl Future<Output = Result<Option<Rows>, Self::Error>> + Send;

    /// Stores rows, events and mails in one durable transaction, if the app's version still is `base`.
    fn commit(
        &self,
        base: u64,
        change: &Change,
    ) -> impl Future<Output = Result<Committed, Self::Error>> + Send;

    /// Performs one step. `rows` are those that wanted it. The future may be dropped at any point: the effect is idempotent.
    fn perform(&self, rows: &Rows, step: &Step) -> impl Future<Output = Outcome> + Send;
}

/// Why the engine could not go on.
#[derive(Debug, thiserror::Error)]
pub enum Error<E: std::error::Error + 'static> {
    /// The store failed.
    #[error("the store failed")]
    Store(#[source] E),
    /// There is no such app (any more).
    #[error("there is no such app")]
    NoSuchApp,
    /// Too many others committed at the same time.
    #[error("the app's rows changed too often meanwhile; try again")]
    Busy,
    /// The machine refuses the request, or is at fault.
    #[error(transparent)]
    Rejected(Rejection),
}

/// What is to be done after a pass.
#[derive(Debug, Clone)]
pub struct Due {
    /// The rows as they are now.
    pub rows: Rows,
    /// The steps that are wanted now.
    pub steps: Vec<Step>,
    /// When to pass again, if nothing else happens before.
    pub next: Option<Time>,
}

/// Commits all pure transitions that are due and says what is left to do.
///
/// # Errors
/// If the store fails or there is no such app.
pub async fn settle<W: World>(world: &W, app: &AppId) -> Result<Due, Error<W::Error>> {
    let (rows, ()) = change(world, app, |rows, now| Ok((deploy::settled(rows, now)?, ()))).await?;
    let plan = deploy::plan(&rows, world.now());
    Ok(Due { rows, steps: plan.steps, next: plan.next })
}

/// Commits a user's request.
///
/// # Errors
/// If the store fails, there is no such app, or the machine refuses.
pub async fn request<W: World>(
    world: &W,
    app: &AppId,
    request: &Request,
) -> Result<Accepted, Error<W::Error>> {
    let decide = |rows: &Rows, now| deploy::requested(rows, request, now);
    change(world, app, decide).await.map(|(_, accepted)| accepted)
}

/// Commits the answer to a step, if it still is wanted; says whether it was.
///
/// # Errors
/// If the store fails or there is no such app.
pub async fn answer<W: World>(
    world: &W,
    app: &AppId,
    step: &Step,
    outcome: &Outcome,
) -> Result<bool, Error<W::Error>> {
    let decide = |rows: &Rows, now| {
        let changed = deploy::answered(rows, step, outcome, now)?;
        let wanted = changed.is_some();
        Ok((changed, wanted))
    };
    change(world, app, decide).await.map(|(_, wanted)| wanted)
}

/// Commits what the world noticed by itself, if it is news; says whether it was.
///
/// # Errors
/// If the store fails or there is no such app.
pub async fn observe<W: World>(
    world: &W,
    app: &AppId,
    observation: &Observation,
) -> Result<bool, Error<W::Error>> {
    let decide = |rows: &Rows, now| {
        let changed = deploy::observed(rows, observation, now)?;
        let news = changed.is_some();
        Ok((changed, news))
    };
    change(world, app, decide).await.map(|(_, news)| news)
}

/// Loads, decides and commits until nobody else was faster. `decide` returns the change, if there is one.
async fn change<W: World, T>(
    world: &W,
    app: &AppId,
    decide: impl Fn(&Rows, Time) -> Result<(Option<Change>, T), Rejection>,
) -> Result<(Rows, T), Error<W::Error>> {
    for _ in 0..MAX_CONFLICTS {
        let rows = world.load(app).await.map_err(Error::Store)?.ok_or(Error::NoSuchApp)?;
        let (changed, result) = decide(&rows, world.now()).map_err(Error::Rejected)?;
        let Some(changed) = changed else { return Ok((rows, result)) };
        if world.commit(rows.app.version, &changed).await.map_err(Error::Store)? == Committed::Ok {
            return Ok((changed.rows, result));
        }
    }
    Err(Error::Busy)
}

/// Which tasks to end and which to begin.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Moves {
    /// Keys of running tasks that are not wanted any more: abort them.
    pub end: Vec<String>,
    /// Steps to begin now: wanted, not running, and nothing else runs in their lane. Those that wait for a lane come with a later call.
    pub begin: Vec<Step>,
}

/// Compares what runs with what is wanted. A task that is being aborted counts as running until it really ended.
#[must_use]
pub fn moves<'a>(running: impl IntoIterator<Item = &'a Step>, wanted: &[Step]) -> Moves {
    let running: Vec<&Step> = running.into_iter().collect();
    let mut busy: Vec<Lane> = running.iter().map(|step| step.lane()).collect();
    let end = running.iter().filter(|step| !wanted.contains(step)).map(|step| step.key()).collect();
    let mut begin = Vec::new();
    for step in wanted.iter().filter(|step| !running.contains(step)) {
        if !busy.iter().any(|lane| lane.excludes(&step.lane())) {
            busy.push(step.lane());
            begin.push(step.clone());
        }
    }
    Moves { end, begin }
}

/// A shorthand for worlds: it is so, with nothing to add.
#[must_use]
pub fn done() -> Outcome {
    Outcome::Done { fact: Fact::Plain }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn give(environment: &str, epoch: u64) -> Step {
        Step::Give { environment: environment.parse().expect("legal"), epoch }
    }

    #[test]
    fn what_is_not_wanted_ends_and_its_lane_stays_busy_until_it_has() {
        let (old, new) = (give("e-1", 1), give("e-2", 1));
        let first = moves([&old], std::slice::from_ref(&new));
        assert_eq!(first, Moves { end: vec![old.key()], begin: Vec::new() });
        let second = moves([], std::slice::from_ref(&new));
        assert_eq!(second, Moves { end: Vec::new(), begin: vec![new] });
    }

    #[test]
    fn what_runs_and_is_wanted_goes_on() {
        let step = give("e-1", 1);
        assert_eq!(moves([&step], std::slice::from_ref(&step)), Moves::default());
    }

    #[test]
    fn an_environment_waits_for_its_instances() {
        let environment = "e-1".parse().expect("legal");
        let repair = Step::Repair { environment, instance: "e-1-0".parse().expect("legal"), epoch: 1 };
        let sleep = Step::Sleep { environment: "e-1".parse().expect("legal"), epoch: 2 };
        assert!(moves([&repair], std::slice::from_ref(&sleep)).begin.is_empty());
        let other = Step::Sleep { environment: "e-2".parse().expect("legal"), epoch: 2 };
        assert_eq!(moves([&repair], std::slice::from_ref(&other)).begin, vec![other]);
    }
}
