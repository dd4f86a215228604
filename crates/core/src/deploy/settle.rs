//! What is due by itself: clocks that strike, attempts that may begin, environments whose state follows their role.
//! Runs to a fixpoint inside every transaction, so that what is stored never waits for another pass.

use super::{
    deployment::{Deployment, Kind, Phase},
    draft::Draft,
    environment::State,
    event::EventKind,
    failure::{Failure, Stage},
    plan,
    roles::{Level, Role},
    settings::{GRACE_MS, MAX_DRAINING},
    states::Motion,
};
use crate::id::{DeploymentId, EnvironmentId};

/// More rounds than any set of rows needs; a guard against a machine that goes in circles.
const MAX_ROUNDS: usize = 1_000;

/// Applies every transition that needs no effect, until none is left.
pub(crate) fn settle(draft: &mut Draft<'_>) {
    for _ in 0..MAX_ROUNDS {
        let before = draft.fingerprint();
        expire(draft);
        supersede(draft);
        begin(draft);
        proceed(draft);
        move_environments(draft);
        if draft.fingerprint() == before {
            return;
        }
    }
}

/// Fails what took too long. The effect itself had the chance to say it better.
fn expire(draft: &mut Draft<'_>) {
    let now = draft.now;
    let late = draft.rows.deployments.iter().filter_map(|d| {
        let (at, stage) = match d.phase {
            Phase::Building => (plan::build_deadline(&draft.rows, d), Stage::Build),
            Phase::Starting => (plan::start_deadline(&draft.rows, d), Stage::Start),
            Phase::Checking => (plan::start_deadline(&draft.rows, d), Stage::Check),
            _ => return None,
        };
        (now >= at.plus(GRACE_MS)).then(|| (d.id.clone(), stage))
    });
    for (id, stage) in late.collect::<Vec<_>>() {
        let message = format!(
            "The {} did not end within its deadline. What was live before still serves; see the log for where it hangs, \
             or raise the deadline in the app's settings.",
            stage.word()
        );
        draft.fail(&id, Failure::new(stage, message));
    }
}

/// A push that is built takes the place of every older push that is not live yet: the newest push wins.
fn supersede(draft: &mut Draft<'_>) {
    let built = draft
        .rows
        .deployments
        .iter()
        .filter(|d| d.kind == Kind::Push && is_built(d))
        .max_by_key(|d| d.request);
    let Some((newest, request)) = built.map(|d| (d.id.clone(), d.request)) else { return };
    let older = |d: &&Deployment| d.kind == Kind::Push && d.phase.is_attempt() && d.request < request;
    let older: Vec<_> = draft.rows.deployments.iter().filter(older).map(|d| d.id.clone()).collect();
    for id in older {
        draft.supersede(&id, &newest);
    }
}

fn is_built(deployment: &Deployment) -> bool {
    deployment.phase == Phase::Ready || deployment.phase.is_candidate()
}

/// What a waiting attempt may do now.
enum Next {
    Build,
    Start,
    Drop(&'static str),
}

/// Lets waiting attempts begin, in the order in which they were asked for: one build and one candidate at a time.
fn begin(draft: &mut Draft<'_>) {
    let mut waiting: Vec<_> = draft.rows.deployments.iter().filter(|d| d.phase.is_attempt()).collect();
    waiting.sort_by_key(|d| d.request);
    let next = waiting.into_iter().find_map(|d| Some((d.id.clone(), next_of(draft, d)?)));
    match next {
        Some((id, Next::Build)) => draft.begin_build(&id),
        Some((id, Next::Start)) => draft.begin_start(&id),
        Some((id, Next::Drop(why))) => draft.cancel(&id, why),
        None => {}
    }
}

fn next_of(draft: &Draft<'_>, deployment: &Deployment) -> Option<Next> {
    let rows = &draft.rows;
    let may_start = rows.candidate().is_none();
    let may_build = !rows.deployments.iter().any(|d| d.phase == Phase::Building);
    match (&deployment.phase, deployment.kind) {
        (Phase::Ready, _) => may_start.then_some(Next::Start),
        (Phase::Queued, kind) if kind.keeps_commit() => {
            if !its_turn(draft, deployment) {
                return None;
            }
            let builds = matches!(kind, Kind::Config | Kind::Maintenance);
            match unneeded(draft, deployment) {
                Some(why) => Some(Next::Drop(why)),
                None if builds => may_build.then_some(Next::Build),
                None => may_start.then_some(Next::Start),
            }
        }
        (Phase::Queued, _) if deployment.environment.is_some() => may_start.then_some(Next::Start),
        (Phase::Queued, _) => may_build.then_some(Next::Build),
        _ => None,
    }
}

/// Those that act on the live commit wait until it is clear which one that is: no bake, no candidate, nothing built, nothing
/// older under way. Maintenance waits for every user's attempt.
fn its_turn(draft: &Draft<'_>, deployment: &Deployment) -> bool {
    let mut others = draft.rows.deployments.iter().filter(|d| d.id != deployment.id && d.phase.is_attempt());
    let waits_for = |d: &Deployment| match deployment.kind {
        Kind::Maintenance => {
            d.kind != Kind::Maintenance || d.request < deployment.request || d.phase != Phase::Queued
        }
        _ if d.kind == Kind::Maintenance => d.phase != Phase::Queued,
        _ => d.request < deployment.request || is_built(d),
    };
    draft.rows.baking().is_none() && !others.any(waits_for)
}

fn unneeded(draft: &Draft<'_>, deployment: &Deployment) -> Option<&'static str> {
    let Some(live) = draft.rows.live().filter(|_| draft.rows.app.stopped.is_none()) else {
        return Some("nothing is live any more");
    };
    let is_so = match deployment.kind {
        Kind::Config => live.config == draft.rows.app.config,
        Kind::Scale => live.count == draft.rows.app.settings.instances,
        Kind::Maintenance => deployment.image.as_ref() == Some(&live.image),
        _ => false,
    };
    is_so.then_some("a newer deployment did it already")
}

/// Lets the candidate go on where no effect is needed: its instances run, or nobody has to say "go live" any more.
fn proceed(draft: &mut Draft<'_>) {
    let Some(candidate) = draft.rows.candidate() else { return };
    let environment = candidate.environment.as_ref().and_then(|id| draft.rows.environment(id));
    if !environment.is_some_and(|e| e.is_whole()) {
        return;
    }
    let id = candidate.id.clone();
    match candidate.phase {
        Phase::Starting => draft.begin_check(&id),
        Phase::Held if !draft.rows.app.settings.hold => draft.go_live(&id),
        _ => {}
    }
}

/// Every state follows its role: up from wherever it is, or away from the traffic.
fn move_environments(draft: &mut Draft<'_>) {
    let now = draft.now;
    let ids: Vec<EnvironmentId> = draft.rows.environments.iter().map(|e| e.id.clone()).collect();
    for id in ids {
        let Some(row) = draft.rows.environment(&id) else { continue };
        let level = draft.rows.level(row, now);
        match row.state {
            State::New | State::Draining { .. } | State::Memory | State::Disk | State::Off
                if level == Level::Up =>
            {
                draft.environment(&id, Motion::Rises);
            }
            State::Rising | State::Up
                if level < Level::Up && row.routed && plan::is_free(&draft.rows, &id) =>
            {
                drain(draft, &id);
            }
            _ => {}
        }
    }
    cap_the_oldest(draft);
}

fn drain(draft: &mut Draft<'_>, id: &EnvironmentId) {
    let settings = &draft.rows.app.settings;
    let deadline = draft.now.plus(settings.drain_ms);
    let cap = draft.now.plus(settings.upgraded_ms.max(settings.drain_ms));
    if draft.environment(id, Motion::Drains { deadline, cap }) {
        draft.event(EventKind::Draining, None, Some(id), "it lost its traffic".into());
    }
}

/// At most so many drain at once: the upgraded streams of the oldest are cut early.
fn cap_the_oldest(draft: &mut Draft<'_>) {
    let now = draft.now;
    let mut draining: Vec<_> = draft
        .rows
        .environments
        .iter()
        .filter_map(|e| match e.state {
            State::Draining { cap, drained: false, .. } if cap > now => Some((e.since, e.id.clone())),
            _ => None,
        })
        .collect();
    draining.sort();
    let surplus = draining.len().saturating_sub(MAX_DRAINING);
    for (_, id) in draining.into_iter().take(surplus) {
        if draft.environment(&id, Motion::IsCapped { cap: now }) {
            draft.event(
                EventKind::Draining,
                None,
                Some(&id),
                "too many drain at once: its streams end early".into(),
            );
        }
    }
}

impl Draft<'_> {
    fn begin_check(&mut self, id: &DeploymentId) {
        if self.deployment(id, super::phases::Happening::Raised) {
            self.event(EventKind::CheckBegan, Some(id), None, "its instances run".into());
        }
    }

    /// What an environment is for, by its id.
    pub(crate) fn role(&self, id: &EnvironmentId) -> Role {
        self.rows.role(id)
    }
}
