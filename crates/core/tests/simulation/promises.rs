//! What must hold at every commit, at every instant and at rest, whatever the world does.

use crate::world::{Inner, Life};
use std::collections::{BTreeMap, BTreeSet};
use teal_core::{
    deploy::{self, Change, Deployment, End, EventKind, Kind, Phase, Role, Rows, State},
    id::{DeploymentId, EnvironmentId},
    route::AppRoute,
};

/// What the promises remember of the past, kept apart from the machine's own rows.
#[derive(Default)]
pub(crate) struct Memory {
    current: Option<EnvironmentId>,
    replaced: BTreeMap<DeploymentId, Option<EnvironmentId>>,
    /// The highest request of a push or a revert that went live.
    highest: u64,
    /// Every pair of the transition tables that was taken.
    pub(crate) pairs: BTreeSet<(&'static str, &'static str)>,
    pub(crate) rests: u64,
}

fn violate(inner: &mut Inner, text: String) {
    inner.violations.push(text);
}

/// At every commit: the transition itself keeps its promises.
pub(crate) fn at_commit(inner: &mut Inner, change: &Change) {
    let Some(before) = inner.rows.take() else { return };
    for transition in &change.transitions {
        inner.memory.pairs.insert((transition.from, transition.happening));
    }
    if change.rows.app.version != before.app.version + 1 {
        violate(inner, "every commit raises the version by one".into());
    }
    went_back(inner, &before, change);
    for event in change.events.iter().filter(|e| e.kind == EventKind::WentLive) {
        let deployment = event.deployment.as_ref().and_then(|id| change.rows.deployment(id)).cloned();
        if let Some(deployment) = deployment {
            landed(inner, &before, &deployment);
        }
    }
    let live = change.rows.live().map(|e| e.id.clone());
    if change.rows.app.deleted.is_none() && live != inner.memory.current {
        let current = inner.memory.current.clone();
        violate(inner, format!("the last landed is current: {current:?}, but live is {live:?}"));
    }
    way_back(inner, &before, change);
    inner.rows = Some(before);
}

/// A bake that fails or is cancelled gives production back to what it replaced.
fn went_back(inner: &mut Inner, before: &Rows, change: &Change) {
    for row in &change.rows.deployments {
        let was_live = before.deployment(&row.id).is_some_and(|d| matches!(d.phase, Phase::Live { .. }));
        if was_live && matches!(row.phase, Phase::Ended { .. }) {
            let replaced = inner.memory.replaced.get(&row.id).cloned().flatten();
            inner.memory.current = replaced;
            let spare = before.spare().map(|e| &e.id);
            // What was woken and broke falls back into the place of the spare that it was.
            let now = change.rows.way_back().map(|e| &e.id);
            if spare.is_some() && now.is_none() {
                violate(inner, format!("a failed bake costs the way back: {spare:?}"));
            }
        }
    }
}

fn landed(inner: &mut Inner, before: &Rows, row: &Deployment) {
    let environment = row.environment.clone();
    let own = matches!(row.kind, Kind::Push | Kind::Wake | Kind::Redeploy | Kind::Start);
    if own {
        if row.request < inner.memory.highest {
            violate(inner, format!("no push lands after a newer push or wake: {}", row.id));
        }
        inner.memory.highest = row.request;
    }
    if row.kind.keeps_commit() {
        let live = before.live().map(|e| e.commit.id.clone());
        if live != row.commit.as_ref().map(|c| c.id.clone()) {
            violate(inner, format!("{:?} never changes the commit: {}", row.kind, row.id));
        }
    }
    if before.app.stopped.is_some_and(|stop| row.request < stop) {
        violate(inner, format!("no older request starts a stopped app: {}", row.id));
    }
    if row.kind == Kind::Rollback {
        if environment != inner.memory.current {
            violate(inner, "a rollback returns to what was replaced".into());
        }
        return;
    }
    let replaced = std::mem::replace(&mut inner.memory.current, environment);
    inner.memory.replaced.insert(row.id.clone(), replaced);
}

/// The way back survives until retention ends it.
fn way_back(inner: &mut Inner, before: &Rows, change: &Change) {
    let after = &change.rows;
    let Some(spare) = before.way_back().map(|e| e.id.clone()) else { return };
    let ended = after.environment(&spare).is_none_or(|e| e.state == State::Gone);
    let by_retention = ended && after.app.settings.gone_after_ms.is_some();
    let fell_back = after.live().map(|e| &e.id) == Some(&spare);
    if after.way_back().is_none() && after.app.deleted.is_none() && !by_retention && !fell_back {
        violate(inner, format!("the way back survives until retention ends it: {spare} is lost"));
    }
}

/// At every instant: after every commit and every effect.
pub(crate) fn at_every_instant(inner: &mut Inner) {
    let Some(rows) = inner.rows.take() else { return };
    rows_hold(inner, &rows);
    routed_is_up(inner, &rows);
    singletons_hold(inner, &rows);
    inner.rows = Some(rows);
}

fn rows_hold(inner: &mut Inner, rows: &Rows) {
    let count = |is: fn(&Phase) -> bool| rows.deployments.iter().filter(|d| is(&d.phase)).count();
    let wanted = rows
        .environments
        .iter()
        .filter(|e| e.state != State::Gone && rows.role(&e.id) != Role::Unwanted)
        .count();
    let mut broken = Vec::new();
    if count(|p| *p == Phase::Building) > 1 {
        broken.push("one build at a time");
    }
    if count(Phase::is_candidate) > 1 {
        broken.push("one candidate at a time");
    }
    if count(|p| matches!(p, Phase::Live { .. })) > 1 {
        broken.push("one bake at a time");
    }
    if wanted > 4 {
        broken.push("at most four wanted environments");
    }
    if rows.app.version > 0 && rows.app.routing.asked != deploy::route(rows) {
        broken.push("the route is computed from the rows");
    }
    if rows.app.routing.is_settled() && rows.app.version > 0 && inner.router != rows.app.routing.served {
        broken.push("what is called served is what the router serves");
    }
    let running = rows.app.stopped.is_none() && rows.app.deleted.is_none();
    let live = rows.live().filter(|_| running);
    let has_live = rows.app.routing.asked.as_ref().is_some_and(|r| r.live.is_some());
    if live.is_some_and(|e| e.instances.iter().any(|i| i.is_good()) || e.state != State::Up) && !has_live {
        broken.push("a live app never loses its route");
    }
    let clash = rows.candidate().and_then(|d| rows.environment(d.environment.as_ref()?)).zip(live);
    if clash.is_some_and(|(candidate, live)| candidate.id != live.id && candidate.colour == live.colour) {
        broken.push("a candidate takes the colour that is not live");
    }
    broken.into_iter().for_each(|text| violate(inner, text.into()));
}

fn routed_is_up(inner: &mut Inner, rows: &Rows) {
    let Some(route) = inner.router.clone() else { return };
    for target in [&route.live, &route.standby].into_iter().flatten() {
        if rows.environment(&target.environment).is_none_or(|e| e.state != State::Up) {
            violate(inner, format!("the routed environment is up: {}", target.environment));
        }
        if inner.removed.contains(&target.environment) {
            violate(inner, format!("the routed environment exists: {}", target.environment));
        }
        for backend in &target.instances {
            let real = inner
                .things
                .get(&target.environment)
                .and_then(|t| t.instances.get(&backend.instance))
                .cloned();
            let Some(real) = real else { continue };
            if matches!(real.life, Life::Frozen | Life::Absent) || real.address != backend.address {
                violate(
                    inner,
                    format!("the routed one is never lowered or moved: {} {real:?}", backend.instance),
                );
            }
        }
    }
}

fn singletons_hold(inner: &mut Inner, rows: &Rows) {
    let runs = |life: Life| life == Life::Running || life == Life::Frozen;
    let with: Vec<EnvironmentId> = inner
        .things
        .iter()
        .filter(|(_, t)| t.instances.values().any(|i| i.workers && runs(i.life)))
        .map(|(id, _)| id.clone())
        .collect();
    if with.len() > 1 {
        violate(inner, format!("at most one environment has the singletons: {with:?}"));
    }
    for id in with {
        if rows.environment(&id).is_none_or(|e| e.state != State::Up) {
            violate(inner, format!("whoever has the singletons is up: {id}"));
        }
    }
}

/// Nothing that leads traffic or runs workers is lowered.
pub(crate) fn before_lowering(inner: &mut Inner, id: &EnvironmentId) {
    let mentions = |route: &AppRoute| deploy::mentions(Some(route), id);
    if inner.router.as_ref().is_some_and(mentions) {
        violate(inner, format!("the routed one is never lowered: {id}"));
    }
    not_cut(inner, id);
    let works = inner
        .things
        .get(id)
        .is_some_and(|t| t.instances.values().any(|i| i.workers && i.life == Life::Running));
    if works {
        violate(inner, format!("nothing is lowered while it runs workers: {id}"));
    }
}

/// Ordinary requests in flight are never cut before their deadline.
fn not_cut(inner: &mut Inner, id: &EnvironmentId) {
    let drain_ms = inner.rows.as_ref().map_or(0, |rows| rows.app.settings.drain_ms);
    let runs = inner.things.get(id).is_some_and(|t| t.instances.values().any(|i| i.life == Life::Running));
    let Some((left, manners)) = inner.left.get(id).filter(|_| runs) else { return };
    let busy_until = left.plus(manners.busy_ms.min(drain_ms));
    if inner.now < busy_until {
        violate(inner, format!("requests in flight are not cut before their deadline: {id}"));
    }
}

/// Nothing is under way and nothing bakes.
pub(crate) fn is_quiet(rows: &Rows) -> bool {
    let open = rows.deployments.iter().any(|d| !d.is_over() && d.phase != Phase::Held);
    let moving = rows.environments.iter().any(|e| {
        let wanted = rows.role(&e.id);
        matches!(e.state, State::New | State::Rising | State::Draining { .. })
            || (wanted == Role::Unwanted && e.state != State::Gone)
            || (e.state == State::Up && e.instances.iter().any(|i| !i.is_good()))
            || (e.state == State::Up && matches!(wanted, Role::Spare | Role::Parked))
    });
    let settled = rows.app.routing.is_settled();
    let singletons = &rows.app.singletons;
    !open && !moving && settled && (singletons.holder.is_none() || singletons.given)
}

/// At rest: nobody does anything, only clocks run.
pub(crate) fn at_rest(inner: &mut Inner) {
    inner.memory.rests += 1;
    let Some(rows) = inner.rows.take() else { return };
    let mut broken: Vec<String> = Vec::new();
    let kept = rows.environments.iter().filter(|e| e.state != State::Gone);
    let held = usize::from(rows.candidate().is_some());
    if kept.clone().count() > 2 + held {
        broken.push("at rest one live and one spare".into());
    }
    if rows.app.version > 0 && inner.router != deploy::route(&rows) {
        broken.push("at rest the router uses the route".into());
    }
    for environment in &rows.environments {
        if let Some(text) = at_odds(inner, environment) {
            broken.push(text);
        }
    }
    let strays = inner.things.keys().filter(|id| rows.environment(id).is_none());
    broken.extend(strays.map(|id| format!("nothing is orphaned: {id}")));
    mails_hold(inner, &rows, &mut broken);
    let live = rows.live().filter(|_| rows.app.stopped.is_none() && rows.app.deleted.is_none());
    if live.is_some_and(|e| e.state != State::Up) {
        broken.push("at rest what is live is up".into());
    }
    let works = |e: &deploy::Environment| {
        inner.things.get(&e.id).is_some_and(|t| t.instances.values().any(|i| i.workers))
    };
    if live.is_some_and(|e| !works(e)) {
        broken.push("at rest the live environment runs the workers".into());
    }
    inner.rows = Some(rows);
    inner.violations.extend(broken);
}

fn at_odds(inner: &Inner, environment: &deploy::Environment) -> Option<String> {
    let thing = inner.things.get(&environment.id);
    let lives = |life: Life| thing.map_or(0, |t| t.instances.values().filter(|i| i.life == life).count());
    let all = environment.count as usize;
    let (running, frozen) = (lives(Life::Running), lives(Life::Frozen));
    let fits = match environment.state {
        State::Up => running == all && frozen == 0,
        State::Memory => frozen == all && running == 0,
        State::Disk => running + frozen == 0 && thing.is_some_and(|t| t.snapshot),
        State::Off => running + frozen == 0 && !thing.is_some_and(|t| t.snapshot),
        State::Gone => thing.is_none(),
        State::New | State::Rising | State::Draining { .. } => false,
    };
    let (id, state) = (&environment.id, environment.state.word());
    (!fits).then(|| {
        format!("at rest the runtime equals the rows: {id} is {state}, but {running} run and {frozen} sleep")
    })
}

/// Exactly one mail for each failed deployment, none for the others.
fn mails_hold(inner: &Inner, rows: &Rows, broken: &mut Vec<String>) {
    for row in &rows.deployments {
        let mails = inner.mails.iter().filter(|m| m.deployment == row.id).count();
        let failed = matches!(row.phase, Phase::Ended { end: End::Failed { .. } });
        if mails != usize::from(failed) {
            broken.push(format!("one mail for each failed deployment: {} has {mails}", row.id));
        }
    }
}
