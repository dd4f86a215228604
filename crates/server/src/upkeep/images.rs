//! What is known of images: which one apps move to, and what differs between two, in words. It must never change one.

use super::Upkeep;
use crate::images::Images;
use teal_core::image::Change;

/// Packages that a note names; the rollout has all of them.
const NAMED: usize = 40;

impl Upkeep {
    pub(super) fn current_image(&self) -> String {
        self.world.current_image()
    }
}

/// What differs between two versions; nothing where one of them is not known, as the host's own system.
pub(super) fn changes(images: &Images, from: &str, to: &str) -> Vec<Change> {
    images.diff(from, to).unwrap_or_default()
}

/// The same in a sentence.
pub(super) fn note(images: &Images, from: &str, to: &str) -> String {
    let changes = changes(images, from, to);
    let named: Vec<String> = changes.iter().take(NAMED).map(told).collect();
    let what = match changes.len().saturating_sub(named.len()) {
        0 if named.is_empty() => "which packages differ is not known".to_owned(),
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    };
    format!("image {from} → {to}{}: {what}", for_security(&changes))
}

/// How many of these are for security, as a parenthesis; nothing where it is not known of any.
pub(super) fn for_security(changes: &[Change]) -> String {
    match changes.iter().filter(|change| change.security).count() {
        0 => String::new(),
        1 => " (1 security update)".to_owned(),
        many => format!(" ({many} security updates)"),
    }
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
    use std::{fs, path::Path};
    use teal_core::{
        image::{MANIFEST, Manifest},
        time::Time,
    };

    fn make(data: &Path, version: &str, packages: &[(&str, &str)], security: &[&str]) {
        let manifest = Manifest {
            name: "debian-12".into(),
            version: version.into(),
            hash: "0".repeat(64),
            built: Time(1),
            kernel: "6.1".into(),
            agent: "0".repeat(64),
            packages: packages.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect(),
            security: security.iter().map(|name| (*name).to_owned()).collect(),
        };
        let directory = data.join("images").join(version);
        fs::create_dir_all(&directory).expect("made");
        fs::write(directory.join(MANIFEST), serde_json::to_vec(&manifest).expect("JSON")).expect("written");
    }

    #[test]
    fn a_note_says_what_differs_and_what_is_not_known() {
        let place = tempfile::tempdir().expect("a directory");
        let data = place.path();
        let images = Images::open(data, "debian-12").expect("opens");
        make(data, "debian-12-1", &[("a", "1"), ("b", "1")], &[]);
        make(data, "debian-12-2", &[("a", "2"), ("c", "1")], &[]);
        let short = note(&images, "debian-12-1", "debian-12-2");
        assert_eq!(short, "image debian-12-1 → debian-12-2: a 1 → 2, b is gone, c 1 is new");
        assert!(note(&images, "host", "debian-12-2").ends_with("which packages differ is not known"));
        let many: Vec<String> = (0..100).map(|n| format!("p{n:02}")).collect();
        make(
            data,
            "debian-12-3",
            &many.iter().map(|name| (name.as_str(), "1")).collect::<Vec<_>>(),
            &["p99", "p98"],
        );
        let long = note(&images, "debian-12-2", "debian-12-3");
        assert!(long.ends_with("and 62 more") && long.contains("p00 1 is new"), "{long}");
        let security = "image debian-12-2 → debian-12-3 (2 security updates): p98 1 is new (security), p99 1 is new (security), ";
        assert!(long.starts_with(security), "what is for security is never cut off: {long}");
    }
}
