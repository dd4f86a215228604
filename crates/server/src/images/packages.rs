//! What apt and dpkg say about packages, read from their texts: what is installed, what would be, and which of it is for security.
//!
//! Pure: whoever asks apt is elsewhere.

use std::collections::BTreeMap;
use teal_core::image::{self, Change};

/// A package that apt would install.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Planned {
    /// Its name.
    pub(super) name: String,
    /// The version that apt would take.
    pub(super) version: String,
    /// Is that version in a source of security updates?
    pub(super) security: bool,
}

/// What `apt-get --simulate install` would install. Other lines are not looked at.
pub(super) fn planned(simulated: &str) -> Vec<Planned> {
    simulated.lines().filter_map(one).collect()
}

/// `Inst libc6 [2.36-8] (2.36-9 Debian:12.15/oldstable, Debian-Security:12/oldstable-security [amd64]) []`
fn one(line: &str) -> Option<Planned> {
    let rest = line.strip_prefix("Inst ")?;
    let name = rest.split_whitespace().next()?;
    let (_, inside) = rest.split_once('(')?;
    let (inside, _) = inside.split_once(')')?;
    let (version, origins) = inside.split_once(' ').unwrap_or((inside, ""));
    let origins = origins.split('[').next().unwrap_or_default();
    let security = origins.split(',').any(|origin| origin.to_ascii_lowercase().contains("-security"));
    Some(Planned { name: name.to_owned(), version: version.to_owned(), security })
}

/// What dpkg's status file says is installed, by name with the version.
pub(super) fn installed(status: &str) -> BTreeMap<String, String> {
    status.split("\n\n").filter_map(entry).collect()
}

fn entry(paragraph: &str) -> Option<(String, String)> {
    let field = |name: &str| {
        let value = |line: &str| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim().to_owned());
        paragraph.lines().find_map(value)
    };
    let whole = field("Status")?.ends_with(" installed");
    if whole { Some((field("Package")?, field("Version")?)) } else { None }
}

/// How an image would differ from what it has, if it were built now.
pub(super) fn compare(has: &BTreeMap<String, String>, would: &[Planned]) -> Vec<Change> {
    let new = would.iter().map(|p| (p.name.clone(), p.version.clone())).collect();
    let security = |name: &str| would.iter().any(|p| p.name == name && p.security);
    image::changes_with(has, &new, security)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_simulation_names_versions_and_what_is_for_security() {
        let table = [
            (
                "Inst gcc-12-base (12.2.0-14+deb12u1 Debian:12.15/oldstable [amd64])",
                Some(("gcc-12-base", "12.2.0-14+deb12u1", false)),
            ),
            (
                "Inst libc6 [2.36-8] (2.36-9 Debian:12.15/oldstable [amd64]) []",
                Some(("libc6", "2.36-9", false)),
            ),
            (
                "Inst libgcrypt20 (1.10.1-3 Debian:12.15/oldstable, Debian-Security:12/oldstable-security [amd64]) [a:amd64 ]",
                Some(("libgcrypt20", "1.10.1-3", true)),
            ),
            (
                "Inst security-tool (1-security Own:1/main [all])",
                Some(("security-tool", "1-security", false)),
            ),
            ("Inst bare (1.0)", Some(("bare", "1.0", false))),
            ("Conf libc6 (2.36-9 Debian:12.15/oldstable [amd64])", None),
            ("Inst broken", None),
            ("Reading package lists...", None),
        ];
        for (line, expected) in table {
            let found = one(line);
            let told = found.as_ref().map(|p| (p.name.as_str(), p.version.as_str(), p.security));
            assert_eq!(told, expected, "{line}");
        }
        assert_eq!(planned(&table.map(|(line, _)| line).join("\n")).len(), 5);
    }

    #[test]
    fn only_whole_packages_are_installed() {
        let status = "Package: a\nStatus: install ok installed\nVersion: 1:2-3\nDescription: x\n Version: 9\n\n\
                      Package: b\nStatus: deinstall ok config-files\nVersion: 1\n\nPackage: c\nStatus: install ok half-installed\nVersion: 1\n";
        assert_eq!(installed(status), BTreeMap::from([("a".to_owned(), "1:2-3".to_owned())]));
    }

    #[test]
    fn what_a_rebuild_would_change_is_named() {
        let has = [("a", "1"), ("b", "1"), ("c", "1")].map(|(n, v)| (n.to_owned(), v.to_owned())).into();
        let would = planned(
            "Inst a (2 Debian-Security:12/stable-security [amd64])\nInst b (1 Debian-Security:12/stable-security [amd64])\nInst d (1 Debian:12/stable [amd64])",
        );
        let changes = compare(&has, &would);
        let told: Vec<_> =
            changes.iter().map(|c| (c.package.as_str(), c.to.as_deref(), c.security)).collect();
        assert_eq!(told, [("a", Some("2"), true), ("c", None, false), ("d", Some("1"), false)]);
        assert_eq!(compare(&has, &planned("Inst a (1)\nInst b (1)\nInst c (1)")), []);
    }
}
