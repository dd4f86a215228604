//! What this host can do, tried rather than guessed, and what to do about what it cannot.
//!
//! Every trial is made in namespaces of its own or with names of its own, and nothing of it stays. A finding that is not `ok` names a remedy
//! where there is one; whether it matters depends on the runtime: `process` needs none of the kernel's.

mod host;
mod kernel;

use serde::{Deserialize, Serialize};
use std::path::Path;
use teal_core::error::in_full;

/// One fact about this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// A short, stable word: `root`, `cgroups`, `disk /`.
    pub name: String,
    /// As Teal wants it?
    pub ok: bool,
    /// What was found, in words.
    pub detail: String,
    /// What to do if it is not ok; beside an ok, what would be better still.
    pub remedy: Option<String>,
}

impl Finding {
    fn good(name: &str, detail: impl Into<String>) -> Self {
        Self { name: name.to_owned(), ok: true, detail: detail.into(), remedy: None }
    }

    fn bad(name: &str, detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { name: name.to_owned(), ok: false, detail: detail.into(), remedy: Some(remedy.into()) }
    }

    /// Good enough, and could be better.
    fn advice(name: &str, detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { name: name.to_owned(), ok: true, detail: detail.into(), remedy: Some(remedy.into()) }
    }

    /// Good with what `found` says, bad with its error's whole chain.
    fn tried(name: &str, found: Result<String, impl std::error::Error>, remedy: &str) -> Self {
        match found {
            Ok(detail) => Self::good(name, detail),
            Err(error) => Self::bad(name, in_full(&error), remedy),
        }
    }
}

/// Looks at everything, with the disks of `/` and of each directory in `disks`. Blocks for up to a second.
#[must_use]
pub fn examine_with(disks: &[&Path]) -> Vec<Finding> {
    let kernel = [
        kernel::root(),
        kernel::namespaces(),
        kernel::cgroups(),
        kernel::overlay(),
        kernel::loop_devices(),
        kernel::nft(),
        kernel::veth(),
        kernel::forwarding(),
        kernel::foreign_firewall(),
        kernel::swap(),
        kernel::kvm(),
    ];
    let tools = [("git", "git"), ("bash", "bash"), ("python3", "python3"), ("node", "nodejs")];
    let tools = tools.iter().map(|(tool, package)| host::tool(tool, package));
    let disks = std::iter::once(Path::new("/")).chain(disks.iter().copied()).map(host::disk);
    kernel.into_iter().chain(tools).chain(disks).collect()
}

/// [`examine_with`] for the root disk alone.
#[must_use]
pub fn examine() -> Vec<Finding> {
    examine_with(&[])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fact_is_found_once_and_what_is_bad_has_a_remedy() {
        let before = std::fs::read_to_string("/proc/self/mountinfo").expect("mounts");
        let found = examine_with(&[Path::new("/nowhere/at/all")]);
        let mut names: Vec<_> = found.iter().map(|finding| finding.name.as_str()).collect();
        assert!(
            found
                .iter()
                .all(|finding| finding.ok || finding.remedy.as_ref().is_some_and(|text| !text.is_empty()))
        );
        assert!(found.iter().any(|finding| finding.name == "disk /nowhere/at/all" && !finding.ok));
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), found.len());
        assert_eq!(
            std::fs::read_to_string("/proc/self/mountinfo").expect("mounts"),
            before,
            "a trial left a mount"
        );
    }
}
