//! What users see of images: the versions, the build that goes on, and what a rebuild would change. Types alone.

use super::Timestamp;
use crate::image::Change;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One version of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ImageView {
    /// Its name in releases and environments.
    pub version: String,
    /// What was built, e.g. `debian-12`.
    pub name: String,
    /// SHA-256 of the content, in hex.
    pub hash: String,
    /// When it was built here.
    pub built_at: Timestamp,
    /// The kernel's release.
    pub kernel: String,
    /// How many packages it has.
    pub packages: u64,
    /// What it takes on the disk.
    pub bytes: u64,
    /// Do new deployments run on it?
    pub current: bool,
    /// The apps that have something on it, by name.
    pub apps: Vec<String>,
}

/// One version with all of its packages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ImageDetails {
    /// The version.
    pub image: ImageView,
    /// Every package with its version.
    pub packages: BTreeMap<String, String>,
}

/// Which image is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ImageRequest {
    /// Its name, e.g. `debian-12`.
    pub name: String,
}

/// How far the build of an image is, or how the last one ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ImageBuildView {
    /// Of which image.
    pub name: String,
    /// `building`, `built`, `failed` or `cancelled`.
    pub state: String,
    /// When it began.
    pub began_at: Timestamp,
    /// What it has said after the line that was asked for.
    pub lines: Vec<String>,
    /// How many lines it has said in all: ask for those after this one next.
    pub said: u64,
    /// The version, once it is built.
    pub version: Option<String>,
    /// Why there is none.
    pub failure: Option<String>,
}

/// How a rebuilt image would differ from the newest version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ImageCheckView {
    /// Of which image.
    pub name: String,
    /// Its newest version; none: it was never built.
    pub version: Option<String>,
    /// Would a rebuilt one differ?
    pub differs: bool,
    /// Is the agent of the newest version another one than this server's?
    pub agent: bool,
    /// Packages that would be new, other or gone.
    pub changes: Vec<Change>,
}
