//! What is known of an image: one version of the base system that environments run on, and how two versions differ.
//!
//! Pure data. An image is a directory named by its version; the names of the files in it are here, because who builds it (the server) and who
//! runs it (the runtime) must agree. Nothing here reads or writes one.

use crate::time::Time;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The root file system: squashfs. Mounted read-only by both runtimes.
pub const ROOT: &str = "root.squashfs";

/// The kernel as a virtual machine starts it: uncompressed, with the PVH note.
pub const KERNEL: &str = "vmlinux";

/// The first file system of a virtual machine: a cpio archive with the agent as `/init` and the modules that it loads, in [`MODULES`].
pub const INITRD: &str = "initrd";

/// In the initrd: a text with one module's path per line, in the order in which they are loaded.
pub const MODULES: &str = "/modules/order";

/// The [`Manifest`], as JSON. Written last: a directory without it is no image.
pub const MANIFEST: &str = "manifest.json";

/// Everything that makes a version what it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// What was built, e.g. `debian-12`.
    pub name: String,
    /// Its name in releases and environments, e.g. `debian-12-3f9a2c81d0b4`: the name and the beginning of `hash`.
    pub version: String,
    /// SHA-256 of the content in hex: two builds of the same packages have the same.
    pub hash: String,
    /// When it was built here. Not part of the content.
    pub built: Time,
    /// The kernel's release, e.g. `6.1.0-40-cloud-amd64`.
    pub kernel: String,
    /// The agent in the initrd, as SHA-256 in hex.
    pub agent: String,
    /// Every package with its version.
    pub packages: BTreeMap<String, String>,
    /// Those of them whose version came from a source of security updates. An image that was built before this was noted has none.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub security: BTreeSet<String>,
}

/// A package that differs between two versions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Change {
    /// Which package.
    pub package: String,
    /// Its old version; `None`: it is new.
    pub from: Option<String>,
    /// Its new version; `None`: it is gone.
    pub to: Option<String>,
    /// Does the new version come from a source of security updates?
    #[serde(default)]
    pub security: bool,
}

/// What changes from one set of packages to another, in the order of the names. Whether it is for security is not known from the sets.
#[must_use]
pub fn changes(old: &BTreeMap<String, String>, new: &BTreeMap<String, String>) -> Vec<Change> {
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    names
        .into_iter()
        .map(|name| (name, old.get(name), new.get(name)))
        .filter(|(_, from, to)| from != to)
        .map(|(name, from, to)| Change {
            package: name.clone(),
            from: from.cloned(),
            to: to.cloned(),
            security: false,
        })
        .collect()
}

/// The same, said of each whether its new version is known to be for security: those come first, for whoever names only some.
#[must_use]
pub fn changes_with(
    old: &BTreeMap<String, String>,
    new: &BTreeMap<String, String>,
    security: impl Fn(&str) -> bool,
) -> Vec<Change> {
    let mut changes = changes(old, new);
    for change in &mut changes {
        change.security = change.to.is_some() && security(&change.package);
    }
    changes.sort_by_key(|change| !change.security);
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_name_what_is_new_other_and_gone() {
        let of = |all: &[(&str, &str)]| all.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
        let changed =
            changes(&of(&[("a", "1"), ("b", "1"), ("c", "1")]), &of(&[("b", "2"), ("c", "1"), ("d", "1")]));
        let told: Vec<_> =
            changed.iter().map(|c| (c.package.as_str(), c.from.as_deref(), c.to.as_deref())).collect();
        assert_eq!(told, [("a", Some("1"), None), ("b", Some("1"), Some("2")), ("d", None, Some("1"))]);
    }

    #[test]
    fn what_is_for_security_comes_first_and_what_is_gone_never_is() {
        let of = |all: &[(&str, &str)]| all.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
        let changed = changes_with(
            &of(&[("a", "1"), ("b", "1"), ("z", "1"), ("same", "1")]),
            &of(&[("b", "2"), ("c", "1"), ("z", "2"), ("same", "1")]),
            |name| ["a", "same", "z"].contains(&name),
        );
        let told: Vec<_> = changed.iter().map(|c| (c.package.as_str(), c.security)).collect();
        assert_eq!(told, [("z", true), ("a", false), ("b", false), ("c", false)]);
    }
}
