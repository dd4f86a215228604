//! The types of apps, one file each behind one trait. Pure: they look at a commit and say what would be run.

mod docker;
mod go;
mod java;
mod linux;
mod mise;
mod node;
mod node_tools;
mod php;
mod procfile;
mod program;
mod python;
mod python_static;
mod ruby;
mod rust;
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

/// The type of this name.
pub(super) fn of(kind: Kind) -> &'static dyn Type {
    match kind {
        Kind::Node => &node::Node,
        Kind::Python => &python::Python,
        Kind::Ruby => &ruby::Ruby,
        Kind::Php => &php::Php,
        Kind::Go => &go::Go,
        Kind::Rust => &rust::Rust,
        Kind::Java => &java::Java,
        Kind::Static => &static_site::StaticSite,
        Kind::Linux => &linux::Linux,
    }
}

pub(super) use docker::{refusal as no_docker, there as dockerfile};
