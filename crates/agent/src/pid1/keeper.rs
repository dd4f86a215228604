//! A worker's keeper: a small process between the agent and one worker, so that nothing the worker starts can outlive it.
//!
//! Orphans below a keeper become its children, however often they fork or change session. When it ends, the worker's whole tree has ended:
//! that is what makes "none of them runs" true. SIGTERM and others are not for it (the agent sends them to the tree); SIGUSR1 asks the
//! worker to end, SIGUSR2 ends the tree.

use crate::{pid1::process, sys};
use nix::{
    errno::Errno,
    sys::{
        signal::{SigSet, SigmaskHow, Signal, kill, sigprocmask},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::{ForkResult, Pid, fork},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::fd::OwnedFd,
    time::Duration,
};

/// Asks the worker to end.
pub(crate) const ASK: Signal = Signal::SIGUSR1;

/// Ends the worker's whole tree.
pub(crate) const END: Signal = Signal::SIGUSR2;

/// Between two looks at a tree that is being killed.
const AGAIN: Duration = Duration::from_millis(5);

/// Forks a keeper that runs `script`; its exit code will be the worker's.
pub(crate) fn start(
    script: &str,
    variables: &BTreeMap<String, String>,
    outputs: (OwnedFd, OwnedFd),
) -> nix::Result<Pid> {
    // SAFETY: the agent has one thread.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => Ok(child),
        ForkResult::Child => {
            let code = keep(script, variables, outputs).unwrap_or(126);
            // SAFETY: ends the forked child without running the agent's destructors.
            unsafe { libc::_exit(code) }
        }
    }
}

fn keep(
    script: &str,
    variables: &BTreeMap<String, String>,
    outputs: (OwnedFd, OwnedFd),
) -> std::io::Result<i32> {
    // An own group: what is sent to the worker's does not reach its keeper.
    nix::unistd::setsid()?;
    sys::adopt_orphans()?;
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), None)?;
    let worker = Pid::from_raw(process::start(script, variables, outputs)?);
    // The agent's sockets, pipes and log are none of the keeper's.
    sys::close_from(3)?;
    let mut ending = false;
    let mut code = None;
    loop {
        if reap(worker, &mut code) {
            return Ok(code.unwrap_or(0));
        }
        if ending || code.is_some() {
            end_tree();
        }
        match wait_signal((ending || code.is_some()).then_some(AGAIN)) {
            Some(signal) if signal == ASK as i32 => {
                // Gone already is as good.
                let _ = nix::sys::signal::killpg(worker, Signal::SIGTERM);
            }
            Some(signal) if signal == END as i32 => ending = true,
            _ => {}
        }
    }
}

/// Takes note of every child that ended; true if there is none left.
fn reap(worker: Pid, code: &mut Option<i32>) -> bool {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, status)) if pid == worker => *code = Some(status),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == worker => *code = Some(128 + signal as i32),
            Ok(WaitStatus::StillAlive) => return false,
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return true,
        }
    }
}

/// The next signal, or none within `limit`.
fn wait_signal(limit: Option<Duration>) -> Option<i32> {
    let all = SigSet::all();
    let limit = limit.map(|d| libc::timespec { tv_sec: 0, tv_nsec: d.subsec_nanos().into() });
    let limit = limit.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: the set and the time-out live through the call; a null result is allowed, and so is a null time-out (wait for ever).
    let signal = unsafe { libc::sigtimedwait(all.as_ref(), std::ptr::null_mut(), limit) };
    (signal > 0).then_some(signal)
}

fn end_tree() {
    for pid in descendants(std::process::id().cast_signed(), &parents()) {
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
}

/// The parent of every process that can be seen, from `/proc`.
fn parents() -> BTreeMap<i32, i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|e| e.file_name().to_str()?.parse::<i32>().ok());
    pids.filter_map(|pid| Some((pid, parent(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?)))
        .collect()
}

/// The fourth field of a `stat` line; the second is the program's name, which may hold anything but ends with the last `)`.
fn parent(stat: &str) -> Option<i32> {
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()
}

fn descendants(root: i32, parents: &BTreeMap<i32, i32>) -> BTreeSet<i32> {
    let mut found = BTreeSet::new();
    loop {
        let below = |pid: &i32| *pid == root || found.contains(pid);
        let more: Vec<i32> = parents
            .iter()
            .filter(|(pid, parent)| below(parent) && !found.contains(*pid))
            .map(|(pid, _)| *pid)
            .collect();
        if more.is_empty() {
            return found;
        }
        found.extend(more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_forge_a_parent() {
        assert_eq!(parent("7 (evil) R 1 (x) S 42 7 7"), Some(42));
        assert_eq!(parent("7 (a"), None);
    }

    #[test]
    fn the_whole_tree_is_found_and_nothing_else() {
        let parents = BTreeMap::from([(2, 1), (3, 2), (4, 3), (5, 1), (6, 5)]);
        assert_eq!(descendants(2, &parents), BTreeSet::from([3, 4]));
    }
}
