//! The types of apps, one file each behind one trait. Pure: they look at a commit and say what would be run.

mod linux;
mod node;
mod node_tools;
mod procfile;
mod python;
mod static_site;

use super::detect::{Draft, Error, Source};
use crate::release::Kind;

/// A type of app.
pub(super) trait Type {
    /// What makes a commit this type, if anything does: "package.json is there".
    fn claims(&self, source: &Source<'_>) -> Option<String>;
    /// What has to be run.
    fn draft(&self, source: &Source<'_>) -> Result<Draft, Error>;
}

/// The order in which types are asked; the last one is the least demanding.
pub(super) const ORDER: [Kind; 4] = [Kind::Node, Kind::Python, Kind::Static, Kind::Linux];

/// The type of this name.
pub(super) fn of(kind: Kind) -> &'static dyn Type {
    match kind {
        Kind::Node => &node::Node,
        Kind::Python => &python::Python,
        Kind::Static => &static_site::StaticSite,
        Kind::Linux => &linux::Linux,
    }
}
