//! Users, tokens, SSH keys, and what each of them may ask for. Whether a request is allowed at all is decided where requests come in.

use super::{Error, Platform, Principal, Result, Rights, Way};
use crate::{
    log::{harmless, rfc3339},
    notify, secrets,
    store::NewRow,
    world::now,
};
use std::sync::Arc;
use teal_core::{
    api::{Accepted, KeyView, NewToken, TokenRequest, TokenView, UserRequest, UserView},
    id::AppId,
    role::Role,
    time::Time,
};

/// The longest time of a token, in days.
const MAX_DAYS: u32 = 3650;

/// The longest name of a user, token or key.
const MAX_NAME: usize = 100;

impl Platform {
    /// Who proves themselves by this token's secret, and the token's id; compared in constant time against stored hashes.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn holder_of_token(&self, secret: &str, way: Way) -> Result<Option<(Principal, String)>> {
        let credential = self.store().credential(None, secret, now()).await?;
        Ok(credential.map(|known| (principal(known.user, known.rights, way), known.token)))
    }

    /// As [`Self::holder_of_token`], for git over HTTP: the token's id and its secret must belong together.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn holder_of_token_pair(&self, id: &str, secret: &str) -> Result<Option<Principal>> {
        let credential = self.store().credential(Some(id.to_owned()), secret, now()).await?;
        Ok(credential.map(|known| principal(known.user, known.rights, Way::Git)))
    }

    /// Who registered this SSH public key, given as `SHA256:…`.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn holder_of_key(&self, fingerprint: &str) -> Result<Option<Principal>> {
        let owner = self.store().owner_of_key(fingerprint.to_owned()).await?;
        Ok(owner.map(|(user, rights)| principal(user, rights, Way::Git)))
    }

    /// All users.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn users(&self) -> Result<Vec<UserView>> {
        Ok(self.store().users().await?)
    }

    /// Adds a user, or changes the mail address or the role of one.
    ///
    /// # Errors
    /// If the name or the address is not one, or nobody would be an administrator any more.
    pub async fn set_user(&self, who: &Principal, user: UserRequest) -> Result<UserView> {
        let UserRequest { name, email, role } = user;
        let legal = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(legal) {
            return Err(Error::invalid("that is not a user's name", "use letters, digits, `.`, `_` and `-`"));
        }
        let before = self.store().users().await?.into_iter().find(|known| known.name == name);
        let email = email.or_else(|| before.as_ref()?.email.clone()).filter(|email| !email.is_empty());
        if let Some(email) = &email {
            email
                .parse::<lettre::Address>()
                .map_err(|_| Error::invalid("that is not a mail address", "give it as name@host"))?;
        }
        let role = role.or(before.map(|known| known.role)).unwrap_or_default();
        let user = UserView { name, email, role };
        if !self.store().set_user(user.clone()).await? {
            return Err(last_admin(&user.name));
        }
        tracing::info!(by = who.user, user = user.name, %role, "user set");
        Ok(user)
    }

    /// Removes a user with their tokens and keys; the last administrator stays.
    ///
    /// # Errors
    /// If there is no such user, or nobody would be an administrator any more.
    pub async fn remove_user(&self, who: &Principal, name: &str) -> Result<()> {
        if self.store().remove_user(name.to_owned()).await? {
            tracing::info!(by = who.user, user = name, "user removed");
            return Ok(());
        }
        if self.store().users().await?.iter().any(|known| known.name == name) {
            return Err(last_admin(name));
        }
        Err(Error::NotFound(format!("there is no user `{}`", harmless(name))))
    }

    /// The asking user's tokens, and an administrator's everybody's.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn tokens(&self, who: &Principal) -> Result<Vec<TokenView>> {
        let mut tokens = self.store().tokens().await?;
        tokens.retain(|token| owns(who, &token.user));
        Ok(tokens)
    }

    /// Makes a token for a user.
    ///
    /// # Errors
    /// If there is no such user or app, or the asking user may not.
    pub async fn create_token(&self, who: &Principal, new: TokenRequest) -> Result<NewToken> {
        whole(who, "makes no other tokens")?;
        let TokenRequest { name, user, role, apps, days } = new;
        let user = user.unwrap_or_else(|| who.user.clone());
        if !owns(who, &user) {
            return Err(Error::Forbidden("only an administrator makes tokens for others".into()));
        }
        if !self.store().users().await?.iter().any(|known| known.name == user) {
            return Err(Error::NotFound(format!("there is no user `{}`", harmless(&user))));
        }
        let at = now();
        let row = NewRow {
            id: super::new_id("t"),
            name: harmless(&name).chars().take(MAX_NAME).collect(),
            user,
            at,
            role: role.unwrap_or(Role::Admin),
            only: self.named(who, apps.as_deref()).await?,
            expires_at: days.map(|days| end(at, days)).transpose()?,
        };
        let secret = secrets::new_secret().map_err(|error| Error::Internal(error.to_string()))?;
        let token = TokenView {
            id: row.id.clone(),
            name: row.name.clone(),
            user: row.user.clone(),
            created_at: rfc3339(at),
            role: row.role,
            apps,
            expires_at: row.expires_at.map(rfc3339),
        };
        self.store().add_token(row, &secret).await?;
        tracing::info!(by = who.user, user = token.user, token = token.id, "token made");
        Ok(NewToken { token, secret })
    }

    /// The ids of these apps, of which the asking user must know.
    async fn named(&self, who: &Principal, apps: Option<&[String]>) -> Result<Option<Vec<AppId>>> {
        let Some(apps) = apps else { return Ok(None) };
        let mut ids = Vec::new();
        for name in apps {
            let id = self.find_app(name).await?;
            if who.rights.on(&id) == Role::None {
                return Err(super::apps::no_such_app(name));
            }
            ids.push(id);
        }
        Ok(Some(ids))
    }

    /// Ends a token.
    ///
    /// # Errors
    /// If there is no such token among those that the asking user sees.
    pub async fn remove_token(&self, who: &Principal, id: &str) -> Result<()> {
        let theirs = self.tokens(who).await?.iter().any(|token| token.id == id);
        if theirs && self.store().remove_token(id.to_owned()).await? {
            tracing::info!(by = who.user, token = id, "token ended");
            return Ok(());
        }
        Err(Error::NotFound("there is no such token".into()))
    }

    /// The asking user's SSH keys, and an administrator's everybody's.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn keys(&self, who: &Principal) -> Result<Vec<KeyView>> {
        let mut keys = self.store().keys().await?;
        keys.retain(|key| owns(who, &key.user));
        Ok(keys)
    }

    /// Registers an SSH public key (`ssh-ed25519 AAAA… comment`) for the asking user.
    ///
    /// # Errors
    /// If it is not a public key, or is somebody else's already.
    pub async fn add_key(&self, who: &Principal, name: &str, openssh: &str) -> Result<KeyView> {
        whole(who, "registers no keys")?;
        let key = russh::keys::PublicKey::from_openssh(openssh.trim()).map_err(|_| {
            Error::invalid(
                "that is not an SSH public key",
                "give the contents of a file such as ~/.ssh/id_ed25519.pub",
            )
        })?;
        let fingerprint = key.fingerprint(russh::keys::HashAlg::Sha256).to_string();
        let others = self.store().keys().await?;
        if others.iter().any(|known| known.fingerprint == fingerprint && known.user != who.user) {
            let hint = "use a key of your own, or have an administrator remove it there";
            return Err(Error::invalid("that key is another user's", hint));
        }
        let name: String = harmless(name).chars().take(MAX_NAME).collect();
        let view = KeyView { fingerprint, name, user: who.user.clone() };
        self.store().add_key(view.clone(), openssh.trim().to_owned()).await?;
        Ok(view)
    }

    /// Removes an SSH key by fingerprint.
    ///
    /// # Errors
    /// If there is no such key among those that the asking user sees.
    pub async fn remove_key(&self, who: &Principal, fingerprint: &str) -> Result<()> {
        let theirs = self.keys(who).await?.iter().any(|key| key.fingerprint == fingerprint);
        if theirs && self.store().remove_key(fingerprint.to_owned()).await? {
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

fn principal(user: String, rights: Rights, way: Way) -> Principal {
    Principal { user, way, rights: Arc::new(rights) }
}

/// Their own, or they are an administrator.
fn owns(who: &Principal, user: &str) -> bool {
    who.user == user || who.rights.on_server() == Role::Admin
}

/// What is limited makes nothing that is not.
fn whole(who: &Principal, does: &str) -> Result<()> {
    if who.rights.is_limited() {
        return Err(Error::Forbidden(format!("a token with limits {does}")));
    }
    Ok(())
}

fn end(at: Time, days: u32) -> Result<Time> {
    if !(1..=MAX_DAYS).contains(&days) {
        return Err(Error::invalid("that is no time for a token", format!("from 1 to {MAX_DAYS} days")));
    }
    Ok(Time(at.0 + u64::from(days) * 24 * 60 * 60 * 1000))
}

fn last_admin(name: &str) -> Error {
    Error::Refused {
        message: format!("{} is the last administrator", harmless(name)),
        hint: Some("make another one first: teal users set NAME --role admin".into()),
    }
}
