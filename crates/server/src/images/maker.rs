//! Who makes images: Debian's own programs, or in tests something made up. It must never decide when one is made.

use super::{Error, build, packages::Planned, recipe::Recipe, shelf::Shelf, stop::Stop, tool};
use teal_core::image::Manifest;

/// What an image needs of whoever makes it. All of it blocks.
pub(super) trait Maker: std::fmt::Debug + Send + Sync {
    /// Refuses to begin what could not be finished.
    fn ready(&self) -> Result<(), Error>;

    /// Everything that would be installed now.
    fn plan(&self, shelf: &Shelf, recipe: &'static Recipe) -> Result<Vec<Planned>, Error>;

    /// The agent that would be in it.
    fn agent(&self) -> String;

    /// Makes a version, telling what is going on; nothing is left if it is stopped.
    fn make(
        &self,
        shelf: &Shelf,
        recipe: &'static Recipe,
        stop: &Stop,
        say: &dyn Fn(&str),
    ) -> Result<Manifest, Error>;
}

/// The host's apt and mmdebstrap.
#[derive(Debug)]
pub(super) struct Debian;

impl Maker for Debian {
    fn ready(&self) -> Result<(), Error> {
        tool::check()
    }

    fn plan(&self, shelf: &Shelf, recipe: &'static Recipe) -> Result<Vec<Planned>, Error> {
        build::plan(shelf, recipe)
    }

    fn agent(&self) -> String {
        build::agent()
    }

    fn make(
        &self,
        shelf: &Shelf,
        recipe: &'static Recipe,
        stop: &Stop,
        say: &dyn Fn(&str),
    ) -> Result<Manifest, Error> {
        build::run(shelf, recipe, stop, say)
    }
}
