//! The change that one transaction will commit, while it is being made: rows, events and mails together.

use super::{
    app::Rows,
    deployment::{Deployment, End, Phase},
    environment::{Environment, State},
    event::{Change, Event, EventKind, Mail, Transition},
    phases::{self, Happening, Illegal},
    plan,
    roles::Role,
    route,
    states::{self, Motion},
};
use crate::{
    id::{DeploymentId, EnvironmentId},
    route::Colour,
    time::Time,
};

/// A change in the making. A transition that the tables do not have spoils all of it.
pub(crate) struct Draft<'a> {
    /// The rows as they will be.
    pub(crate) rows: Rows,
    /// The one instant of the whole transaction.
    pub(crate) now: Time,
    before: &'a Rows,
    events: Vec<Event>,
    mails: Vec<Mail>,
    transitions: Vec<Transition>,
    illegal: Option<Illegal>,
}

impl<'a> Draft<'a> {
    pub(crate) fn new(rows: &'a Rows, now: Time) -> Self {
        Self {
            rows: rows.clone(),
            now,
            before: rows,
            events: Vec::new(),
            mails: Vec::new(),
            transitions: Vec::new(),
            illegal: None,
        }
    }

    /// Runs the clocks, computes the route and ends the draft; `None` if nothing changed.
    pub(crate) fn finish(mut self) -> Result<Option<Change>, Illegal> {
        super::settle::settle(&mut self);
        self.compute_route();
        self.close_replaced();
        self.give_up_unwanted();
        if let Some(illegal) = self.illegal {
            return Err(illegal);
        }
        if self.rows.is_finished() && !self.before.is_finished() {
            self.event(EventKind::Finished, None, None, "nothing of the app is left".into());
        }
        if self.rows == *self.before {
            return Ok(None);
        }
        self.rows.app.version += 1;
        let serving = self.serving();
        self.mails.iter_mut().for_each(|mail| mail.serving.clone_from(&serving));
        Ok(Some(Change {
            rows: self.rows,
            events: self.events,
            mails: self.mails,
            transitions: self.transitions,
        }))
    }

    /// Has anything been changed or said so far?
    pub(crate) fn fingerprint(&self) -> (usize, u64) {
        let epochs: u64 = self.rows.environments.iter().map(|e| e.epoch).sum();
        (self.events.len(), epochs)
    }

    pub(crate) fn event(
        &mut self,
        kind: EventKind,
        deployment: Option<&DeploymentId>,
        environment: Option<&EnvironmentId>,
        text: String,
    ) {
        let author = deployment.and_then(|id| self.rows.deployment(id)).and_then(|d| d.author.clone());
        let (deployment, environment) = (deployment.cloned(), environment.cloned());
        self.events.push(Event { at: self.now, kind, deployment, environment, author, text });
    }

    pub(crate) fn event_by(&mut self, kind: EventKind, author: Option<String>, text: String) {
        self.events.push(Event { at: self.now, kind, deployment: None, environment: None, author, text });
    }

    pub(crate) fn mail(&mut self, mail: Mail) {
        self.mails.push(mail);
    }

    /// Lets something happen to a deployment, by the table. Says whether it did.
    pub(crate) fn deployment(&mut self, id: &DeploymentId, happening: Happening) -> bool {
        let now = self.now;
        let Some(row) = self.rows.deployment_mut(id) else { return false };
        let taken = Transition { row: id.to_string(), from: row.phase.word(), happening: happening.word() };
        match phases::apply(&row.phase, happening) {
            Ok(phase) => {
                row.phase = phase;
                stamp(row, now);
                self.transitions.push(taken);
                true
            }
            Err(illegal) => {
                self.illegal.get_or_insert(illegal);
                false
            }
        }
    }

    /// Lets something happen to an environment, by the table. Says whether it did.
    pub(crate) fn environment(&mut self, id: &EnvironmentId, motion: Motion) -> bool {
        let now = self.now;
        let Some(row) = self.rows.environment_mut(id) else { return false };
        let taken = Transition { row: id.to_string(), from: row.state.word(), happening: motion.word() };
        match states::apply(row.state, motion) {
            Ok(state) => {
                row.state = state;
                row.since = now;
                row.epoch += 1;
                if !matches!(state, State::Up | State::Draining { .. }) {
                    row.instances.clear();
                }
                self.transitions.push(taken);
                true
            }
            Err(illegal) => {
                self.illegal.get_or_insert(illegal);
                false
            }
        }
    }

    /// Gives every environment the colour of its place: the live one keeps its own, all others take the other one.
    pub(crate) fn recolour(&mut self) {
        let Some((live, colour)) = self.rows.live().map(|e| (e.id.clone(), e.colour)) else { return };
        for environment in self.rows.environments.iter_mut().filter(|e| e.id != live) {
            environment.colour = colour.other();
        }
    }

    /// The place that a candidate takes: the one that is not live's.
    pub(crate) fn free_colour(&self) -> Colour {
        self.rows.live().map_or(Colour::Blue, |live| live.colour.other())
    }

    /// Whoever lost its last role loses its turn with it: its removal may have begun, so nothing may want it back.
    fn give_up_unwanted(&mut self) {
        let lost = |e: &&Environment| e.turn.is_some() && self.rows.role(&e.id) == Role::Unwanted;
        let lost: Vec<EnvironmentId> =
            self.rows.environments.iter().filter(lost).map(|e| e.id.clone()).collect();
        for id in lost {
            if let Some(row) = self.rows.environment_mut(&id) {
                row.turn = None;
            }
        }
    }

    /// A deployment that was replaced before the router ever served it has its verdict now.
    fn close_replaced(&mut self) {
        let now = self.now;
        let running = self.rows.app.stopped.is_none() && self.rows.app.deleted.is_none();
        let live = self.rows.live().filter(|_| running).map(|e| e.deployment.clone());
        let open = |d: &&mut Deployment| matches!(d.phase, Phase::Baked { .. }) && d.times.ended.is_none();
        for row in self.rows.deployments.iter_mut().filter(open) {
            if live.as_ref() != Some(&row.id) {
                row.times.ended = Some(now);
            }
        }
    }

    fn compute_route(&mut self) {
        let asked = route::route(&self.rows);
        let never = self.rows.app.routing.number == 0;
        if never || asked != self.rows.app.routing.asked {
            self.rows.app.routing.number += 1;
            self.rows.app.routing.asked = asked;
        }
        let Rows { app, environments, .. } = &mut self.rows;
        for environment in environments.iter_mut() {
            environment.routed |= route::mentions(app.routing.asked.as_ref(), &environment.id);
        }
        self.assign_singletons();
    }

    /// Written before the effect: who may run workers and crons, and that they may be stopped already.
    fn assign_singletons(&mut self) {
        if plan::singletons_leave(&self.rows) {
            self.rows.app.singletons.given = false;
        }
        // Whoever is to run workers and crons is written down before the effect, and only once nobody else may.
        if self.rows.app.singletons.holder.is_none() {
            let next = plan::singletons_belong(&self.rows).map(|e: &Environment| e.id.clone());
            self.rows.app.singletons.holder = next;
            self.rows.app.singletons.given = false;
        }
    }
}

/// Notes when each phase began, for durations.
fn stamp(row: &mut Deployment, now: Time) {
    let times = &mut row.times;
    match &row.phase {
        Phase::Queued => times.queued = now,
        Phase::Building => times.build = Some(now),
        Phase::Ready => times.built = Some(now),
        Phase::Starting => times.start = Some(now),
        Phase::Checking => times.check = Some(now),
        Phase::Held => times.held = Some(now),
        Phase::Live { .. } => times.live = Some(now),
        Phase::Baked { .. } => times.ended = times.served.map(|_| now),
        Phase::Ended {
            end: End::Failed { .. } | End::Cancelled { .. } | End::Superseded { .. } | End::Finished,
        } => {
            times.ended = Some(now);
        }
    }
}
