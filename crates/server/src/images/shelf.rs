//! What images there are on disk: a directory per version, whole or not there. Nothing here builds one or knows who uses it.

use super::Error;
use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};
use teal_core::image::{MANIFEST, Manifest};

/// What is being made or removed begins like this, followed by the process that does it: no version does.
const WORK: &str = ".work-";

/// A larger file is no manifest.
const MAX_MANIFEST: u64 = 4 * 1024 * 1024;

/// The directory of all images. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Shelf {
    directory: PathBuf,
}

impl Shelf {
    /// Opens it, and removes what interrupted builds and removals left.
    pub(super) fn open(directory: PathBuf) -> Result<Self, Error> {
        fs::create_dir_all(&directory).map_err(Error::io("make", &directory))?;
        let shelf = Self { directory };
        for left in shelf.names()?.iter().filter(|name| is_left(name)) {
            clear(&shelf.directory.join(left))?;
        }
        Ok(shelf)
    }

    /// Every whole version, the newest first.
    pub(super) fn list(&self) -> Result<Vec<Manifest>, Error> {
        let names = self.names()?;
        let mut all: Vec<Manifest> = names.iter().filter_map(|name| self.manifest(name)).collect();
        all.sort_by(|a, b| (b.built, &b.version).cmp(&(a.built, &a.version)));
        Ok(all)
    }

    /// One version, if it is here and whole.
    pub(super) fn get(&self, version: &str) -> Option<Manifest> {
        // A name with a slash would lead elsewhere.
        if is_version(version) { self.manifest(version) } else { None }
    }

    /// Where a version's files are.
    pub(super) fn home(&self, version: &str) -> PathBuf {
        self.directory.join(version)
    }

    /// How much a version takes, in bytes.
    pub(super) fn bytes(&self, version: &str) -> u64 {
        let entries = fs::read_dir(self.home(version)).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.metadata().ok()).map(|found| found.len()).sum()
    }

    /// A new directory to work in, on the same file system.
    pub(super) fn work(&self) -> Result<PathBuf, Error> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = self.directory.join(format!("{WORK}{}-{number}", std::process::id()));
        fs::create_dir(&path).map_err(Error::io("make", &path))?;
        Ok(path)
    }

    /// Puts a finished version here: `made` holds its files. Afterwards it is there and durable, or nothing has changed. Content that is
    /// here already becomes the newest again.
    pub(super) fn place(&self, made: &Path, manifest: &Manifest) -> Result<(), Error> {
        let text = serde_json::to_vec_pretty(manifest).map_err(|error| Error::Invalid(error.to_string()))?;
        let path = made.join(MANIFEST);
        fs::write(&path, text).map_err(Error::io("write", &path))?;
        sync(made)?;
        let home = self.home(&manifest.version);
        if self.get(&manifest.version).is_some() {
            fs::rename(&path, home.join(MANIFEST)).map_err(Error::io("replace", &home))?;
            return sync_directory(&home);
        }
        // What is there without being whole was damaged: it cannot be in use.
        clear(&home)?;
        fs::rename(made, &home).map_err(Error::io("name", &home))?;
        sync_directory(&self.directory)
    }

    /// Removes a version; it loses its name first.
    pub(super) fn remove(&self, version: &str) -> Result<(), Error> {
        let gone = self.work()?;
        let home = self.home(version);
        fs::rename(&home, gone.join(version)).map_err(Error::io("remove", &home))?;
        sync_directory(&self.directory)?;
        clear(&gone)
    }

    fn names(&self) -> Result<Vec<String>, Error> {
        let entries = fs::read_dir(&self.directory).map_err(Error::io("read", &self.directory))?;
        Ok(entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect())
    }

    fn manifest(&self, name: &str) -> Option<Manifest> {
        let path = self.home(name).join(MANIFEST);
        let small = fs::metadata(&path).is_ok_and(|found| found.is_file() && found.len() <= MAX_MANIFEST);
        let text = if small { fs::read(&path).ok()? } else { return None };
        let manifest = serde_json::from_slice::<Manifest>(&text);
        let manifest = manifest
            .inspect_err(|error| tracing::warn!(%error, image = name, "an image's manifest is not readable"));
        manifest.ok().filter(|manifest| manifest.version == name && is_version(name))
    }
}

/// Work of a process that is not there any more; of this one nothing can be there when it begins.
fn is_left(name: &str) -> bool {
    let Some(process) = name.strip_prefix(WORK).and_then(|rest| rest.split('-').next()) else { return false };
    process == std::process::id().to_string() || !Path::new("/proc").join(process).exists()
}

/// Names of versions are names of directories and stand in commands.
fn is_version(name: &str) -> bool {
    let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c);
    !name.starts_with('.') && (1..=100).contains(&name.len()) && name.chars().all(legal)
}

/// Removes a directory in which something may still be mounted.
pub(super) fn clear(path: &Path) -> Result<(), Error> {
    let root = path.join("root");
    // Fails where nothing is mounted, which is as good.
    let _ = nix::mount::umount2(&root, nix::mount::MntFlags::MNT_DETACH);
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", path)(error)),
        _ => Ok(()),
    }
}

fn sync(directory: &Path) -> Result<(), Error> {
    for entry in fs::read_dir(directory).map_err(Error::io("read", directory))?.flatten() {
        let path = entry.path();
        File::open(&path).and_then(|file| file.sync_all()).map_err(Error::io("sync", &path))?;
    }
    sync_directory(directory)
}

fn sync_directory(directory: &Path) -> Result<(), Error> {
    File::open(directory).and_then(|file| file.sync_all()).map_err(Error::io("sync", directory))
}

#[cfg(test)]
mod tests {
    use super::*;
    use teal_core::time::Time;

    fn manifest(version: &str, built: u64) -> Manifest {
        Manifest {
            name: "debian-12".into(),
            version: version.into(),
            hash: "00".into(),
            built: Time(built),
            kernel: "6.1".into(),
            agent: "00".into(),
            packages: [("libc6".to_owned(), "2.36".to_owned())].into(),
            security: [].into(),
        }
    }

    fn put(shelf: &Shelf, version: &str, built: u64) {
        let work = shelf.work().expect("made");
        fs::write(work.join("root.squashfs"), "root").expect("written");
        shelf.place(&work, &manifest(version, built)).expect("placed");
        clear(&work).expect("cleared");
    }

    fn versions(shelf: &Shelf) -> Vec<String> {
        shelf.list().expect("listed").into_iter().map(|manifest| manifest.version).collect()
    }

    #[test]
    fn the_newest_comes_first_and_the_same_content_becomes_the_newest_again() {
        let directory = tempfile::tempdir().expect("a directory");
        let shelf = Shelf::open(directory.path().join("images")).expect("opened");
        put(&shelf, "debian-12-a", 1);
        put(&shelf, "debian-12-b", 2);
        assert_eq!(versions(&shelf), ["debian-12-b", "debian-12-a"]);
        put(&shelf, "debian-12-a", 3);
        assert_eq!(versions(&shelf), ["debian-12-a", "debian-12-b"]);
        shelf.remove("debian-12-a").expect("removed");
        assert_eq!(versions(&shelf), ["debian-12-b"]);
        assert_eq!(shelf.names().expect("read"), ["debian-12-b"], "nothing else is left");
    }

    #[test]
    fn what_is_not_whole_is_no_image_and_what_was_interrupted_goes() {
        let directory = tempfile::tempdir().expect("a directory");
        let place = directory.path().join("images");
        let shelf = Shelf::open(place.clone()).expect("opened");
        let work = shelf.work().expect("made");
        fs::create_dir_all(work.join("root/etc")).expect("made");
        fs::create_dir_all(place.join("debian-12-half")).expect("made");
        fs::write(place.join("debian-12-half").join(MANIFEST), "{torn").expect("written");
        put(&shelf, "debian-12-a", 1);
        fs::rename(place.join("debian-12-a"), place.join("debian-12-b")).expect("renamed");
        assert_eq!(versions(&shelf), [""; 0]);
        let (other, gone) = (place.join(format!("{WORK}1-0")), place.join(format!("{WORK}4999999-0")));
        fs::create_dir(&other).expect("made");
        fs::create_dir(&gone).expect("made");
        Shelf::open(place).expect("opened again");
        assert_eq!(
            (work.exists(), gone.exists(), other.exists()),
            (false, false, true),
            "the first process lives"
        );
    }

    #[test]
    fn a_name_cannot_lead_elsewhere() {
        let directory = tempfile::tempdir().expect("a directory");
        let shelf = Shelf::open(directory.path().join("images")).expect("opened");
        put(&shelf, "debian-12-a", 1);
        for name in ["../images/debian-12-a", "debian-12-a/", "", ".", "DEBIAN"] {
            assert_eq!(shelf.get(name), None, "{name}");
        }
        assert!(shelf.get("debian-12-a").is_some());
    }
}
