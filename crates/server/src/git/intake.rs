//! Takes an accepted push: moves the branch, asks the platform for the deployment, and draws the consequences of verdicts. One app's
//! references are changed by one task at a time; everything that must survive a crash is in the repository (see `ledger`).

use super::{
    Error, Gate, Git,
    ledger::{self, Changes, Refs, Standing},
    repository::{self, Repository},
    rules,
    session::Visit,
    wire::Update,
};
use crate::platform::{self, Push};
use std::collections::BTreeMap;
use teal_core::id::{AppId, DeploymentId};

/// What became of a push.
#[derive(Debug, Default)]
pub(super) struct Taken {
    /// References that were not changed, and why.
    pub(super) refused: BTreeMap<String, String>,
    /// Lines for the user.
    pub(super) says: Vec<String>,
    /// The deployment, if it made one.
    pub(super) begun: Option<Begun>,
}

/// A deployment that a push began.
#[derive(Debug)]
pub(super) struct Begun {
    pub(super) deployment: DeploymentId,
    pub(super) commit: String,
    /// The references that its verdict decides about.
    pub(super) references: Vec<String>,
}

impl Taken {
    fn nothing(updates: &[Update], reason: &str, says: Vec<String>) -> Self {
        let refused = updates.iter().map(|update| (update.name.clone(), reason.to_owned())).collect();
        Self { refused, says, begun: None }
    }
}

impl<G: Gate> Git<G> {
    /// Takes a push whose objects are in the repository.
    pub(super) async fn take(&self, visit: &Visit, updates: Vec<Update>) -> Result<Taken, Error> {
        let branches = match self.gate().branches(&visit.app).await {
            Ok(branches) => branches,
            Err(error) => return Ok(Taken::nothing(&updates, "refused", super::sentences(&error))),
        };
        let allowed = match rules::judge(&visit.name, &branches, &updates) {
            Ok(allowed) => allowed,
            Err(lines) => return Ok(Taken::nothing(&updates, "refused", lines)),
        };
        let turn = self.turn(&visit.app);
        let _mine = turn.lock().await;
        let repository = self.open_repository(&visit.app, &branches).await?;
        let refs = repository.refs().await?;
        let mut changes = Changes::new();
        for (update, deploys) in each(&allowed) {
            if !repository::fits(&repository, &refs, update, deploys).await {
                let says = format!("{} has moved meanwhile: fetch, look, and push again.", update.name);
                return Ok(Taken::nothing(&updates, "moved meanwhile", vec![says]));
            }
            add(&mut changes, &refs, update, deploys);
        }
        repository.change(&changes).await?;
        let mut taken = Taken::default();
        let Some(first) = allowed.deploys.first() else {
            taken.says.push(format!("Nothing to deploy: {} deploys branches.", visit.name));
            return Ok(taken);
        };
        let references = allowed.deploys.iter().map(|update| update.name.clone()).collect();
        match self.ask(visit, &repository, &first.new).await? {
            Ok(deployment) => {
                taken.says.push(format!(
                    "Deploying {} as {deployment}. A lost connection does not stop it.",
                    first.new.get(..7).unwrap_or_default()
                ));
                self.note(&repository, &allowed.deploys, &deployment).await?;
                let branch = first.name.trim_start_matches("refs/heads/");
                repository.offer(branch, &repository.refs().await?).await?;
                taken.begun = Some(Begun { deployment, commit: first.new.clone(), references });
            }
            Err(error) => {
                // The branch moved for nothing: the intent that is left moves it back.
                self.draw(&visit.app, &repository).await?;
                taken.says = super::sentences(&error);
                taken.refused = references.into_iter().map(|name| (name, "refused".to_owned())).collect();
            }
        }
        Ok(taken)
    }

    async fn ask(
        &self,
        visit: &Visit,
        repository: &Repository<'_>,
        hash: &str,
    ) -> Result<platform::Result<DeploymentId>, Error> {
        let commit = repository.commit(hash).await?;
        let push = Push { commit: hash.to_owned(), message: commit.subject, author: commit.author };
        Ok(self.gate().push(&visit.who, &visit.app, push).await)
    }

    /// Turns the intent into a pending push.
    async fn note(
        &self,
        repository: &Repository<'_>,
        deploys: &[Update],
        deployment: &DeploymentId,
    ) -> Result<(), Error> {
        let mut changes = Changes::new();
        for update in deploys {
            let branch = update.name.trim_start_matches("refs/heads/");
            changes.insert(format!("{}{branch}", ledger::INTENT), None);
            changes.insert(format!("{}{deployment}/{branch}", ledger::PENDING), Some(update.new.clone()));
        }
        repository.change(&changes).await
    }

    /// Draws the consequences of verdicts that are there; for an app whose repository may be out of order, too: then only says so.
    pub(super) async fn settled(&self, app: &AppId) {
        let turn = self.turn(app);
        let _mine = turn.lock().await;
        let drawn = async {
            let repository = self.open_repository(app, &[]).await?;
            self.draw(app, &repository).await
        };
        if let Err(error) = drawn.await {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(%app, error, "the verdicts of pushes could not be drawn into the repository; tried again at the next visit");
        }
    }

    /// Puts an app's packs together in the background, one app at a time.
    pub(super) fn tidy(&self, app: &AppId) {
        let (git, app) = (self.clone(), app.clone());
        tokio::spawn(async move {
            let Ok(_alone) = git.inner.tidying.try_lock() else { return };
            let tidied = async { git.open_repository(&app, &[]).await?.tidy().await };
            if let Err(error) = tidied.await {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(%app, error, "packs could not be put together; tried again after the next push");
            }
        });
    }

    async fn draw(&self, app: &AppId, repository: &Repository<'_>) -> Result<(), Error> {
        let refs = repository.refs().await?;
        let awaited = ledger::awaited(&refs);
        if awaited.is_empty() && !ledger::has_intent(&refs) {
            return Ok(());
        }
        let mut standings = BTreeMap::new();
        for deployment in awaited {
            let standing = self.standing(app, &deployment).await;
            standings.insert(deployment, standing);
        }
        repository.change(&ledger::settle(&refs, &standings)).await
    }

    async fn standing(&self, app: &AppId, deployment: &DeploymentId) -> Standing {
        match self.gate().deployment(app, deployment).await {
            Ok(view) => match view.state.as_str() {
                "WIP" => Standing::Open,
                "OK" => Standing::Live,
                _ => Standing::Lost,
            },
            Err(platform::Error::NotFound(_)) => Standing::Forgotten,
            Err(_) => Standing::Open,
        }
    }
}

/// All updates, and whether they deploy.
fn each(allowed: &rules::Allowed) -> impl Iterator<Item = (&Update, bool)> {
    let deploys = allowed.deploys.iter().map(|update| (update, true));
    deploys.chain(allowed.others.iter().map(|update| (update, false)))
}

fn add(changes: &mut Changes, refs: &Refs, update: &Update, deploys: bool) {
    if update.deletes() {
        // Deleting what is not there is done already.
        if refs.contains_key(&update.name) {
            changes.insert(update.name.clone(), None);
        }
        return;
    }
    changes.insert(update.name.clone(), Some(update.new.clone()));
    if deploys {
        let branch = update.name.trim_start_matches("refs/heads/");
        changes.insert(format!("{}{}", ledger::COMMITS, update.new), Some(update.new.clone()));
        changes.insert(format!("{}{branch}", ledger::INTENT), Some(update.new.clone()));
    }
}
