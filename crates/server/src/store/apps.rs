//! Apps beside the machine: their names, their settings, and the snapshots of variables and settings that deployments take.

use super::{Error, Result, Store, all, integer, natural, one};
use crate::appconfig::Overrides;
use std::collections::BTreeMap;
use teal_core::{
    deploy::{App, Rows},
    id::AppId,
};

/// Variables by name. Their values are secrets.
pub type Variables = BTreeMap<String, String>;

/// An app in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppRow {
    /// Its id.
    pub id: AppId,
    /// Its name.
    pub name: String,
}

/// The text that seals an app's variables: they do not open as another app's.
fn purpose(app: &AppId) -> String {
    format!("variables of {app}")
}

impl Store {
    /// All apps, by name; also those that are being deleted.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn apps(&self) -> Result<Vec<AppRow>> {
        let rows: Vec<(String, String)> = self
            .read(|c, _| {
                all(c, "SELECT id, name FROM apps ORDER BY name", [], |row| Ok((row.get(0)?, row.get(1)?)))
            })
            .await?;
        Ok(rows.into_iter().filter_map(|(id, name)| Some(AppRow { id: id.parse().ok()?, name })).collect())
    }

    /// The app of this name.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn app_of_name(&self, name: String) -> Result<Option<AppId>> {
        let id: Option<String> = self
            .read(move |c, _| one(c, "SELECT id FROM apps WHERE name = ?1", [name], |row| row.get(0)))
            .await?;
        Ok(id.and_then(|id| id.parse().ok()))
    }

    /// The first of these domains that an app other than this one has, and that app's name: one look, however many apps there are.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn owner(&self, app: &AppId, domains: Vec<String>) -> Result<Option<(String, String)>> {
        let app = app.clone();
        self.read(move |c, _| {
            for body in all(c, "SELECT body FROM apps ORDER BY name", [], |row| row.get::<_, String>(0))? {
                let other: App = serde_json::from_str(&body)?;
                let theirs = domains.iter().find(|domain| other.id != app && other.domains.contains(domain));
                if let Some(domain) = theirs {
                    return Ok(Some((domain.clone(), other.name)));
                }
            }
            Ok(None)
        })
        .await
    }

    /// Makes an app with its first snapshot (no variables).
    ///
    /// # Errors
    /// If the name is taken, or the store cannot be written.
    pub async fn create_app(&self, mut app: App, config: Overrides) -> Result<Rows> {
        app.config = 1;
        let rows = Rows::new(app.clone());
        self.write(move |t, key| {
            let sql =
                "INSERT INTO apps (id, name, version, body, config, snapshot) VALUES (?1, ?2, ?3, ?4, ?5, 1)";
            let config = serde_json::to_string(&config)?;
            let body = serde_json::to_string(&app)?;
            t.execute(sql, (app.id.as_str(), &app.name, integer(app.version), body, &config))
                .map_err(taken)?;
            let sealed = key.seal(&purpose(&app.id), b"{}")?;
            let sql = "INSERT INTO snapshots (app, number, variables, config) VALUES (?1, 1, ?2, ?3)";
            t.execute(sql, (app.id.as_str(), sealed, config))?;
            Ok(())
        })
        .await?;
        Ok(rows)
    }

    /// Takes a deleted app's rows away. Its events stay: they are the audit log.
    ///
    /// # Errors
    /// If the store cannot be written.
    pub async fn forget_app(&self, app: AppId) -> Result<()> {
        self.write(move |t, _| Ok(t.execute("DELETE FROM apps WHERE id = ?1", [app.as_str()]).map(drop)?))
            .await
    }

    /// The newest snapshot: its number, the variables, the settings that differ from the defaults.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn newest_snapshot(&self, app: &AppId) -> Result<Option<(u64, Variables, Overrides)>> {
        let sql =
            "SELECT number, variables, config FROM snapshots WHERE app = ?1 ORDER BY number DESC LIMIT 1";
        self.snapshot_by(app, sql, None).await
    }

    /// One snapshot.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn snapshot(&self, app: &AppId, number: u64) -> Result<Option<(Variables, Overrides)>> {
        let sql = "SELECT number, variables, config FROM snapshots WHERE app = ?1 AND number = ?2";
        Ok(self.snapshot_by(app, sql, Some(number)).await?.map(|(_, variables, config)| (variables, config)))
    }

    async fn snapshot_by(
        &self,
        app: &AppId,
        sql: &'static str,
        number: Option<u64>,
    ) -> Result<Option<(u64, Variables, Overrides)>> {
        let app = app.clone();
        self.read(move |c, key| {
            let map = |row: &rusqlite::Row<'_>| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?, row.get::<_, String>(2)?))
            };
            let found = match number {
                Some(number) => one(c, sql, (app.as_str(), integer(number)), map)?,
                None => one(c, sql, [app.as_str()], map)?,
            };
            let Some((number, sealed, config)) = found else { return Ok(None) };
            let variables = serde_json::from_slice(&key.unseal(&purpose(&app), &sealed)?)?;
            Ok(Some((natural(number), variables, serde_json::from_str(&config)?)))
        })
        .await
    }

    /// Keeps a new snapshot; its number. Snapshots that nothing names any more are not kept for ever: the newest 50 stay.
    ///
    /// # Errors
    /// If the store cannot be written.
    pub async fn add_snapshot(&self, app: &AppId, variables: &Variables, config: &Overrides) -> Result<u64> {
        let (app, plain, config) =
            (app.clone(), serde_json::to_vec(variables)?, serde_json::to_string(config)?);
        self.write(move |t, key| {
            let sealed = key.seal(&purpose(&app), &plain)?;
            t.execute("UPDATE apps SET snapshot = snapshot + 1, config = ?2 WHERE id = ?1", (app.as_str(), &config))?;
            let number: i64 = t.query_row("SELECT snapshot FROM apps WHERE id = ?1", [app.as_str()], |row| row.get(0))?;
            let sql = "INSERT INTO snapshots (app, number, variables, config) VALUES (?1, ?2, ?3, ?4)";
            t.execute(sql, (app.as_str(), number, sealed, config))?;
            let unused = "DELETE FROM snapshots WHERE app = ?1 AND number < ?2 - 50
                AND number NOT IN (SELECT json_extract(body, '$.config') FROM environments WHERE app = ?1 AND gone = 0)
                AND number NOT IN (SELECT json_extract(body, '$.config') FROM deployments WHERE app = ?1 AND ended = 0)";
            t.execute(unused, (app.as_str(), number))?;
            Ok(natural(number))
        })
        .await
    }
}

fn taken(error: rusqlite::Error) -> Error {
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::ConstraintViolation) => Error::Taken,
        _ => Error::Sqlite(error),
    }
}
