//! Releases: what a build left, sealed, named by its content, kept until nobody needs it.
//!
//! A release is a directory `<id>` with `tree` and `meta.json`. It has its name only once it is whole and durable; afterwards it is never
//! written to. Nothing here may follow a link in a tree: a build made it.

mod cache;
mod meta;
mod run;
mod seal;
mod spec;

pub use cache::Key;
pub use meta::{Kind, Meta};
pub(crate) use run::is_on;
pub use run::{FAILED_HOOK, RELEASE_COMMAND, Run, SUCCEEDED_HOOK, TASK};
pub use seal::{Choice, Error as SealError};
pub use spec::{Environment, STATIC_SERVER, hook_spec, release_spec, run_spec, task_spec};

use std::{
    collections::HashSet,
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};
use teal_core::id::ReleaseId;

/// A release that is younger than this is never collected: its deployment's row may not be written yet.
pub const GRACE: Duration = Duration::from_secs(600);

/// Everything about releases. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Releases {
    directory: PathBuf,
    cache: PathBuf,
}

/// A sealed release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// Its name.
    pub id: ReleaseId,
    /// What becomes the app's directory.
    pub tree: PathBuf,
    /// What it is and how it runs.
    pub meta: Meta,
}

/// What sealing did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// The release.
    pub id: ReleaseId,
    /// Sentences for the log: what was left out.
    pub notes: Vec<String>,
}

/// Why a release cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The disk, most likely.
    #[error("cannot {what} {}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// `meta.json` is not ours.
    #[error("{} is not a release's description", path.display())]
    Meta {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: serde_json::Error,
    },
    /// The tree cannot be sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
}

impl Error {
    fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { what, path, source }
    }
}

impl Releases {
    /// The releases below this directory, which is made if it is not there. What an interrupted removal left is removed.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn open(directory: &Path) -> Result<Self, Error> {
        let releases = Self { cache: directory.join("cache"), directory: directory.join("sealed") };
        for path in [&releases.cache, &releases.directory] {
            fs::create_dir_all(path).map_err(Error::io("make", path))?;
        }
        empty(releases.binned()?);
        Ok(releases)
    }

    /// Seals what is in `work`: a directory with a `tree` in it, on the same file system, that nothing writes to any more. It is moved away
    /// and gets its name; identical content (and the same way to run) gets the same name, and the present one is kept.
    ///
    /// Safe to repeat after an interruption at any point, until `work` is gone; then [`Self::get`] tells.
    ///
    /// # Errors
    /// If the tree is larger than allowed, or the disk fails.
    pub fn seal(&self, work: &Path, meta: &Meta, choice: &Choice) -> Result<Sealed, Error> {
        let tree = work.join("tree");
        let digest = seal::normalise(&tree, choice, meta.kind)?;
        let id = meta.run.name(meta.kind, &meta.manifest, &digest.sum);
        let path = work.join("meta.json");
        fs::write(&path, meta.to_json()).map_err(Error::io("write", &path))?;
        seal::sync(work, digest.entries)?;
        let home = self.home(&id);
        match fs::rename(work, &home) {
            Ok(()) => {}
            Err(_) if home.join("meta.json").exists() => {
                fs::remove_dir_all(work).map_err(Error::io("remove", work))?;
            }
            Err(error) => return Err(Error::io("name", &home)(error)),
        }
        touch(&home)?;
        seal::sync_directory(&self.directory)?;
        Ok(Sealed { id, notes: digest.notes })
    }

    /// A release; `None` if there is none of this name.
    ///
    /// # Errors
    /// If it is there and cannot be read.
    pub fn get(&self, id: &ReleaseId) -> Result<Option<Release>, Error> {
        let home = self.home(id);
        let path = home.join("meta.json");
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io("read", &path)(error)),
        };
        let meta = serde_json::from_slice(&text).map_err(|source| Error::Meta { path, source })?;
        Ok(Some(Release { id: id.clone(), tree: home.join("tree"), meta }))
    }

    /// Removes every release that is not named here and older than `grace` ([`GRACE`]), with what the build cache knows of it. The removal
    /// itself goes on in the background; what cannot be removed is tried again by the next call. Answers how many lost their name.
    ///
    /// # Errors
    /// If the store cannot be listed or a name cannot be taken away.
    pub fn collect(&self, keep: &HashSet<ReleaseId>, grace: Duration) -> Result<usize, Error> {
        let mut removed = 0;
        for entry in fs::read_dir(&self.directory).map_err(Error::io("list", &self.directory))? {
            let entry = entry.map_err(Error::io("list", &self.directory))?;
            let Ok(id) = entry.file_name().to_string_lossy().parse::<ReleaseId>() else { continue };
            if keep.contains(&id) || young(&entry.path(), grace) {
                continue;
            }
            // Out of its name first: a release that is half removed must not be found.
            let bin = self.directory.join(format!("{BIN}{id}"));
            fs::rename(entry.path(), &bin).map_err(Error::io("remove", &entry.path()))?;
            removed += 1;
        }
        let binned = self.binned()?;
        if !binned.is_empty() {
            in_background(move || empty(binned));
        }
        self.forget_missing()?;
        Ok(removed)
    }

    fn binned(&self) -> Result<Vec<PathBuf>, Error> {
        let entries = fs::read_dir(&self.directory).map_err(Error::io("list", &self.directory))?;
        let bins = entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(BIN));
        Ok(bins.map(|entry| entry.path()).collect())
    }

    fn home(&self, id: &ReleaseId) -> PathBuf {
        self.directory.join(id.as_str())
    }
}

/// The beginning of the name of what is about to be removed.
const BIN: &str = ".bin-";

fn empty(binned: Vec<PathBuf>) {
    for path in binned {
        if let Err(error) = remove(&path) {
            tracing::warn!(%error, "a release that nobody needs cannot be removed yet");
        }
    }
}

/// Removing a large tree takes seconds: not on a thread that others wait for.
pub(crate) fn in_background(work: impl FnOnce() + Send + 'static) {
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => drop(runtime.spawn_blocking(work)),
        Err(_) => work(),
    }
}

fn young(path: &Path, grace: Duration) -> bool {
    let modified = fs::symlink_metadata(path).and_then(|metadata| metadata.modified());
    modified.is_ok_and(|modified| modified.elapsed().map_or(true, |age| age < grace))
}

/// Makes a release young again: somebody is about to use it.
fn touch(home: &Path) -> Result<(), Error> {
    let now = SystemTime::UNIX_EPOCH + Duration::from_millis(crate::world::now().0);
    let opened = fs::File::open(home).and_then(|file| file.set_modified(now));
    opened.map_err(Error::io("touch", home))
}

/// Removes a tree, also one whose directories do not allow it to an ordinary user.
pub(crate) fn remove(path: &Path) -> Result<(), Error> {
    let gone = |result: io::Result<()>| match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    };
    if gone(fs::remove_dir_all(path)).is_ok() {
        return Ok(());
    }
    seal::open_directories(path);
    gone(fs::remove_dir_all(path)).map_err(Error::io("remove", path))
}

#[cfg(test)]
mod tests;
