//! What is known of images: which one pushes are built on, and what differs between two. It reads their manifests and must never change one.

use super::Upkeep;
use crate::world::{HOST_IMAGE, World};
use std::{fs, path::Path};
use teal_core::image::{self, Change, MANIFEST, Manifest};

/// Packages that a note names; the rollout has all of them.
const NAMED: usize = 40;
/// The largest manifest that is read, in bytes.
const MAX_MANIFEST: u64 = 8 << 20;

impl World {
    /// The image's version that whatever is built from now on is built on: the newest, or the host's own `/usr` while there is none.
    #[must_use]
    pub fn current_image(&self) -> String {
        let images = fs::read_dir(self.config.data.join("images"));
        let manifests = images.into_iter().flatten().flatten().filter_map(|entry| read(&entry.path()));
        let newest = manifests.max_by(|a, b| (a.built, &a.version).cmp(&(b.built, &b.version)));
        newest.map_or_else(|| HOST_IMAGE.to_owned(), |manifest| manifest.version)
    }
}

impl Upkeep {
    pub(super) fn current_image(&self) -> String {
        self.world.current_image()
    }
}

/// The manifest in an image's directory; a directory without it, or with that of another version, is no image.
fn read(directory: &Path) -> Option<Manifest> {
    let path = directory.join(MANIFEST);
    if fs::metadata(&path).ok()?.len() > MAX_MANIFEST {
        return None;
    }
    let manifest: Manifest = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    (directory.file_name()?.to_str()? == manifest.version).then_some(manifest)
}

/// What differs between two versions; nothing where one of them is not known, as the host's own `/usr`.
pub(super) fn changes(data: &Path, from: &str, to: &str) -> Vec<Change> {
    let images = data.join("images");
    match (read(&images.join(from)), read(&images.join(to))) {
        (Some(old), Some(new)) => image::changes(&old.packages, &new.packages),
        _ => Vec::new(),
    }
}

/// The same in a sentence.
pub(super) fn note(data: &Path, from: &str, to: &str) -> String {
    let changes = changes(data, from, to);
    let named: Vec<String> = changes.iter().take(NAMED).map(told).collect();
    let what = match changes.len().saturating_sub(named.len()) {
        0 if named.is_empty() => "which packages differ is not known".to_owned(),
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    };
    format!("image {from} → {to}: {what}")
}

/// `openssl 3.0.1 → 3.0.2`.
pub(super) fn told(change: &Change) -> String {
    let security = if change.security { " (security)" } else { "" };
    match (&change.from, &change.to) {
        (Some(from), Some(to)) => format!("{} {from} → {to}{security}", change.package),
        (None, Some(to)) => format!("{} {to} is new{security}", change.package),
        (_, None) => format!("{} is gone", change.package),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use teal_core::time::Time;

    fn make(data: &Path, version: &str, built: u64, packages: &[(&str, &str)]) {
        let manifest = Manifest {
            name: "debian-12".into(),
            version: version.into(),
            hash: "0".repeat(64),
            built: Time(built),
            kernel: "6.1".into(),
            agent: "0".repeat(64),
            packages: packages.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect(),
        };
        let directory = data.join("images").join(version);
        fs::create_dir_all(&directory).expect("made");
        fs::write(directory.join(MANIFEST), serde_json::to_vec(&manifest).expect("JSON")).expect("written");
    }

    #[test]
    fn a_note_says_what_differs_and_what_is_not_known() {
        let place = tempfile::tempdir().expect("a directory");
        let data = place.path();
        make(data, "one", 1, &[("a", "1"), ("b", "1")]);
        make(data, "two", 2, &[("a", "2"), ("c", "1")]);
        assert_eq!(note(data, "one", "two"), "image one → two: a 1 → 2, b is gone, c 1 is new");
        assert!(note(data, "host", "two").ends_with("which packages differ is not known"));
        let many: Vec<String> = (0..100).map(|n| format!("p{n:02}")).collect();
        make(data, "three", 3, &many.iter().map(|name| (name.as_str(), "1")).collect::<Vec<_>>());
        let long = note(data, "two", "three");
        assert!(long.ends_with("and 62 more") && long.contains("p00 1 is new"), "{long}");
    }

    #[test]
    fn a_directory_that_is_not_what_it_says_is_no_image() {
        let place = tempfile::tempdir().expect("a directory");
        make(place.path(), "one", 1, &[]);
        let images = place.path().join("images");
        fs::rename(images.join("one"), images.join("other")).expect("renamed");
        fs::create_dir(images.join("half")).expect("made");
        assert_eq!(read(&images.join("other")), None);
        assert_eq!(read(&images.join("half")), None);
    }
}
