//! Control groups: what an instance may use, and how it is frozen and ended as a whole.
//!
//! Three kinds of hosts are served by one type: cgroup v2 with controllers; v1 controllers beside a v2 hierarchy without any (it still freezes
//! and kills); v1 alone, where the v1 freezer is the last resort: a task that is frozen by it survives SIGKILL until it is thawed.
//!
//! The subtree is made at the root of each hierarchy and never below the caller's own group: an instance must outlive the server's unit.
//! Nothing here touches a group outside that subtree. All calls block (for at most a few seconds): call them off the async threads.

mod files;
mod group;
mod mounts;

pub use group::Group;

use crate::Limits;
use mounts::{Hierarchies, V1};
use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use teal_core::id::InstanceId;

/// The controllers without which an instance could harm its neighbours.
const CONTROLLERS: [&str; 3] = ["memory", "cpu", "pids"];

/// Why control groups cannot be had or did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The host has no usable hierarchies.
    #[error("control groups cannot be used here: {0}")]
    Unusable(String),
    /// The name of the subtree is not one plain path component.
    #[error("`{0}` cannot name a control group subtree: use lower-case letters, digits and `-`")]
    Name(String),
    /// A file of the hierarchy refused.
    #[error("the control group file {path} could not be {verb}")]
    File {
        /// Which file.
        path: PathBuf,
        /// What was tried, as a participle.
        verb: &'static str,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The kernel has not done it in time; it may still do it.
    #[error("control group {group} was not {state} within {seconds} s; look at its processes with `cat {group}/cgroup.procs` and try again", group = group.display(), seconds = .waited.as_secs())]
    Late {
        /// The group's directory.
        group: PathBuf,
        /// The state that was waited for.
        state: &'static str,
        /// How long.
        waited: Duration,
    },
}

/// How groups are frozen and ended here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freezer {
    /// `cgroup.freeze`: frozen tasks still die by SIGKILL.
    V2,
    /// `freezer.state`: frozen tasks must be thawed to die.
    V1,
}

/// The hierarchies of this host, and our subtree in each of them.
#[derive(Debug, Clone)]
pub struct Cgroups {
    plan: Arc<Plan>,
}

/// Where the groups of one subtree are.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The subtree's directory in the v2 hierarchy.
    v2: Option<PathBuf>,
    /// Limits are set in the v2 hierarchy rather than in v1 ones.
    unified: bool,
    /// The subtree's directories in v1 hierarchies, by controller.
    v1: V1,
    freezer: Freezer,
}

impl Cgroups {
    /// Finds the hierarchies and makes `subtree` at the root of each. Idempotent.
    ///
    /// # Errors
    /// [`Error::Unusable`] says what is missing and what to do; [`Error::File`] if the subtree cannot be made (no root, read-only mount).
    pub fn detect(subtree: &str) -> Result<Self, Error> {
        let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if subtree.is_empty() || !subtree.chars().all(legal) {
            return Err(Error::Name(subtree.chars().take(64).collect()));
        }
        let found = Hierarchies::read()?;
        let unified =
            found.v2.as_deref().is_some_and(|root| files::lists(root, "cgroup.controllers", &CONTROLLERS));
        if let Some(root) = found.v2.as_deref().filter(|_| unified) {
            delegate(root, subtree)?;
        }
        let v1 = if unified { V1::new() } else { v1_subtrees(&found, subtree)? };
        let v2 = match &found.v2 {
            Some(root) => Some(files::make(&root.join(subtree))?),
            None => None,
        };
        let freezer = freezer(v2.as_deref(), &found)?;
        Ok(Self {
            plan: Arc::new(Plan { v2, unified, v1: with_freezer(v1, freezer, &found, subtree)?, freezer }),
        })
    }

    /// Makes the group of `id` and sets its limits; once it is there, only sets them again.
    ///
    /// # Errors
    /// [`Error::File`] if the kernel refuses a limit or a directory.
    pub fn create(&self, id: &InstanceId, limits: &Limits) -> Result<Group, Error> {
        let group = Group::new(Arc::clone(&self.plan), id);
        group.make()?;
        group.limit(limits)?;
        Ok(group)
    }

    /// The group of `id`, if any part of it is there (a half-made one too: it can be removed).
    #[must_use]
    pub fn find(&self, id: &InstanceId) -> Option<Group> {
        let group = Group::new(Arc::clone(&self.plan), id);
        group.exists().then_some(group)
    }

    /// Every instance that has a group, in part or wholly.
    #[must_use]
    pub fn list(&self) -> Vec<InstanceId> {
        let found: BTreeSet<InstanceId> =
            self.plan.roots().flat_map(files::children).filter_map(|name| name.parse().ok()).collect();
        found.into_iter().collect()
    }

    /// How groups are frozen here.
    #[must_use]
    pub fn freezer(&self) -> Freezer {
        self.plan.freezer
    }

    /// Are the limits set in the v2 hierarchy (rather than in v1 ones)?
    #[must_use]
    pub fn unified(&self) -> bool {
        self.plan.unified
    }

    /// Whether the kernel ends a whole group at once (`cgroup.kill`, Linux 5.14).
    #[must_use]
    pub fn kills_at_once(&self) -> bool {
        self.plan.v2.as_deref().is_some_and(|root| root.join("cgroup.kill").exists())
    }

    /// Removes the subtree, if no group is left in it; for uninstalling and for tests.
    ///
    /// # Errors
    /// [`Error::File`] if a group is still there.
    pub fn remove_subtree(self) -> Result<(), Error> {
        let until = std::time::Instant::now() + Duration::from_secs(2);
        self.plan.roots().try_for_each(|root| files::remove(root, until))
    }
}

impl Plan {
    /// The subtree's directory in every hierarchy in use, v2 first.
    fn roots(&self) -> impl Iterator<Item = &Path> {
        self.v2.as_deref().into_iter().chain(self.v1.values().map(PathBuf::as_path))
    }
}

/// Lets the subtree and its groups use the controllers of a v2 hierarchy.
fn delegate(root: &Path, subtree: &str) -> Result<(), Error> {
    let wanted = "+memory +cpu +pids";
    if !files::lists(root, "cgroup.subtree_control", &CONTROLLERS) {
        files::write(root, "cgroup.subtree_control", wanted).map_err(|error| busy(root, error))?;
    }
    let own = files::make(&root.join(subtree))?;
    files::write(&own, "cgroup.subtree_control", wanted)
}

/// A v2 group that holds processes cannot hand out controllers; only the real root can.
fn busy(root: &Path, error: Error) -> Error {
    match &error {
        Error::File { source, .. } if source.raw_os_error() == Some(libc::EBUSY) => Error::Unusable(format!(
            "{} holds processes of its own, so its controllers cannot be handed to instances (a container?); run the server on the host itself",
            root.display()
        )),
        _ => error,
    }
}

fn v1_subtrees(found: &Hierarchies, subtree: &str) -> Result<V1, Error> {
    let missing: Vec<&str> = CONTROLLERS.into_iter().filter(|name| !found.v1.contains_key(*name)).collect();
    if !missing.is_empty() {
        return Err(Error::Unusable(format!(
            "no mounted hierarchy has the controllers {}; mount cgroup v2 at /sys/fs/cgroup (or boot with systemd.unified_cgroup_hierarchy=1)",
            missing.join(", ")
        )));
    }
    let pick = |name: &str| found.v1.get(name).map(|root| (name.to_owned(), root.join(subtree)));
    let v1: V1 = CONTROLLERS.into_iter().filter_map(pick).collect();
    v1.values().try_for_each(|path| files::make(path).map(drop))?;
    Ok(v1)
}

/// The way to freeze: `cgroup.freeze` wherever a v2 hierarchy has it, else the v1 freezer.
fn freezer(v2: Option<&Path>, found: &Hierarchies) -> Result<Freezer, Error> {
    if v2.is_some_and(|root| root.join("cgroup.freeze").exists()) {
        return Ok(Freezer::V2);
    }
    if found.v1.contains_key("freezer") {
        return Ok(Freezer::V1);
    }
    Err(Error::Unusable(
        "no hierarchy can freeze processes; mount cgroup v2 (mkdir -p /sys/fs/cgroup/unified && mount -t cgroup2 none /sys/fs/cgroup/unified)"
            .to_owned(),
    ))
}

fn with_freezer(mut v1: V1, freezer: Freezer, found: &Hierarchies, subtree: &str) -> Result<V1, Error> {
    if let (Freezer::V1, Some(root)) = (freezer, found.v1.get("freezer")) {
        v1.insert("freezer".to_owned(), files::make(&root.join(subtree))?);
    }
    Ok(v1)
}
