//! People as the API shows them: users and their roles, what proves who they are, and what they did.

use super::Timestamp;
use crate::role::Role;
use serde::{Deserialize, Serialize};

/// A user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct UserView {
    /// The login name.
    pub name: String,
    /// Where mails go; without it the user gets none.
    pub email: Option<String>,
    /// What they may do with every app, and with the server.
    pub role: Role,
}

/// To add a user, or to change the mail address or the role of one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct UserRequest {
    /// The login name.
    pub name: String,
    /// Where mails go; without it as before, and nowhere if it is empty.
    #[serde(default)]
    pub email: Option<String>,
    /// What they may do with every app, and with the server; without it as before, and `none` for a new user.
    #[serde(default)]
    pub role: Option<Role>,
}

/// Who is asking, as the server sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct WhoAmI {
    /// The user's name.
    pub user: String,
    /// The way that the request came: `Console`, `CLI` or `API`.
    pub way: String,
    /// The id of the token that proves it, which is also the user name for git over HTTP.
    pub token: String,
    /// What they may do with every app, and with the server, by this token.
    pub role: Role,
}

/// A token, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct TokenView {
    /// Its id, which is also the user name for git over HTTP.
    pub id: String,
    /// What it is for.
    pub name: String,
    /// Whose it is.
    pub user: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// It may do no more than this, whatever its user may.
    pub role: Role,
    /// It is for these apps only; `null`: for all that its user may see.
    pub apps: Option<Vec<String>>,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
}

/// To make a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct TokenRequest {
    /// What it is for.
    pub name: String,
    /// Whose it becomes; without it the asking user's.
    #[serde(default)]
    pub user: Option<String>,
    /// It may do no more than this; `admin` without it: all that its user may.
    #[serde(default)]
    pub role: Option<Role>,
    /// It is for these apps only.
    #[serde(default)]
    pub apps: Option<Vec<String>>,
    /// It ends by itself after so many days, from 1 to 3650.
    #[serde(default)]
    pub days: Option<u32>,
}

/// A new token: the only time that its secret is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct NewToken {
    /// The token.
    pub token: TokenView,
    /// The secret, `teal_…`: it is stored only as a hash.
    pub secret: String,
}

/// An SSH key that may push.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct KeyView {
    /// `SHA256:…`.
    pub fingerprint: String,
    /// What its owner calls it.
    pub name: String,
    /// Whose it is.
    pub user: String,
}

/// To register an SSH key of the asking user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct KeyRequest {
    /// What its owner calls it.
    pub name: String,
    /// The public key as in `id_ed25519.pub`: `ssh-ed25519 AAAA… comment`.
    pub key: String,
}

/// Somebody who may do something with an app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct MemberView {
    /// The user's name.
    pub user: String,
    /// What they may do with this app.
    pub role: Role,
    /// They may because of their role on the server: it is not changed here.
    pub by_server: bool,
}

/// To give a user a role in an app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct MemberRequest {
    /// `none` takes it away.
    pub role: Role,
}

/// Something that somebody asked for, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct AuditView {
    /// Its number: later ones are greater.
    pub number: u64,
    /// When.
    pub at: Timestamp,
    /// Who; `null`: somebody who did not prove who they are.
    pub user: Option<String>,
    /// The way: `Console`, `CLI` or `API`.
    pub way: Option<String>,
    /// Where from.
    pub address: String,
    /// What was asked for: method and path.
    pub request: String,
    /// The status of the answer.
    pub status: u16,
}
