//! What users order: a rollout now, going on after a halt, an end. Each is one transaction, between two looks.

use super::{Upkeep, new_rollout, seed};
use crate::{store, world::now};
use teal_core::{
    api::MaintenanceAction,
    engine::Committed,
    upkeep::{self, New, Refusal, Rollout},
};

/// Why an order is not carried out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It makes no sense now.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
}

impl Upkeep {
    /// Carries out an order of this user.
    ///
    /// # Errors
    /// If it makes no sense now, or the store fails.
    pub async fn order(&self, user: &str, action: MaintenanceAction) -> Result<(), Error> {
        let turn = self.turn.lock().await;
        let newest = self.store().newest_rollout().await?;
        let newest = newest.as_ref();
        match action {
            MaintenanceAction::Start => self.start_now(user, newest).await?,
            MaintenanceAction::Resume => {
                self.save_one(upkeep::resume(newest.ok_or(Refusal::None)?)?).await?;
            }
            MaintenanceAction::Abort => {
                self.save_one(upkeep::abort(newest.ok_or(Refusal::None)?, user)?).await?;
            }
        }
        drop(turn);
        tracing::info!(by = user, ?action, "maintenance was ordered");
        self.wake();
        Ok(())
    }

    /// What waits for its window waits no longer; where nothing is under way, a new rollout begins: also of the apps that failed before.
    async fn start_now(&self, user: &str, newest: Option<&Rollout>) -> Result<(), Error> {
        let image = self.current_image();
        if let Some(open) = newest.filter(|last| last.image == image && !last.state.is_final()) {
            return self.save_one(upkeep::hurry(open)?).await;
        }
        let apps = self.apps(None).await?;
        if !apps.values().any(|seen| seen.is_behind(&image)) {
            return Err(Refusal::NothingBehind.into());
        }
        let id = new_rollout();
        let (seed, author) = (seed(&id), Some(user.to_owned()));
        let new = New { id, image, author, at_once: true, only: None, seed, now: now() };
        Ok(self.start(new, &apps).await?)
    }

    async fn save_one(&self, rollout: Rollout) -> Result<(), Error> {
        match self.save(vec![rollout], Vec::new()).await? {
            Committed::Ok => Ok(()),
            Committed::Conflict => Err(store::Error::Conflict.into()),
        }
    }
}
