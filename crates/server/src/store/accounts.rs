//! Users, tokens and SSH keys.

use super::{Result, Store, all, integer, members::word, natural, one};
use crate::{log::rfc3339, secrets};
use teal_core::{
    api::{KeyView, TokenView, UserView},
    id::AppId,
    role::Role,
    time::Time,
};

impl Store {
    /// All users, by name.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn users(&self) -> Result<Vec<UserView>> {
        self.read(|c, _| {
            all(c, "SELECT name, email, role FROM users ORDER BY name", [], |row| {
                let role = word(&row.get::<_, String>(2)?);
                Ok(UserView { name: row.get(0)?, email: row.get(1)?, role })
            })
        })
        .await
    }

    /// Adds a user, or changes the mail address or the role of one. The last administrator stays one: then it is not done.
    ///
    /// # Errors
    /// If the store cannot be written.
    pub async fn set_user(&self, user: UserView) -> Result<bool> {
        let sql = "INSERT INTO users (name, email, role) VALUES (?1, ?2, ?3) ON CONFLICT (name) \
                   DO UPDATE SET email = excluded.email, role = excluded.role";
        self.write(move |t, _| {
            if user.role != Role::Admin && is_last_admin(t, &user.name)? {
                return Ok(false);
            }
            t.execute(sql, (user.name, user.email, user.role.word()))?;
            Ok(true)
        })
        .await
    }

    /// Removes a user with their tokens and keys; whether there was one. The last administrator stays.
    ///
    /// # Errors
    /// If the store cannot be written.
    pub async fn remove_user(&self, name: String) -> Result<bool> {
        self.write(move |t, _| {
            Ok(!is_last_admin(t, &name)? && t.execute("DELETE FROM users WHERE name = ?1", [name])? > 0)
        })
        .await
    }

    /// All tokens, oldest first.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn tokens(&self) -> Result<Vec<TokenView>> {
        let sql = "SELECT t.id, t.name, t.user, t.created_at, t.role, t.expires_at, t.apps IS NULL, \
                   (SELECT json_group_array(a.name) FROM json_each(t.apps) j JOIN apps a ON a.id = j.value) \
                   FROM tokens t ORDER BY t.created_at, t.id";
        self.read(move |c, _| {
            let tokens = all(c, sql, [], |row| {
                let at = |at: i64| rfc3339(Time(natural(at)));
                let apps: Option<String> = (!row.get::<_, bool>(6)?).then(|| row.get(7)).transpose()?;
                let token = TokenView {
                    id: row.get(0)?,
                    name: row.get(1)?,
                    user: row.get(2)?,
                    created_at: at(row.get(3)?),
                    role: word(&row.get::<_, String>(4)?),
                    apps: None,
                    expires_at: row.get::<_, Option<i64>>(5)?.map(at),
                };
                Ok((token, apps))
            })?;
            let named = |(token, apps): (TokenView, Option<String>)| {
                let apps = apps.map(|apps| serde_json::from_str(&apps)).transpose()?;
                Ok(TokenView { apps, ..token })
            };
            tokens.into_iter().map(named).collect()
        })
        .await
    }

    /// Keeps a token's hash, for these apps only if some are given.
    ///
    /// # Errors
    /// If there is no such user, or the store cannot be written.
    pub async fn add_token(&self, token: NewRow, secret: &str) -> Result<()> {
        let hash = secrets::hash(secret);
        let sql = "INSERT INTO tokens (id, name, user, hash, created_at, role, apps, expires_at) \
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
        self.write(move |t, _| {
            let NewRow { id, name, user, at, role, only, expires_at } = token;
            let only = only.map(|only| serde_json::to_string(&only)).transpose()?;
            let end = expires_at.map(|end| integer(end.0));
            t.execute(sql, (id, name, user, hash, integer(at.0), role.word(), only, end))?;
            Ok(())
        })
        .await
    }

    /// Ends a token; whether there was one.
    ///
    /// # Errors
    /// If the store cannot be written.
    pub async fn remove_token(&self, id: String) -> Result<bool> {
        self.write(move |t, _| Ok(t.execute("DELETE FROM tokens WHERE id = ?1", [id])? > 0)).await
    }

    /// All SSH keys, by name.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn keys(&self) -> Result<Vec<KeyView>> {
        self.read(|c, _| {
            all(c, "SELECT fingerprint, name, user FROM keys ORDER BY user, name", [], |row| {
                Ok(KeyView { fingerprint: row.get(0)?, name: row.get(1)?, user: row.get(2)? })
            })
        })
        .await
    }

    /// Registers an SSH key; one that is registered changes hands.
    ///
    /// # Errors
    /// If there is no such user, or the store cannot be written.
    pub async fn add_key(&self, key: KeyView, openssh: String) -> Result<()> {
        let sql = "INSERT OR REPLACE INTO keys (fingerprint, name, user, openssh) VALUES (?1, ?2, ?3, ?4)";
        self.write(move |t, _| {
            Ok(t.execute(sql, (key.fingerprint, key.name, key.user, openssh)).map(drop)?)
        })
        .await
    }

    /// Removes an SSH key; whether there was one.
    ///
    /// # Errors
    /// If the store cannot be written.
    pub async fn remove_key(&self, fingerprint: String) -> Result<bool> {
        self.write(move |t, _| Ok(t.execute("DELETE FROM keys WHERE fingerprint = ?1", [fingerprint])? > 0))
            .await
    }
}

/// A token that is to be kept.
#[derive(Debug, Clone)]
pub struct NewRow {
    /// Its id.
    pub id: String,
    /// What it is for.
    pub name: String,
    /// Whose it is.
    pub user: String,
    /// When it was made.
    pub at: Time,
    /// It may do no more than this.
    pub role: Role,
    /// It is for these apps only.
    pub only: Option<Vec<AppId>>,
    /// It ends by itself.
    pub expires_at: Option<Time>,
}

impl NewRow {
    /// One without limits.
    #[must_use]
    pub fn unlimited(id: &str, name: &str, user: &str, at: Time) -> Self {
        let (id, name, user) = (id.to_owned(), name.to_owned(), user.to_owned());
        Self { id, name, user, at, role: Role::Admin, only: None, expires_at: None }
    }
}

fn is_last_admin(connection: &rusqlite::Connection, name: &str) -> Result<bool> {
    let sql = "SELECT count(*) FROM users WHERE role = 'admin' AND name <> ?1";
    let others: Option<i64> = one(connection, sql, [name], |row| row.get(0))?;
    let known = "SELECT 1 FROM users WHERE role = 'admin' AND name = ?1";
    let is_admin: Option<i64> = one(connection, known, [name], |row| row.get(0))?;
    Ok(others == Some(0) && is_admin.is_some())
}
