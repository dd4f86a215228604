//! What users see of maintenance: the image, the window, the rollout under way or the last one, and the apps that are left alone.

use super::Timestamp;
use crate::id::DeploymentId;
use serde::{Deserialize, Serialize};

/// `teal maintenance status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct MaintenanceView {
    /// The image's version that pushes are built on, and that apps are moved to.
    pub image: String,
    /// When the platform moves apps by itself, such as `Sun 02:00-05:00` (UTC), or `always`.
    pub window: String,
    /// When the window opens next; without it, it is open.
    pub window_opens_at: Option<Timestamp>,
    /// What the platform does by itself to have a patched image.
    pub check: PatchView,
    /// Apps that are live on another image.
    pub behind: u32,
    /// The newest rollout.
    pub rollout: Option<RolloutView>,
    /// Apps that are left alone, by name.
    pub pins: Vec<PinView>,
}

/// How the platform asks by itself whether a rebuilt image would differ, and builds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct PatchView {
    /// `off`, `daily` or `weekly`.
    pub every: String,
    /// What was found out last: `never` (nothing yet), `current`, `differs` (it is to be built), `building`, `built`, `failed` or `cancelled`.
    pub state: String,
    /// The same in a sentence.
    pub detail: String,
    /// When that was.
    pub last_at: Option<Timestamp>,
    /// When it is looked at next, within the window; none: never by itself.
    pub next_at: Option<Timestamp>,
    /// Packages that a rebuilt image would change, as far as it is to be built.
    pub packages: u32,
    /// So many of which are for security.
    pub security: u32,
}

/// One move of all apps to another image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct RolloutView {
    /// Which one.
    pub id: String,
    /// The image that apps move to.
    pub image: String,
    /// The one that most of them come from.
    pub from: Option<String>,
    /// `running`, `halted`, `aborted`, `replaced` or `done`.
    pub state: String,
    /// Why it halted, who ended it, or what it waits for.
    pub why: Option<String>,
    /// Who asked for it; the platform's own have none.
    pub author: Option<String>,
    /// When it began.
    pub started_at: Timestamp,
    /// When nothing was left to do.
    pub ended_at: Option<Timestamp>,
    /// Apps whose turn has not come.
    pub waiting: u32,
    /// Apps that are being moved.
    pub under_way: u32,
    /// Apps that are live on the new image.
    pub moved: u32,
    /// Apps that broke on it and stayed where they were.
    pub failed: u32,
    /// Apps that were left as they are.
    pub left: u32,
    /// What differs between the two images, as far as it is known; what is for security first.
    pub changes: Vec<PackageView>,
    /// So many of these are for security.
    pub security: u32,
    /// Its apps, in the order in which they begin.
    pub apps: Vec<RolloutAppView>,
}

/// A package that differs between two images.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct PackageView {
    /// Which.
    pub package: String,
    /// Its old version; none: it is new.
    pub from: Option<String>,
    /// Its new version; none: it is gone.
    pub to: Option<String>,
    /// It is known to be a security update.
    pub security: bool,
}

/// An app of a rollout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct RolloutAppView {
    /// Its name.
    pub app: String,
    /// The image that it came from.
    pub from: String,
    /// `waiting`, `under-way`, `moved`, `failed` or `left`.
    pub state: String,
    /// The deployment that moves it.
    #[cfg_attr(feature = "schema", schema(value_type = Option<String>))]
    pub deployment: Option<DeploymentId>,
    /// Why it was left.
    pub why: Option<String>,
}

/// An app that is left alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct PinView {
    /// Its name.
    pub app: String,
    /// Until then.
    pub until: Timestamp,
    /// Who pinned it.
    pub author: String,
}

/// What can be asked of maintenance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum MaintenanceAction {
    /// Move every app that is behind, now: without waiting for the window.
    Start,
    /// Go on after a halt.
    Resume,
    /// End the rollout: what is under way goes on to its verdict, nobody else begins.
    Abort,
}

/// Body of `POST /maintenance/actions`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct MaintenanceRequest {
    /// What to do.
    pub action: MaintenanceAction,
}

/// Body of `PUT /apps/{name}/pin`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct PinRequest {
    /// A date such as `2026-12-24` (its beginning, UTC) or an instant (RFC 3339), at most a year ahead.
    pub until: String,
}
