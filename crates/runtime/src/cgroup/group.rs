//! The group of one instance: its limits, its processes, freezing and ending it as a whole.
//!
//! Waits are bounded. A pid is signalled only while its group is frozen, so that it cannot have gone to another process meanwhile.

use super::{Error, Freezer, Plan, files};
use crate::{Limits, Usage};
use nix::{
    errno::Errno,
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};
use teal_core::id::InstanceId;

/// The longest wait for a group to be frozen or thawed; tasks in the midst of disk I/O are slow to freeze.
const FREEZE_WAIT: Duration = Duration::from_secs(5);
/// The longest wait for killed processes to be gone.
const KILL_WAIT: Duration = Duration::from_secs(10);
/// The longest wait for an empty group to be removable.
const REMOVE_WAIT: Duration = Duration::from_secs(5);
/// The scheduling period that quotas are given for, in microseconds.
const PERIOD_US: u64 = 100_000;
/// The kernel refuses shorter quotas, in microseconds.
const MIN_QUOTA_US: u64 = 1_000;

/// One instance's group, in every hierarchy in use.
#[derive(Debug, Clone)]
pub struct Group {
    plan: Arc<Plan>,
    name: String,
}

impl Group {
    pub(crate) fn new(plan: Arc<Plan>, id: &InstanceId) -> Self {
        Self { plan, name: id.as_str().to_owned() }
    }

    /// The files into which a child writes its pid (or `0` for itself) before it executes the instance, so that nothing escapes the limits.
    #[must_use]
    pub fn procs_files(&self) -> Vec<PathBuf> {
        self.dirs().map(|dir| dir.join("cgroup.procs")).collect()
    }

    /// Moves a process into the group; its later children are born there.
    ///
    /// # Errors
    /// [`Error::File`] if there is no such process or group.
    pub fn add(&self, pid: u32) -> Result<(), Error> {
        self.dirs().try_for_each(|dir| files::write(&dir, "cgroup.procs", &pid.to_string()))
    }

    /// Freezes every process and waits until all of them stand still. Idempotent.
    ///
    /// # Errors
    /// [`Error::Late`] if they did not within five seconds: the group may still freeze, look with [`Group::frozen`].
    pub fn freeze(&self) -> Result<(), Error> {
        self.set_frozen(true)
    }

    /// Lets all of them go on and waits until they may. Idempotent.
    ///
    /// # Errors
    /// As [`Group::freeze`].
    pub fn thaw(&self) -> Result<(), Error> {
        self.set_frozen(false)
    }

    /// Do all processes stand still? (Asked for *and* done.)
    ///
    /// # Errors
    /// [`Error::File`] if the group is not there.
    pub fn frozen(&self) -> Result<bool, Error> {
        match self.plan.freezer {
            Freezer::V2 => Ok(files::keyed(&self.freeze_dir(), "cgroup.events", "frozen")? == 1),
            Freezer::V1 => Ok(files::read(&self.freeze_dir(), "freezer.state")?.trim() == "FROZEN"),
        }
    }

    /// Ends every process, frozen or not, and waits until none is left. Idempotent.
    ///
    /// # Errors
    /// [`Error::Late`] if some are left after ten seconds (stuck in the kernel).
    pub fn kill(&self) -> Result<(), Error> {
        let until = Instant::now() + KILL_WAIT;
        let at_once = self.kill_file();
        while !self.pids()?.is_empty() {
            if Instant::now() > until {
                return Err(Error::Late { group: self.freeze_dir(), state: "emptied", waited: KILL_WAIT });
            }
            match &at_once {
                // A process whose start broke off may be in some hierarchies only: it is ended one by one.
                Some(dir) if !files::read(dir, "cgroup.procs")?.is_empty() => {
                    files::write(dir, "cgroup.kill", "1")?
                }
                _ => self.kill_each()?,
            }
            thread::sleep(files::LOOK_AGAIN);
        }
        Ok(())
    }

    /// The processes in the group, as this process's pid namespace names them. A group that is not there has none.
    ///
    /// # Errors
    /// [`Error::File`] if the kernel does not tell.
    pub fn pids(&self) -> Result<Vec<u32>, Error> {
        let mut all = BTreeSet::new();
        for dir in self.dirs().filter(|dir| dir.exists()) {
            let text = files::read(&dir, "cgroup.procs")?;
            // 0 is a process that our own namespace cannot see: it is counted by no one and cannot be signalled from here.
            all.extend(text.lines().filter_map(|line| line.parse::<u32>().ok()).filter(|pid| *pid != 0));
        }
        Ok(all.into_iter().collect())
    }

    /// How many processes the kernel has ended because of the memory limit since the group was made.
    #[must_use]
    pub fn oom_kills(&self) -> u64 {
        let file = if self.plan.unified { "memory.events" } else { "memory.oom_control" };
        self.memory_dir().and_then(|dir| files::keyed(&dir, file, "oom_kill").ok()).unwrap_or(0)
    }

    /// Memory that the group holds (page cache included), in bytes; 0 if it is not there.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        let file = if self.plan.unified { "memory.current" } else { "memory.usage_in_bytes" };
        let text = self.memory_dir().and_then(|dir| files::read(&dir, file).ok());
        text.and_then(|text| text.trim().parse().ok()).unwrap_or(0)
    }

    /// What the group has used; `None` if it is not there or nobody counts.
    #[must_use]
    pub fn usage(&self) -> Option<Usage> {
        // Version 2 counts time in every group, whichever controllers it has.
        let counted = match self.v2_dir().filter(|dir| dir.join("cpu.stat").exists()) {
            Some(dir) => files::keyed(&dir, "cpu.stat", "usage_usec").ok(),
            None => {
                let text = files::read(&self.v1_dir("cpu"), "cpuacct.usage").ok();
                text.and_then(|text| text.trim().parse::<u64>().ok()).map(|ns| ns / 1_000)
            }
        };
        Some(Usage { cpu_us: counted?, memory_bytes: self.memory_bytes() })
    }

    /// Asks the kernel to take back what a frozen group does not need (page cache, and memory where swap exists), and answers what it still
    /// holds, in bytes. It may take a while. Best effort: without swap an app's own memory stays held.
    #[must_use]
    pub fn reclaim(&self) -> u64 {
        if let Some(dir) = self.memory_dir() {
            // Both answer EAGAIN when less than everything could be taken: the figure below tells.
            let _partly = if self.plan.unified {
                let _unsupported = files::write(&dir, "memory.swap.max", "max");
                files::write(&dir, "memory.reclaim", &self.memory_bytes().to_string())
            } else {
                files::write(&dir, "memory.force_empty", "0")
            };
        }
        self.memory_bytes()
    }

    /// Removes the group once its processes have gone; it does not end them (see [`Group::kill`]). Idempotent.
    ///
    /// # Errors
    /// [`Error::File`] if processes are still in it after five seconds.
    pub fn remove(&self) -> Result<(), Error> {
        let until = Instant::now() + REMOVE_WAIT;
        self.dirs().try_for_each(|dir| files::remove(&dir, until))
    }

    // Private

    /// Its directory in every hierarchy in use; one directory may serve several controllers.
    fn dirs(&self) -> impl Iterator<Item = PathBuf> {
        let all: BTreeSet<PathBuf> = self.plan.roots().map(|root| root.join(&self.name)).collect();
        all.into_iter()
    }

    pub(crate) fn exists(&self) -> bool {
        self.dirs().any(|dir| dir.exists())
    }

    pub(crate) fn make(&self) -> Result<(), Error> {
        self.dirs().try_for_each(|dir| files::make(&dir).map(drop))
    }

    pub(crate) fn limit(&self, limits: &Limits) -> Result<(), Error> {
        let memory = limits.memory_mib.saturating_mul(1 << 20).to_string();
        let quota = (limits.cpu_milli.saturating_mul(PERIOD_US) / 1000).max(MIN_QUOTA_US);
        let pids = limits.pids.to_string();
        if !self.plan.unified {
            return self.limit_v1(&memory, quota, &pids);
        }
        let dir = self.v2_dir().unwrap_or_default();
        files::write(&dir, "memory.max", &memory)?;
        // Kernels without swap accounting do not have the file: then there is nothing to forbid.
        if dir.join("memory.swap.max").exists() {
            files::write(&dir, "memory.swap.max", "0")?;
        }
        files::write(&dir, "cpu.max", &format!("{quota} {PERIOD_US}"))?;
        files::write(&dir, "pids.max", &pids)
    }

    fn limit_v1(&self, memory: &str, quota: u64, pids: &str) -> Result<(), Error> {
        let dir = self.v1_dir("memory");
        // Memory with swap may never be below memory alone: raising goes in one order, lowering in the other. The last write decides.
        let swap = dir.join("memory.memsw.limit_in_bytes").exists();
        let _wrong_order = files::write(&dir, "memory.limit_in_bytes", memory);
        if swap {
            files::write(&dir, "memory.memsw.limit_in_bytes", memory)?;
        }
        files::write(&dir, "memory.limit_in_bytes", memory)?;
        files::write(&self.v1_dir("cpu"), "cpu.cfs_period_us", &PERIOD_US.to_string())?;
        files::write(&self.v1_dir("cpu"), "cpu.cfs_quota_us", &quota.to_string())?;
        files::write(&self.v1_dir("pids"), "pids.max", pids)
    }

    /// The directory of a v1 controller that [`super::Cgroups::detect`] found.
    fn v1_dir(&self, controller: &str) -> PathBuf {
        self.plan.v1.get(controller).map(|root| root.join(&self.name)).unwrap_or_default()
    }

    fn memory_dir(&self) -> Option<PathBuf> {
        if self.plan.unified { self.v2_dir() } else { Some(self.v1_dir("memory")) }
    }

    /// The directory that freezes: the v2 one, or the v1 freezer's.
    fn freeze_dir(&self) -> PathBuf {
        match (self.plan.freezer, self.v2_dir()) {
            (Freezer::V2, Some(dir)) => dir,
            _ => self.v1_dir("freezer"),
        }
    }

    fn v2_dir(&self) -> Option<PathBuf> {
        self.plan.v2.as_ref().map(|root| root.join(&self.name))
    }

    fn kill_file(&self) -> Option<PathBuf> {
        self.v2_dir().filter(|dir| dir.join("cgroup.kill").exists())
    }

    fn set_frozen(&self, frozen: bool) -> Result<(), Error> {
        let (dir, until) = (self.freeze_dir(), Instant::now() + FREEZE_WAIT);
        loop {
            // Written again each time: a v1 group that was FREEZING while it forked has to be told again.
            ask(&dir, self.plan.freezer, frozen)?;
            if self.frozen()? == frozen {
                return Ok(());
            }
            if Instant::now() > until {
                let state = if frozen { "frozen" } else { "thawed" };
                return Err(Error::Late { group: dir, state, waited: FREEZE_WAIT });
            }
            thread::sleep(files::LOOK_AGAIN);
        }
    }

    /// One round of ending processes one by one. Frozen meanwhile: none forks, and none of the pids can go to somebody else.
    fn kill_each(&self) -> Result<(), Error> {
        let frozen = self.freeze();
        let killed = self.pids().and_then(|pids| pids.into_iter().try_for_each(|pid| self.kill_one(pid)));
        // A v1-frozen task dies only once it is thawed: also after a failure above.
        self.thaw()?;
        frozen.and(killed)
    }

    fn kill_one(&self, pid: u32) -> Result<(), Error> {
        let Ok(raw) = i32::try_from(pid) else { return Ok(()) };
        match kill(Pid::from_raw(raw), Signal::SIGKILL) {
            Ok(()) | Err(Errno::ESRCH) => Ok(()),
            Err(errno) => Err(Error::File {
                path: self.freeze_dir().join(raw.to_string()),
                verb: "killed",
                source: errno.into(),
            }),
        }
    }
}

fn ask(dir: &Path, freezer: Freezer, frozen: bool) -> Result<(), Error> {
    match (freezer, frozen) {
        (Freezer::V2, true) => files::write(dir, "cgroup.freeze", "1"),
        (Freezer::V2, false) => files::write(dir, "cgroup.freeze", "0"),
        (Freezer::V1, true) => files::write(dir, "freezer.state", "FROZEN"),
        (Freezer::V1, false) => files::write(dir, "freezer.state", "THAWED"),
    }
}

#[cfg(test)]
#[allow(clippy::print_stderr, reason = "a skipped test has to be loud")]
mod tests {
    use super::*;
    use crate::cgroup::mounts::{Hierarchies, V1};
    use std::process::{Child, Command};

    /// A host without any v2 hierarchy, played on one that has v1's.
    fn v1_only() -> Option<(Group, V1)> {
        let found = Hierarchies::read().expect("mounts");
        let names = ["memory", "cpu", "pids", "freezer"];
        if !nix::unistd::geteuid().is_root() || names.iter().any(|name| !found.v1.contains_key(*name)) {
            eprintln!("SKIPPED: the v1 freezer needs root and a host with cgroup v1");
            return None;
        }
        let own = format!("teal-unit-{}", std::process::id());
        let v1: V1 = names.iter().map(|name| ((*name).to_owned(), found.v1[*name].join(&own))).collect();
        v1.values().for_each(|dir| drop(files::make(dir).expect("made")));
        let plan = Plan { v2: None, unified: false, v1: v1.clone(), freezer: Freezer::V1 };
        Some((Group::new(Arc::new(plan), &"e-1-0".parse().expect("legal")), v1))
    }

    #[test]
    fn frozen_by_v1_and_ended_all_the_same() {
        let Some((group, v1)) = v1_only() else { return };
        group.make().expect("made");
        group.limit(&Limits { memory_mib: 32, cpu_milli: 100, pids: 8, disk_mib: 1 }).expect("limited");
        let mut children: Vec<Child> =
            (0..3).map(|_| Command::new("sleep").arg("1000").spawn().expect("starts")).collect();
        children.iter().for_each(|child| group.add(child.id()).expect("joins"));
        group.freeze().expect("freezes");
        assert!(group.frozen().expect("tells"));
        group.kill().expect("ends them");
        assert_eq!(group.pids().expect("tells"), Vec::<u32>::new());
        children.iter_mut().for_each(|child| assert!(!child.wait().expect("reaped").success()));
        group.remove().expect("removed");
        v1.values().for_each(|dir| files::remove(dir, Instant::now()).expect("removed"));
    }
}
