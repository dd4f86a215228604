//! A gate made of plain facts: what a test says is so, is so.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};
use teal_core::{
    api::{DeploymentView, FailureView},
    id::{AppId, DeploymentId},
    role::Role,
    time::Time,
};
use teal_server::{
    git::Gate,
    log::Logs,
    platform::{Changed, Error, Principal, Push, Result, Rights, Way},
};
use tokio::sync::{broadcast, watch};

/// What every wait in these tests may take at most.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A push as the gate saw it.
#[derive(Debug, Clone)]
pub struct Seen {
    pub who: Principal,
    pub app: AppId,
    pub push: Push,
    pub deployment: DeploymentId,
}

#[derive(Clone)]
pub struct Facts {
    inner: Arc<Inner>,
}

struct Inner {
    repositories: PathBuf,
    logs: Logs,
    changes: broadcast::Sender<Changed>,
    keys: Mutex<BTreeMap<String, String>>,
    seen: watch::Sender<Vec<Seen>>,
    deployments: Mutex<BTreeMap<DeploymentId, DeploymentView>>,
    refusal: Mutex<Option<String>>,
    at_once: Mutex<bool>,
    role: Mutex<Role>,
}

pub const TOKEN: (&str, &str) = ("t-alice", "teal_right");

impl Facts {
    pub fn new(directory: &std::path::Path) -> Self {
        let inner = Inner {
            repositories: directory.join("repositories"),
            logs: Logs::open(directory.join("logs")).expect("logs open"),
            changes: broadcast::Sender::new(64),
            keys: Mutex::default(),
            seen: watch::Sender::new(Vec::new()),
            deployments: Mutex::default(),
            refusal: Mutex::default(),
            at_once: Mutex::default(),
            role: Mutex::new(Role::Developer),
        };
        Self { inner: Arc::new(inner) }
    }

    pub fn register(&self, fingerprint: &str, user: &str) {
        self.inner.keys.lock().expect("lock").insert(fingerprint.into(), user.into());
    }

    /// From now on everybody has this role in every app; a developer's before.
    pub fn everybody_is(&self, role: Role) {
        *self.inner.role.lock().expect("lock") = role;
    }

    fn principal(&self, user: String) -> Principal {
        let server = *self.inner.role.lock().expect("lock");
        let rights = Rights { server, ..Rights::everything() };
        Principal { user, way: Way::Git, rights: rights.into() }
    }

    /// From now on every deployment is live at once.
    pub fn live_at_once(&self) {
        *self.inner.at_once.lock().expect("lock") = true;
    }

    /// From now on the platform refuses pushes with these words.
    pub fn refuse(&self, words: Option<&str>) {
        *self.inner.refusal.lock().expect("lock") = words.map(str::to_owned);
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.inner.seen.borrow().clone()
    }

    /// The `count`th push, once it is there.
    pub async fn nth(&self, count: usize) -> Seen {
        let mut seen = self.inner.seen.subscribe();
        let wait = seen.wait_for(|seen| seen.len() >= count);
        let seen = tokio::time::timeout(PATIENCE, wait).await.expect("the push arrives").expect("open");
        seen[count - 1].clone()
    }

    pub fn log(&self, seen: &Seen, text: &str) {
        self.inner.logs.append(&seen.deployment, Time(1), "build", text).expect("appends");
    }

    pub fn live(&self, seen: &Seen) {
        self.end(seen, "OK", None);
    }

    pub fn fail(&self, seen: &Seen, stage: &str, message: &str) {
        self.end(seen, "FAIL", Some((stage, message)));
    }

    pub fn cancel(&self, seen: &Seen, message: &str) {
        self.end(seen, "CANCELLED", Some(("queue", message)));
    }

    fn end(&self, seen: &Seen, state: &str, failure: Option<(&str, &str)>) {
        let mut deployments = self.inner.deployments.lock().expect("lock");
        let view = deployments.get_mut(&seen.deployment).expect("known");
        view.state = state.into();
        view.failure = failure.map(|(stage, message)| FailureView {
            stage: stage.into(),
            message: message.into(),
            details: Vec::new(),
        });
        let _ = self.inner.changes.send(Changed { app: seen.app.clone() });
    }
}

impl Gate for Facts {
    async fn holder_of_key(&self, fingerprint: &str) -> Result<Option<Principal>> {
        let user = self.inner.keys.lock().expect("lock").get(fingerprint).cloned();
        Ok(user.map(|user| self.principal(user)))
    }

    async fn holder_of_token_pair(&self, id: &str, secret: &str) -> Result<Option<Principal>> {
        Ok(((id, secret) == TOKEN).then(|| self.principal("alice".into())))
    }

    async fn find_app(&self, name: &str) -> Result<AppId> {
        match name {
            "shop" | "blog" => Ok(format!("a-{name}").parse().expect("legal")),
            _ => Err(Error::NotFound("no such app".into())),
        }
    }

    async fn branches(&self, _app: &AppId) -> Result<Vec<String>> {
        Ok(vec!["main".into(), "master".into()])
    }

    fn repository(&self, app: &AppId) -> PathBuf {
        self.inner.repositories.join(format!("{app}.git"))
    }

    async fn push(&self, who: &Principal, app: &AppId, push: Push) -> Result<DeploymentId> {
        if let Some(message) = self.inner.refusal.lock().expect("lock").clone() {
            return Err(Error::Refused { message, hint: Some("Do this instead.".into()) });
        }
        let mut deployments = self.inner.deployments.lock().expect("lock");
        let deployment: DeploymentId = format!("d-{:04}", deployments.len() + 1).parse().expect("legal");
        let at_once = *self.inner.at_once.lock().expect("lock");
        deployments.insert(deployment.clone(), view(&deployment, if at_once { "OK" } else { "WIP" }));
        let seen = Seen { who: who.clone(), app: app.clone(), push, deployment: deployment.clone() };
        self.inner.seen.send_modify(|all| all.push(seen));
        Ok(deployment)
    }

    async fn deployment(&self, _app: &AppId, deployment: &DeploymentId) -> Result<DeploymentView> {
        let deployments = self.inner.deployments.lock().expect("lock");
        deployments.get(deployment).cloned().ok_or_else(|| Error::NotFound("no such deployment".into()))
    }

    fn logs(&self) -> &Logs {
        &self.inner.logs
    }

    fn changes(&self) -> broadcast::Receiver<Changed> {
        self.inner.changes.subscribe()
    }
}

fn view(deployment: &DeploymentId, state: &str) -> DeploymentView {
    DeploymentView {
        switch: None,
        deployment: deployment.clone(),
        state: state.into(),
        phase: "building".into(),
        action: "DEPLOY".into(),
        cause: "Git".into(),
        author: None,
        note: None,
        commit: None,
        colour: None,
        started_at: String::new(),
        ended_at: None,
        failure: None,
        phases: Vec::new(),
    }
}
