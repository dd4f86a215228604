//! The machine's rows: loaded whole per app, committed whole with their events and mails in one transaction, compare-and-swap on the app's version.

use super::{QueuedMail, Result, Store, all, apps::taken, integer, mails, natural, one};
use crate::log::rfc3339;
use rusqlite::{Connection, Transaction};
use serde::de::DeserializeOwned;
use teal_core::{
    api::EventView,
    deploy::{App, Change, Deployment, Event, Rows, State},
    engine::Committed,
    id::{AppId, DeploymentId, EnvironmentId},
    time::Time,
};

/// What one transaction stores.
#[derive(Debug, Clone)]
pub struct Commit {
    /// The version that the change was decided on.
    pub base: u64,
    /// Rows and events.
    pub change: Change,
    /// Mails, written out for each recipient.
    pub mails: Vec<QueuedMail>,
}

impl Store {
    /// The rows of an app that matter: deployments under way and those whose environment is not gone, environments that are not gone.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn load(&self, app: &AppId) -> Result<Option<Rows>> {
        let id = app.clone();
        self.read(move |c, _| {
            let body: Option<String> = one(c, "SELECT body FROM apps WHERE id = ?1", [id.as_str()], |row| row.get(0))?;
            let Some(body) = body else { return Ok(None) };
            let app: App = serde_json::from_str(&body)?;
            let environments = bodies(c, "SELECT body FROM environments WHERE app = ?1 AND gone = 0 ORDER BY id", id.as_str())?;
            let sql = "SELECT body FROM deployments WHERE app = ?1 AND (ended = 0 OR id IN
                (SELECT json_extract(body, '$.deployment') FROM environments WHERE app = ?1 AND gone = 0)) ORDER BY seq";
            let deployments = bodies(c, sql, id.as_str())?;
            Ok(Some(Rows { app, deployments, environments }))
        })
        .await
    }

    /// Stores a change durably, unless somebody else committed since `base`.
    ///
    /// # Errors
    /// If the store cannot be written.
    pub async fn commit(&self, commit: Commit) -> Result<Committed> {
        self.write(move |t, _| {
            let Commit { base, change, mails } = &commit;
            let app = &change.rows.app;
            let sql = "UPDATE apps SET name = ?2, version = ?3, body = ?4 WHERE id = ?1 AND version = ?5";
            let body = serde_json::to_string(app)?;
            let updated =
                t.execute(sql, (app.id.as_str(), &app.name, integer(app.version), body, integer(*base)));
            let updated = updated.map_err(taken)?;
            if updated == 0 {
                return Ok(Committed::Conflict);
            }
            store_rows(t, &change.rows)?;
            change.events.iter().try_for_each(|event| insert_event(t, &app.id, event))?;
            mails.iter().try_for_each(|mail| mails::insert(t, mail))?;
            Ok(Committed::Ok)
        })
        .await
    }

    /// The newest deployments first, over or not.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn deployments(&self, app: &AppId, limit: u32) -> Result<Vec<Deployment>> {
        let app = app.clone();
        self.read(move |c, _| {
            let sql = "SELECT body FROM deployments WHERE app = ?1 ORDER BY seq DESC LIMIT ?2";
            let texts = all(c, sql, (app.as_str(), limit), |row| row.get::<_, String>(0))?;
            texts.iter().map(|text| Ok(serde_json::from_str(text)?)).collect()
        })
        .await
    }

    /// One deployment of an app.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn deployment(&self, app: &AppId, deployment: &DeploymentId) -> Result<Option<Deployment>> {
        let (app, deployment) = (app.clone(), deployment.clone());
        self.read(move |c, _| {
            let sql = "SELECT body FROM deployments WHERE app = ?1 AND id = ?2";
            let text: Option<String> = one(c, sql, (app.as_str(), deployment.as_str()), |row| row.get(0))?;
            Ok(text.map(|text| serde_json::from_str(&text)).transpose()?)
        })
        .await
    }

    /// Deployments of all apps that nothing may collect the traces of: those not over, and the newest `recent` of each app.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn recent_deployments(&self, recent: u32) -> Result<Vec<DeploymentId>> {
        let sql = "SELECT id FROM (SELECT id, ended, row_number() OVER (PARTITION BY app ORDER BY seq DESC) AS place FROM deployments)
            WHERE ended = 0 OR place <= ?1";
        let ids = self.read(move |c, _| all(c, sql, [recent], |row| row.get::<_, String>(0))).await?;
        Ok(ids.into_iter().filter_map(|id| id.parse().ok()).collect())
    }

    /// Of the 50 newest deployments that have ended: those that took this environment live and were served, the newest first.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn served_by(&self, app: &AppId, environment: &EnvironmentId) -> Result<Vec<Deployment>> {
        let (app, environment) = (app.clone(), environment.clone());
        let sql = "SELECT body FROM (SELECT body, seq FROM deployments WHERE app = ?1 AND ended = 1 ORDER BY seq DESC LIMIT 50)
            WHERE json_extract(body, '$.environment') = ?2 AND json_extract(body, '$.times.served') IS NOT NULL ORDER BY seq DESC";
        self.read(move |c, _| {
            let texts = all(c, sql, (app.as_str(), environment.as_str()), |row| row.get::<_, String>(0))?;
            texts.iter().map(|text| Ok(serde_json::from_str(text)?)).collect()
        })
        .await
    }

    /// The number of the app's newest event; 0 if it has none.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn last_event(&self, app: &AppId) -> Result<u64> {
        let app = app.clone();
        let sql = "SELECT coalesce(max(number), 0) FROM events WHERE app = ?1";
        self.read(move |c, _| {
            Ok(all(c, sql, [app.as_str()], |row| row.get(0))?.first().copied().map_or(0, natural))
        })
        .await
    }

    /// Events after `after`, oldest first.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn events(&self, app: &AppId, after: u64, limit: u32) -> Result<Vec<EventView>> {
        let app = app.clone();
        let sql = "SELECT number, at, kind, deployment, text FROM events WHERE app = ?1 AND number > ?2 ORDER BY number LIMIT ?3";
        self.read(move |c, _| {
            all(c, sql, (app.as_str(), integer(after), limit), |row| {
                Ok(EventView {
                    number: natural(row.get(0)?),
                    at: rfc3339(Time(natural(row.get(1)?))),
                    kind: row.get(2)?,
                    deployment: row.get::<_, Option<String>>(3)?.and_then(|id| id.parse().ok()),
                    text: row.get(4)?,
                })
            })
        })
        .await
    }
}

fn bodies<T: DeserializeOwned>(connection: &Connection, sql: &str, app: &str) -> Result<Vec<T>> {
    let texts = all(connection, sql, [app], |row| row.get::<_, String>(0))?;
    texts.iter().map(|text| Ok(serde_json::from_str(text)?)).collect()
}

fn store_rows(transaction: &Transaction<'_>, rows: &Rows) -> Result<()> {
    let app = rows.app.id.as_str();
    for deployment in &rows.deployments {
        let sql = "INSERT INTO deployments (id, app, seq, ended, body, outcome)
            VALUES (?1, ?2, ?3, ?4, ?5, coalesce(json_extract(?5, '$.end.end'), 'ok'))
            ON CONFLICT (id) DO UPDATE SET ended = excluded.ended, body = excluded.body, outcome = excluded.outcome
            WHERE body <> excluded.body";
        let body = serde_json::to_string(deployment)?;
        let row = (deployment.id.as_str(), app, integer(deployment.request), deployment.is_over(), body);
        transaction.prepare_cached(sql)?.execute(row)?;
    }
    for environment in &rows.environments {
        let sql = "INSERT INTO environments (id, app, gone, body) VALUES (?1, ?2, ?3, ?4)
            ON CONFLICT (id) DO UPDATE SET gone = excluded.gone, body = excluded.body WHERE body <> excluded.body";
        let row = (
            environment.id.as_str(),
            app,
            environment.state == State::Gone,
            serde_json::to_string(environment)?,
        );
        transaction.prepare_cached(sql)?.execute(row)?;
    }
    Ok(())
}

fn insert_event(transaction: &Transaction<'_>, app: &AppId, event: &Event) -> Result<()> {
    let sql = "INSERT INTO events (app, at, kind, deployment, environment, author, text) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    let kind = serde_json::to_value(event.kind)?;
    let deployment = event.deployment.as_ref().map(DeploymentId::as_str);
    let environment = event.environment.as_ref().map(teal_core::id::EnvironmentId::as_str);
    let row = (
        app.as_str(),
        integer(event.at.0),
        kind.as_str(),
        deployment,
        environment,
        &event.author,
        &event.text,
    );
    transaction.prepare_cached(sql)?.execute(row)?;
    Ok(())
}
