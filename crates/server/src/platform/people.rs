//! Who may do what with an app, and what was asked for by whom.

use super::{Error, Platform, Principal, Result};
use crate::{log::harmless, store::Asked};
use teal_core::{
    api::{AuditView, MemberView},
    id::AppId,
    role::Role,
};

impl Platform {
    /// Who may do something with the app.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn members(&self, app: &AppId) -> Result<Vec<MemberView>> {
        Ok(self.store().members(app.clone()).await?)
    }

    /// Gives a user a role in an app, or takes it away, and answers who may do something with it now.
    ///
    /// # Errors
    /// If there is no such user.
    pub async fn set_member(
        &self,
        who: &Principal,
        app: &AppId,
        user: &str,
        role: Role,
    ) -> Result<Vec<MemberView>> {
        if !self.store().set_member(app.clone(), user.to_owned(), role).await? {
            let hint = "an administrator adds them: teal users set NAME";
            return Err(Error::invalid(format!("there is no user `{}`", harmless(user)), hint));
        }
        tracing::info!(by = who.user, %app, user, %role, "member set");
        self.members(app).await
    }

    /// Writes down what was asked for. A store that cannot be written is told of in the log, and stops nobody.
    pub async fn wrote_down(&self, asked: Asked) {
        if let Err(error) = self.store().add_audit(asked).await {
            tracing::error!(error = &error as &dyn std::error::Error, "a request was not written down");
        }
    }

    /// What was asked for before number `before`, the newest first.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn audit(&self, before: Option<u64>, limit: u32) -> Result<Vec<AuditView>> {
        Ok(self.store().audit(before, limit).await?)
    }
}
