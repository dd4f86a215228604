//! The driver: one task per app that settles the rows, begins the steps that are wanted, ends those that are not, and commits answers.
//! First run, retry and recovery are this same loop. It must never decide anything: `engine` does.

use crate::{
    platform::Changed,
    world::{World, now},
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use teal_core::{
    deploy::{Outcome, Rows, Step},
    engine,
    id::AppId,
};
use tokio::{
    sync::Notify,
    task::{AbortHandle, Id, JoinError, JoinSet},
};

/// The longest that a driver sleeps without looking: a lost wake-up costs no more than this.
const MAX_SLEEP: Duration = Duration::from_secs(30);
/// After an unknown outcome: the first pause, doubled up to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LAST_PAUSE: Duration = Duration::from_secs(5);

/// All drivers. Cheap to clone.
#[derive(Clone)]
pub struct Driver {
    world: World,
    wakes: Arc<Mutex<HashMap<AppId, Arc<Notify>>>>,
}

impl Driver {
    /// No app is driven yet.
    #[must_use]
    pub fn new(world: World) -> Self {
        Self { world, wakes: Arc::default() }
    }

    /// Makes the app's driver look at its rows now; begins it if there is none.
    pub fn wake(&self, app: &AppId) {
        let mut wakes = self.wakes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(wake) = wakes.get(app) {
            wake.notify_one();
            return;
        }
        let wake = Arc::new(Notify::new());
        wakes.insert(app.clone(), Arc::clone(&wake));
        let (this, app) = (self.clone(), app.clone());
        tokio::spawn(async move {
            drive(&this.world, &app, &wake).await;
            this.wakes.lock().unwrap_or_else(PoisonError::into_inner).remove(&app);
            let _ = this.world.changes.send(Changed { app });
        });
    }
}

/// Drives one app until nothing is left of it.
async fn drive(world: &World, app: &AppId, wake: &Notify) {
    let mut tasks = Tasks::default();
    loop {
        let sleep = match engine::settle(world, app).await {
            Ok(due) if due.rows.is_finished() => {
                tasks.set.shutdown().await;
                match world.forget(app).await {
                    Ok(()) => return,
                    Err(error) => tracing::error!(%app, %error, "the deleted app cannot be forgotten yet"),
                }
                LAST_PAUSE
            }
            Ok(due) => {
                tasks.arrange(world, &due);
                let sleep = due.next.map_or(MAX_SLEEP, |at| Duration::from_millis(at.since(now()).max(1)));
                sleep.min(MAX_SLEEP)
            }
            Err(engine::Error::NoSuchApp) => return,
            Err(error) => {
                tracing::error!(%app, %error, "the app's rows cannot be settled");
                LAST_PAUSE
            }
        };
        tokio::select! {
            Some(ended) = tasks.set.join_next_with_id() => tasks.ended(world, app, ended).await,
            () = wake.notified() => {}
            () = tokio::time::sleep(sleep) => {}
        }
    }
}

/// The effects of one app that are under way.
#[derive(Default)]
struct Tasks {
    set: JoinSet<Outcome>,
    running: HashMap<Id, (Step, AbortHandle)>,
    /// How often in a row a step's outcome was unknown.
    unknown: HashMap<String, u32>,
}

impl Tasks {
    /// Ends what is not wanted any more and begins what is.
    fn arrange(&mut self, world: &World, due: &engine::Due) {
        let moves = engine::moves(self.running.values().map(|(step, _)| step), &due.steps);
        for (step, abort) in self.running.values() {
            if moves.end.contains(&step.key()) {
                abort.abort();
            }
        }
        self.unknown.retain(|key, _| due.steps.iter().any(|step| step.key() == *key));
        for step in moves.begin {
            let pause = self.unknown.get(&step.key()).map(|times| pause(*times));
            let abort = self.set.spawn(perform(world.clone(), due.rows.clone(), step.clone(), pause));
            self.running.insert(abort.id(), (step, abort));
        }
    }

    /// A task ended: its answer is committed if it still is wanted; what an aborted one left is cleaned.
    async fn ended(&mut self, world: &World, app: &AppId, ended: Result<(Id, Outcome), JoinError>) {
        let id = ended.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        let Some((step, _)) = self.running.remove(&id) else { return };
        let outcome = match ended {
            Ok((_, outcome)) => outcome,
            Err(error) => {
                if error.is_panic() {
                    tracing::error!(%app, step = step.key(), "an effect panicked; it is tried again");
                }
                world.abandoned(app, &step).await;
                Outcome::Unknown
            }
        };
        if outcome == Outcome::Unknown {
            *self.unknown.entry(step.key()).or_default() += 1;
        }
        if let Err(error) = engine::answer(world, app, &step, &outcome).await {
            tracing::error!(%app, step = step.key(), %error, "an answer cannot be committed; the step is tried again");
        }
    }
}

async fn perform(world: World, rows: Rows, step: Step, pause: Option<Duration>) -> Outcome {
    if let Some(pause) = pause {
        tokio::time::sleep(pause).await;
    }
    engine::World::perform(&world, &rows, &step).await
}

/// Doubles with each unknown outcome in a row.
fn pause(times: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(1 << times.min(10)).min(LAST_PAUSE)
}
