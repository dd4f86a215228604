//! Release commands: which were begun, and how they ended. A row is there before its command runs, and its end before anybody hears of it.

use super::{Result, Store, all, integer, natural, one};
use teal_core::{
    id::{AppId, DeploymentId},
    time::Time,
};

/// Rows of one app that are kept.
const KEPT: u32 = 200;

/// A release command that was begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseCommand {
    /// Of which deployment.
    pub deployment: DeploymentId,
    /// The kernel's id of the boot in which it was begun.
    pub boot: String,
    /// When.
    pub begun: Time,
    /// How it ended: well, or why not. `None`: it runs, or nobody saw its end.
    pub ended: Option<std::result::Result<(), String>>,
}

/// As a row has it.
type Row = (String, String, i64, Option<i64>, Option<String>);

fn row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?))
}

fn parsed((deployment, boot, begun, ended, failure): Row) -> Option<ReleaseCommand> {
    Some(ReleaseCommand {
        deployment: deployment.parse().ok()?,
        boot,
        begun: Time(natural(begun)),
        ended: ended.map(|_| failure.map_or(Ok(()), Err)),
    })
}

impl Store {
    /// The release command of a deployment, if it was begun.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn release_command(&self, deployment: &DeploymentId) -> Result<Option<ReleaseCommand>> {
        let sql =
            "SELECT deployment, boot, begun, ended, failure FROM release_commands WHERE deployment = ?1";
        let deployment = deployment.clone();
        let found = self.read(move |c, _| one(c, sql, [deployment.as_str()], row)).await?;
        Ok(found.and_then(parsed))
    }

    /// The release commands of an app, the newest first.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn release_commands(&self, app: &AppId) -> Result<Vec<ReleaseCommand>> {
        let sql = "SELECT deployment, boot, begun, ended, failure FROM release_commands WHERE app = ?1
                   ORDER BY deployment DESC";
        let app = app.clone();
        let found = self.read(move |c, _| all(c, sql, [app.as_str()], row)).await?;
        Ok(found.into_iter().filter_map(parsed).collect())
    }

    /// Writes down that it is about to be begun. Old rows of the app go.
    ///
    /// # Errors
    /// If the store cannot be written, or it was begun before.
    pub async fn begin_release_command(&self, app: &AppId, command: ReleaseCommand) -> Result<()> {
        let app = app.clone();
        self.write(move |t, _| {
            let sql = "INSERT INTO release_commands (deployment, app, boot, begun) VALUES (?1, ?2, ?3, ?4)";
            let begun = integer(command.begun.0);
            t.execute(sql, (command.deployment.as_str(), app.as_str(), &command.boot, begun))?;
            let old = "DELETE FROM release_commands WHERE app = ?1 AND deployment NOT IN
                       (SELECT deployment FROM release_commands WHERE app = ?1 ORDER BY deployment DESC LIMIT ?2)";
            Ok(t.execute(old, (app.as_str(), KEPT)).map(drop)?)
        })
        .await
    }

    /// Writes down how it ended. The first word counts.
    ///
    /// # Errors
    /// If the store cannot be written.
    pub async fn end_release_command(
        &self,
        deployment: &DeploymentId,
        at: Time,
        failure: Option<String>,
    ) -> Result<()> {
        let sql =
            "UPDATE release_commands SET ended = ?2, failure = ?3 WHERE deployment = ?1 AND ended IS NULL";
        let deployment = deployment.clone();
        self.write(move |t, _| Ok(t.execute(sql, (deployment.as_str(), integer(at.0), failure)).map(drop)?))
            .await
    }
}
