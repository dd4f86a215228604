//! The few questions that git asks of the platform. Git is generic over them, so that it is tested over plain facts; it must never
//! reach around this trait into the store, the driver or the runtime.

use crate::{
    log::Logs,
    platform::{Changed, Platform, Principal, Push, Result},
};
use std::{future::Future, path::PathBuf};
use teal_core::{
    api::DeploymentView,
    id::{AppId, DeploymentId},
};
use tokio::sync::broadcast;

/// What git needs to know, and the one thing it asks for: [`Gate::push`]. Errors are as the platform words them: users read them.
pub trait Gate: Clone + Send + Sync + 'static {
    /// As [`Platform::holder_of_key`].
    fn holder_of_key(&self, fingerprint: &str) -> impl Future<Output = Result<Option<Principal>>> + Send;

    /// As [`Platform::holder_of_token_pair`].
    fn holder_of_token_pair(
        &self,
        id: &str,
        secret: &str,
    ) -> impl Future<Output = Result<Option<Principal>>> + Send;

    /// As [`Platform::find_app`].
    fn find_app(&self, name: &str) -> impl Future<Output = Result<AppId>> + Send;

    /// As [`Platform::branches`]; the first one is offered to clones while nothing was pushed.
    fn branches(&self, app: &AppId) -> impl Future<Output = Result<Vec<String>>> + Send;

    /// As [`Platform::repository`]; git makes it when it is first asked for.
    fn repository(&self, app: &AppId) -> PathBuf;

    /// As [`Platform::push`]. Called when objects and branch are durable. Ids of later pushes must sort after those of earlier ones.
    fn push(
        &self,
        who: &Principal,
        app: &AppId,
        push: Push,
    ) -> impl Future<Output = Result<DeploymentId>> + Send;

    /// As [`Platform::deployment`]. Its `state` must leave `WIP` when the commit is served, not only when it is baked: `git push` ends then.
    fn deployment(
        &self,
        app: &AppId,
        deployment: &DeploymentId,
    ) -> impl Future<Output = Result<DeploymentView>> + Send;

    /// As [`Platform::logs`].
    fn logs(&self) -> &Logs;

    /// As [`Platform::changes`].
    fn changes(&self) -> broadcast::Receiver<Changed>;
}

impl Gate for Platform {
    async fn holder_of_key(&self, fingerprint: &str) -> Result<Option<Principal>> {
        Self::holder_of_key(self, fingerprint).await
    }

    async fn holder_of_token_pair(&self, id: &str, secret: &str) -> Result<Option<Principal>> {
        Self::holder_of_token_pair(self, id, secret).await
    }

    async fn find_app(&self, name: &str) -> Result<AppId> {
        Self::find_app(self, name).await
    }

    async fn branches(&self, app: &AppId) -> Result<Vec<String>> {
        Self::branches(self, app).await
    }

    fn repository(&self, app: &AppId) -> PathBuf {
        Self::repository(self, app)
    }

    async fn push(&self, who: &Principal, app: &AppId, push: Push) -> Result<DeploymentId> {
        Self::push(self, who, app, push).await
    }

    async fn deployment(&self, app: &AppId, deployment: &DeploymentId) -> Result<DeploymentView> {
        Self::deployment(self, app, deployment).await
    }

    fn logs(&self) -> &Logs {
        Self::logs(self)
    }

    fn changes(&self) -> broadcast::Receiver<Changed> {
        Self::changes(self)
    }
}
