//! A maker of images for tests: what apt offers and how builds end is said by the test. Versions are manifests alone.

use super::{Error, maker, packages::Planned, recipe::Recipe, shelf::Shelf, stop::Stop};
use crate::world::now;
use std::{
    fs,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};
use teal_core::image::Manifest;

/// How what it is asked for goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Way {
    /// Well.
    #[default]
    Builds,
    /// Apt cannot be asked.
    NoMirror,
    /// A build breaks.
    Breaks,
    /// A build goes on until it is stopped.
    Hangs,
}

#[derive(Debug, Default)]
struct State {
    way: Way,
    offered: Vec<Planned>,
    asked: u32,
    begun: u32,
}

/// The maker. Clones share what it is told.
#[derive(Debug, Clone)]
pub(crate) struct Maker(Arc<(Mutex<State>, Condvar)>);

impl Maker {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(Arc::default()))
    }

    /// What apt has from now on: name, version, and whether it is for security.
    pub(crate) fn offer(&self, packages: &[(&str, &str, bool)]) {
        let planned = |(name, version, security): &(&str, &str, bool)| Planned {
            name: (*name).to_owned(),
            version: (*version).to_owned(),
            security: *security,
        };
        self.state().offered = packages.iter().map(planned).collect();
    }

    pub(crate) fn behave(&self, way: Way) {
        self.state().way = way;
    }

    /// How often apt was asked, and builds were begun.
    pub(crate) fn counts(&self) -> (u32, u32) {
        let state = self.state();
        (state.asked, state.begun)
    }

    /// Waits until a build has begun.
    pub(crate) fn wait_for_work(&self) {
        let state = self.state();
        drop(self.0.1.wait_while(state, |state| state.begun == 0));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl maker::Maker for Maker {
    fn ready(&self) -> Result<(), Error> {
        Ok(())
    }

    fn plan(&self, _: &Shelf, _: &'static Recipe) -> Result<Vec<Planned>, Error> {
        let mut state = self.state();
        state.asked += 1;
        if state.way == Way::NoMirror {
            return Err(Error::Tool { name: "apt-get".into(), why: "ended with 100: no mirror".into() });
        }
        Ok(state.offered.clone())
    }

    fn agent(&self) -> String {
        "0".repeat(64)
    }

    fn make(
        &self,
        shelf: &Shelf,
        recipe: &'static Recipe,
        stop: &Stop,
        say: &dyn Fn(&str),
    ) -> Result<Manifest, Error> {
        let work = shelf.work()?;
        let (way, offered) = {
            let mut state = self.state();
            state.begun += 1;
            (state.way, state.offered.clone())
        };
        self.0.1.notify_all();
        say("builds");
        while way == Way::Hangs && stop.check().is_ok() {
            std::thread::yield_now();
        }
        let stopped = stop.check();
        if stopped.is_err() || way == Way::Breaks {
            fs::remove_dir_all(&work).map_err(Error::io("remove", &work))?;
            stopped?;
            return Err(Error::Tool { name: "mmdebstrap".into(), why: "ended with 1".into() });
        }
        let manifest = manifest(recipe, &offered);
        shelf.place(&work, &manifest)?;
        Ok(manifest)
    }
}

fn manifest(recipe: &Recipe, offered: &[Planned]) -> Manifest {
    let packages: std::collections::BTreeMap<String, String> =
        offered.iter().map(|p| (p.name.clone(), p.version.clone())).collect();
    let hash = crate::world::short_hash(&format!("{packages:?}"));
    Manifest {
        name: recipe.name.into(),
        version: format!("{}-{hash}", recipe.name),
        hash,
        built: now(),
        kernel: "6.1".into(),
        agent: "0".repeat(64),
        packages,
        security: offered.iter().filter(|p| p.security).map(|p| p.name.clone()).collect(),
    }
}
