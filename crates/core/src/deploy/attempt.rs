//! What happens to deployments: beginning, superseding, failing, the cut-over, going back, the end of the bake.

use super::{
    deployment::{Deployment, End, Kind, Phase, Times},
    draft::Draft,
    environment::{Environment, State},
    event::{EventKind, Mail, Serving},
    failure::Failure,
    phases::Happening,
    roles::Role,
    words::Cause,
};
use crate::id::{DeploymentId, EnvironmentId};

impl Draft<'_> {
    /// A newer attempt takes its place.
    pub(crate) fn supersede(&mut self, id: &DeploymentId, by: &DeploymentId) {
        if self.deployment(id, Happening::Ends { end: End::Superseded { by: by.clone() } }) {
            self.event(EventKind::Superseded, Some(id), None, format!("deployment {by} takes its place"));
        }
    }

    /// A user ends it.
    pub(crate) fn cancel(&mut self, id: &DeploymentId, why: &str) {
        if self.deployment(id, Happening::Ends { end: End::Cancelled { why: why.to_owned() } }) {
            self.event(EventKind::Cancelled, Some(id), None, why.to_owned());
        }
    }

    /// It was a task, and ran to its end.
    pub(crate) fn finish_task(&mut self, id: &DeploymentId) {
        if self.deployment(id, Happening::Ends { end: End::Finished }) {
            self.rows.app.last_failed = None;
            self.event(EventKind::TaskDone, Some(id), None, "the task ran to its end".into());
        }
    }

    /// It broke: one mail, and what was live before still is.
    pub(crate) fn fail(&mut self, id: &DeploymentId, failure: Failure) {
        let failure = failure.bounded();
        let rolled_back = self.rows.deployment(id).is_some_and(|d| matches!(d.phase, Phase::Live { .. }));
        if !self.deployment(id, Happening::Ends { end: End::Failed { failure: failure.clone() } }) {
            return;
        }
        self.rows.app.last_failed = Some(id.clone());
        self.event(EventKind::Failed, Some(id), None, failure.message.clone());
        // An environment that broke must not sleep broken: it is turned off and started afresh the next time.
        if let Some(environment) = self.environment_of(id).filter(|_| !rolled_back) {
            let spared = self.rows.role(&environment) == Role::Spare;
            if let Some(row) = self.rows.environment_mut(&environment).filter(|_| spared) {
                row.sleepless = true;
            }
        }
        let Some(row) = self.rows.deployment(id) else { return };
        let mail = Mail {
            deployment: id.clone(),
            commit: row.commit.clone(),
            cause: row.cause,
            author: row.author.clone(),
            note: row.note.clone(),
            failure,
            rolled_back,
            serving: None,
        };
        self.mail(mail);
    }

    fn environment_of(&self, id: &DeploymentId) -> Option<EnvironmentId> {
        self.rows.deployment(id)?.environment.clone()
    }

    /// Who serves now, for mails; called once the whole transition is done.
    pub(crate) fn serving(&self) -> Option<Serving> {
        let live = self.rows.live().filter(|_| self.rows.app.stopped.is_none())?;
        Some(Serving { colour: live.colour, commit: live.commit.clone() })
    }

    /// The build begins; the variables are fixed here.
    pub(crate) fn begin_build(&mut self, id: &DeploymentId) {
        self.fix(id);
        if self.deployment(id, Happening::BuildBegins) {
            self.event(EventKind::BuildBegan, Some(id), None, "the build began".into());
        }
    }

    /// Fixes, once, what the deployment acts on.
    fn fix(&mut self, id: &DeploymentId) {
        let (config, instances) = (self.rows.app.config, self.rows.app.settings.instances);
        let live = self.rows.live().cloned();
        let Some(row) = self.rows.deployment_mut(id) else { return };
        row.config = config;
        row.instances = instances;
        let Some(live) = live.filter(|_| row.kind.keeps_commit()) else { return };
        row.commit = Some(live.commit);
        row.image.get_or_insert(live.image);
        if matches!(row.kind, Kind::Scale | Kind::Maintenance) {
            row.config = live.config;
        }
        if matches!(row.kind, Kind::Restart | Kind::Scale) {
            row.release = Some(live.release);
            row.cached = true;
        }
    }

    /// It becomes the candidate: an environment of its own is named, or the one that it wakes is taken.
    pub(crate) fn begin_start(&mut self, id: &DeploymentId) {
        if self.rows.deployment(id).is_some_and(|d| d.phase == Phase::Queued && d.kind.keeps_commit()) {
            self.fix(id);
        }
        let colour = self.free_colour();
        let Some(row) = self.rows.deployment(id) else { return };
        let named = row.environment.clone();
        let environment = named.clone().unwrap_or_else(|| id.environment());
        if named.is_none() {
            let Some(made) = made(row, &environment, colour, self.now) else { return };
            self.rows.environments.push(made);
        }
        if let Some(row) = self.rows.deployment_mut(id) {
            row.environment = Some(environment.clone());
        }
        if self.deployment(id, Happening::StartBegins) {
            self.event(
                EventKind::StartBegan,
                Some(id),
                Some(&environment),
                format!("{} starts", colour.word()),
            );
        }
    }

    /// The cut-over: the commit that gives the turn *is* it.
    pub(crate) fn go_live(&mut self, id: &DeploymentId) {
        let Some(environment) = self.environment_of(id) else { return };
        let bakes = self.rows.live().is_some_and(|live| {
            live.id != environment && live.state == State::Up && self.rows.app.stopped.is_none()
        });
        if let Some(baking) = self.rows.baking().map(|d| d.id.clone()) {
            self.bake(&baking, "a newer deployment went live");
        }
        let colour = self.free_colour();
        let replaced = self.rows.live().map(|e| e.id.clone()).filter(|live| *live != environment);
        self.rows.app.turns += 1;
        let turn = self.rows.app.turns;
        if !self.deployment(id, Happening::GoesLive { turn, since: self.now }) {
            return;
        }
        let keeps_colour = self.rows.live().is_some_and(|live| live.id == environment);
        let before = self.rows.environment(&environment).and_then(|e| e.turn);
        if let Some(row) = self.rows.deployment_mut(id) {
            row.turn_before = before;
        }
        self.leave(replaced.as_ref());
        self.take_turn(&environment, id, turn);
        if let Some(row) = self.rows.environment_mut(&environment).filter(|_| !keeps_colour) {
            row.colour = colour;
        }
        self.recolour();
        self.rows.app.stopped = None;
        self.rows.app.last_failed = None;
        self.event(EventKind::WentLive, Some(id), Some(&environment), format!("turn {turn}"));
        if !bakes {
            self.bake(id, "there is nothing awake to go back to");
        }
    }

    /// An environment loses its place: its clocks start.
    fn leave(&mut self, environment: Option<&EnvironmentId>) {
        let now = self.now;
        if let Some(row) = environment.and_then(|id| self.rows.environment_mut(id)) {
            row.replaced_at = Some(now);
        }
    }

    fn take_turn(&mut self, environment: &EnvironmentId, deployment: &DeploymentId, turn: u64) {
        let Some(row) = self.rows.environment_mut(environment) else { return };
        row.turn = Some(turn);
        row.deployment = deployment.clone();
        row.replaced_at = None;
        row.sleepless = false;
    }

    /// The bake is over: stored, never derived.
    pub(crate) fn bake(&mut self, id: &DeploymentId, why: &str) {
        if self.deployment(id, Happening::Bakes) {
            self.event(EventKind::Baked, Some(id), None, why.to_owned());
        }
    }

    /// Can production return to the standby?
    pub(crate) fn can_go_back(&self) -> bool {
        self.rows.standby().is_some_and(Environment::serves)
    }

    /// Production returns to the standby; the environment that baked takes the place that it had before.
    /// The caller ends the deployment. Gives the standby.
    pub(crate) fn go_back(&mut self, id: &DeploymentId, broke: bool) -> Option<(EnvironmentId, u64)> {
        let standby = self.rows.standby()?.id.clone();
        let baking = self.rows.deployment(id)?;
        let (environment, before) = (baking.environment.clone()?, baking.turn_before);
        let now = self.now;
        let left = self.rows.environment_mut(&environment)?;
        left.turn = before;
        left.replaced_at = Some(now);
        left.sleepless |= broke;
        self.rows.app.turns += 1;
        let turn = self.rows.app.turns;
        let back = self.rows.environment_mut(&standby)?;
        back.turn = Some(turn);
        back.replaced_at = None;
        Some((standby, turn))
    }

    /// The new one broke while it baked: production returns to the standby by a deployment of the platform, with one mail.
    pub(crate) fn roll_back(&mut self, id: &DeploymentId, failure: Failure) {
        let Some((standby, turn)) = self.go_back(id, true) else { return };
        self.fail(id, failure);
        let Some(rollback) = self.rollback_row(id, &standby, turn) else { return };
        let back = rollback.id.clone();
        self.rows.deployments.push(rollback);
        if let Some(row) = self.rows.environment_mut(&standby) {
            row.deployment = back.clone();
        }
        self.recolour();
        self.end_wakes_of(&standby, &back);
        self.event(
            EventKind::Queued,
            Some(&back),
            Some(&standby),
            Cause::RollbackUnhealthy.word().to_owned(),
        );
        self.event(EventKind::WentLive, Some(&back), Some(&standby), format!("turn {turn}"));
    }

    /// A user cancels it inside its bake: production returns at once.
    pub(crate) fn cancel_bake(&mut self, id: &DeploymentId, why: &str) {
        let Some((standby, _)) = self.go_back(id, false) else { return };
        self.cancel(id, why);
        self.recolour();
        let holder = self.rows.environment(&standby).map(|e| e.deployment.clone());
        if let Some(holder) = holder {
            self.end_wakes_of(&standby, &holder);
        }
    }

    /// Nobody needs to wake what is live already.
    fn end_wakes_of(&mut self, environment: &EnvironmentId, by: &DeploymentId) {
        let wakes = self
            .rows
            .deployments
            .iter()
            .filter(|d| d.phase.is_attempt() && d.environment.as_ref() == Some(environment));
        for id in wakes.map(|d| d.id.clone()).collect::<Vec<_>>() {
            self.supersede(&id, by);
        }
    }

    fn rollback_row(&mut self, of: &DeploymentId, standby: &EnvironmentId, turn: u64) -> Option<Deployment> {
        let id = format!("{of}-r").parse().ok()?;
        self.rows.app.requests += 1;
        let back = self.rows.environment(standby)?;
        Some(Deployment {
            id,
            request: self.rows.app.requests,
            kind: Kind::Rollback,
            cause: Cause::RollbackUnhealthy,
            author: None,
            commit: Some(back.commit.clone()),
            image: Some(back.image.clone()),
            config: back.config,
            instances: back.count,
            release: Some(back.release.clone()),
            cached: true,
            environment: Some(standby.clone()),
            phase: Phase::Baked { turn },
            turn_before: None,
            retry_at: None,
            times: Times { queued: self.now, live: Some(self.now), ..Times::default() },
            probes: Vec::new(),
            note: None,
        })
    }
}

fn made(
    row: &Deployment,
    id: &EnvironmentId,
    colour: crate::route::Colour,
    now: crate::time::Time,
) -> Option<Environment> {
    Some(Environment {
        id: id.clone(),
        deployment: row.id.clone(),
        commit: row.commit.clone()?,
        release: row.release.clone()?,
        image: row.image.clone()?,
        config: row.config,
        count: row.instances,
        colour,
        state: State::New,
        since: now,
        epoch: 0,
        turn: None,
        routed: false,
        replaced_at: None,
        sleepless: false,
        instances: Vec::new(),
    })
}
