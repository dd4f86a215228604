//! Types of webhooks: who is told of what, and how it went. A secret is in the answer that makes it and nowhere else.

use super::Timestamp;
use crate::hook::{HookEvent, HookFormat};
use serde::{Deserialize, Serialize};

/// A webhook, without its secret. Of its address only the host is shown: the rest often is a secret, too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct HookView {
    /// Its id.
    pub id: String,
    /// What its owner calls it.
    pub name: String,
    /// The app whose events it is told; without one: all apps'.
    pub app: Option<String>,
    /// The events that it is told; none is all of them.
    pub events: Vec<HookEvent>,
    /// How it is told.
    pub format: HookFormat,
    /// `https://hooks.example.org/…`.
    pub address: String,
    /// Who made it.
    pub author: String,
    /// When.
    pub created_at: Timestamp,
}

/// To make a webhook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewHook {
    /// What it is for.
    pub name: String,
    /// Where the events are posted to: `https://…` or `http://…`.
    pub url: String,
    /// One app's events only.
    #[serde(default)]
    pub app: Option<String>,
    /// These events only; none is all of them.
    #[serde(default)]
    pub events: Vec<HookEvent>,
    /// How it is told.
    #[serde(default)]
    pub format: HookFormat,
}

/// A new webhook: the only time that its secret is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct MadeHook {
    /// The webhook.
    pub hook: HookView,
    /// What every delivery is signed with.
    pub secret: String,
}

/// One delivery of a webhook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct HookDeliveryView {
    /// Its id, as the receiver finds it in `Teal-Delivery`.
    pub id: String,
    /// The event, or `TEST`.
    pub event: String,
    /// The app that it is about; none for a test.
    pub app: Option<String>,
    /// When it was queued: with the event itself.
    pub queued_at: Timestamp,
    /// How often it was tried.
    pub attempts: u32,
    /// `waiting`, `delivered` or `given-up`.
    pub state: String,
    /// When it was delivered, or is tried next.
    pub at: Option<Timestamp>,
    /// What the receiver said last, or why it could not be reached.
    pub detail: Option<String>,
}
