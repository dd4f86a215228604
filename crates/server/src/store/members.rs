//! Roles in single apps, and what a credential stands for: who, and what they may do.

use super::{Error, Result, Store, all, natural, one};
use crate::{
    platform::{Limits, Rights},
    secrets,
};
use rusqlite::Connection;
use std::collections::{BTreeMap, BTreeSet};
use teal_core::{api::MemberView, id::AppId, role::Role, time::Time};

/// What a token's secret proves.
#[derive(Debug, Clone)]
pub struct Credential {
    /// The token's id.
    pub token: String,
    /// Whose it is.
    pub user: String,
    /// What may be done with it.
    pub rights: Rights,
}

impl Store {
    /// What this secret proves now, of the token of this id if one is given. All candidates are compared in constant time.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn credential(
        &self,
        id: Option<String>,
        secret: &str,
        now: Time,
    ) -> Result<Option<Credential>> {
        let hash = secrets::hash(secret);
        self.read(move |c, _| {
            let tokens = all(c, "SELECT id, user, hash, role, apps, expires_at FROM tokens", [], |row| {
                let hash = row.get::<_, Vec<u8>>(2)?;
                Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, hash, limits(row)?))
            })?;
            let wanted = |(found, _, stored, _): &(String, String, Vec<u8>, _)| {
                secrets::same(stored, &hash) & id.as_ref().is_none_or(|id| id == found)
            };
            let mut found: Vec<_> = tokens.into_iter().filter(wanted).collect();
            let Some((token, user, _, (role, apps, expires_at))) = found.pop() else { return Ok(None) };
            if expires_at.is_some_and(|end| end <= now) {
                return Ok(None);
            }
            let only = apps.map(|apps| serde_json::from_str::<BTreeSet<AppId>>(&apps)).transpose()?;
            let limits = Limits { role: word(&role), only, ends: expires_at.is_some() };
            let rights = rights(c, &user, limits)?;
            Ok(Some(Credential { token, user, rights }))
        })
        .await
    }

    /// The user who registered this key, and what they may do.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn owner_of_key(&self, fingerprint: String) -> Result<Option<(String, Rights)>> {
        self.read(move |c, _| {
            let sql = "SELECT user FROM keys WHERE fingerprint = ?1";
            let user: Option<String> = one(c, sql, [fingerprint], |row| row.get(0))?;
            user.map(|user| rights(c, &user, Limits::NONE).map(|rights| (user, rights))).transpose()
        })
        .await
    }

    /// Who may do something with the app, by name.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn members(&self, app: AppId) -> Result<Vec<MemberView>> {
        let sql = "SELECT u.name, u.role, coalesce(m.role, 'none') FROM users u \
                   LEFT JOIN members m ON m.user = u.name AND m.app = ?1 ORDER BY u.name";
        let users = self.read(move |c, _| {
            all(c, sql, [app.as_str()], |row| {
                let (server, own) = (word(&row.get::<_, String>(1)?), word(&row.get::<_, String>(2)?));
                Ok(MemberView { user: row.get(0)?, role: server.max(own), by_server: server >= own })
            })
        });
        Ok(users.await?.into_iter().filter(|member| member.role > Role::None).collect())
    }

    /// Gives a user a role in an app, or takes it away; whether there is such a user.
    ///
    /// # Errors
    /// If the store cannot be written.
    pub async fn set_member(&self, app: AppId, user: String, role: Role) -> Result<bool> {
        self.write(move |t, _| {
            let known: Option<i64> =
                one(t, "SELECT 1 FROM users WHERE name = ?1", [&user], |row| row.get(0))?;
            if known.is_none() {
                return Ok(false);
            }
            if role == Role::None {
                t.execute("DELETE FROM members WHERE app = ?1 AND user = ?2", (app.as_str(), user))?;
            } else {
                let sql = "INSERT INTO members (app, user, role) VALUES (?1, ?2, ?3) \
                           ON CONFLICT (app, user) DO UPDATE SET role = excluded.role";
                t.execute(sql, (app.as_str(), user, role.word()))?;
            }
            Ok(true)
        })
        .await
    }
}

type Limited = (String, Option<String>, Option<Time>);

fn limits(row: &rusqlite::Row<'_>) -> rusqlite::Result<Limited> {
    Ok((row.get(3)?, row.get(4)?, row.get::<_, Option<i64>>(5)?.map(|at| Time(natural(at)))))
}

/// A word that this version does not know allows nothing.
pub(super) fn word(text: &str) -> Role {
    text.parse().unwrap_or_default()
}

fn rights(connection: &Connection, user: &str, limits: Limits) -> Result<Rights> {
    let server: Option<String> =
        one(connection, "SELECT role FROM users WHERE name = ?1", [user], |row| row.get(0))?;
    let rows = all(connection, "SELECT app, role FROM members WHERE user = ?1", [user], |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))
    })?;
    let parse = |(app, role): (String, String)| {
        let app = app.parse::<AppId>().map_err(|error| Error::Json(serde::de::Error::custom(error)))?;
        Ok((app, word(&role)))
    };
    let apps: BTreeMap<AppId, Role> = rows.into_iter().map(parse).collect::<Result<_>>()?;
    Ok(Rights { server: server.as_deref().map(word).unwrap_or_default(), apps, limits })
}
