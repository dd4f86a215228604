//! The keeper of rollouts: performs what the pure plan in `teal_core::upkeep` says, one durable step after the other.
//!
//! First run, retry and recovery are the same pass: look at the rows, store the next step, ask for the deployments that are written down. It may die
//! between any two of these. It must never decide who moves, nor touch an app but by asking the machine.

mod images;
mod mail;
mod orders;
mod patch;
#[cfg(test)]
mod tests;
mod view;

pub use orders::Error;

use crate::{
    crash::{self, Side},
    driver::Driver,
    platform::{Changed, new_deployment, new_id},
    store::{self, Store},
    world::{World, now},
};
use std::{sync::Arc, time::Duration};
use teal_core::{
    deploy::{Act, Cause, Request},
    engine::{self, Committed},
    id::{AppId, DeploymentId, RolloutId},
    time::Time,
    upkeep::{self, Apps, Due, Look, New, Progress, Rollout, Seen},
};
use tokio::sync::{Mutex, Notify};

/// The longest pause between two looks: a lost wake-up costs no more than this.
const LOOK: Duration = Duration::from_secs(30);
/// The shortest: many changes of many apps are one look.
const PACE: Duration = Duration::from_millis(200);
/// After trouble with the store.
const TROUBLE: Duration = Duration::from_secs(5);

/// Maintenance of all apps. Cheap to clone.
#[derive(Clone)]
pub struct Upkeep {
    world: World,
    driver: Driver,
    /// Looks and orders come one after another: nobody asks for a deployment of a rollout that was just ended.
    turn: Arc<Mutex<()>>,
    wake: Arc<Notify>,
}

impl Upkeep {
    /// Nothing is kept yet.
    #[must_use]
    pub fn new(world: World, driver: Driver) -> Self {
        Self { world, driver, turn: Arc::default(), wake: Arc::default() }
    }

    /// Looks now: something may be other than at the last look.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// Looks until the server ends. While nothing is open, only now and then, and when it is woken.
    pub async fn keep(self) {
        let mut changes = self.world.changes.subscribe();
        let mut built = self.world.images.ended();
        loop {
            // What changed until here is looked at now.
            changes = changes.resubscribe();
            let (open, pause) = match self.pass().await {
                Ok(next) => (next.is_some(), next.map_or(LOOK, |at| wait(at).min(LOOK))),
                Err(error) => {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "maintenance waits: the store failed"
                    );
                    (false, TROUBLE)
                }
            };
            tokio::select! {
                () = self.wake.notified() => {}
                // There may be another image.
                _ = built.changed() => {}
                _ = changes.recv(), if open => {}
                () = tokio::time::sleep(pause) => {}
            }
            tokio::time::sleep(PACE).await;
        }
    }

    /// One look, with all that is due. When to look again, if a rollout is open.
    ///
    /// # Errors
    /// If the store fails; the next look goes on.
    pub async fn pass(&self) -> Result<Option<Time>, store::Error> {
        let _turn = self.turn.lock().await;
        self.begin_if_due().await?;
        let mut next = None;
        for rollout in self.store().open_rollouts().await? {
            let rollout = self.step(rollout).await?;
            if rollout.is_open() {
                let again = now().plus(u64::try_from(LOOK.as_millis()).unwrap_or(u64::MAX));
                let begins = Some(rollout.next_begin).filter(|at| *at > now());
                next = [next, begins, Some(again)].into_iter().flatten().min();
            }
        }
        Ok(next)
    }

    fn store(&self) -> &Store {
        &self.world.store
    }

    /// The platform's own rollouts: another image, or apps that stood aside and may move by now.
    async fn begin_if_due(&self) -> Result<(), store::Error> {
        let image = self.current_image();
        let newest = self.store().newest_rollout().await?;
        let settled = |last: &Rollout| last.image == image && last.state.is_final() && !may_come_again(last);
        if newest.as_ref().is_some_and(settled) {
            return Ok(());
        }
        let apps = self.apps(None).await?;
        let only = match upkeep::due(newest.as_ref(), &image, &apps, now()) {
            Due::No => return Ok(()),
            Due::All => None,
            Due::Some(apps) => Some(apps),
        };
        let id = new_rollout();
        let seed = seed(&id);
        let new = New { id, image, author: None, at_once: false, only, seed, now: now() };
        self.start(new, &apps).await
    }

    /// Stores a new rollout; every older one gives way in the same transaction.
    async fn start(&self, new: New, apps: &Apps) -> Result<(), store::Error> {
        let image = new.image.clone();
        let started = upkeep::start(new, apps, |from| images::changes(&self.world.images, from, &image));
        tracing::info!(rollout = %started.id, image = started.image, apps = started.apps.len(), "a rollout begins");
        let open = self.store().open_rollouts().await?;
        let mut all: Vec<Rollout> = open.iter().filter_map(|old| upkeep::replace(old, &started.id)).collect();
        all.push(started);
        self.save(all, Vec::new()).await.map(drop)
    }

    /// Stores what a look at one rollout says, and asks for what is written down.
    async fn step(&self, mut rollout: Rollout) -> Result<Rollout, store::Error> {
        let maintenance = &self.world.config.maintenance;
        let (now, apps) = (now(), self.apps(Some(&rollout)).await?);
        let look = Look { now, open: maintenance.window.is_open(now), apps: &apps };
        if let Some(advance) = upkeep::advance(&rollout, &look, &maintenance.limits(), new_deployment) {
            let mails = if advance.halted { self.halt_mails(&advance.rollout).await? } else { Vec::new() };
            if self.save(vec![advance.rollout.clone()], mails).await? == Committed::Conflict {
                return Ok(rollout);
            }
            self.tell(&rollout, &advance.rollout);
            rollout = advance.rollout;
        }
        // What has just been written down has no row yet.
        let apps = self.apps(Some(&rollout)).await?;
        let look = Look { apps: &apps, ..look };
        for (app, deployment) in upkeep::asks(&rollout, &look) {
            self.ask(&rollout, &app, deployment, apps.get(&app)).await;
        }
        Ok(rollout)
    }

    async fn save(
        &self,
        rollouts: Vec<Rollout>,
        mails: Vec<store::QueuedMail>,
    ) -> Result<Committed, store::Error> {
        let what =
            rollouts.last().map(|r| format!("commit of {} at {}", r.id, r.version)).unwrap_or_default();
        crash::point(Side::Before, &what);
        let committed = self.store().store_rollouts(rollouts, mails).await?;
        crash::point(Side::After, &what);
        Ok(committed)
    }

    /// Asks the machine. What it refuses shows in the next look, as what the app has become.
    async fn ask(&self, rollout: &Rollout, app: &AppId, deployment: DeploymentId, seen: Option<&Seen>) {
        let from = seen.and_then(|seen| seen.live.as_deref()).unwrap_or("none");
        let note = images::note(&self.world.images, from, &rollout.image);
        let act = Act::Maintenance { image: rollout.image.clone(), note: Some(note) };
        let author = rollout.author.clone();
        let request = Request { id: deployment.clone(), cause: Cause::Maintenance, author, act };
        match engine::request(&self.world, app, &request).await {
            Ok(_) => self.driver.wake(app),
            Err(engine::Error::Rejected(why)) => {
                tracing::info!(%app, %deployment, %why, "maintenance is not needed, or not now");
            }
            Err(error) => {
                tracing::warn!(%app, %deployment, %error, "maintenance is asked for again with the next look");
            }
        }
    }

    /// What changed, for the operator's log and for open pages.
    fn tell(&self, before: &Rollout, after: &Rollout) {
        for (old, new) in before.apps.iter().zip(&after.apps) {
            if old.progress != new.progress {
                tracing::info!(rollout = %after.id, app = new.name, progress = new.progress.word(), "maintenance");
                let _ = self.world.changes.send(Changed { app: new.app.clone() });
            }
        }
        if before.state != after.state {
            tracing::info!(rollout = %after.id, state = after.state.word(), "the rollout");
        }
    }

    /// All apps as a rollout sees them. A deployment that is over and whose environment is gone is looked up by itself.
    async fn apps(&self, rollout: Option<&Rollout>) -> Result<Apps, store::Error> {
        let pins = self.store().pins().await?;
        let mut apps = Apps::new();
        for rows in self.store().census().await? {
            let id = rows.app.id.clone();
            let chosen = rollout.and_then(|rollout| under_way(rollout, &id));
            let ours = match chosen {
                None => None,
                Some(deployment) => match rows.deployment(deployment) {
                    Some(row) => Some(row.clone()),
                    None => self.store().deployment(&id, deployment).await?,
                },
            };
            let pinned = pins.get(&id).map(|pin| pin.until);
            apps.extend(Seen::of(&rows, ours.as_ref(), pinned).map(|seen| (id, seen)));
        }
        Ok(apps)
    }
}

fn under_way<'a>(rollout: &'a Rollout, app: &AppId) -> Option<&'a DeploymentId> {
    match &rollout.member(app)?.progress {
        Progress::UnderWay { deployment } => Some(deployment),
        Progress::Waiting | Progress::Moved { .. } | Progress::Failed { .. } | Progress::Left { .. } => None,
    }
}

fn may_come_again(rollout: &Rollout) -> bool {
    rollout.apps.iter().any(|member| matches!(&member.progress, Progress::Left { why } if why.may_pass()))
}

/// Until an instant.
fn wait(at: Time) -> Duration {
    Duration::from_millis(at.since(now()).max(1))
}

/// A new rollout's id: sorts after all earlier ones.
fn new_rollout() -> RolloutId {
    loop {
        if let Ok(id) = new_id("m").parse() {
            return id;
        }
    }
}

/// Chance for the order, from the rollout's id, which nobody chose: the same app must not always be the first.
fn seed(id: &RolloutId) -> u64 {
    let hash = crate::secrets::hash(id.as_str());
    hash.iter().take(8).fold(0, |seed, byte| seed << 8 | u64::from(*byte))
}
