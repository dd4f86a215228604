//! Cores and what processes used of them. Work of the kernel's network stack on loopback is charged to whoever sends, so it is in every figure.

use anyhow::{Context, Result};
use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};
use std::{fs, os::unix::process::CommandExt as _, process::Command};

/// Where proxies run, and where everything else does.
pub(crate) const PROXIES: usize = 0;
pub(crate) const OTHERS: usize = 1;

/// Puts a process and all threads that it will start on one core.
pub(crate) fn pin(command: &mut Command, core: usize) -> Result<()> {
    // Through `taskset`: what runs between fork and exec would have to be unsafe code.
    let program = command.get_program().to_owned();
    let arguments: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
    let mut pinned = Command::new("taskset");
    pinned.args(["-c", &core.to_string()]).arg(program).args(arguments).process_group(0);
    *command = pinned;
    Ok(())
}

/// Puts this very thread, and what it starts later, on one core.
pub(crate) fn pin_self(core: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(core)?;
    sched_setaffinity(Pid::from_raw(0), &set).context("this machine has fewer than two cores")
}

/// Puts this very thread before all others: what looks at the clock must not wait behind the load that it measures.
pub(crate) fn precede() -> Result<()> {
    rustix::process::nice(-20).context("only root may put a thread before others")?;
    Ok(())
}

/// The processes of this group.
pub(crate) fn group(leader: u32) -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| {
        *pid == leader
            || field(*pid, 2) == Some(u64::from(leader))
            || field(*pid, 1).is_some_and(|parent| parent == u64::from(leader))
    })
    .collect()
}

/// Seconds of CPU, user and kernel, that these processes have used.
pub(crate) fn seconds(pids: &[u32]) -> f64 {
    let ticks: u64 = pids.iter().filter_map(|pid| Some(field(*pid, 11)? + field(*pid, 12)?)).sum();
    ticks as f64 / 100.0
}

/// Resident memory of these processes, in KiB, shared pages once for each.
pub(crate) fn resident_kib(pids: &[u32]) -> u64 {
    let proportional = |pid: &u32| {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
        let line = text.lines().find(|line| line.starts_with("Pss:"))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok()
    };
    pids.iter().filter_map(proportional).sum()
}

/// A field of `/proc/PID/stat`, counted from the state (0), which follows the name in brackets.
fn field(pid: u32, index: usize) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    text.rsplit_once(") ")?.1.split_whitespace().nth(index)?.parse().ok()
}
