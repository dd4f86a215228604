//! What users may ask of Teal, in one place: git, the API and the console all call this and nothing below it.
//!
//! It checks who asks, turns the wish into a request of the machine, and wakes the driver. It must never perform an effect itself.

use crate::log::Logs;
use std::{collections::BTreeMap, path::PathBuf, sync::Arc};
use teal_core::{
    api::{
        Accepted, Action, AppView, DeploymentView, EventView, FindingView, KeyView, NewApp, NewToken,
        StatusView, TokenView, UserView, VariableView,
    },
    id::{AppId, DeploymentId},
};
use tokio::sync::broadcast;

/// Who asks, and by which way: the activity shows both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// The user's name.
    pub user: String,
    /// How they came.
    pub way: Way,
}

/// The way by which a request came in; becomes the deployment's cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// `git push`.
    Git,
    /// The web console.
    Console,
    /// The `teal` command.
    Cli,
    /// Anything else with a token.
    Api,
}

/// A push that git has accepted, before anything is decided about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Push {
    /// The full hash.
    pub commit: String,
    /// The first line of its message.
    pub message: String,
    /// The commit's author, as `Name`.
    pub author: String,
}

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such thing (or it is not yours).
    #[error("{0}")]
    NotFound(String),
    /// The input is wrong.
    #[error("{message}")]
    Invalid {
        /// What is wrong with it.
        message: String,
        /// What would be right.
        hint: Option<String>,
    },
    /// The machine refuses it in the present state.
    #[error("{message}")]
    Refused {
        /// Why.
        message: String,
        /// What to do instead.
        hint: Option<String>,
    },
    /// Not allowed for this user.
    #[error("{0}")]
    Forbidden(String),
    /// Teal's own trouble; the source is for the operator's log, never for the user.
    #[error("Teal could not do it: {0}")]
    Internal(String),
}

/// Something about an app changed: look again. Lagging receivers just look again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// The app.
    pub app: AppId,
}

/// The platform. Cheap to clone.
#[derive(Clone)]
pub struct Platform {
    inner: Arc<Inner>,
}

struct Inner {
    logs: Logs,
    changes: broadcast::Sender<Changed>,
    repositories: PathBuf,
}

/// The result of whatever a user asked for.
pub type Result<T> = std::result::Result<T, Error>;

impl Platform {
    /// The user whose token has this secret; compared in constant time against stored hashes.
    pub async fn user_of_token(&self, secret: &str) -> Result<Option<String>> {
        unimplemented!()
    }

    /// As [`Self::user_of_token`], for git over HTTP: the token's id and its secret must belong together.
    pub async fn user_of_token_pair(&self, id: &str, secret: &str) -> Result<Option<String>> {
        unimplemented!()
    }

    /// The user who registered this SSH public key, given as `SHA256:…`.
    pub async fn user_of_key(&self, fingerprint: &str) -> Result<Option<String>> {
        unimplemented!()
    }

    /// The app of this name.
    pub async fn find_app(&self, name: &str) -> Result<AppId> {
        unimplemented!()
    }

    /// Branches whose push deploys (`main` and `master`, or the one that the app's setting names).
    pub async fn branches(&self, app: &AppId) -> Result<Vec<String>> {
        unimplemented!()
    }

    /// The app's bare repository, made if it is not there.
    pub fn repository(&self, app: &AppId) -> PathBuf {
        self.inner.repositories.join(format!("{app}.git"))
    }

    /// A push was received and its objects are durable: asks for the deployment of it.
    pub async fn push(&self, who: &Principal, app: &AppId, push: Push) -> Result<DeploymentId> {
        unimplemented!()
    }

    /// Everything else that a user can ask of an app.
    pub async fn act(&self, who: &Principal, app: &AppId, action: Action) -> Result<Accepted> {
        unimplemented!()
    }

    /// Makes an app.
    pub async fn create_app(&self, who: &Principal, new: NewApp) -> Result<AppView> {
        unimplemented!()
    }

    /// All apps, by name.
    pub async fn apps(&self) -> Result<Vec<AppView>> {
        unimplemented!()
    }

    /// One app.
    pub async fn app(&self, app: &AppId) -> Result<AppView> {
        unimplemented!()
    }

    /// Deletes the app and everything that it has; takes effect in the background.
    pub async fn delete_app(&self, who: &Principal, app: &AppId) -> Result<Accepted> {
        unimplemented!()
    }

    /// What is head, live, spare and under way.
    pub async fn status(&self, app: &AppId) -> Result<StatusView> {
        unimplemented!()
    }

    /// The newest deployments first.
    pub async fn activity(&self, app: &AppId, limit: u32) -> Result<Vec<DeploymentView>> {
        unimplemented!()
    }

    /// One deployment.
    pub async fn deployment(&self, app: &AppId, deployment: &DeploymentId) -> Result<DeploymentView> {
        unimplemented!()
    }

    /// Events after `after` (0: from the first), oldest first.
    pub async fn events(&self, app: &AppId, after: u64, limit: u32) -> Result<Vec<EventView>> {
        unimplemented!()
    }

    /// Variables by name; values only if `values`.
    pub async fn variables(&self, app: &AppId, values: bool) -> Result<Vec<VariableView>> {
        unimplemented!()
    }

    /// Sets (`Some`) and removes (`None`) variables; takes effect with the next deployment or restart, which the answer says.
    pub async fn set_variables(
        &self,
        who: &Principal,
        app: &AppId,
        changes: BTreeMap<String, Option<String>>,
    ) -> Result<Accepted> {
        unimplemented!()
    }

    /// Adds and removes host names; takes effect at once.
    pub async fn set_domains(
        &self,
        who: &Principal,
        app: &AppId,
        add: Vec<String>,
        remove: Vec<String>,
    ) -> Result<Vec<String>> {
        unimplemented!()
    }

    /// The app's settings, all of them, with defaults filled in.
    pub async fn app_config(&self, app: &AppId) -> Result<BTreeMap<String, serde_json::Value>> {
        unimplemented!()
    }

    /// Changes settings by name; `null` goes back to the default.
    pub async fn set_app_config(
        &self,
        who: &Principal,
        app: &AppId,
        changes: BTreeMap<String, serde_json::Value>,
    ) -> Result<BTreeMap<String, serde_json::Value>> {
        unimplemented!()
    }

    /// All users.
    pub async fn users(&self) -> Result<Vec<UserView>> {
        unimplemented!()
    }

    /// Adds a user, or changes the mail address of one.
    pub async fn set_user(&self, who: &Principal, user: UserView) -> Result<UserView> {
        unimplemented!()
    }

    /// Removes a user with their tokens and keys; the last one cannot be removed.
    pub async fn remove_user(&self, who: &Principal, name: &str) -> Result<()> {
        unimplemented!()
    }

    /// All tokens.
    pub async fn tokens(&self) -> Result<Vec<TokenView>> {
        unimplemented!()
    }

    /// Makes a token for a user.
    pub async fn create_token(&self, who: &Principal, user: &str, name: &str) -> Result<NewToken> {
        unimplemented!()
    }

    /// Ends a token.
    pub async fn remove_token(&self, who: &Principal, id: &str) -> Result<()> {
        unimplemented!()
    }

    /// All SSH keys.
    pub async fn keys(&self) -> Result<Vec<KeyView>> {
        unimplemented!()
    }

    /// Registers an SSH public key (`ssh-ed25519 AAAA… comment`) for the asking user.
    pub async fn add_key(&self, who: &Principal, name: &str, openssh: &str) -> Result<KeyView> {
        unimplemented!()
    }

    /// Removes an SSH key by fingerprint.
    pub async fn remove_key(&self, who: &Principal, fingerprint: &str) -> Result<()> {
        unimplemented!()
    }

    /// Sends a test mail to the asking user; the answer says what the mail server said.
    pub async fn test_mail(&self, who: &Principal) -> Result<Accepted> {
        unimplemented!()
    }

    /// What this host can do, with remedies.
    pub async fn doctor(&self) -> Result<Vec<FindingView>> {
        unimplemented!()
    }

    /// The number of the app's newest event; 0 if it has none. What comes after it is what happens from now on.
    pub async fn last_event(&self, app: &AppId) -> Result<u64> {
        unimplemented!()
    }

    /// The key that seals the console's sessions: random, made once, kept in a file of mode 0600, so that a restart logs nobody out.
    #[must_use]
    pub fn session_key(&self) -> [u8; 32] {
        unimplemented!()
    }

    /// Logs of deployments and instances.
    #[must_use]
    pub fn logs(&self) -> &Logs {
        &self.inner.logs
    }

    /// Told after every change of any app.
    #[must_use]
    pub fn changes(&self) -> broadcast::Receiver<Changed> {
        self.inner.changes.subscribe()
    }
}
