//! Users, tokens, SSH keys, and who may ask at all. Every user may do everything until roles come; what is here already checks that they exist.

use super::{Error, Platform, Principal, Result};
use crate::{notify, secrets, world::now};
use teal_core::api::{Accepted, KeyView, NewToken, TokenView, UserView};

/// The longest name of a user, token or key.
const MAX_NAME: usize = 100;

impl Platform {
    /// The user whose token has this secret; compared in constant time against stored hashes.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn user_of_token(&self, secret: &str) -> Result<Option<String>> {
        Ok(self.store().user_of_secret(None, secret).await?)
    }

    /// The id of the token that has this secret.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn token_of_secret(&self, secret: &str) -> Result<Option<String>> {
        Ok(self.store().token_of_secret(None, secret).await?.map(|(id, _)| id))
    }

    /// As [`Self::user_of_token`], for git over HTTP: the token's id and its secret must belong together.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn user_of_token_pair(&self, id: &str, secret: &str) -> Result<Option<String>> {
        Ok(self.store().user_of_secret(Some(id.to_owned()), secret).await?)
    }

    /// The user who registered this SSH public key, given as `SHA256:…`.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn user_of_key(&self, fingerprint: &str) -> Result<Option<String>> {
        Ok(self.store().user_of_key(fingerprint.to_owned()).await?)
    }

    /// All users.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn users(&self) -> Result<Vec<UserView>> {
        Ok(self.store().users().await?)
    }

    /// Adds a user, or changes the mail address of one.
    ///
    /// # Errors
    /// If the name or the address is not one.
    pub async fn set_user(&self, who: &Principal, user: UserView) -> Result<UserView> {
        let legal = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if user.name.is_empty() || user.name.len() > MAX_NAME || !user.name.chars().all(legal) {
            return Err(Error::invalid("that is not a user's name", "use letters, digits, `.`, `_` and `-`"));
        }
        if let Some(email) = &user.email {
            email
                .parse::<lettre::Address>()
                .map_err(|_| Error::invalid("that is not a mail address", "give it as name@host"))?;
        }
        self.store().set_user(user.clone()).await?;
        tracing::info!(by = who.user, user = user.name, "user set");
        Ok(user)
    }

    /// Removes a user with their tokens and keys; the last one cannot be removed.
    ///
    /// # Errors
    /// If there is no such user, or it is the last.
    pub async fn remove_user(&self, who: &Principal, name: &str) -> Result<()> {
        if self.store().remove_user(name.to_owned()).await? {
            tracing::info!(by = who.user, user = name, "user removed");
            return Ok(());
        }
        Err(Error::NotFound("there is no such user, or it is the last one, which stays".into()))
    }

    /// All tokens.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn tokens(&self) -> Result<Vec<TokenView>> {
        Ok(self.store().tokens().await?)
    }

    /// Makes a token for a user.
    ///
    /// # Errors
    /// If there is no such user.
    pub async fn create_token(&self, who: &Principal, user: &str, name: &str) -> Result<NewToken> {
        if !self.store().users().await?.iter().any(|known| known.name == user) {
            return Err(Error::NotFound(format!("there is no user `{}`", crate::log::harmless(user))));
        }
        let name: String = crate::log::harmless(name).chars().take(MAX_NAME).collect();
        let secret = secrets::new_secret().map_err(|error| Error::Internal(error.to_string()))?;
        let id = super::new_id("t");
        let at = now();
        self.store().add_token(id.clone(), name.clone(), user.to_owned(), &secret, at).await?;
        tracing::info!(by = who.user, user, token = id, "token made");
        let token = TokenView { id, name, user: user.to_owned(), created_at: crate::log::rfc3339(at) };
        Ok(NewToken { token, secret })
    }

    /// Ends a token.
    ///
    /// # Errors
    /// If there is no such token.
    pub async fn remove_token(&self, who: &Principal, id: &str) -> Result<()> {
        if self.store().remove_token(id.to_owned()).await? {
            tracing::info!(by = who.user, token = id, "token ended");
            return Ok(());
        }
        Err(Error::NotFound("there is no such token".into()))
    }

    /// All SSH keys.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn keys(&self) -> Result<Vec<KeyView>> {
        Ok(self.store().keys().await?)
    }

    /// Registers an SSH public key (`ssh-ed25519 AAAA… comment`) for the asking user.
    ///
    /// # Errors
    /// If it is not a public key.
    pub async fn add_key(&self, who: &Principal, name: &str, openssh: &str) -> Result<KeyView> {
        let key = russh::keys::PublicKey::from_openssh(openssh.trim()).map_err(|_| {
            Error::invalid(
                "that is not an SSH public key",
                "give the contents of a file such as ~/.ssh/id_ed25519.pub",
            )
        })?;
        let fingerprint = key.fingerprint(russh::keys::HashAlg::Sha256).to_string();
        let name: String = crate::log::harmless(name).chars().take(MAX_NAME).collect();
        let view = KeyView { fingerprint, name, user: who.user.clone() };
        self.store().add_key(view.clone(), openssh.trim().to_owned()).await?;
        Ok(view)
    }

    /// Removes an SSH key by fingerprint.
    ///
    /// # Errors
    /// If there is no such key.
    pub async fn remove_key(&self, who: &Principal, fingerprint: &str) -> Result<()> {
        if self.store().remove_key(fingerprint.to_owned()).await? {
            tracing::info!(by = who.user, fingerprint, "key removed");
            return Ok(());
        }
        Err(Error::NotFound("there is no such key".into()))
    }

    /// Sends a test mail to the asking user; the answer says what the mail server said.
    ///
    /// # Errors
    /// If no mail server is configured, the user has no address, or the mail server refuses.
    pub async fn test_mail(&self, who: &Principal) -> Result<Accepted> {
        let smtp = self.config().smtp.clone().ok_or_else(|| Error::Refused {
            message: "no mail server is configured".into(),
            hint: Some("set [smtp] in the server's configuration and restart it".into()),
        })?;
        let user = self.store().users().await?.into_iter().find(|user| user.name == who.user);
        let to = user.and_then(|user| user.email).or_else(|| self.config().mail_to.first().cloned());
        let to = to.ok_or_else(|| Error::Refused {
            message: "you have no mail address".into(),
            hint: Some("set one: `teal users set NAME --email ADDRESS`".into()),
        })?;
        match notify::test(&smtp, &to).await {
            Ok(said) => Ok(Accepted {
                deployment: None,
                message: format!("{} took a mail to {to}: {said}", smtp.host),
            }),
            Err(why) => Err(Error::Refused {
                message: format!("{} did not take a mail to {to}: {why}", smtp.host),
                hint: None,
            }),
        }
    }
}
