//! Users, tokens and SSH keys.

use super::{Result, Store, all, integer, natural, one};
use crate::{log::rfc3339, secrets};
use teal_core::{
    api::{KeyView, TokenView, UserView},
    time::Time,
};

impl Store {
    /// All users, by name.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn users(&self) -> Result<Vec<UserView>> {
        self.read(|c, _| {
            all(c, "SELECT name, email FROM users ORDER BY name", [], |row| {
                Ok(UserView { name: row.get(0)?, email: row.get(1)? })
            })
        })
        .await
    }

    /// Adds a user, or changes the mail address of one.
    ///
    /// # Errors
    /// If the store cannot be written.
    pub async fn set_user(&self, user: UserView) -> Result<()> {
        let sql = "INSERT INTO users (name, email) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET email = excluded.email";
        self.write(move |t, _| Ok(t.execute(sql, (user.name, user.email)).map(drop)?)).await
    }

    /// Removes a user with their tokens and keys; whether there was one. The last user stays.
    ///
    /// # Errors
    /// If the store cannot be written.
    pub async fn remove_user(&self, name: String) -> Result<bool> {
        let sql = "DELETE FROM users WHERE name = ?1 AND (SELECT count(*) FROM users) > 1";
        self.write(move |t, _| Ok(t.execute(sql, [name])? > 0)).await
    }

    /// All tokens, oldest first.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn tokens(&self) -> Result<Vec<TokenView>> {
        self.read(|c, _| {
            all(c, "SELECT id, name, user, created_at FROM tokens ORDER BY created_at, id", [], |row| {
                let created_at = rfc3339(Time(natural(row.get(3)?)));
                Ok(TokenView { id: row.get(0)?, name: row.get(1)?, user: row.get(2)?, created_at })
            })
        })
        .await
    }

    /// Keeps a token's hash.
    ///
    /// # Errors
    /// If there is no such user, or the store cannot be written.
    pub async fn add_token(
        &self,
        id: String,
        name: String,
        user: String,
        secret: &str,
        at: Time,
    ) -> Result<()> {
        let hash = secrets::hash(secret);
        let sql = "INSERT INTO tokens (id, name, user, hash, created_at) VALUES (?1, ?2, ?3, ?4, ?5)";
        self.write(move |t, _| Ok(t.execute(sql, (id, name, user, hash, integer(at.0))).map(drop)?)).await
    }

    /// Ends a token; whether there was one.
    ///
    /// # Errors
    /// If the store cannot be written.
    pub async fn remove_token(&self, id: String) -> Result<bool> {
        self.write(move |t, _| Ok(t.execute("DELETE FROM tokens WHERE id = ?1", [id])? > 0)).await
    }

    /// The user whose token (of this id, if one is given) has this secret. All candidates are compared in constant time.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn user_of_secret(&self, id: Option<String>, secret: &str) -> Result<Option<String>> {
        Ok(self.token_of_secret(id, secret).await?.map(|(_, user)| user))
    }

    /// As [`Self::user_of_secret`], with the token's id before the user.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn token_of_secret(
        &self,
        id: Option<String>,
        secret: &str,
    ) -> Result<Option<(String, String)>> {
        let hash = secrets::hash(secret);
        self.read(move |c, _| {
            let tokens = all(c, "SELECT id, user, hash FROM tokens", [], |row| {
                Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, Vec<u8>>(2)?))
            })?;
            let wanted = |(found, _, stored): &(String, String, Vec<u8>)| {
                secrets::same(stored, &hash) & id.as_ref().is_none_or(|id| id == found)
            };
            Ok(tokens.into_iter().filter(wanted).map(|(id, user, _)| (id, user)).next_back())
        })
        .await
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

    /// The user who registered this key.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn user_of_key(&self, fingerprint: String) -> Result<Option<String>> {
        self.read(move |c, _| {
            one(c, "SELECT user FROM keys WHERE fingerprint = ?1", [fingerprint], |row| row.get(0))
        })
        .await
    }
}
