//! What users may ask of Teal, in one place: git, the API and the console all call this and nothing below it.
//!
//! It checks who asks, turns the wish into a request of the machine, and wakes the driver. It must never perform an effect itself.

mod accounts;
mod apps;
mod hooks;
pub(crate) mod images;
mod metrics;
mod people;
mod rights;
mod settings;
mod streams;
mod traffic;
mod upkeep;
mod views;
mod wishes;

pub(crate) use apps::no_such_app;
pub use rights::{Limits, Rights};

pub(crate) use views::deployment_view;

use crate::{
    appconfig::AppConfig,
    config::Config,
    driver::Driver,
    log::Logs,
    notify::hook::{Courier, Ranges},
    store::{self, Store},
    upkeep::Upkeep,
    world::World,
};
use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};
use teal_core::{
    api::{Accepted, Action, FindingView},
    deploy::{Act, Cause, Commit, Rejection, Request, Rows, Settings},
    engine,
    id::{AppId, DeploymentId},
};
use tokio::sync::broadcast;

/// When a sleeper's memory goes to disk where it can, in milliseconds since it was replaced, unless its app says otherwise: by then a wish to go
/// back has mostly been felt.
const DISK_AFTER_MS: u64 = 120_000;

/// Who asks, and by which way: the activity shows both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// The user's name.
    pub user: String,
    /// How they came.
    pub way: Way,
    /// What they may do. Whoever takes a request in asks it before anything else.
    pub rights: Arc<Rights>,
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

impl Way {
    fn cause(self) -> Cause {
        match self {
            Self::Git => Cause::Git,
            Self::Console => Cause::Console,
            Self::Cli => Cause::Cli,
            Self::Api => Cause::Api,
        }
    }
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

impl Error {
    /// Bad input.
    pub(crate) fn invalid(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Invalid { message: message.into(), hint: Some(hint.into()) }
    }
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        tracing::error!(error = &error as &dyn std::error::Error, "the store failed");
        Self::Internal(error.to_string())
    }
}

impl From<engine::Error<store::Error>> for Error {
    fn from(error: engine::Error<store::Error>) -> Self {
        match error {
            engine::Error::Store(store::Error::Taken) => Self::invalid(
                "another app has this TCP port by now",
                "choose another one, or `tcp_port=auto`",
            ),
            engine::Error::Store(error) => error.into(),
            engine::Error::NoSuchApp => Self::NotFound("there is no such app".into()),
            engine::Error::Busy => Self::Internal(error.to_string()),
            engine::Error::Rejected(Rejection::Refused(refusal)) => {
                Self::Refused { message: refusal.to_string(), hint: Some(refusal.hint().to_owned()) }
            }
            engine::Error::Rejected(Rejection::Illegal(fault)) => Self::Internal(fault.to_string()),
        }
    }
}

/// The result of whatever a user asked for.
pub type Result<T> = std::result::Result<T, Error>;

/// Something about an app changed: look again. Lagging receivers just look again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// The app.
    pub app: AppId,
}

/// Where an app's bare repository is.
#[must_use]
pub(crate) fn repository(config: &Config, app: &AppId) -> PathBuf {
    config.data.join("git").join(format!("{app}.git"))
}

/// The platform. Cheap to clone.
#[derive(Clone)]
pub struct Platform {
    inner: Arc<Inner>,
}

struct Inner {
    world: World,
    driver: Driver,
    upkeep: Upkeep,
    /// Posts what webhooks are told.
    courier: Arc<Courier>,
    /// Why the runtime is the one that it is, where users ought to know.
    warnings: Vec<String>,
}

impl Platform {
    /// The platform over this world, whose apps are driven by this driver.
    #[must_use]
    pub fn new(world: World, driver: Driver, warnings: Vec<String>) -> Self {
        let upkeep = Upkeep::new(world.clone(), driver.clone());
        // What is no range was refused before anything was opened; without the list more is refused, never less.
        let ranges = Ranges::new(&world.config.pool, &world.config.webhook_allow);
        let courier = Arc::new(Courier::new(ranges.unwrap_or_else(|_| Ranges::strict(&world.config.pool))));
        Self { inner: Arc::new(Inner { world, driver, upkeep, courier, warnings }) }
    }

    fn store(&self) -> &Store {
        &self.inner.world.store
    }

    fn config(&self) -> &Config {
        &self.inner.world.config
    }

    /// The operator's configuration, as far as surfaces need it.
    #[must_use]
    pub fn server_config(&self) -> &Config {
        self.config()
    }

    /// The key that signs the console's sessions.
    #[must_use]
    pub fn session_key(&self) -> [u8; 32] {
        self.store().key().derive("console sessions")
    }

    /// The app's bare repository; git makes it when it is first needed.
    #[must_use]
    pub fn repository(&self, app: &AppId) -> PathBuf {
        repository(self.config(), app)
    }

    /// Logs of deployments.
    #[must_use]
    pub fn logs(&self) -> &Logs {
        &self.inner.world.logs
    }

    /// Told after every change of any app.
    #[must_use]
    pub fn changes(&self) -> broadcast::Receiver<Changed> {
        self.inner.world.changes.subscribe()
    }

    /// A push was received and its objects are durable: asks for the deployment of it.
    ///
    /// # Errors
    /// If the machine refuses.
    pub async fn push(&self, who: &Principal, app: &AppId, push: Push) -> Result<DeploymentId> {
        let commit = Commit { id: push.commit, message: push.message, author: push.author };
        let act = Act::Push { commit, image: self.current_image() };
        let accepted = self.request(who, app, act).await?;
        accepted.deployment.ok_or_else(|| Error::Internal("the push made no deployment".into()))
    }

    /// Everything else that a user can ask of an app.
    ///
    /// # Errors
    /// If the machine refuses, or the input is wrong.
    pub async fn act(&self, who: &Principal, app: &AppId, action: Action) -> Result<Accepted> {
        let (act, message) = match action {
            Action::Wake => (Act::Wake, "production is being reversed"),
            Action::Redeploy { commit } => (
                Act::Redeploy { commit: self.commit(app, &commit).await?, image: self.current_image() },
                "the commit is deployed again",
            ),
            Action::Restart => (Act::Restart, "the live commit is started afresh beside the running one"),
            Action::Scale { instances } => {
                self.override_config(who, app, "instances", instances.into()).await?;
                (Act::Scale { instances }, "the new number of instances is started beside the running ones")
            }
            Action::Stop => (Act::Stop, "the app is taken out of production"),
            Action::Start => (Act::Start, "the app is started as it was"),
            Action::Cancel { deployment } => return self.cancel(who, app, deployment).await,
            Action::GoLive { deployment } => (Act::GoLive { deployment }, "the held deployment goes live"),
        };
        let deployment = self.request(who, app, act).await?.deployment;
        Ok(Accepted { deployment, message: message.into() })
    }

    /// Cancels one deployment, or all that are under way.
    async fn cancel(
        &self,
        who: &Principal,
        app: &AppId,
        deployment: Option<DeploymentId>,
    ) -> Result<Accepted> {
        let rows = self.rows(app).await?;
        let all = rows.deployments.iter().filter(|d| d.phase.is_attempt()).map(|d| d.id.clone());
        let wanted: Vec<DeploymentId> = deployment.map_or_else(|| all.collect(), |one| vec![one]);
        let Some(last) = wanted.last().cloned() else {
            let hint = Some("see the activity for what is under way".into());
            return Err(Error::Refused { message: "no deployment is under way".into(), hint });
        };
        for deployment in wanted {
            self.request(who, app, Act::Cancel { deployment }).await?;
        }
        Ok(Accepted { deployment: Some(last), message: "cancelled; what was live still is".into() })
    }

    /// Commits a request of the machine and wakes the driver.
    async fn request(&self, who: &Principal, app: &AppId, act: Act) -> Result<teal_core::deploy::Accepted> {
        let request =
            Request { id: new_deployment(), cause: who.way.cause(), author: Some(who.user.clone()), act };
        let accepted = engine::request(&self.inner.world, app, &request).await?;
        self.inner.driver.wake(app);
        Ok(accepted)
    }

    async fn rows(&self, app: &AppId) -> Result<Rows> {
        self.store().load(app).await?.ok_or_else(|| Error::NotFound("there is no such app".into()))
    }

    /// A commit of the past by its hash or the beginning of it.
    async fn commit(&self, app: &AppId, text: &str) -> Result<Commit> {
        let hex = text.len() >= 7 && text.len() <= 64 && text.chars().all(|c| c.is_ascii_hexdigit());
        if !hex {
            return Err(Error::invalid(
                format!("`{}` is not a commit", crate::log::harmless(text)),
                "give 7 or more characters of its hash",
            ));
        }
        let found = self.store().deployments(app, u32::MAX).await?;
        let mut commits: Vec<Commit> =
            found.into_iter().filter_map(|d| d.commit).filter(|c| c.id.starts_with(text)).collect();
        commits.dedup_by(|a, b| a.id == b.id);
        let first = commits.first().cloned();
        if commits.iter().any(|commit| Some(&commit.id) != first.as_ref().map(|c| &c.id)) {
            return Err(Error::invalid(
                "several commits begin like that",
                "give more characters of its hash",
            ));
        }
        first.ok_or_else(|| {
            Error::NotFound(format!("no deployment of a commit {text} is known: see `teal activity`"))
        })
    }

    /// What the machine needs of an app's settings, for the runtime that runs it.
    fn machine_settings(&self, config: &AppConfig) -> Settings {
        let (runtime, mut settings) = (&self.inner.world.runtime, config.machine());
        settings.start_ms *= u64::from(runtime.slowness());
        settings.disk_after_ms = settings.disk_after_ms.or(runtime.saves().then_some(DISK_AFTER_MS));
        settings
    }

    /// What this host can do, with remedies.
    ///
    /// # Errors
    /// If a thread is lost.
    pub async fn doctor(&self) -> Result<Vec<FindingView>> {
        let found = tokio::task::spawn_blocking(teal_runtime::doctor::examine).await;
        let found = found.map_err(|_| Error::Internal("the examination was lost".into()))?;
        let view = |f: teal_runtime::doctor::Finding| FindingView {
            name: f.name,
            ok: f.ok,
            detail: f.detail,
            remedy: f.remedy,
        };
        let mut views: Vec<FindingView> = found.into_iter().map(view).collect();
        if let Some(detail) = self.inner.world.runtime.acceleration() {
            // What was tried says more than a device file.
            let kvm = views.iter_mut().filter(|view| view.name == "kvm");
            kvm.for_each(|view| view.detail.clone_from(&detail));
        }
        views.push(self.router_finding().await);
        views.extend(self.image_finding());
        views.extend(self.patch_finding().await?);
        Ok(views)
    }

    async fn router_finding(&self) -> FindingView {
        let (ok, detail, remedy) = match self.inner.world.link.facts().await {
            Ok(facts) => (true, format!("answers (process {}), HTTP on {:?}", facts.pid, facts.http), None),
            Err(error) => (
                false,
                error.to_string(),
                Some("start it: `systemctl start teal-router`, or `teal router`".into()),
            ),
        };
        FindingView { name: "router".into(), ok, detail, remedy }
    }
}

/// A new deployment's id: sorts after all earlier ones.
pub(crate) fn new_deployment() -> DeploymentId {
    loop {
        if let Ok(id) = new_id("d").parse() {
            return id;
        }
    }
}

/// A new id with this prefix; ids sort in the order in which they were made, also within one millisecond.
pub(crate) fn new_id(prefix: &str) -> String {
    static GENERATOR: Mutex<Option<ulid::Generator>> = Mutex::new(None);
    let mut slot = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
    let generator = slot.get_or_insert_with(ulid::Generator::new);
    let ulid = generator.generate().unwrap_or_else(ulid::Overflow::commit_overflow_increment);
    format!("{prefix}-{}", ulid.to_string().to_lowercase())
}
