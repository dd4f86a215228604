//! The instances of a host as its kernel knows them, whatever they run in. Looks and kills; what becomes of it is the server's business.

use crate::{Host, wait::until};
use anyhow::Result;
use nix::{
    errno::Errno,
    sys::signal::{self, Signal},
    unistd::Pid,
};
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
};
use teal_core::id::{EnvironmentId, InstanceId};

/// An instance of an environment, with processes that live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// What it belongs to.
    pub environment: EnvironmentId,
    /// The process without which it is no more: a sandbox's first one, a machine's emulator, a process's supervisor.
    pub pid: i32,
}

impl Host {
    /// Every instance of an environment that is there.
    #[must_use]
    pub fn instances(&self) -> Vec<Instance> {
        self.run_directories().iter().filter_map(|run| instance(run)).collect()
    }

    /// The directories of instances and builds that were not removed.
    #[must_use]
    pub fn run_directories(&self) -> Vec<PathBuf> {
        let below =
            ["data/run/instances", "data/run/machines", "data/instances"].map(|name| self.path().join(name));
        let entries = below.iter().filter_map(|directory| fs::read_dir(directory).ok()).flatten().flatten();
        entries.map(|entry| entry.path()).collect()
    }
}

/// Kills a process (SIGKILL) and waits until there is nothing of it but what is to be reaped.
///
/// # Errors
/// If it may not be signalled, or does not go.
pub fn kill(pid: i32) -> Result<()> {
    match signal::kill(Pid::from_raw(pid), Signal::SIGKILL) {
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(errno) => return Err(errno.into()),
    }
    until("a killed process is gone", || (!lives(pid)).then_some(()))
}

fn lives(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().next());
    state.is_some_and(|state| !matches!(state, "Z" | "X"))
}

fn instance(run: &Path) -> Option<Instance> {
    let id: InstanceId = run.file_name()?.to_str()?.parse().ok()?;
    let environment = id.environment()?;
    let pid = process(run)?;
    lives(pid).then_some(Instance { environment, pid })
}

fn process(run: &Path) -> Option<i32> {
    let read = |name| serde_json::from_slice::<Value>(&fs::read(run.join(name)).ok()?).ok();
    let pid = |value: &Value| i32::try_from(value["pid"].as_i64()?).ok();
    let record = read("record.json")?;
    let keeper = pid(&record["keeper"]).and_then(emulator);
    keeper.or_else(|| pid(&record["agent"])).or_else(|| pid(&read("who.json")?))
}

/// The keeper's child that runs the machine.
fn emulator(keeper: i32) -> Option<i32> {
    let children = fs::read_to_string(format!("/proc/{keeper}/task/{keeper}/children")).ok()?;
    let name = |pid: &i32| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    children.split_whitespace().filter_map(|pid| pid.parse().ok()).find(|pid| name(pid).starts_with("qemu"))
}
