//! All apps at one instant, for whoever counts: read in one look, decided upon nowhere.

use super::{Result, Store, all, natural};
use rusqlite::Connection;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use teal_core::deploy::{App, Deployment, Environment, Rows};

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
            for (app, environment) in
                bodies(c, "SELECT body, app FROM environments WHERE gone = 0 ORDER BY id")?
            {
                environments.entry(app).or_default().push(environment);
            }
            let sql = "SELECT body, app FROM deployments WHERE ended = 0 OR id IN
                (SELECT json_extract(body, '$.deployment') FROM environments WHERE gone = 0) ORDER BY seq";
            let mut deployments: BTreeMap<String, Vec<Deployment>> = BTreeMap::new();
            for (app, deployment) in bodies(c, sql)? {
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
        let sql = "SELECT coalesce(json_extract(body, '$.end.end'), 'ok'), count(*) FROM deployments WHERE ended = 1 GROUP BY 1";
        self.read(move |c, _| {
            let counted = all(c, sql, [], |row| Ok((row.get::<_, String>(0)?, natural(row.get(1)?))))?;
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
