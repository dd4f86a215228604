//! Apps beside the machine: their names, their settings, and the snapshots of variables and settings that deployments take.

use super::{Error, Result, Store, all, integer, natural, one};
use crate::appconfig::Overrides;
use std::collections::{BTreeMap, BTreeSet};
use teal_core::{
    deploy::{App, Rows},
    domain,
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

    /// The first of these hosts of which another app has a part, and that app's name, where `passes` or the other app's settings say that a host is one app's
    /// as a whole.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn sharer(
        &self,
        app: &AppId,
        domains: Vec<String>,
        passes: bool,
    ) -> Result<Option<(String, String)>> {
        let app = app.clone();
        self.read(move |c, _| {
            let hosts: BTreeSet<&str> = domains.iter().map(|domain| domain::host(domain)).collect();
            for body in all(c, "SELECT body FROM apps ORDER BY name", [], |row| row.get::<_, String>(0))? {
                let other: App = serde_json::from_str(&body)?;
                if other.id == app || !(passes || other.settings.tls_passthrough) {
                    continue;
                }
                let shared =
                    other.domains.iter().map(|domain| domain::host(domain)).find(|host| hosts.contains(host));
                if let Some(host) = shared {
                    return Ok(Some((host.to_owned(), other.name.clone())));
                }
            }
            Ok(None)
        })
        .await
    }

    /// The TCP ports that apps have, with their names.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn tcp_ports(&self) -> Result<BTreeMap<u16, (AppId, String)>> {
        let sql = "SELECT json_extract(body, '$.settings.tcp_port') AS port, id, name FROM apps WHERE port IS NOT NULL";
        let rows: Vec<(i64, String, String)> =
            self.read(move |c, _| all(c, sql, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))).await?;
        let row = |(port, id, name): (i64, String, String)| {
            Some((u16::try_from(port).ok()?, (id.parse().ok()?, name)))
        };
        Ok(rows.into_iter().filter_map(row).collect())
    }

    /// Makes an app with its first snapshot (no variables).
    ///
    /// # Errors
    /// If the name or the TCP port is taken, or the store cannot be written.
    pub async fn create_app(&self, mut app: App, config: Overrides, maker: Option<String>) -> Result<Rows> {
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
            let sql =
                "INSERT INTO members (app, user, role) SELECT ?1, name, 'admin' FROM users WHERE name = ?2";
            t.execute(sql, (app.id.as_str(), maker))?;
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

pub(super) fn taken(error: rusqlite::Error) -> Error {
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::ConstraintViolation) => Error::Taken,
        _ => Error::Sqlite(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{secrets::Key, store::Commit};
    use teal_core::{
        deploy::{Change, Settings},
        engine::Committed,
    };

    fn app(name: &str, tcp_port: Option<u16>) -> App {
        let settings = Settings { tcp_port, ..Settings::default() };
        let id = format!("a-{name}").parse().expect("legal");
        App::new(id, name.into(), vec![format!("{name}.test")], settings)
    }

    fn commit(mut rows: Rows, tcp_port: Option<u16>) -> Commit {
        let base = rows.app.version;
        rows.app.version += 1;
        rows.app.settings.tcp_port = tcp_port;
        let change = Change { rows, events: Vec::new(), mails: Vec::new(), transitions: Vec::new() };
        Commit { base, change, mails: Vec::new() }
    }

    #[tokio::test]
    async fn the_store_itself_gives_a_tcp_port_to_one_app_only() {
        let place = tempfile::tempdir().expect("a directory");
        let key = Key::open(&place.path().join("key")).expect("a key");
        let store = Store::open(&place.path().join("store"), key).expect("opens");
        let create = |name, port| store.create_app(app(name, port), Overrides::new(), None);
        let one = create("one", Some(5000)).await.expect("made");
        let two = create("two", None).await.expect("made");
        create("three", None).await.expect("many have none");
        assert!(matches!(create("four", Some(5000)).await, Err(Error::Taken)));
        assert!(matches!(store.commit(commit(two.clone(), Some(5000))).await, Err(Error::Taken)));
        let ports = store.tcp_ports().await.expect("reads");
        assert_eq!(ports.get(&5000).map(|(id, name)| (id.as_str(), name.as_str())), Some(("a-one", "one")));
        assert_eq!(store.commit(commit(one, None)).await.expect("given up"), Committed::Ok);
        assert_eq!(store.commit(commit(two, Some(5000))).await.expect("free"), Committed::Ok);
        assert_eq!(store.tcp_ports().await.expect("reads").len(), 1);
    }
}
