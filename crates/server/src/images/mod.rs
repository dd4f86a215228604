//! Images: the base systems that environments run on, built by the platform from the host's own apt sources.
//!
//! A version is a directory with a root file system, a kernel, a first file system and a manifest; what they are called says
//! [`teal_core::image`]. It is never written to after it has its name. Nothing here decides which app runs on which version.

mod apt;
mod build;
mod cpio;
#[cfg(test)]
pub(crate) mod fake;
mod initrd;
mod kernel;
mod maker;
mod modules;
mod packages;
pub mod recipe;
mod shelf;
mod sources;
mod stop;
mod story;
mod tool;

use maker::{Debian, Maker};
use shelf::Shelf;
use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
pub use stop::Stop;
pub use story::{End, Story};
use teal_core::image::{self, Change, Manifest};
use teal_runtime::Image;
use tokio::sync::{oneshot, watch};

/// The image version of the host's own `/usr`: what instances run on where no image is configured.
pub const HOST_IMAGE: &str = "host";

/// Why an image cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The disk, most likely.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Programs of the host.
    #[error("images are made with programs that are not installed here: run `apt-get install {0}`")]
    Missing(String),
    /// No such recipe.
    #[error("there is no recipe for an image `{0}`; there is: {1}")]
    NoRecipe(String, String),
    /// The host has no sources for it.
    #[error("this host's apt has no source of the suite `{0}`: add one below /etc/apt")]
    NoSource(String),
    /// A program failed.
    #[error("`{name}` {why}")]
    Tool {
        /// Which one.
        name: String,
        /// How.
        why: String,
    },
    /// The kernel's package is not as expected.
    #[error("the kernel cannot be used: {0}")]
    Kernel(String),
    /// Not enough room.
    #[error("{} has only {} MiB free, and a build of an image needs 3072", path.display(), free >> 20)]
    Space {
        /// Where.
        path: PathBuf,
        /// How much is free, in bytes.
        free: u64,
    },
    /// One at a time.
    #[error("the image `{0}` is being built: wait until it is done")]
    Busy(String),
    /// A user ended it.
    #[error("{0} ended the build")]
    Cancelled(String),
    /// There is nothing to end.
    #[error("no image is being built")]
    Idle,
    /// No such version.
    #[error(
        "there is no image `{0}` here any more: deploy the commit again, on the image that is current (`teal image list`)"
    )]
    Absent(String),
    /// A value that cannot be written down.
    #[error("{0}")]
    Invalid(String),
}

impl Error {
    fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { what, path, source }
    }
}

/// An image as it lies here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shelved {
    /// What it is.
    pub manifest: Manifest,
    /// What it takes on the disk, in bytes.
    pub bytes: u64,
}

/// How a rebuilt image would differ from the newest one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// The newest version; `None`: it was never built.
    pub version: Option<String>,
    /// What would be other, new or gone.
    pub changes: Vec<Change>,
    /// Is another agent part of this `teal` than of the image?
    pub agent: bool,
}

/// All images of this server. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Images {
    shelf: Shelf,
    configured: String,
    maker: Arc<dyn Maker>,
    story: Arc<Mutex<Option<Story>>>,
    /// How many builds ended: whoever waits for another image need not ask each second.
    ended: watch::Sender<u64>,
}

impl Images {
    /// Opens the images below this data directory; `configured` is what new deployments run on.
    ///
    /// # Errors
    /// If the directory cannot be used.
    pub fn open(data: &Path, configured: &str) -> Result<Self, Error> {
        let shelf = Shelf::open(data.join("images"))?;
        let (configured, maker, ended) = (configured.to_owned(), Arc::new(Debian), watch::Sender::new(0));
        Ok(Self { shelf, configured, maker, story: Arc::default(), ended })
    }

    /// The same images, made by somebody else.
    #[cfg(test)]
    pub(crate) fn made_by(mut self, maker: Arc<fake::Maker>) -> Self {
        self.maker = maker;
        self
    }

    /// The image that is configured; `None`: the host's own system.
    #[must_use]
    pub fn configured(&self) -> Option<&str> {
        (self.configured != HOST_IMAGE).then_some(self.configured.as_str())
    }

    /// Changes with the end of each build.
    #[must_use]
    pub fn ended(&self) -> watch::Receiver<u64> {
        self.ended.subscribe()
    }

    /// Every version, the newest first.
    ///
    /// # Errors
    /// If the directory cannot be read.
    pub fn list(&self) -> Result<Vec<Shelved>, Error> {
        let shelved = |manifest: Manifest| Shelved { bytes: self.shelf.bytes(&manifest.version), manifest };
        Ok(self.shelf.list()?.into_iter().map(shelved).collect())
    }

    /// One version.
    ///
    /// # Errors
    /// If there is none.
    pub fn get(&self, version: &str) -> Result<Shelved, Error> {
        let manifest = self.shelf.get(version).ok_or_else(|| absent(version))?;
        Ok(Shelved { bytes: self.shelf.bytes(version), manifest })
    }

    /// The version that a new deployment is built and runs on: the newest of the configured image, or the host's own system while there is none.
    #[must_use]
    pub fn current(&self) -> String {
        let host = || HOST_IMAGE.to_owned();
        if self.configured == HOST_IMAGE {
            return host();
        }
        match self.newest(&self.configured) {
            Ok(newest) => newest.map_or_else(host, |manifest| manifest.version),
            Err(error) => {
                tracing::error!(%error, "it cannot be told which image is the newest: the host's own system is used");
                host()
            }
        }
    }

    /// What an instance on this version is told to run on; `None`: the host's own system.
    ///
    /// # Errors
    /// If the version is not here any more.
    pub fn of(&self, version: &str) -> Result<Option<Image>, Error> {
        if version == HOST_IMAGE {
            return Ok(None);
        }
        let manifest = self.shelf.get(version).ok_or_else(|| absent(version))?;
        Ok(Some(Image { directory: self.shelf.home(version), version: manifest.version }))
    }

    /// How one version differs from another; what is for security first.
    ///
    /// # Errors
    /// If one of them is not here.
    pub fn diff(&self, from: &str, to: &str) -> Result<Vec<Change>, Error> {
        let (from, to) = (self.get(from)?, self.get(to)?);
        let (from, to) = (from.manifest, to.manifest);
        Ok(image::changes_with(&from.packages, &to.packages, |name| to.security.contains(name)))
    }

    /// Asks the host's apt how a rebuilt image would differ from the newest one. Blocks for seconds.
    ///
    /// # Errors
    /// If there is no such recipe, or apt cannot be asked.
    pub fn check(&self, name: &str) -> Result<Checked, Error> {
        let recipe = named(name)?;
        let newest = self.newest(name)?;
        let planned = self.maker.plan(&self.shelf, recipe)?;
        let none = std::collections::BTreeMap::new();
        let has = newest.as_ref().map_or(&none, |manifest| &manifest.packages);
        Ok(Checked {
            changes: packages::compare(has, &planned),
            agent: newest.as_ref().is_some_and(|manifest| manifest.agent != self.maker.agent()),
            version: newest.map(|manifest| manifest.version),
        })
    }

    /// The same, for whoever must not block.
    ///
    /// # Errors
    /// See [`Self::check`].
    pub async fn checked(&self, name: &str) -> Result<Checked, Error> {
        let (answer, asked) = oneshot::channel();
        let (images, name) = (self.clone(), name.to_owned());
        // Programs end with the thread that starts them: one of its own, not one of many tasks.
        let check = move || drop(answer.send(images.check(&name)));
        let started = std::thread::Builder::new().name("image".to_owned()).spawn(check);
        started.map_err(|error| Error::Invalid(format!("apt cannot be asked: {error}")))?;
        asked
            .await
            .map_err(|_| Error::Invalid("apt cannot be asked: the server's log says why".to_owned()))?
    }

    /// Begins to build an image, unless it is being built already; [`Self::story`] tells how far it is.
    ///
    /// # Errors
    /// If there is no such recipe, programs are missing, or another one is being built.
    pub fn begin(&self, name: &str) -> Result<(), Error> {
        let recipe = named(name)?;
        let mut story = self.lock();
        if let Some(other) = story.as_ref().filter(|story| story.end.is_none()) {
            return if other.name == name { Ok(()) } else { Err(Error::Busy(other.name.clone())) };
        }
        self.maker.ready()?;
        let begun = Story::begin(name);
        let stop = begun.stop.clone();
        *story = Some(begun);
        drop(story);
        let images = self.clone();
        let run = move || images.finish(recipe, &stop);
        let started = std::thread::Builder::new().name("image".to_owned()).spawn(run);
        started.map(drop).map_err(|error| {
            *self.lock() = None;
            Error::Invalid(format!("the build cannot be started: {error}"))
        })
    }

    /// Ends the build that goes on. What it made is gone once [`Self::story`] says that it has ended.
    ///
    /// # Errors
    /// If none goes on.
    pub fn cancel(&self, by: &str) -> Result<(), Error> {
        let stop = match self.lock().as_mut().filter(|story| story.end.is_none()) {
            Some(story) => {
                story.say(&format!("{by} ends the build"));
                story.stop.clone()
            }
            None => return Err(Error::Idle),
        };
        stop.stop(by);
        Ok(())
    }

    fn finish(&self, recipe: &'static recipe::Recipe, stop: &Stop) {
        let say = |line: &str| {
            if let Some(story) = self.lock().as_mut() {
                story.say(line);
            }
        };
        // A panic in here must not leave a build that never ends.
        let run = || self.maker.make(&self.shelf, recipe, stop, &say);
        let end = match std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)) {
            Ok(Ok(manifest)) => End::Built(manifest.version),
            Ok(Err(Error::Cancelled(by))) => End::Cancelled(by),
            Ok(Err(error)) => End::Failed(error.to_string()),
            Err(_) => End::Failed("the build broke off; the server's log says where".to_owned()),
        };
        match &end {
            End::Built(version) => tracing::info!(version, "image built"),
            End::Cancelled(by) => tracing::info!(image = recipe.name, by, "the build of an image was ended"),
            End::Failed(why) => tracing::warn!(image = recipe.name, why, "image not built"),
        }
        if let Some(story) = self.lock().as_mut() {
            story.end = Some(end);
        }
        self.ended.send_modify(|count| *count += 1);
    }

    /// What is told of the build that goes on, or of the last one of this server.
    #[must_use]
    pub fn story(&self) -> Option<Story> {
        self.lock().clone()
    }

    /// Removes a version. Whether somebody needs it, the caller has to know.
    ///
    /// # Errors
    /// If it is not here, or cannot be removed.
    pub fn remove(&self, version: &str) -> Result<(), Error> {
        self.shelf.get(version).ok_or_else(|| absent(version))?;
        self.shelf.remove(version)
    }

    /// The newest version of an image.
    pub(crate) fn newest(&self, name: &str) -> Result<Option<Manifest>, Error> {
        Ok(self.shelf.list()?.into_iter().find(|manifest| manifest.name == name))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Story>> {
        self.story.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Builds an image into a directory, without a server, and answers it. Blocks for about a minute.
///
/// # Errors
/// Why it could not be built, or that it was stopped; nothing is left then.
pub fn build_into(directory: &Path, name: &str, stop: &Stop, say: &dyn Fn(&str)) -> Result<Manifest, Error> {
    let directory = std::path::absolute(directory).map_err(Error::io("find", directory))?;
    Debian.make(&Shelf::open(directory)?, named(name)?, stop, say)
}

fn named(name: &str) -> Result<&'static recipe::Recipe, Error> {
    recipe::named(name).ok_or_else(|| Error::NoRecipe(crate::log::harmless(name), recipe::names()))
}

fn absent(version: &str) -> Error {
    Error::Absent(crate::log::harmless(version))
}

#[cfg(test)]
mod tests {
    use super::*;
    use teal_core::time::Time;

    fn put(images: &Images, version: &str, name: &str, built: u64) {
        let packages = [("libc6".to_owned(), built.to_string())].into();
        let (kernel, agent) = ("6.1".into(), "00".into());
        let manifest = Manifest {
            name: name.into(),
            version: version.into(),
            hash: "00".into(),
            built: Time(built),
            kernel,
            agent,
            packages,
            security: [].into(),
        };
        let work = images.shelf.work().expect("made");
        images.shelf.place(&work, &manifest).expect("placed");
    }

    #[test]
    fn new_deployments_run_on_the_newest_version_of_what_is_configured() {
        let data = tempfile::tempdir().expect("a directory");
        let images = Images::open(data.path(), "debian-12").expect("opened");
        assert_eq!(images.current(), HOST_IMAGE, "none was built");
        assert_eq!(images.of(HOST_IMAGE).expect("there"), None);
        put(&images, "debian-12-a", "debian-12", 1);
        put(&images, "debian-12-b", "debian-12", 3);
        put(&images, "other-c", "other", 9);
        assert_eq!(images.current(), "debian-12-b");
        let image = images.of("debian-12-a").expect("there").expect("no host");
        assert_eq!(image.directory, data.path().join("images/debian-12-a"));
        let changes = images.diff("debian-12-a", "debian-12-b").expect("both there");
        assert_eq!(changes.len(), 1);
        assert_eq!(Images::open(data.path(), HOST_IMAGE).expect("opened").current(), HOST_IMAGE);
    }

    #[test]
    fn a_version_that_is_gone_is_said_to_be() {
        let data = tempfile::tempdir().expect("a directory");
        let images = Images::open(data.path(), "debian-12").expect("opened");
        put(&images, "debian-12-a", "debian-12", 1);
        images.remove("debian-12-a").expect("removed");
        let gone = images.of("debian-12-a").expect_err("gone").to_string();
        assert!(gone.contains("debian-12-a") && gone.contains("deploy the commit again"), "{gone}");
        assert!(images.remove("debian-12-a").is_err());
        assert!(images.begin("debian-1").is_err_and(|error| error.to_string().contains("debian-12")));
    }

    #[test]
    fn whoever_asks_for_what_is_being_built_follows_it() {
        let data = tempfile::tempdir().expect("a directory");
        let images = Images::open(data.path(), "debian-12").expect("opened");
        let mut story = Story::begin("debian-12");
        story.say("half way");
        *images.lock() = Some(story);
        images.begin("debian-12").expect("joined");
        assert_eq!(images.story().expect("told").lines, ["half way"]);
        *images.lock() = Some(Story::begin("other"));
        assert!(images.begin("debian-12").is_err_and(|error| error.to_string().contains("`other`")));
    }

    #[test]
    fn what_was_for_security_is_told_of_two_versions() {
        let data = tempfile::tempdir().expect("a directory");
        let images = Images::open(data.path(), "debian-12").expect("opened");
        put(&images, "debian-12-a", "debian-12", 1);
        let mut manifest = images.get("debian-12-a").expect("there").manifest;
        manifest.version = "debian-12-b".into();
        manifest.packages = [("attr", "1"), ("libc6", "2")].map(|(n, v)| (n.into(), v.into())).into();
        manifest.security = ["libc6".to_owned()].into();
        images.shelf.place(&images.shelf.work().expect("made"), &manifest).expect("placed");
        let told = |from, to| {
            let changes = images.diff(from, to).expect("both there");
            changes.into_iter().map(|c| (c.package, c.security)).collect::<Vec<_>>()
        };
        assert_eq!(told("debian-12-a", "debian-12-b"), [("libc6".into(), true), ("attr".into(), false)]);
        assert!(told("debian-12-b", "debian-12-a").iter().all(|(_, security)| !security));
    }

    #[test]
    fn a_build_is_ended_by_a_user_and_leaves_nothing() {
        let data = tempfile::tempdir().expect("a directory");
        let maker = fake::Maker::new();
        let images = Images::open(data.path(), "debian-12").expect("opened").made_by(maker.clone());
        assert!(matches!(images.cancel("ada"), Err(Error::Idle)));
        maker.behave(fake::Way::Hangs);
        let mut ended = images.ended();
        images.begin("debian-12").expect("begun");
        maker.wait_for_work();
        images.cancel("ada").expect("goes on");
        while images.story().is_some_and(|story| story.end.is_none()) {
            std::thread::yield_now();
        }
        let story = images.story().expect("told");
        assert_eq!(story.end, Some(End::Cancelled("ada".into())));
        assert_eq!(std::fs::read_dir(data.path().join("images")).expect("read").count(), 0);
        maker.behave(fake::Way::Builds);
        images.begin("debian-12").expect("another may begin");
        while images.story().is_some_and(|story| story.end.is_none()) {
            std::thread::yield_now();
        }
        assert_eq!(images.list().expect("listed").len(), 1);
        assert!(ended.has_changed().expect("open") && *ended.borrow_and_update() >= 1);
    }
}
