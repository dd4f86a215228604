//! The end of all privileges: what the agent keeps, and what nobody inside can get back.

use crate::{
    error::{Doing, Error},
    sys,
};
use nix::{
    sched::{CloneFlags, setns},
    sys::{
        prctl,
        resource::{Resource, getrlimit, rlim_t, setrlimit},
    },
    unistd::{Gid, Uid, setgroups, setresgid, setresuid},
};
use std::os::fd::OwnedFd;

/// KILL (5), SETGID (6), SETUID (7): to start commands as the app's user and to end them.
const KEPT: u64 = 1 << 5 | 1 << 6 | 1 << 7;

/// One byte, in which no core fits: 0 would still start a program that the host has named to receive cores (`core_pattern` with a `|`).
const MAX_CORE: rlim_t = 1;

/// The most open files, unless the host allows less.
const MAX_FILES: rlim_t = 65_536;

/// Locked memory that a program may ask for, in bytes, unless the host allows less.
const MAX_LOCKED: rlim_t = 8 * 1024 * 1024;

/// Lowers what the server's own limits may have left high. No limit is ever raised past what this process was given.
pub(crate) fn limit_resources() -> Result<(), Error> {
    for (resource, most) in [
        (Resource::RLIMIT_CORE, MAX_CORE),
        (Resource::RLIMIT_NOFILE, MAX_FILES),
        (Resource::RLIMIT_MEMLOCK, MAX_LOCKED),
    ] {
        let (_, hard) = getrlimit(resource).doing("read a resource limit")?;
        let most = hard.min(most);
        setrlimit(resource, most, most).doing("lower a resource limit")?;
    }
    Ok(())
}

/// Enters the instance's user namespace as its root, with next to no capabilities.
pub(crate) fn become_instance(identity: &OwnedFd) -> Result<(), Error> {
    setns(identity, CloneFlags::CLONE_NEWUSER).doing("enter the user namespace")?;
    let (user, group) = (Uid::from_raw(0), Gid::from_raw(0));
    setgroups(&[]).doing("leave the host's groups")?;
    setresgid(group, group, group).doing("become the instance's root group")?;
    setresuid(user, user, user).doing("become the instance's root")?;
    sys::keep_capabilities(KEPT).doing("give up capabilities")?;
    sys::set_dumpable(false).doing("close the agent's memory to others")
}

/// From here on no program gains a privilege by being executed, and the listed system calls are refused.
pub(crate) fn filter(programs: &[Vec<u64>]) -> Result<(), Error> {
    prctl::set_no_new_privs().doing("set no_new_privs")?;
    for program in programs {
        sys::install_filter(program).doing("install a seccomp filter")?;
    }
    Ok(())
}
