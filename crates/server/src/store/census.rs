//! All apps at one instant, for whoever counts: read in one look, decided upon nowhere.

use super::{Result, Store, all, natural};
use rusqlite::Connection;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use teal_core::deploy::{App, Deployment, Environment, Rows};

/// What is there of all apps.
const ENVIRONMENTS: &str = "SELECT body, app FROM environments WHERE gone = 0 ORDER BY id";

/// Under way, or what something runs that is there.
const DEPLOYMENTS: &str = "SELECT body, app FROM deployments WHERE id IN
    (SELECT id FROM deployments WHERE ended = 0
     UNION SELECT json_extract(body, '$.deployment') FROM environments WHERE gone = 0) ORDER BY seq";

/// From the index alone: an app's history may be long, and this is asked every few seconds.
const ENDS: &str = "SELECT outcome, count(*) FROM deployments WHERE ended = 1 GROUP BY outcome";

/// How many deployments ended in which way.
pub type Ends = BTreeMap<String, u64>;

impl Store {
    /// The rows of every app that matter, by app, as [`Store::load`] reads them for one.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn census(&self) -> Result<Vec<Rows>> {
        self.read(|c, _| {
            let apps: Vec<App> =
                bodies(c, "SELECT body FROM apps ORDER BY id")?.into_iter().map(|(_, app)| app).collect();
            let mut environments: BTreeMap<String, Vec<Environment>> = BTreeMap::new();
            for (app, environment) in bodies(c, ENVIRONMENTS)? {
                environments.entry(app).or_default().push(environment);
            }
            let mut deployments: BTreeMap<String, Vec<Deployment>> = BTreeMap::new();
            for (app, deployment) in bodies(c, DEPLOYMENTS)? {
                deployments.entry(app).or_default().push(deployment);
            }
            let rows = |app: App| {
                let id = app.id.as_str();
                let (environments, deployments) = (environments.remove(id), deployments.remove(id));
                Rows {
                    environments: environments.unwrap_or_default(),
                    deployments: deployments.unwrap_or_default(),
                    app,
                }
            };
            Ok(apps.into_iter().map(rows).collect())
        })
        .await
    }

    /// Deployments that are over, by how they ended: `ok`, `failed`, `cancelled` or `superseded`.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn ends(&self) -> Result<Ends> {
        self.read(|c, _| {
            let counted = all(c, ENDS, [], |row| Ok((row.get::<_, String>(0)?, natural(row.get(1)?))))?;
            Ok(counted.into_iter().collect())
        })
        .await
    }
}

/// Bodies with the app that each belongs to, if the query names it.
fn bodies<T: DeserializeOwned>(connection: &Connection, sql: &str) -> Result<Vec<(String, T)>> {
    let texts = all(connection, sql, [], |row| {
        let app = if row.as_ref().column_count() > 1 { row.get(1)? } else { String::new() };
        Ok((app, row.get::<_, String>(0)?))
    })?;
    texts.into_iter().map(|(app, text)| Ok((app, serde_json::from_str(&text)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::Key;

    #[tokio::test]
    async fn no_question_of_a_scrape_reads_what_is_over() {
        let directory = tempfile::tempdir().expect("a directory");
        let key = Key::open(&directory.path().join("key")).expect("a key");
        let store = Store::open(&directory.path().join("store"), key).expect("opens");
        for sql in [ENVIRONMENTS, DEPLOYMENTS, ENDS] {
            let plan: Vec<String> = store
                .read(move |c, _| all(c, &format!("EXPLAIN QUERY PLAN {sql}"), [], |row| row.get(3)))
                .await
                .expect("a plan");
            let whole = plan.iter().find(|step| step.starts_with("SCAN") && !step.contains("INDEX"));
            assert_eq!(whole, None, "{plan:#?}");
            assert!(sql != ENDS || plan.iter().any(|step| step.contains("COVERING INDEX")), "{plan:#?}");
        }
    }

    #[tokio::test]
    async fn what_ended_before_it_was_counted_is_counted() {
        let directory = tempfile::tempdir().expect("a directory");
        let place = directory.path().join("store");
        let older = Connection::open(&place).expect("opens");
        for sql in &super::super::MIGRATIONS[..3] {
            older.execute_batch(sql).expect("an older store");
        }
        older.pragma_update(None, "user_version", 3).expect("says so");
        older
            .execute_batch(
                "INSERT INTO apps (id, name, version, body) VALUES ('a-1', 'shop', 1, '{}');
                INSERT INTO deployments (id, app, seq, ended, body) VALUES
                    ('d-1', 'a-1', 1, 1, '{\"phase\":\"ended\",\"end\":{\"end\":\"failed\"}}'),
                    ('d-2', 'a-1', 2, 1, '{\"phase\":\"live\"}'), ('d-3', 'a-1', 3, 0, '{\"phase\":\"queued\"}')",
            )
            .expect("rows");
        drop(older);
        let key = Key::open(&directory.path().join("key")).expect("a key");
        let store = Store::open(&place, key).expect("migrates");
        let ends = [("failed".to_owned(), 1), ("ok".to_owned(), 1)];
        assert_eq!(store.ends().await.expect("reads"), ends.into());
    }
}
